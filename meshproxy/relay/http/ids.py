"""Request ids: 128 random bits each, drawn many at a time."""

from __future__ import annotations

import os

AT_ONCE = 256
SIZE = 16


class Ids:
    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[bytes] = []

    def next(self) -> bytes:
        if not self._left:
            drawn = os.urandom(SIZE * AT_ONCE).hex().encode("ascii")
            self._left = [drawn[at : at + 2 * SIZE] for at in range(0, len(drawn), 2 * SIZE)]
        return self._left.pop()
