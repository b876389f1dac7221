"""A tunnel is carried by a connection that is one sequence of bytes: TLS over TCP, or a pair of sockets.

    a hello from each end -> attached to the session -> frames, as the connection takes them -> lost

As little as possible stands in the socket: what is asked for last may have to go first.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.net.clock import Clock
from meshproxy.net.conn import LARGE_READ, Conn
from meshproxy.relay.mux.carries import Carries, Owner, Why
from meshproxy.wire.mux.frames import Fault, Kind, frame
from meshproxy.wire.mux.hello import Hello

STANDS = 0.01
"""Seconds for which what stands in the socket may last."""
LEAST_UNSENT, MOST_UNSENT = 16 * 1024, LARGE_READ
"""Bytes of that."""
LOOKS_EVERY = 0.05
"""Seconds over which it is seen how fast it goes."""


class Carrier(Carries):
    __slots__ = ("_flushing", "_gone", "_looked_at", "_unsent", "conn")

    def __init__(
        self, clock: Clock, conn: Conn, owner: Owner, within: float, after: Callable[[Why], None] | None = None
    ) -> None:
        super().__init__(clock, owner, within, after)
        self._flushing = False
        self.conn = conn
        self._looked_at = clock.now()
        self._gone = 0
        """Bytes that have left by then."""
        self._unsent = LEAST_UNSENT
        conn.limit_unsent(LEAST_UNSENT)
        conn.handler = self
        conn.fed_by = self
        conn.read_to(self._read)

    def begin(self, early: bytes) -> None:
        """With what was read of it before."""
        if early:
            self._read(early)
        if not self.over:
            self.conn.start()

    def say(self, hello: Hello) -> None:
        self.conn.write(frame(Kind.HELLO, 0, 0, bytes(hello)))

    def _read_on(self) -> None:
        rest, self._buffer = self._buffer, b""
        if rest:
            self._read(rest)

    def flush(self) -> None:
        link, conn = self.link, self.conn
        if link is None or self._flushing:
            return
        self._flushing = True
        while link.busy and not (self.over or conn.full):
            pieces = link.pull(self._room())
            if not pieces:
                break
            conn.write_all(pieces)
        self._flushing = False

    def _room(self) -> int:
        """Bytes that may stand in the socket: few, where it is slow."""
        now = self._clock.now()
        past = now - self._looked_at
        if past >= LOOKS_EVERY:
            gone = self.conn.sent - self.conn.unsent
            room = min(max(int((gone - self._gone) / past * STANDS), LEAST_UNSENT), MOST_UNSENT)
            self._looked_at, self._gone = now, gone
            if not self._unsent / 2 < room < self._unsent * 2:
                self._unsent = room
                self.conn.limit_unsent(room)
        return self._unsent

    def close(self, why: Fault | None = None) -> None:
        if self.over:
            return
        if why is not None:
            self.conn.write(frame(Kind.CLOSE, 0, why.reason, str(why).encode()[:256]))
        self._leave(why)
        self.conn.end()
        self.conn.close()

    # From the connection

    def _read(self, data: bytes) -> None:
        self.heard_at = self._clock.now()
        try:
            if self.link is not None:
                self.link.feed(data)
                self._owner.heard(self)
            else:
                self._greeted(self._buffer + data)
        except Fault as fault:
            self.close(fault)

    def on_end(self, conn: Conn) -> None:
        self._lost(None)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._lost(error)

    def hold(self) -> None:
        """It is full; nothing is pulled."""

    def release(self) -> None:
        self.flush()

    def lost(self) -> None:
        self.conn.abort()
        self._leave(None)

    def _lost(self, error: OSError | None) -> None:
        self._leave(error)
        self.conn.close()
