"""Which of several clusters gets a request: by what it brings, by a value that it has, or by chance.

    draw = by_weight([(v1, 95), (v2, 5)])               # by chance
    draw = by_weight([(v1, 95), (v2, 5)], value)        # the same value draws the same share
    draw = in_steps([(0.0, before), (600.0, after)], began, now)
    draw = first_that_asks([(holds, v2)], draw)         # whoever asks for it, and then the others
    draw(exchange)                                      # a Share

A hashed value is a point on a line on which the shares stand in the order written, each as long as its weight: where
one at the end grows, whoever was in it stays in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import inf
from random import randbytes, random
from typing import cast

from meshproxy.core.exchange import Exchange
from meshproxy.relay.http.handling import Draw, Share

Value = Callable[[Exchange], bytes | None]
Asks = Callable[[Exchange], bool]

DRAWN = "drawn"
_FINEST = 2.0**-53


def by_weight(shares: Sequence[tuple[Share, int]], value: Value | None = None) -> Draw:
    """Who has no value draws by chance."""
    drawn = [share for share, weight in shares if weight]
    bounds = list(accumulate(weight for _, weight in shares if weight))
    total = bounds[-1]
    if len(drawn) == 1:
        only = drawn[0]
        return lambda _: only
    if value is None:
        return lambda _: drawn[bisect_right(bounds, random() * total)]  # noqa: S311 - a share, not a secret
    of = value

    def draw(x: Exchange) -> Share:
        found = of(x)
        at = random() if found is None else point(found)  # noqa: S311 - as above
        return drawn[bisect_right(bounds, at * total)]

    return draw


def point(value: bytes) -> float:
    """From 0, less than 1, and the same in every process."""
    return (int.from_bytes(blake2b(value, digest_size=8).digest(), "big") >> 11) * _FINEST


def of_connection(x: Exchange) -> bytes:
    """Drawn once for the connection that it comes on."""
    kept = x.origin.kept
    value = kept.get(DRAWN)
    if value is None:
        value = kept[DRAWN] = randbytes(8)  # noqa: S311 - a share, not a secret
    return cast(bytes, value)


def first_that_asks(chosen: Sequence[tuple[Asks, Share]], otherwise: Draw) -> Draw:
    def draw(x: Exchange) -> Share:
        for asks, share in chosen:
            if asks(x):
                return share
        return otherwise(x)

    return draw


def in_steps(steps: Sequence[tuple[float, Draw]], began: float, now: Callable[[], float]) -> Draw:
    """Each from its time on, in seconds after the beginning; the first at once."""
    plan = Plan([(began + after, draw) for after, draw in steps], now)
    return plan.draw


class Plan:
    """Where it stands is looked up again when the next step is due."""

    __slots__ = ("_at", "_current", "_now", "_steps", "_until")

    def __init__(self, steps: Sequence[tuple[float, Draw]], now: Callable[[], float]) -> None:
        self._steps = steps
        self._now = now
        self._at = 0
        self._enter(0)

    def _enter(self, at: int) -> None:
        self._at = at
        self._current = self._steps[at][1]
        self._until = self._steps[at + 1][0] if at + 1 < len(self._steps) else inf

    def draw(self, x: Exchange) -> Share:
        clock = self._now
        now = clock()
        while now >= self._until:
            self._enter(self._at + 1)
        current = self._current
        return current(x)
