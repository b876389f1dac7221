"""So many bytes each second: who has moved some is told how long to wait before it moves more.

    meter = Meter(1 << 20)                              # of one connection
    meter.spend(4096, clock.now())                      # 0.0, or seconds until that is paid for
    meter = SharedMeter(10 << 20, shelf, b"listener/web/up")   # of all that say the same, on all workers

Nothing is refused and nothing is kept back: bytes are moved first, a piece at a time, and paid for after.  Who shares a
meter waits for what all have moved, so that it comes to each in turn.
"""

from __future__ import annotations

from meshproxy.core.buckets import Shelf

SLACK = 0.05
"""Seconds' worth of bytes for which nobody waits: so many small messages cost no timer each."""
LEAST_PIECE, LARGEST_PIECE, LARGEST_SHARED = 1024, 256 * 1024, 16 * 1024


class Meter:
    __slots__ = ("_each", "_paid", "_slack", "piece")

    def __init__(self, rate: float, largest: int = LARGEST_PIECE) -> None:
        self._each = 1 / rate
        self._paid = 0.0
        """Until when everything that was moved takes, at that rate."""
        self.piece = max(LEAST_PIECE, min(largest, int(rate * SLACK)))
        """How much is to be moved at a time."""
        self._slack = SLACK

    def spend(self, size: int, now: float) -> float:
        paid = self._paid
        self._paid = paid = (paid if paid > now else now) + size * self._each
        return paid - now if paid - now > self._slack else 0.0


class SharedMeter(Meter):
    __slots__ = ("_name", "_shelf")

    def __init__(self, rate: int, shelf: Shelf, name: bytes) -> None:
        super().__init__(rate, LARGEST_SHARED)
        self._shelf = shelf
        self._name = name
        # Less than a piece, or who comes first would always have two.
        self._slack = self.piece * self._each / 2

    def spend(self, size: int, now: float) -> float:
        place, paids = self._shelf.place(self._name, now), self._shelf.fulls
        while True:
            found = paids[place]
            paid = (found if found > now else now) + size * self._each
            if paids[place] == found:
                paids[place] = paid
                return paid - now if paid - now > self._slack else 0.0
