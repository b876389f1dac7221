"""Deadlines of many, kept by one timer: to move a deadline is to store a number.

    deadlines.watch(connection, 5.0)          # has a `deadline`, and `expired()` to be called after it
    connection.deadline = now + 60            # at least those 5 s ahead: nobody need be told
    deadlines.expect(now + 2)                 # a deadline that is nearer

Deadlines nearly always move away before they come, so nothing is done when they do: the timer looks at all of them
when the earliest that it knows of is due, or the nearest to which one may have been moved since, and finds the next.
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
    __slots__ = ("_clock", "_due", "_shortest", "_timer", "_watched", "now")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now = clock.now
        self._watched: set[Watched] = set()
        self._shortest = inf
        """Seconds that every deadline is ahead of us when it is set, but for those that are expected."""
        self._due = inf
        """When all are looked at next."""
        self._timer: Timer | None = None

    def watch(self, one: Watched, shortest: float) -> None:
        self._watched.add(one)
        self.reckon_with(shortest)
        self.expect(one.deadline)

    def reckon_with(self, shortest: float) -> None:
        """Deadlines may be set that are only so many seconds ahead."""
        if shortest < self._shortest:
            self._shortest = shortest
        self.expect(self._clock.now() + self._shortest)

    def forget(self, one: Watched) -> None:
        self._watched.discard(one)

    def expect(self, deadline: float) -> None:
        if deadline >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._clock.after(max(deadline - self._clock.now(), 0.0), self._look)

    def _look(self) -> None:
        now = self._clock.now()
        self._timer = None
        # Not before all have been looked at: whoever expires may watch another, or move its own.
        self._due = -inf
        for one in [one for one in self._watched if one.deadline <= now]:
            if one in self._watched:  # it may have been ended by one before it
                one.expired()
        self._due = inf
        if self._watched:
            earliest = min(one.deadline for one in self._watched)
            pause = BETWEEN_LOOKS + BETWEEN_LOOKS_EACH * len(self._watched)
            self.expect(max(min(earliest, now + self._shortest), now + pause))
