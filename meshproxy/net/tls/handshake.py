"""From a connection to one that speaks TLS.

    Handshake(deadlines, conn, make, within, done).begin()       # who hears the first word of the other
    Handshake(deadlines, conn, make, within, done).begin(data)   # who has heard it already
    Handshake(deadlines, conn, make, within, done).speak()       # who says it

`make` gives the session, and is told the first word.  `done` is told once: the connection on which TLS is spoken from
now on, or what went wrong, and then the plain one is its own to close.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.tls.conn import TlsConn, secure
from meshproxy.net.tls.faults import Broken, Late
from meshproxy.net.tls.session import Session

Make = Callable[[bytes], Session]
"""May raise `Broken`."""
Shaken = Callable[[TlsConn | Broken], None]


class Handshake:
    __slots__ = ("_conn", "_deadlines", "_done", "_make", "_over", "_session", "deadline")

    def __init__(self, deadlines: Deadlines, conn: Conn, make: Make, within: float, done: Shaken) -> None:
        """`within` so many seconds."""
        self._deadlines = deadlines
        self.deadline = deadlines.now() + within
        deadlines.watch(self, within)
        self._conn = conn
        self._make = make
        self._done = done
        self._session: Session | None = None
        self._over = False
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)

    def begin(self, data: bytes = b"") -> None:
        if data:
            self._take(data)
        else:
            self._conn.look()
        if not self._over:
            self._conn.start()

    def speak(self) -> None:
        self._take(b"")
        if not self._over:
            self._conn.start()

    def cancel(self) -> None:
        """Nothing is heard of it any more."""
        self._end()
        self._conn.abort()

    def _take(self, data: bytes) -> None:
        conn = self._conn
        try:
            session = self._session
            if session is None:
                session = self._session = self._make(data)
            answer = session.advance(data)
        except Broken as error:
            conn.write(error.alert)
            self._fail(error)
            return
        if answer:
            conn.write(answer)
        if session.established:
            self._establish(session)

    def _establish(self, session: Session) -> None:
        if self._conn.full:
            self._conn.stop()
            return
        self._end()
        self._done(secure(self._conn, session))

    def _fail(self, error: Broken) -> None:
        self._end()
        self._done(error.with_traceback(None))  # or else who keeps it keeps what it came through

    def _end(self) -> None:
        self._over = True
        self._deadlines.forget(self)

    def expired(self) -> None:
        self._fail(Late())

    # The connection

    def hold(self) -> None:
        """It takes no more for now: there is nothing more until it has answered."""

    def release(self) -> None:
        if self._session is not None and self._session.established:
            self._establish(self._session)

    def on_end(self, conn: Conn) -> None:
        self._fail(Broken("closed"))

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._fail(Broken("closed", str(error.strerror) if error is not None else ""))
