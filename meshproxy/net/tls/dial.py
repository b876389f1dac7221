"""Open a connection, in whatever way, and speak TLS on it: both within a timeout, which that way keeps as well."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Begin, Outcome
from meshproxy.net.further import Further
from meshproxy.net.tls.conn import TlsConn
from meshproxy.net.tls.faults import Broken
from meshproxy.net.tls.handshake import Handshake, Make


class TlsDial(Further):
    __slots__ = ("_check", "_deadlines", "_handshake", "_make", "_until")

    def __init__(
        self,
        deadlines: Deadlines,
        dial: Begin,
        timeout: float,
        done: Callable[[Outcome], None],
        make: Make,
        check: Callable[[TlsConn], None],
    ) -> None:
        """`make` gives a session, `check` looks at one that is established; both may raise `Broken`."""
        self._deadlines = deadlines
        self._make = make
        self._check = check
        self._until = deadlines.now() + timeout
        self._handshake: Handshake | None = None
        super().__init__(dial, done)

    def _at_once(self, conn: Conn) -> Outcome | None:
        done, at_once = self._done, list[Outcome]()
        self._done = at_once.append
        self._go_on(conn)
        self._done = done
        return at_once[0] if at_once else None

    def cancel(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
        elif self._dial is not None:
            self._dial.cancel()
        self._handshake = self._dial = None

    def _go_on(self, conn: Conn) -> None:
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
