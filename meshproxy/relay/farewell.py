"""The last word to a connection that is not served: it is said, and heard, before the connection is closed.

To close while the client still sends would reset what it has not yet read.
"""

from __future__ import annotations

from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.relay.live import ListenerState

LINGER = 2.0
"""Seconds for which a client may go on sending what nobody reads."""
MOST_LINGERING = 1 << 16
"""Bytes of that."""


class Farewell:
    __slots__ = ("_conn", "_lingered", "_reason", "_state", "_timer")

    def __init__(self, clock: Clock, state: ListenerState, conn: Conn, word: bytes | None, reason: str) -> None:
        """Without a word, one is said yet."""
        self._conn = conn
        self._state = state
        self._reason = reason
        self._lingered = 0
        self._timer = clock.after(LINGER, self.drain)
        state.connections.add(self)
        conn.handler = self
        conn.fed_by = None
        conn.read_to(self._discard)
        if word is not None:
            conn.write(word)
            conn.end()
        conn.start()

    def _discard(self, data: bytes) -> None:
        self._lingered += len(data)
        if self._lingered > MOST_LINGERING:
            self.drain()

    def on_end(self, conn: Conn) -> None:
        """Then nothing can be lost any more."""

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.drain()

    def account(self) -> None:
        """It is not served."""

    def leave(self) -> None:
        """It has little time as it is."""

    def drain(self) -> None:
        self._timer.cancel()
        self._conn.close()
        self._state.connections.discard(self)
        self._state.rejected(self._reason)
