"""The end of a connection with a client or a broker: the last word is heard before it is closed.

To close while the peer still sends would reset what it has not yet read.
"""

from __future__ import annotations

from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn

LINGER = 1.0
"""Seconds that the peer has to read the last word."""
MOST_LINGERING = 1 << 20
"""Bytes that it may say meanwhile."""


def leave(clock: Clock, conn: Conn) -> None:
    """It is closed when the peer has ended it, or soon after."""
    _Leaving(clock, conn)


class _Leaving:
    __slots__ = ("_conn", "_left", "_timer")

    def __init__(self, clock: Clock, conn: Conn) -> None:
        self._conn = conn
        self._left = MOST_LINGERING
        self._timer = clock.after(LINGER, conn.close)
        conn.handler = self
        conn.fed_by = None
        conn.read_to(self._discard)
        conn.end()
        conn.start()
        conn.release()

    def _discard(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._close()

    def on_end(self, conn: Conn) -> None:
        """What follows is `on_lost`."""

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._conn.close()
