"""Open a connection, without a task: `done` is called once, with a connected socket or with what went wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from meshproxy.model import Address
from meshproxy.net.address import new_socket, sockaddr, tune_tcp
from meshproxy.net.clock import Clock

Done = Callable[[socket.socket | OSError], None]


class Dial:
    """One attempt.  A timeout is a `TimeoutError`; after `cancel` nothing is heard of it."""

    __slots__ = ("_done", "_loop", "_sock", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        address: Address,
        timeout: float,
        done: Done,
        *,
        keepalive: bool,
    ) -> None:
        self._loop = loop
        self._done = done
        self._sock: socket.socket | None = None
        self._timer = clock.after(timeout, self._expired)
        try:
            self._sock = new_socket(address, socket.SOCK_STREAM)
            if address.kind != "unix":
                tune_tcp(self._sock, keepalive=keepalive)
            self._sock.connect(sockaddr(address))
        except BlockingIOError as error:
            # A full queue on a unix socket says EAGAIN and never becomes writable by itself.
            if error.errno == errno.EINPROGRESS:
                loop.add_writer(self._sock.fileno(), self._writable)  # type: ignore[union-attr]
            else:
                self._soon(error)
        except OSError as error:
            self._soon(error)
        else:
            self._soon(None)

    def cancel(self) -> None:
        self._timer.cancel()
        if self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _soon(self, error: OSError | None) -> None:
        """Never call back from inside the constructor: the caller does not hold the dial yet."""
        self._loop.call_soon(self._finish, error)

    def _writable(self) -> None:
        assert self._sock is not None
        self._loop.remove_writer(self._sock.fileno())
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._finish(OSError(code, os.strerror(code)) if code else None)

    def _expired(self) -> None:
        self._finish(TimeoutError(errno.ETIMEDOUT, "connect timeout"))

    def _finish(self, error: OSError | None) -> None:
        sock = self._sock
        if error is not None:
            self.cancel()
            self._done(error)
        elif sock is not None:
            self._timer.cancel()
            self._sock = None
            self._done(sock)
