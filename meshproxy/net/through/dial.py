"""Open a connection to a proxy and ask it for another one: both within a timeout, which the first keeps for itself too.

    ThroughDial(clock, dial, Socks5(("10.1.0.5", 80)), timeout, done).begin()

What the other end has sent already, when the proxy agrees, is the first that is read of the connection.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from meshproxy.net.above import Above
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Begin, Outcome
from meshproxy.net.further import Further
from meshproxy.net.through.faults import ProxyRefused, as_error
from meshproxy.wire.asking import Asking, Refused, Why

GONE = "it went away in the middle"


class NoWay:
    """An attempt that has failed before it begins."""

    __slots__ = ("_error",)

    def __init__(self, error: OSError) -> None:
        self._error = error

    def begin(self) -> OSError:
        return self._error

    def cancel(self) -> None:
        """There is nothing under way."""


class ThroughDial(Further):
    """A timeout is a `TimeoutError`; after `cancel` nothing is heard of it."""

    __slots__ = ("_asking", "_clock", "_conn", "_timer", "_until")

    def __init__(
        self, clock: Clock, dial: Begin, asking: Asking, timeout: float, done: Callable[[Outcome], None]
    ) -> None:
        self._clock = clock
        self._asking = asking
        self._until = clock.now() + timeout
        super().__init__(dial, done)
        self._conn: Conn | None = None
        self._timer: Timer | None = None

    def cancel(self) -> None:
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()
        elif (conn := self._left()) is not None:
            conn.abort()

    def _go_on(self, conn: Conn) -> None:
        self._conn = conn
        self._timer = self._clock.after(max(self._until - self._clock.now(), 0.0), self._expired)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        conn.write(self._asking.opening())
        conn.start()

    def _take(self, data: bytes) -> None:
        conn, asking = self._conn, self._asking
        assert conn is not None
        try:
            answer = asking.feed(data)
        except Refused as refused:
            self._fail(as_error(refused))
            return
        if answer:
            conn.write(answer)
        if asking.rest is not None:
            self._agreed(conn, asking.rest)

    def _agreed(self, conn: Conn, early: bytes) -> None:
        self._left()
        conn.stop()
        conn.fed_by = None
        # What was said to the proxy is not of the connection.
        conn.sent = conn.received = 0
        self._done(Above(conn, early) if early else conn)

    def _fail(self, error: OSError) -> None:
        conn = self._left()
        if conn is not None:
            conn.close()
            self._done(error.with_traceback(None))

    def _left(self) -> Conn | None:
        conn, self._conn = self._conn, None
        if self._timer is not None:
            self._timer.cancel()
        return conn

    def _expired(self) -> None:
        self._fail(TimeoutError(errno.ETIMEDOUT, "the proxy has not answered in time"))

    # The connection

    def hold(self) -> None:
        """What is said is little."""

    def release(self) -> None:
        """And there was no more."""

    def on_end(self, conn: Conn) -> None:
        self._fail(ProxyRefused(Why.MALFORMED, GONE))

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._fail(error if error is not None else ProxyRefused(Why.MALFORMED, GONE))
