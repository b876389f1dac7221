"""Request ids: 128 random bits each, drawn many at a time, and each with the end of its line and of the head."""

from __future__ import annotations

import os

from meshproxy.core.exchange import ID_SIZE

AT_ONCE = 256
SIZE = ID_SIZE // 2


class Ids:
    """`left.pop()` while there are some, else `draw()`."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left: list[bytes] = []

    def draw(self) -> bytes:
        drawn = os.urandom(SIZE * AT_ONCE).hex().encode("ascii")
        self.left += [drawn[at : at + 2 * SIZE] + b"\r\n\r\n" for at in range(0, len(drawn), 2 * SIZE)]
        return self.left.pop()
