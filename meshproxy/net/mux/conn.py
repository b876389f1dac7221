"""A stream of a tunnel: to all others it is a `Conn`, though there is no socket.

    conn = StreamConn(loop, session, number, ("10.1.0.5", 80))
    conn.came(b"...", False)            # these are said by who has the session
    conn.read_on()                      # when nothing more comes just now
    conn.room()
    conn.reset(Reason.CANCELLED)

What comes waits here until somebody reads it, and counts as taken only then: a reader that is slow holds up the other
end of its stream, and no other.
"""

from __future__ import annotations

import asyncio
import errno
import os

from meshproxy.net.conn import CLOSED, NOT_STARTED, NOT_YET
from meshproxy.net.given import Given
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.session import Session

ERRORS: dict[int, int] = {
    Reason.REFUSED: errno.ECONNREFUSED,
    Reason.UNREACHABLE: errno.EHOSTUNREACH,
    Reason.FORBIDDEN: errno.EACCES,
    Reason.EXPIRED: errno.ETIMEDOUT,
}
"""What a reset is called here; any other is that of a connection."""


REASONS = {code: Reason(reason) for reason, code in ERRORS.items()}


def as_error(reason: int) -> OSError:
    code = ERRORS.get(reason, errno.ECONNRESET)
    return OSError(code, os.strerror(code))


def as_reason(error: OSError) -> Reason:
    """What it is called on the next stretch of the way."""
    return REASONS.get(error.errno or 0, Reason.CANCELLED)


class StreamConn(Given):
    __slots__ = ("_destination", "_number", "_session")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, session: Session, number: int, destination: tuple[str, int] | None
    ) -> None:
        """`destination` is where the stream is made to."""
        self._begin(loop)
        self._begin_given()
        self._session: Session | None = session
        """None: the stream is over."""
        self._number = number
        self._destination = destination

    @property
    def local(self) -> tuple[str, int] | None:
        return self._destination

    # From who has the session

    def reset(self, reason: int) -> None:
        self._session = None
        self._failed(as_error(reason))

    # Reading

    def look(self) -> None:
        if self._paused:
            self._paused = self._paused & ~NOT_STARTED | NOT_YET
        if self._came or self._last:
            self._reader()

    def _took(self, size: int) -> None:
        if self._session is not None:
            self._session.taken(self._number, size)

    # Writing

    def write(self, data: bytes) -> None:
        session = self._session
        if session is None or self._write_over or not data:
            return
        self.sent += len(data)
        if not session.put(self._number, data):
            self.full_now()

    def end(self) -> None:
        """At once: its place is behind what was written."""
        self._ending = True
        self._shut()

    def _shut(self) -> None:
        if self._write_over:
            return
        self._write_over = True
        if self._session is not None:
            self._session.end(self._number)
        self._lost_if_over()

    # The end

    def close(self) -> None:
        """What was written still goes; who has the session throws away what comes."""
        session = self._session
        if session is not None:
            session.taken(self._number, sum(map(len, self._came)))
            if not self._write_over:
                session.end(self._number)
        self._leave()

    def refuse(self, reason: Reason) -> None:
        """In words that the other end understands."""
        if self._session is not None:
            self._session.reset(self._number, reason)
        self._leave()

    def abort(self) -> None:
        if self._session is not None:
            self._session.reset(self._number, Reason.CANCELLED)
        self._leave()

    def _leave(self) -> None:
        self._paused |= CLOSED
        self._session = None
        self._came.clear()
        self._forget_all()
