"""From an `Address` of the configuration to sockets, and back to words."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address
from typing import Any, NamedTuple

from meshproxy.model import Address

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}
NO_WAY = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
IP_BIND_ADDRESS_NO_PORT = 24
"""Python has no name for it before 3.12; it holds for IPv6 as well."""
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
"""Nor for these."""
KEEPALIVE_IDLE = 60
"""Seconds of silence before a probe.  How many probes, and how often, the system says: each option is a call."""


def sockaddr(address: Address) -> Any:
    if address.kind == "unix":
        return "\0" + address.path[1:] if address.path.startswith("@") else address.path
    return (address.host, address.port)


def new_socket(address: Address, kind: int) -> socket.socket:
    return socket.socket(FAMILIES[address.kind], kind | socket.SOCK_NONBLOCK)


def routed(address: Address) -> bool:
    """Whether there is a way to it from here, of which the family may be all that matters; nothing is sent."""
    try:
        with new_socket(address, socket.SOCK_DGRAM) as sock:
            sock.connect(sockaddr(address))
    except OSError as error:
        return error.errno not in NO_WAY
    return True


def tune_tcp(sock: socket.socket, *, keepalive: bool) -> None:
    """Set on a listening socket it is inherited by every connection, which then costs no call of its own."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)


def leave_from(sock: socket.socket, source: str, towards: Address, *, foreign: bool = False) -> None:
    """The port is left to `connect`: then one does for many destinations.  The other family knows no such source.

    A `foreign` source is an address of somebody else, whose answers have to be led here by rules; without it nobody
    connects, for the address of this host is trusted where that one would not be.
    """
    same = bool(source) and towards.kind == ("ipv6" if ":" in source else "ipv4")
    if foreign and not same:
        raise OSError(errno.EADDRNOTAVAIL, f"the client has no address from which {towards} could be connected to")
    if same:
        if foreign:
            let_pass_as_others(sock)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))


def let_pass_as_others(sock: socket.socket) -> None:
    """It may have addresses that this host does not have, and take what rules of TPROXY bring it.

    Raises OSError: that takes CAP_NET_ADMIN.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    elif sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


class Credentials(NamedTuple):
    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Credentials:
    """Who connected to a unix socket, as the kernel knows it."""
    size = struct.calcsize("iII")
    return Credentials(*struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


def is_near(sock: socket.socket) -> bool:
    """Whether it has come over a unix socket or the loopback, at both of its ends.

    Who connects to another address of this host from 127.0.0.6 is a proxy, and brings somebody from elsewhere.  Nothing
    is known of a peer that is gone already.
    """
    if sock.family == socket.AF_UNIX:
        return True
    try:
        return all(ip_address(name[0]).is_loopback for name in (sock.getpeername(), sock.getsockname()))
    except (OSError, ValueError):
        return False


def words(name: Any) -> str:
    """What a socket call says of a peer, as people write it."""
    if isinstance(name, tuple):
        host, port = name[0], name[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return f"unix:{text}" if text else "unix:"
