"""Open a connection, without a task.

    outcome = Dial(...).begin()      # a connection, what went wrong, or None: then `done` is told, once

On the same machine a connection is made before the call returns, though a non-blocking socket does not say so; asking a
second time is much cheaper than waiting for the loop to tell.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from meshproxy.model import Address
from meshproxy.net.address import leave_from, new_socket, sockaddr, tune_tcp
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn

Outcome = Conn | OSError


class Dialling(Protocol):
    """An attempt to connect, whatever it takes."""

    def begin(self) -> Outcome | None: ...

    def cancel(self) -> None: ...


Begin = Callable[[Callable[[Outcome], None]], Dialling]
"""Makes an attempt, and says whom to tell what becomes of it."""

MADE = {0, errno.EISCONN}
PENDING = {errno.EINPROGRESS, errno.EALREADY}
OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""What is wrong with this host, and says nothing of the peer: no descriptor, no memory, no port."""


def bare(error: OSError) -> OSError:
    """Without the frames that it came through: who keeps it in a variable would be kept by it."""
    return error.with_traceback(None)


@dataclass(frozen=True, slots=True)
class Way:
    """How a connection leaves this host."""

    keepalive: bool
    source: str | None = None
    """The local address to connect from, where that is one of the same family."""
    foreign: bool = False
    """Whether that is the address of somebody else."""
    made: Callable[[socket.socket], None] | None = None
    """Hears of each that is made."""

    def of(self, client: str) -> Way:
        """With the address of a client, who is not to notice that somebody is between."""
        return replace(self, source=client, foreign=True)


ALIVE = Way(keepalive=True)


class Dial:
    """One attempt.  A timeout is a `TimeoutError`; after `cancel` nothing is heard of it."""

    __slots__ = ("_address", "_clock", "_done", "_loop", "_sock", "_timeout", "_timer", "_way")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        address: Address,
        timeout: float,
        done: Callable[[Outcome], None],
        way: Way = ALIVE,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._address = address
        self._timeout = timeout
        self._done = done
        self._way = way

    def begin(self) -> Outcome | None:
        try:
            self._sock = sock = new_socket(self._address, socket.SOCK_STREAM)
        except OSError as error:
            return bare(error)
        try:
            made = self._connect(sock)
        except OSError as error:
            sock.close()
            return bare(error)
        if made:
            return self._conn()
        self._timer = self._clock.after(self._timeout, self._expired)
        self._loop.add_writer(sock.fileno(), self._writable)
        return None

    def _connect(self, sock: socket.socket) -> bool:
        """Whether it is made already.  An address may be refused before it is tried: a zone that this host has not."""
        if self._address.kind != "unix":
            tune_tcp(sock, keepalive=self._way.keepalive)
        if self._way.source is not None:
            leave_from(sock, self._way.source, self._address, foreign=self._way.foreign)
        name = sockaddr(self._address)
        code = sock.connect_ex(name)
        if code in PENDING:
            code = sock.connect_ex(name)
        if code in MADE:
            return True
        if code in PENDING:
            return False
        # Among them EAGAIN: a unix socket whose queue is full, which never becomes writable by itself.
        raise OSError(code, os.strerror(code))

    def _conn(self) -> Conn:
        made = self._way.made
        if made is not None:
            made(self._sock)
        return Conn(self._loop, self._sock)

    def cancel(self) -> None:
        self._timer.cancel()
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _writable(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.cancel()
            self._done(OSError(code, os.strerror(code)))
        else:
            self._timer.cancel()
            self._loop.remove_writer(self._sock.fileno())
            self._done(self._conn())

    def _expired(self) -> None:
        self.cancel()
        self._done(TimeoutError(errno.ETIMEDOUT, "connect timeout"))
