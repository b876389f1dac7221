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
from collections import deque
from collections.abc import Callable

from meshproxy.net.conn import CLOSED, ENDED, FAILED, LARGE_READ, NOT_STARTED, NOT_YET, Conn, Flow
from meshproxy.net.splice import Pipes
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.session import Session

ERRORS: dict[int, int] = {
    Reason.REFUSED: errno.ECONNREFUSED,
    Reason.UNREACHABLE: errno.EHOSTUNREACH,
    Reason.FORBIDDEN: errno.EACCES,
    Reason.EXPIRED: errno.ETIMEDOUT,
}
"""What a reset is called here; any other is that of a connection."""


def as_error(reason: int) -> OSError:
    code = ERRORS.get(reason, errno.ECONNRESET)
    return OSError(code, os.strerror(code))


class StreamConn(Conn):
    __slots__ = ("_came", "_destination", "_last", "_number", "_session")

    spliceable = False

    def __init__(
        self, loop: asyncio.AbstractEventLoop, session: Session, number: int, destination: tuple[str, int] | None
    ) -> None:
        """`destination` is where the stream is made to."""
        self._begin(loop)
        self._session: Session | None = session
        """None: the stream is over."""
        self._number = number
        self._destination = destination
        self._came: deque[bytes] = deque()
        self._last = False
        """Whether nothing comes behind these."""

    @property
    def local(self) -> tuple[str, int] | None:
        return self._destination

    # From who has the session

    def came(self, data: bytes, last: bool) -> None:
        if data:
            self._came.append(data)
        self._last = self._last or last

    def read_on(self) -> None:
        while not self._paused and (self._came or self._last):
            self._reader()

    def room(self) -> None:
        self.full = False
        if self.fed_by is not None:
            self.fed_by.release()

    def reset(self, reason: int) -> None:
        self._session = None
        self._failed(as_error(reason))

    # Reading

    def look(self) -> None:
        if self._paused:
            self._paused = self._paused & ~NOT_STARTED | NOT_YET
        if self._came or self._last:
            self._reader()

    def pour(self, flow: Flow, sink: Conn, pipes: Pipes) -> None:
        """Nothing moves in the kernel."""

    def _pause(self, reason: int) -> None:
        self._paused |= reason

    def _resume(self, reason: int) -> None:
        if self._paused & reason:
            self._paused &= ~reason
            self._read_soon()

    def _read_by(self, reader: Callable[[], None]) -> None:
        self._reader = reader
        self._read_soon()

    def _read_soon(self) -> None:
        if not self._paused and (self._came or self._last):
            self._loop.call_soon(self.read_on)

    def _read_to_taker(self) -> None:
        if data := self._read():
            self._take(data)

    def _read(self) -> bytes:
        came = self._came
        if not came:
            if self._last and not self._paused & ENDED:
                self._read_end()
            return b""
        data = came.popleft()
        if came:
            pieces, size = [data], len(data)
            while came and size + len(came[0]) <= LARGE_READ:
                pieces.append(came.popleft())
                size += len(pieces[-1])
            data = b"".join(pieces)
        self.received += len(data)
        if self._session is not None:
            self._session.taken(self._number, len(data))
        return data

    # Writing

    def write(self, data: bytes) -> None:
        session = self._session
        if session is None or self._write_over or not data:
            return
        self.sent += len(data)
        if not session.put(self._number, data) and not self.full:
            self.full = True
            if self.fed_by is not None:
                self.fed_by.hold()

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

    def _listen_for_failure(self) -> None:
        """The session tells of it."""

    def _failed(self, error: OSError) -> None:
        """What had come before is still read, as much as is taken at once."""
        self._write_over = True
        self._last = False
        self._paused |= FAILED
        while self._paused == FAILED and self._came:
            self._reader()
        self._lost(error)
