"""Limits by a value, such as a client's address: a bucket for each value, in memory that all workers see.

    shelves = Shelves(shared_memory(Shelves.SIZE))      # before the workers are forked
    shelves.keep({"route/web/0/0/rate by source"})      # by the owner, before they prepare
    shelf = shelves.shelf("route/web/0/0/rate by source", stats)
    buckets = Buckets(shelf, Rate(100, per=1, burst=100))
    buckets.take(b"192.0.2.7", clock.now())             # 0.0: it is taken; else for how many seconds there is none

A bucket is one number: when it will be full again.  To take is to move that, so nobody is asked and nobody waits; the
clock is the machine's, the same for all.  Nothing is locked: who has read the number looks once more before it writes,
and what another has written between these two steps, some tens of nanoseconds, is lost.  That lets a few too many in
out of a million, and never one too few.

What is full need not be remembered.  A value has `WAYS` places in which it may stand; where all of them are taken by
others that are not full, the one that will be full first is forgotten, and begins anew as a full one.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import NamedTuple, cast

from meshproxy.model.limits import MOST_BY_KEY
from meshproxy.observe.metrics.process import WorkerStats

WAYS = 8
SETS = 4096
PLACES = SETS * WAYS
"""Values of one limit that are remembered at a time, if they spread evenly."""
SHELVES = 2 * MOST_BY_KEY
"""Those in force, and those that are to come."""
WORD = 8
_DIRECTORY = SHELVES * WORD
_SHELF = 2 * PLACES * WORD


class Rate(NamedTuple):
    """`amount` each `per` seconds; `burst` at once."""

    amount: int
    per: float
    burst: int


class Shelves:
    """The memory: what the limits in force are called, and for each a shelf of buckets."""

    SIZE = _DIRECTORY + SHELVES * _SHELF

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._names = memory[:_DIRECTORY].cast("q")

    def keep(self, names: Iterable[str]) -> None:
        """Have a shelf for each of these, and for no other.  One that had one has it still, and what is in it."""
        wanted = {_mark(name) for name in names}
        free = []
        for number, mark in enumerate(self._names):
            if mark in wanted:
                wanted.discard(mark)
            else:
                free.append(number)
        for number in free:
            self._names[number] = 0
        for mark, number in zip(sorted(wanted), free, strict=False):
            start = _DIRECTORY + number * _SHELF
            self._memory[start : start + _SHELF] = bytes(_SHELF)
            self._names[number] = mark

    def shelf(self, name: str, stats: WorkerStats) -> Shelf:
        start = _DIRECTORY + list(self._names).index(_mark(name)) * _SHELF
        half = start + _SHELF // 2
        marks = cast(MutableSequence[int], self._memory[start:half].cast("q"))
        fulls = cast(MutableSequence[float], self._memory[half : start + _SHELF].cast("d"))
        return Shelf(marks, fulls, stats)


class Shelf:
    """A bucket for each value."""

    __slots__ = ("_marks", "_stats", "fulls")

    def __init__(self, marks: MutableSequence[int], fulls: MutableSequence[float], stats: WorkerStats) -> None:
        self._marks = marks
        self.fulls = fulls
        """When each will be full again."""
        self._stats = stats

    def place(self, value: bytes, now: float) -> int:
        """Where the bucket of a value stands; it is full if there was none."""
        mark = hash(value) or 1
        marks = self._marks
        first = mark % SETS * WAYS
        for place in range(first, first + WAYS):
            if marks[place] == mark:
                return place
        fulls = self.fulls
        place = min(range(first, first + WAYS), key=fulls.__getitem__)
        if fulls[place] > now:
            self._stats.buckets_forgotten_total += 1
        fulls[place] = now
        marks[place] = mark
        return place


class Buckets:
    """One limit: of so many things in a time, for each value."""

    __slots__ = ("_interval", "_most", "_shelf", "_span")

    def __init__(self, shelf: Shelf, rate: Rate) -> None:
        self._shelf = shelf
        self._interval = rate.per / rate.amount
        """Seconds that one costs."""
        self._span = rate.burst * self._interval
        """Seconds from empty to full."""
        self._most = self._span * (1 + 1e-9) + 1e-9
        """The same, with room for what gets lost in adding up."""

    def take(self, value: bytes, now: float) -> float:
        shelf = self._shelf
        fulls, place = shelf.fulls, shelf.place(value, now)
        while True:
            found = fulls[place]
            after = (found if found > now else now) + self._interval
            if after - now > self._most:
                if found - now > self._span:
                    # It was emptied under another limit; none lacks more than it holds.
                    fulls[place] = found = now + self._span
                return found - now + self._interval - self._span
            if fulls[place] == found:
                fulls[place] = after
                return 0.0

    def wait(self, value: bytes, now: float) -> float:
        """For how many seconds there will be none, if nobody takes what comes."""
        shelf = self._shelf
        lacks = shelf.fulls[shelf.place(value, now)] - now + self._interval
        return lacks - self._span if lacks > self._most else 0.0


def _mark(name: str) -> int:
    """All workers come from one process, and have its secret for hashing: nobody outside knows what meets what."""
    return hash(name) or 1
