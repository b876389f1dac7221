"""From an `Address` of the configuration to sockets, and back to words."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, NamedTuple

from meshproxy.model import Address

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}
NO_WAY = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
IP_BIND_ADDRESS_NO_PORT = 24
"""Python has no name for it before 3.12; it holds for IPv6 as well."""
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


def leave_from(sock: socket.socket, source: str, towards: Address) -> None:
    """The port is left to `connect`: then one does for many destinations.  The other family knows no such source."""
    if towards.kind == ("ipv6" if ":" in source else "ipv4"):
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))


class Credentials(NamedTuple):
    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Credentials:
    """Who connected to a unix socket, as the kernel knows it."""
    size = struct.calcsize("iII")
    return Credentials(*struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


def words(name: Any) -> str:
    """What a socket call says of a peer, as people write it."""
    if isinstance(name, tuple):
        host, port = name[0], name[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return f"unix:{text}" if text else "unix:"
