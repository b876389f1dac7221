"""Deadlines of many, kept by one timer: to move a deadline is to store a number.

    deadlines.watch(connection)               # has a `deadline`, and `expired()` to be called after it
    connection.deadline = now + 60
    if connection.deadline < deadlines.due:   # which is rare
        deadlines.expect(connection.deadline)

Deadlines nearly always move away before they come, so nothing is done when they do: the timer looks at all of them when
the earliest that it knows of is due, and finds out which is the next.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from meshproxy.net.clock import Clock, Timer

BETWEEN_LOOKS = 0.001
BETWEEN_LOOKS_EACH = 2e-6
"""Seconds between two looks, and more for each one watched, so that looking takes a few parts in a hundred at most."""


class Watched(Protocol):
    deadline: float

    def expired(self) -> None:
        """Once the deadline is over; it has moved it, or is not watched any more, when this returns."""


class Deadlines:
    __slots__ = ("_clock", "_timer", "_watched", "due")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: set[Watched] = set()
        self.due = inf
        """When all are looked at next."""
        self._timer: Timer | None = None

    def watch(self, one: Watched) -> None:
        self._watched.add(one)
        if one.deadline < self.due:
            self.expect(one.deadline)

    def forget(self, one: Watched) -> None:
        self._watched.discard(one)

    def expect(self, deadline: float) -> None:
        """It is sooner than what is due."""
        if self._timer is not None:
            self._timer.cancel()
        self.due = deadline
        self._timer = self._clock.after(max(deadline - self._clock.now(), 0.0), self._look)

    def _look(self) -> None:
        now = self._clock.now()
        self._timer = None
        # Not before all have been looked at: whoever expires may watch another, or move its own.
        self.due = -inf
        for one in [one for one in self._watched if one.deadline <= now]:
            if one in self._watched:  # it may have been ended by one before it
                one.expired()
        self.due = inf
        earliest = min((one.deadline for one in self._watched), default=inf)
        if earliest < inf:
            pause = BETWEEN_LOOKS + BETWEEN_LOOKS_EACH * len(self._watched)
            self.expect(max(earliest, now + pause))
