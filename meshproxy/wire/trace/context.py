"""What is known of a trace where a request stands: its ids, whether it is recorded, and what must go on with it.

    came = w3c.extract({b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}.get)
    came.sampled                            # True: who has sent it has recorded it
    mine = Context(came.trace_id, b"00f067aa0ba902b7", True, came.random, came.state)

A `Context` is of one span.  The one that was read is the sender's.  What goes on is of the reader's own span, with what
else came, and with the span below that which asks the next one (a `Hop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a request comes from, as SkyWalking tells it."""

    trace: str
    """The trace's id, which may be any text."""
    id: str
    span: int
    """The number of the span in that segment."""
    service: str
    instance: str
    endpoint: str
    peer: str
    """The address that was asked."""


class Context:
    __slots__ = ("debug", "random", "sampled", "segment", "short", "span_id", "state", "trace_id")

    def __init__(
        self,
        trace_id: bytes,
        span_id: bytes,
        sampled: bool | None,
        random: bool = False,
        state: bytes | None = None,
        debug: bool = False,
        short: bool = False,
        segment: Segment | None = None,
    ) -> None:
        self.trace_id = trace_id
        """32 hexadecimal digits; empty: only a decision came, and no trace."""
        self.span_id = span_id
        """16 of them; empty where the sender has no such id."""
        self.sampled = sampled
        """Whether the trace is recorded; None: that is left to whoever reads this."""
        self.random = random
        """Whether the trace's id is known to be random (its last 56 bits)."""
        self.state = state
        """What came as `tracestate`, unread."""
        self.debug = debug
        """Whether it is recorded because somebody looks for a fault."""
        self.short = short
        """Whether the trace's id came as 16 digits."""
        self.segment = segment
        """What only SkyWalking tells."""

    @property
    def segment_id(self) -> bytes:
        """What a segment is called that is this span and those below it: 128 bits, as others may be without number."""
        return self.trace_id[16:] + self.span_id

    @property
    def name(self) -> str:
        """The trace's id as those call it who began it."""
        if self.segment is not None:
            return self.segment.trace
        return self.trace_id[16 if self.short else 0 :].decode("ascii")


class Hop(Protocol):
    """One who asks the next: a span below that of the context."""

    @property
    def below(self) -> bytes:
        """Its id, 16 hexadecimal digits."""

    @property
    def number(self) -> int:
        """Of the span, among those of the request; that of the context has 0."""

    @property
    def operation(self) -> str:
        """What the request is called."""

    @property
    def peer(self) -> str:
        """The address that is asked."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A `Hop` as plain values."""

    below: bytes
    number: int = 1
    operation: str = "/"
    peer: str = "-"


def spread(template: bytes, ids: Sequence[bytes]) -> list[bytes]:
    """A template with `%b` for the id of a trace and another for that of a span, once for each two `ids`."""
    return ((template + b"\0") * (len(ids) // 2) % tuple(ids)).split(b"\0")[:-1]
