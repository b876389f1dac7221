"""Plain integers in objects, and what they come to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from math import inf, isnan
from typing import Any

OTHERS = "other"


class Counters:
    """Numbers in slots; `snapshot` copies them, and what they hold, into plain data."""

    __slots__: tuple[str, ...] = ()

    def snapshot(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


def _plain(value: Any) -> Any:
    if isinstance(value, Counters):
        return value.snapshot()
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    return value


class Histogram(Counters):
    """Values counted by fixed upper bounds; the last count is for what exceeds them all."""

    __slots__ = ("_bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, tuple[bytes, float, float]] | None = None
        """By the place of the bucket: the trace of the value that came there last, the value, and its Unix time."""

    def snapshot(self) -> dict[str, Any]:
        words = _words(self._bounds)
        found: dict[str, Any] = {"counts": dict(zip(words, self.counts, strict=True)), "sum": self.sum}
        if self.exemplars:
            found["exemplars"] = {
                words[place]: [trace.decode("ascii", "replace"), value, at]
                for place, (trace, value, at) in self.exemplars.items()
            }
        return found

    def exemplify(self, value: float, trace_id: bytes, at: float) -> None:
        """A value that has been counted was that of a trace which is recorded."""
        if self.exemplars is None:
            self.exemplars = {}
        self.exemplars[bisect_left(self._bounds, value)] = trace_id, value, at

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


@cache
def _words(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(map(number, (*bounds, inf)))


def number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
