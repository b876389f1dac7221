"""Packet ids of one session, for what we send: 1 to 65535, and none that is in use."""

from __future__ import annotations

LARGEST = 65535


class Ids:
    __slots__ = ("_last", "_used", "around")

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._last = 0
        self.around = False
        """Whether each has been given out once."""

    def take(self) -> int:
        """Whoever takes bounds how many are in use."""
        used, last = self._used, self._last
        while True:
            if last == LARGEST:
                last = 0
                self.around = True
            last += 1
            if last not in used:
                break
        used.add(last)
        self._last = last
        return last

    def give(self, number: int) -> None:
        self._used.discard(number)
