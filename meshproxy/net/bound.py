"""Binding an address, and letting it go again."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import replace

from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr, tune_tcp

BACKLOG = 4096


class Bound:
    """The sockets that are bound to one address, and the file of a unix one."""

    def __init__(self, address: Address, sockets: tuple[socket.socket, ...]) -> None:
        self.address = address
        self.sockets = sockets
        self.port = sockets[0].getsockname()[1] if sockets and address.kind != "unix" else 0
        self._file = _file(address)

    def leave(self) -> None:
        """Close the sockets; the address goes on without us."""
        for sock in self.sockets:
            sock.close()

    @property
    def has_file(self) -> bool:
        """Whether there is one, and it is ours to remove."""
        return self._file is not None

    def give_away(self) -> None:
        """The file belongs to somebody else."""
        self._file = None

    def take_over(self) -> None:
        """The file is ours to remove."""
        self._file = _file(self.address)

    def release(self) -> None:
        """Close the sockets and take the file away, if it is still the one that was made for them."""
        self.leave()
        if self._file is not None and _file(self.address) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)


def bind(address: Address, kind: int, *, copies: int = 1, shared: bool = False) -> Bound:
    """Listens, if the kind of socket can; raises OSError with the address in its words.

    The first socket finds out whether the address is free, so it shares its port only where it is told to; further
    copies share it with the first.
    """
    bound: list[socket.socket] = []
    try:
        bound.append(_bound(address, kind, shared))
        if copies > 1:
            share_port(bound[0])
            given = replace(address, port=bound[0].getsockname()[1])
            bound.extend(_bound(given, kind, True) for _ in range(copies - 1))
        if kind == socket.SOCK_STREAM:
            for sock in bound:
                sock.listen(BACKLOG)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise OSError(error.errno, f"{address}: {error.strerror or error}") from None
    return Bound(address, tuple(bound))


def share_port(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _bound(address: Address, kind: int, shared: bool) -> socket.socket:
    sock = new_socket(address, kind)
    try:
        if shared:
            share_port(sock)
        if address.kind == "unix":
            _remove_stale(address)
        elif kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tune_tcp(sock, keepalive=True)
        if address.kind == "ipv6":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr(address))
    except OSError:
        sock.close()
        raise
    return sock


def _file(address: Address) -> tuple[int, int] | None:
    """Which file it is; None where there is none."""
    if address.kind == "unix" and not address.path.startswith("@"):
        with contextlib.suppress(OSError):
            found = os.stat(address.path)
            if stat.S_ISSOCK(found.st_mode):
                return found.st_dev, found.st_ino
    return None


def _remove_stale(address: Address) -> None:
    """A socket file that nobody listens on is left over from a process that died; anything else stays."""
    if _file(address) is not None:
        # A listener whose queue is full would keep a blocking probe waiting, and with it the whole loop.
        with new_socket(address, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(address.path) == errno.ECONNREFUSED:
                os.unlink(address.path)
