"""Datagrams: a bound socket that receives from anybody, and a connected one that talks to one peer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from meshproxy.model import Address
from meshproxy.net.address import new_socket, release, sockaddr, words

LARGEST = 65535
DATAGRAMS_A_TURN = 64
"""So that one busy socket does not starve the others."""


class DatagramDoor:
    """Live: bound while its address is in use, whatever is served behind it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, address: Address) -> None:
        self._loop = loop
        self._sock = sock
        self._address = address
        self._serve: Callable[[bytes, Any], None] | None = None
        self.local = words(sock.getsockname())

    def serve(self, serve: Callable[[bytes, Any], None]) -> None:
        first = self._serve is None
        self._serve = serve
        if first:
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def reply(self, data: bytes, peer: Any) -> bool:
        """False if the datagram was lost here, as datagrams may be."""
        try:
            self._sock.sendto(data, peer)
        except OSError:
            return False
        return True

    def retire(self, grace: float) -> None:
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock.fileno())
        release(self._sock, self._address)

    def _readable(self) -> None:
        assert self._serve is not None
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, peer = self._sock.recvfrom(LARGEST)
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
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
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
