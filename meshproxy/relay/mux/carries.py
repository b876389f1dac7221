"""A connection of a tunnel, whatever it is made of: a hello has to come in time, and somebody owns it until it is over.

    a hello from each end -> it belongs to a tunnel -> frames -> over, which the owner hears once
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from meshproxy.net.clock import Clock, Timer
from meshproxy.wire.mux.frames import HEAD, SIZE, Closed, Fault, Kind, Reason
from meshproxy.wire.mux.hello import LARGEST, Hello, read_hello
from meshproxy.wire.mux.link import Link

Why = Fault | OSError | None
"""Of the end of a connection; None: in good order, or without a word."""


class Owner(Protocol):
    """The tunnel, or who finds out which one it is."""

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        """Raises Fault."""

    def gone(self, carrier: Carries, why: Why) -> None: ...

    def heard(self, carrier: Carries) -> None:
        """Something has come."""


class Carries(ABC):
    __slots__ = ("_after", "_buffer", "_clock", "_owner", "_timer", "heard_at", "link", "over")

    def __init__(self, clock: Clock, owner: Owner, within: float, after: Callable[[Why], None] | None = None) -> None:
        """A hello has to come within so many seconds; `after` hears of the end, whoever owns it then."""
        self._after = after
        self._clock = clock
        self._owner = owner
        self._buffer = b""
        self.over = False
        self.link: Link | None = None
        self.heard_at = clock.now()
        self._timer: Timer | None = clock.after(within, self._late)

    @abstractmethod
    def say(self, hello: Hello) -> None: ...

    def belongs_to(self, owner: Owner, link: Link) -> None:
        """From now on frames of a session come and go."""
        self._owner = owner
        self.link = link
        self._stop_waiting()
        self._read_on()

    @abstractmethod
    def _read_on(self) -> None:
        """What came behind the hello."""

    @abstractmethod
    def flush(self) -> None: ...

    @abstractmethod
    def close(self, why: Fault | None = None) -> None: ...

    @abstractmethod
    def lost(self) -> None:
        """The other end is not there any more."""

    def _greeted(self, data: bytes) -> None:
        self._buffer = data
        found = greeting(data)
        if found is not None:
            hello, self._buffer = found
            self._owner.greeted(self, hello)

    def _late(self) -> None:
        self._timer = None
        self.close(Fault(Reason.EXPIRED, "no hello came in time"))

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self, why: Why) -> None:
        if not self.over:
            self.over = True
            self._stop_waiting()
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
