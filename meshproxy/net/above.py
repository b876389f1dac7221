"""A connection that goes on over another one, whatever that is.

    conn = Above(lower, b"220 hello\r\n")      # these bytes had come already; `lower` is nobody's any more

It costs what one more call for each read costs, so it is made only where there is something between the two: bytes that
were read too early, or TLS on what is no bare socket.
"""

from __future__ import annotations

from meshproxy.net.conn import CLOSED, Conn
from meshproxy.net.given import Given


class _Below:
    """What the lower one tells: its handler, and who feeds it."""

    __slots__ = ("_above",)

    def __init__(self, above: Above) -> None:
        self._above = above

    def take(self, data: bytes) -> None:
        self._above.came(data, False)
        self._above.read_on()

    def on_end(self, conn: Conn) -> None:
        self._above.came(b"", True)
        self._above.read_on()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._above.lower_lost(error)

    def hold(self) -> None:
        self._above.full_now()

    def release(self) -> None:
        self._above.room()


class Above(Given):
    __slots__ = ("lower",)

    def __init__(self, lower: Conn, early: bytes = b"") -> None:
        self._begin(lower._loop)
        self._begin_given(early)
        self.lower = lower
        self.full = lower.full
        below = _Below(self)
        lower.handler = lower.fed_by = below
        lower.read_to(below.take)
        # It is this one that is started and stopped from now on.
        lower.hold()
        lower.start()

    @property
    def local(self) -> tuple[str, int] | None:
        return self.lower.local

    @property
    def paced(self) -> bool:
        return self.lower.paced

    def lower_lost(self, error: OSError | None) -> None:
        """Where both directions have ended in good order, this one finds that out for itself."""
        if error is not None:
            self._failed(error)

    def _hold_back(self) -> None:
        self.lower.hold()

    def _let_come(self) -> None:
        self.lower.release()

    def write(self, data: bytes) -> None:
        if not self._write_over and data:
            self.sent += len(data)
            self.lower.write(data)

    def _shut(self) -> None:
        if not self._write_over:
            self._write_over = True
            self.lower.end()
            self._lost_if_over()

    def close(self) -> None:
        if not self._paused & CLOSED:
            self._leave()
            self.lower.close()

    def abort(self) -> None:
        if not self._paused & CLOSED:
            self._leave()
            self.lower.abort()

    def _leave(self) -> None:
        self._paused |= CLOSED
        self._came.clear()
        self._forget_all()
