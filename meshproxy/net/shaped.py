"""A client's connection that is read and written no faster than it may be.

What comes too fast is left in the kernel, so that the client is slowed down by TCP; what goes out too fast makes this
connection full for a while, so that whoever feeds it is held, as by a client that does not read.  At most the one read
that is at hand waits here, as in every `Conn`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import NamedTuple, Protocol

from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import FAILED, SLOWED, Conn


class Meter(Protocol):
    @property
    def piece(self) -> int:
        """How much is to be moved at a time."""

    def spend(self, size: int, now: float, /) -> float:
        """So much was moved; for how many seconds nothing more is to be."""


class Pace(NamedTuple):
    """Of both directions; None: as fast as it goes."""

    up: Meter | None
    down: Meter | None


class ShapedConn(Conn):
    __slots__ = ("_clock", "_own", "_pace", "_reads_later", "_then", "_writes_later")

    spliceable = False

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, clock: Clock, pace: Pace) -> None:
        super().__init__(loop, sock)
        self._clock = clock
        self._own = self._pace = self._then = pace
        self._reads_later: Timer | None = None
        self._writes_later: Timer | None = None

    @property
    def paced(self) -> bool:
        return self._reads_later is not None or self._writes_later is not None

    def use(self, pace: Pace | None) -> None:
        """From now on, where it says something, or its own again; what is still to be written goes as it was begun."""
        own = self._own
        self._then = then = own if pace is None else Pace(pace.up or own.up, pace.down or own.down)
        if self._backlog is None:
            self._pace = then

    def close(self) -> None:
        super().close()
        if self._reads_later is not None:
            self._reads_later.cancel()
            self._reads_later = None

    # Reading

    def _read_to_taker(self) -> None:
        if data := self._read():
            self._take(data)

    def _read(self) -> bytes:
        up = self._pace.up
        if up is None:
            return super()._read()
        try:
            data = os.read(self.fd, up.piece)
        except OSError as error:
            self._not_read(error)
            return b""
        size = len(data)
        self.received += size
        if not size:
            self._read_end()
        elif wait := up.spend(size, self._clock.now()):
            self._pause(SLOWED)
            self._reads_later = self._clock.after(wait, self._read_on)
        return data

    def _read_on(self) -> None:
        self._reads_later = None
        self._resume(SLOWED)

    # Writing

    def write(self, data: bytes) -> None:
        if self._pace.down is None or self._backlog is not None or self._write_over:
            super().write(data)
            return
        self._backlog = deque((data,))
        try:
            if self._write_backlog():
                self._backlog = None
                self._pace = self._then
                return
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            # As in any connection: it is heard of when the loop turns next.
            self._backlog = None
            self._write_over = True
            self._pause(FAILED)
            self._loop.call_soon(self._failed, error)
            return
        self.full = True
        if self._writes_later is None:
            self._loop.add_writer(self.fd, self._on_room)
        if self.fed_by is not None:
            self.fed_by.hold()

    def _write_backlog(self) -> bool:
        down, backlog = self._pace.down, self._backlog
        if down is None or backlog is None:
            return super()._write_backlog()
        while backlog:
            chunk = backlog[0]
            piece = chunk[: down.piece]
            size = os.write(self.fd, piece)
            self.sent += size
            if size < len(chunk):
                backlog[0] = memoryview(chunk)[size:]
            else:
                backlog.popleft()
            if wait := down.spend(size, self._clock.now()):
                self._loop.remove_writer(self.fd)
                self._writes_later = self._clock.after(wait, self._write_on)
                return False
            if size < len(piece):
                return False
        return True

    def _write_on(self) -> None:
        self._writes_later = None
        self._loop.add_writer(self.fd, self._on_room)

    def _drop_backlog(self) -> None:
        super()._drop_backlog()
        self._pace = self._then
        if self._writes_later is not None:
            self._writes_later.cancel()
            self._writes_later = None
