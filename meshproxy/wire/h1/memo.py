"""A function that remembers, within bounds: `memo[key]` is what it makes of the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")

MOST_ENTRIES = 1024
LONGEST_KEY = 256


class Memo(dict[bytes, V]):
    """Emptied when it is full, which costs less than to know what was used last.  A refusal is not remembered."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[bytes], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: bytes) -> V:
        value = self._make(key)
        if len(key) <= LONGEST_KEY:
            if len(self) >= MOST_ENTRIES:
                self.clear()
            self[key] = value
        return value
