"""Ids of traces and spans, and whole header lines for requests that are not recorded: drawn many at a time.

    ids = Ids()
    trace_id, span_id, first = ids.left.pop() if ids.left else ids.draw()       # for a trace, and who is asked first
    unsampled = Unsampled(propagation(["w3c", "b3"]))
    lines = unsampled.left.pop() if unsampled.left else unsampled.draw()
    head = opening + lines + ...                                                # the next one hears: it is not recorded

Nothing is done for one of them alone: random bytes are spelt, cut and set in all at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import Struct

from meshproxy.wire.trace import Propagation

TRACES_AT_ONCE = 64
LINES_AT_ONCE = 128
NOBODY = b"0" * 16
"""No span may be called this, and no trace twice this."""

Random = Callable[[int], bytes]
Drawn = tuple[bytes, bytes, bytes]

_of_trace = Struct("32s16s16s")
_of_lines = Struct("32s16s" * LINES_AT_ONCE)


class Ids:
    """`draw()`, or where it matters `left.pop()` while there are some: of a trace, and of two spans in it."""

    __slots__ = ("_random", "left")

    def __init__(self, random: Random = os.urandom) -> None:
        self._random = random
        self.left: list[Drawn] = []

    def draw(self) -> Drawn:
        if not self.left:
            self.left += _of_trace.iter_unpack(_digits(self._random, _of_trace.size * TRACES_AT_ONCE))
        return self.left.pop()


class Unsampled:
    """The same for lines, each of a trace of its own."""

    __slots__ = ("_carry", "_random", "left")

    def __init__(self, carry: Propagation, random: Random = os.urandom) -> None:
        self._carry = carry
        self._random = random
        self.left: list[bytes] = []

    def draw(self) -> bytes:
        if not self.left:
            self.left += self._carry.unsampled(_of_lines.unpack(_digits(self._random, _of_lines.size)))
        return self.left.pop()


def _digits(random: Random, number: int) -> bytes:
    """Hexadecimal ones, of which no id is without any that says something."""
    drawn = NOBODY
    while NOBODY in drawn:
        drawn = random(number // 2).hex().encode("ascii")
    return drawn
