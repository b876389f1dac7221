"""Open a connection and speak TLS on it: like `net.dial.Dial`, and both within its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import ALIVE, Dial, Outcome, Way
from meshproxy.net.tls.conn import TlsConn
from meshproxy.net.tls.faults import Broken
from meshproxy.net.tls.handshake import Handshake, Make


class TlsDial:
    __slots__ = ("_check", "_deadlines", "_dial", "_done", "_handshake", "_make", "_until")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        deadlines: Deadlines,
        address: Address,
        timeout: float,
        done: Callable[[Outcome], None],
        make: Make,
        check: Callable[[TlsConn], None],
        way: Way = ALIVE,
    ) -> None:
        """`make` gives a session, `check` looks at one that is established; both may raise `Broken`."""
        self._deadlines = deadlines
        self._make = make
        self._check = check
        self._done = done
        self._until = clock.now() + timeout
        self._handshake: Handshake | None = None
        self._dial: Dial | None = Dial(loop, clock, address, timeout, self._dialled, way)

    def begin(self) -> Outcome | None:
        assert self._dial is not None, "it begins once"
        outcome = self._dial.begin()
        if outcome is None:
            return None
        self._dial = None
        if isinstance(outcome, OSError):
            return outcome
        done, at_once = self._done, list[Outcome]()
        self._done = at_once.append
        self._shake(outcome)
        self._done = done
        return at_once[0] if at_once else None

    def cancel(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
        elif self._dial is not None:
            self._dial.cancel()
        self._handshake = self._dial = None

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        if isinstance(outcome, Conn):
            self._shake(outcome)
        else:
            self._done(outcome)

    def _shake(self, conn: Conn) -> None:
        left = max(self._until - self._deadlines.now(), 0.0)
        self._handshake = handshake = Handshake(self._deadlines, conn, self._make, left, partial(self._shaken, conn))
        handshake.speak()

    def _shaken(self, plain: Conn, outcome: TlsConn | Broken) -> None:
        self._handshake = None
        if isinstance(outcome, TlsConn):
            try:
                self._check(outcome)
            except Broken as error:
                outcome.abort()
                self._done(error.with_traceback(None))
                return
        else:
            plain.close()
        self._done(outcome)
