"""One connection that carries a tunnel.

    a hello from each end -> attached to the session -> frames, as the connection takes them -> lost

As little as possible stands in the socket: what is asked for last may have to go first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import LARGE_READ, Conn
from meshproxy.wire.mux.frames import HEAD, SIZE, Closed, Fault, Kind, Reason, frame
from meshproxy.wire.mux.hello import LARGEST, Hello, read_hello
from meshproxy.wire.mux.link import Link

STANDS = 0.01
"""Seconds for which what stands in the socket may last."""
LEAST_UNSENT, MOST_UNSENT = 16 * 1024, LARGE_READ
"""Bytes of that."""
LOOKS_EVERY = 0.05
"""Seconds over which it is seen how fast it goes."""

Why = Fault | OSError | None
"""Of the end of a connection; None: in good order, or without a word."""


class Carries(Protocol):
    """A connection of a tunnel, whatever it is made of."""

    @property
    def link(self) -> Link | None: ...

    @property
    def heard_at(self) -> float: ...

    @property
    def over(self) -> bool: ...

    def say(self, hello: Hello) -> None: ...

    def belongs_to(self, owner: Owner, link: Link) -> None:
        """From now on frames of a session come and go."""

    def flush(self) -> None: ...

    def close(self, why: Fault | None = None) -> None: ...

    def lost(self) -> None:
        """The other end is not there any more."""


class Owner(Protocol):
    """The tunnel, or who finds out which one it is."""

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        """Raises Fault."""

    def gone(self, carrier: Carries, why: Why) -> None: ...

    def heard(self, carrier: Carries) -> None:
        """Something has come."""


class Carrier:
    __slots__ = (
        "_after", "_buffer", "_clock", "_flushing", "_gone", "_looked_at", "_owner", "_timer", "_unsent", "conn",
        "heard_at", "link", "over",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, conn: Conn, owner: Owner, within: float, after: Callable[[Why], None] | None = None
    ) -> None:
        """A hello has to come within so many seconds; `after` hears of the end, whoever owns it then."""
        self._after = after
        self._clock = clock
        self._owner = owner
        self._buffer = b""
        self.over = False
        self._flushing = False
        self.conn = conn
        self.link: Link | None = None
        self._looked_at = clock.now()
        self._gone = 0
        """Bytes that have left by then."""
        self._unsent = LEAST_UNSENT
        conn.limit_unsent(LEAST_UNSENT)
        self.heard_at = clock.now()
        self._timer: Timer | None = clock.after(within, self._late)
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

    def belongs_to(self, owner: Owner, link: Link) -> None:
        self._owner = owner
        self.link = link
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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

    def _greeted(self, data: bytes) -> None:
        self._buffer = data
        found = greeting(data)
        if found is not None:
            hello, self._buffer = found
            self._owner.greeted(self, hello)

    def on_end(self, conn: Conn) -> None:
        self._lost(None)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._lost(error)

    def hold(self) -> None:
        """It is full; nothing is pulled."""

    def release(self) -> None:
        self.flush()

    def _late(self) -> None:
        self._timer = None
        self.close(Fault(Reason.OUT_OF_STATE, "no hello came in time"))

    def lost(self) -> None:
        self.conn.abort()
        self._leave(None)

    def _lost(self, error: OSError | None) -> None:
        self._leave(error)
        self.conn.close()

    def _leave(self, why: Why) -> None:
        if not self.over:
            self.over = True
            if self._timer is not None:
                self._timer.cancel()
            self._owner.gone(self, why)
            after, self._after = self._after, None
            if after is not None:
                after(why)


def greeting(data: bytes) -> tuple[Hello, bytes] | None:
    """What was said first, and what came behind it; None: that has not all come.  Raises Fault."""
    if len(data) < SIZE:
        return None
    kind, _, length, _, reason = HEAD.unpack_from(data)
    if kind == Kind.CLOSE:
        raise Closed(reason)
    if kind != Kind.HELLO or length > LARGEST:
        raise Fault(Reason.MALFORMED, "what was said first is no hello")
    end = SIZE + length
    return (read_hello(data[SIZE:end]), data[end:]) if len(data) >= end else None
