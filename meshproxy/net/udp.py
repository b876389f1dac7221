"""Datagrams: a bound socket that receives from anybody, and a connected one that talks to one peer."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr, words

LARGEST = 65535
DATAGRAMS_A_TURN = 64
"""So that one busy socket does not starve the others."""

LOST_HERE = {errno.EAGAIN, errno.EMSGSIZE, errno.ENOBUFS}
"""What became of a datagram, as datagrams may be lost; it says nothing of the peer."""


class User(Protocol):
    """Who answers through a door, and has nothing to do without it."""

    def drain(self) -> None: ...


class DatagramDoor:
    """Live: one address, bound while it is in use, whatever is served behind it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: Sequence[socket.socket]) -> None:
        self._loop = loop
        self._sockets = sockets
        self._serve: Callable[[bytes, Any], None] | None = None
        self.users: set[User] = set()
        self.local = words(sockets[0].getsockname())

    def serve(self, serve: Callable[[bytes, Any], None]) -> None:
        first = self._serve is None
        self._serve = serve
        if first:
            for sock in self._sockets:
                self._loop.add_reader(sock.fileno(), self._readable, sock)

    def reply(self, data: bytes, peer: Any) -> bool:
        """False if the datagram was lost here, as datagrams may be."""
        try:
            self._sockets[0].sendto(data, peer)
        except OSError:
            return False
        return True

    def retire(self, grace: float) -> None:
        for user in tuple(self.users):
            user.drain()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def _readable(self, sock: socket.socket) -> None:
        assert self._serve is not None
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, peer = sock.recvfrom(LARGEST)
            except OSError:
                return
            self._serve(data, peer)


class DatagramPeer:
    """A socket connected to one address.  `on_error` hears what the network says of it; nothing comes after that."""

    __slots__ = ("_loop", "_on_data", "_on_error", "_sock")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        on_data: Callable[[bytes], None],
        on_error: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._on_data = on_data
        self._on_error = on_error
        self._sock = new_socket(address, socket.SOCK_DGRAM)
        try:
            self._sock.connect(sockaddr(address))
        except OSError:
            self._sock.close()
            raise
        loop.add_reader(self._sock.fileno(), self._readable)

    def send(self, data: bytes) -> bool:
        try:
            self._sock.send(data)
        except OSError as error:
            if error.errno not in LOST_HERE:
                self._on_error(error)
            return False
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = self._sock.recv(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._on_error(error)
                return
            self._on_data(data)
            if self._sock.fileno() < 0:
                return
