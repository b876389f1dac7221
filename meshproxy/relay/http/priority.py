"""A handling that is refused while its worker has too much to do, or while too many like it are under way.

    stage 1: answered, and the connection ends    2: `low` rules are refused    3: and `normal` ones; `high` never

A rule of high priority has none of this before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.core.exchange import Exchange, Tell
from meshproxy.core.overload import CALM, Overload
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.relay.http.handling import NOTHING, Asked, Handling
from meshproxy.wire.h1 import RequestHead

OVERLOADED = Failure("overloaded", 503, "OM")
REFUSAL = Reply(
    503, ((b"Content-Type", b"text/plain"), (b"Retry-After", b"%d" % CALM)), b"overloaded\n"
)


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """For requests of low priority, of which only so many may be under way at a time."""

    under_way: set[Exchange]
    """Live: those of the generations before are among them."""
    most: int

    def enter(self, x: Exchange) -> bool:
        if len(self.under_way) >= self.most:
            return False
        self.under_way.add(x)
        return True

    def leave(self, x: Exchange) -> None:
        """If it had come in."""
        self.under_way.discard(x)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gated(Handling):
    inner: Handling
    tell: Tell
    """Of what is refused."""
    overload: Overload
    refused_from: int
    """The stage."""
    room: Room | None

    def opening(self, head: RequestHead, path: bytes, target: bytes, without: frozenset[bytes] = NOTHING) -> bytes:
        return self.inner.opening(head, path, target, without)

    def begin(self, asked: Asked, x: Exchange) -> None:
        stage = self.overload.stage
        if stage:
            asked.leave()
        if stage >= self.refused_from or (self.room is not None and not self.room.enter(x)):
            x.tell = self.tell
            x.failure = OVERLOADED
            asked.reply(x, REFUSAL)
        else:
            self.inner.begin(asked, x)
