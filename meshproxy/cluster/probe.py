"""One check of one endpoint: a connection of its own, a deadline for all of it, and one word at the end.

    Probe(clock, dial, opening, talk, timeout, done).begin()

It is callbacks and one timer, so a port that hangs holds up nobody.  `done` may be told before `begin` returns.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.cluster.talk import OK, TIMEOUT, Result, Talk
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.dial import OURS, Dialling, Outcome
from meshproxy.net.tls import chosen
from meshproxy.wire.h1 import Malformed


class Probe:
    __slots__ = ("_chosen", "_clock", "_conn", "_dial", "_dial_to", "_done", "_opening", "_talk", "_timeout", "_timer")

    def __init__(
        self,
        clock: Clock,
        dial_to: Callable[[Callable[[Outcome], None]], Dialling],
        opening: bytes,
        talk: Talk | None,
        timeout: float,
        done: Callable[[Result], None],
        chosen: Talk | None = None,
    ) -> None:
        """`chosen` is the talk with who has chosen HTTP/2 by ALPN, instead of the opening and the other one."""
        self._chosen = chosen
        self._clock = clock
        self._dial_to = dial_to
        self._opening = opening
        self._talk = talk
        self._timeout = timeout
        self._done = done
        self._timer: Timer | None = None
        self._dial: Dialling | None = None
        self._conn: Conn | None = None

    def begin(self) -> None:
        self._timer = self._clock.after(self._timeout, lambda: self._end(TIMEOUT))
        dial = self._dial_to(self._dialled)
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
        else:
            self._dialled(outcome)

    def cancel(self) -> None:
        """Nothing is heard of it any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
        if self._conn is not None:
            self._conn.abort()
        self._timer = self._dial = self._conn = None

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        if isinstance(outcome, TimeoutError):
            self._end(TIMEOUT)
        elif isinstance(outcome, OSError):
            self._end(Result("unable" if outcome.errno in OURS else "connect", str(outcome.strerror)))
        else:
            self._connected(outcome)

    def _connected(self, conn: Conn) -> None:
        self._conn = conn
        conn.handler = self
        conn.read_to(self._take)
        if self._chosen is not None and chosen(conn) == "h2":
            self._opening, self._talk = b"", self._chosen
        if self._opening:
            conn.write(self._opening)
        if self._talk is None:
            self._end(OK)
        else:
            self._say(conn, self._talk)
            conn.start()

    def _say(self, conn: Conn, talk: Talk) -> None:
        if said := talk.says():
            conn.write(said)

    def _take(self, data: bytes) -> None:
        assert self._talk is not None
        try:
            result = self._talk.feed(data)
        except Malformed as fault:
            result = Result("malformed", fault.reason.value)
        if self._conn is not None and (result is None or result is OK):
            # What is well may have a last word to hear.
            self._say(self._conn, self._talk)
        if result is not None:
            self._end(result)

    def on_end(self, conn: Conn) -> None:
        assert self._talk is not None
        try:
            self._end(self._talk.end())
        except Malformed as fault:
            self._end(Result("malformed", fault.reason.value))

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._end(Result("closed", str(error.strerror) if error is not None else ""))

    def _end(self, result: Result) -> None:
        conn = self._conn
        if result is OK and conn is not None:
            conn.close()
            self._conn = None
        self.cancel()
        self._done(result)
