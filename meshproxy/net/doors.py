"""The bound sockets of this process, and the opening of new ones beside them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from meshproxy.model import Address
from meshproxy.net.address import bind
from meshproxy.net.clock import Clock
from meshproxy.net.listener import Acceptor
from meshproxy.net.udp import DatagramDoor


class Doors:
    """Opens what generations claim.  A door that is retired closes its socket itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._sockets: list[tuple[Address, socket.socket]] = []

    def tcp(self, address: Address) -> Callable[[], Acceptor]:
        return lambda: Acceptor(self._loop, self._clock, self._bind(address, socket.SOCK_STREAM), address)

    def udp(self, address: Address) -> Callable[[], DatagramDoor]:
        return lambda: DatagramDoor(self._loop, self._bind(address, socket.SOCK_DGRAM), address)

    def _bind(self, address: Address, kind: int) -> socket.socket:
        self._sockets = [held for held in self._sockets if held[1].fileno() >= 0]
        with self._sharing(address, kind) as shared:
            sock = bind(address, kind, shared=shared)
        self._sockets.append((address, sock))
        return sock

    @contextmanager
    def _sharing(self, address: Address, kind: int) -> Iterator[bool]:
        """Let 127.0.0.1:80 be bound while the generation that leaves still holds 0.0.0.0:80, or the other way round.

        The kernel allows it to sockets that share their port; ours do so for the moment of the bind only, so that a
        port that somebody else holds stays a port in use.
        """
        rivals = [
            sock
            for other, sock in self._sockets
            if sock.type == kind and other.kind == address.kind != "unix" and other.port == address.port
        ]
        try:
            for sock in rivals:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            yield bool(rivals)
        finally:
            for sock in rivals:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
