"""From an `Address` of the configuration to sockets, and back to words."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Any

from meshproxy.model import Address

BACKLOG = 4096
FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}
KEEPALIVE_IDLE = 60
"""Seconds of silence before a probe.  How many probes, and how often, the system says: each option is a call."""


def sockaddr(address: Address) -> Any:
    if address.kind == "unix":
        return "\0" + address.path[1:] if address.path.startswith("@") else address.path
    return (address.host, address.port)


def new_socket(address: Address, kind: int) -> socket.socket:
    return socket.socket(FAMILIES[address.kind], kind | socket.SOCK_NONBLOCK)


def tune_tcp(sock: socket.socket, *, keepalive: bool) -> None:
    """Set on a listening socket it is inherited by every connection, which then costs no call of its own."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)


def bind(address: Address, kind: int, *, shared: bool = False) -> socket.socket:
    """A bound socket that listens if its kind can; raises OSError with the address in its words."""
    sock = new_socket(address, kind)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.kind == "unix":
            _remove_stale(address.path)
        elif kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tune_tcp(sock, keepalive=True)
        if address.kind == "ipv6":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr(address))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{address}: {error.strerror or error}") from None
    return sock


def _remove_stale(path: str) -> None:
    """A socket file that nobody listens on is left over from a process that died; anything else stays."""
    with contextlib.suppress(FileNotFoundError):
        if not path.startswith("@") and stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)


def release(sock: socket.socket, address: Address) -> None:
    """Close a bound socket and take its file away, if the file is still its own."""
    path = address.path
    sock.close()
    if address.kind == "unix" and not path.startswith("@"):
        with contextlib.suppress(OSError):
            os.unlink(path)


def words(name: Any) -> str:
    """What a socket call says of a peer, as people write it."""
    if isinstance(name, tuple):
        host, port = name[0], name[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return f"unix:{text}" if text else "unix:"
