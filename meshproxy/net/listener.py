"""Bound sockets that accept, and hand each connection to whoever serves now."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

from meshproxy.net.bound import BACKLOG
from meshproxy.net.clock import Clock, Timer

Serve = Callable[[socket.socket, Any], None]
"""Takes an accepted, non-blocking socket and the name of its peer."""

Elsewhere = Callable[[socket.socket, Any], bool]
"""May take an accepted connection to where it is served better; True if it has."""

MOST_ACCEPTS = 32
"""In one turn, so that a flood of new connections does not starve those that are open."""
TURNS_TO_GROW = 4
"""To look for another connection costs as much as to take one.  So a turn takes one, and more only while the queue
stays full."""
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
BACK_OFF = 0.1


class Acceptor:
    """Live: one address.  Its sockets stay open while it is in use, whatever is served behind it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        sockets: Sequence[socket.socket],
        elsewhere: Elsewhere | None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._sockets = sockets
        self._elsewhere = elsewhere
        self._serve: Serve | None = None
        self._on_error: Callable[[OSError], None] = lambda _: None
        self._pause: Timer | None = None
        self._full_turns = 0
        self._family = int(sockets[0].family)
        name = sockets[0].getsockname()
        self.port = name[1] if isinstance(name, tuple) else None

    def serve(self, serve: Serve, on_error: Callable[[OSError], None]) -> None:
        """From now on connections go here; the first call opens the door."""
        first = self._serve is None
        self._serve = serve
        self._on_error = on_error
        if first:
            self._listen()

    def adopt(self, sock: socket.socket, peer: Any) -> None:
        """Serve a connection that was accepted elsewhere; it has come in, even where the door has closed since."""
        if self._serve is None:
            sock.close()
        else:
            self._serve(sock, peer)

    def close(self) -> None:
        """Serve who already stands in the queue, and let nobody in after them."""
        if self._pause is not None:
            self._pause.cancel()
        for sock in self._sockets:
            if self._serve is not None:
                self._accept_some(sock, self._serve, BACKLOG)
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets = ()

    def retire(self, grace: float) -> None:
        """Who is in has `grace`, and that is for others to see to."""
        self.close()

    def _listen(self) -> None:
        self._pause = None
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        assert self._serve is not None
        if not self._accept_some(sock, self._serve, min(1 + self._full_turns // TURNS_TO_GROW, MOST_ACCEPTS)):
            # Descriptors come back when connections end; asking in a loop would only burn the processor.
            for each in self._sockets:
                self._loop.remove_reader(each.fileno())
            self._pause = self._clock.after(BACK_OFF, self._listen)

    def _accept_some(self, listening: socket.socket, serve: Serve, most: int) -> bool:
        """False if the process has no room for another connection."""
        for _ in range(most):
            try:
                # `accept` would ask for the names of numbers that are known, which takes longer than to accept.
                descriptor, peer = listening._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError):
                self._full_turns = 0
                return True
            except OSError as error:
                self._on_error(error)
                if error.errno in EXHAUSTED:
                    return False
                # Any other error belongs to the one connection that died in the queue.
                continue
            sock = socket.socket(self._family, socket.SOCK_STREAM, 0, descriptor)
            if self._elsewhere is None or not self._elsewhere(sock, peer):
                sock.setblocking(False)
                serve(sock, peer)
        self._full_turns += 1
        return True
