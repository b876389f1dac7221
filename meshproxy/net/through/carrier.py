"""A connection of HTTP/2 to a proxy: it carries many connections through that, each as a stream.

It takes streams once the proxy has said how many, and ends when it has been of no use for a while.  Of a proxy that is
silent it is asked whether it is there.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.flushing import Flushing
from meshproxy.wire.connect import LIMITS as HEADS
from meshproxy.wire.h2 import Block, Code, Engine, Fault, Limits, Reason, Role, StreamFault, User

KIB = 1024
LIMITS = Limits(
    max_streams=1000, window=128 * KIB, connection_window=16 * 1024 * KIB, head=HEADS.head, fields=HEADS.fields
)
"""As many streams as most proxies take may stand still, and the others go on."""
IDLE = 60.0
"""Seconds without a stream after which it is closed."""


class Owner(Protocol):
    def serve(self) -> None:
        """There may be room for a stream."""

    def gone(self, carrier: Carrier) -> None:
        """It takes no more streams, ever."""


class Carrier(Flushing):
    """Satisfies `wire.h2.Hearer`."""

    __slots__ = (
        "_asked", "_beat", "_clock", "_doom", "_feeding", "_heard", "_leaving", "_owner", "_rested", "_timer",
        "settled_once",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, conn: Conn, owner: Owner, dead: float) -> None:
        """After `dead` seconds of silence it is given up."""
        super().__init__(loop, conn)
        self._clock = clock
        self._owner = owner
        self.settled_once = False
        """The proxy has said how many streams it takes."""
        self._leaving = False
        self._doom = False
        self._feeding = False
        self._heard = self._rested = clock.now()
        self._asked = False
        """Whether it is there."""
        self._beat = dead / 2
        self._timer = clock.after(self._beat, self._look)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        self.engine = Engine(Role.CLIENT, self, LIMITS, clock.now)
        self.flush_soon()
        conn.start()

    # For streams

    @property
    def takes(self) -> bool:
        return self.settled_once and not self._leaving and self.engine.room > 0

    def open(self, block: bytes, user: User) -> int:
        number = self.engine.open(block, False, user)
        self.flush_soon()
        return number

    def left(self) -> None:
        """One of its streams is over."""
        self.flush_soon()
        if not self.engine.streams:
            self._rested = self._clock.now()
        if self._leaving:
            self.loop.call_soon(self._end_if_over)
        else:
            self._owner.serve()

    def doubt(self, since: float) -> None:
        """Somebody has waited in vain since then: if nothing at all has come, it gets no more."""
        if self._heard < since:
            self._leave()

    def close(self) -> None:
        """Nobody will ask it for more."""
        self._leave()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._owner.gone(self)
            self.loop.call_soon(self._end_if_over)

    def _end_if_over(self) -> None:
        if not self.engine.streams and not self.conn.closed:
            self._end(abort=False)

    # What comes

    def _take(self, data: bytes) -> None:
        self._heard = self._clock.now()
        self._asked = False
        self._feeding = True
        self.engine.feed(data)
        self._feeding = False
        if self.conn.closed:
            self.engine.close()
        elif self._doom:
            self._fail()
        elif self.engine.out:
            self.flush()

    def opened(self, stream: int, block: Block, last: bool) -> User:
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.PUSHED)

    def settled(self) -> None:
        self.settled_once = True
        self._owner.serve()

    def went(self, last: int, code: int) -> None:
        self._leave()

    def counted(self, word: str) -> None:
        """Nobody counts what is wrong with proxies one by one."""

    def broken(self, fault: Fault) -> None:
        self._doom = True

    def pong(self) -> None:
        """It is there: it has been heard."""

    # The proxy takes no more, or more

    def hold(self) -> None:
        self.engine.block()

    def release(self) -> None:
        self.engine.unblock()
        self.flush()

    # Time

    def _look(self) -> None:
        now = self._clock.now()
        if not self.engine.streams and now - self._rested >= IDLE:
            self._leave()
        elif now - self._heard >= self._beat:
            if self._asked or not self.settled_once:
                self._fail()
                return
            self._asked = True
            self.engine.ping()
            self.flush()
        self._timer = self._clock.after(self._beat, self._look)

    # How it ends

    def on_end(self, conn: Conn) -> None:
        self._fail()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._fail()

    def _fail(self) -> None:
        """And all that it carries with it."""
        users = [record.user for record in self.engine.streams.values()]
        self._end(abort=not self.engine.over)
        for user in users:
            if user is not None:
                user.reset(Code.CONNECT_ERROR)

    def _end(self, *, abort: bool) -> None:
        if self.conn.closed:
            return
        self._timer.cancel()
        if abort:
            self.conn.abort()
        else:
            if not self.engine.over:
                self.engine.goaway()
            self.flush()
            self.conn.close()
        if not self._feeding:
            self.engine.close()
        if not self._leaving:
            self._leaving = True
            self._owner.gone(self)
