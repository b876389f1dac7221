"""The newest requests that have failed, and those that took long: of each the last few, whatever else goes on.

    recent = Recent(keep=100)
    if recent.errors.wants(now):
        recent.errors.put(seen(record, offset))
    merged([watch.shown(20), *others], 20)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from meshproxy.observe.seen import Row

KEEP = 100


class Shelf:
    """Of one kind."""

    __slots__ = ("_kept", "_left", "_until", "total")

    def __init__(self, keep: int) -> None:
        self.total = 0
        self._kept: deque[Row] = deque(maxlen=keep)
        self._left = 0
        self._until = 0.0

    def use(self, keep: int) -> None:
        self._kept = deque(self._kept, keep)

    def wants(self, now: float) -> bool:
        """Counts it.  Of those of one second no more are looked at than are kept: when everything fails, that is no
        time to describe each."""
        self.total += 1
        if now >= self._until:
            self._until = now + 1.0
            self._left = self._kept.maxlen or 0
        self._left -= 1
        return self._left >= 0

    def put(self, row: Row) -> None:
        self._kept.appendleft(row)

    def newest(self, most: int) -> list[Row]:
        return [row for row, _ in zip(self._kept, range(most), strict=False)]


class Recent:
    __slots__ = ("errors", "slow")

    def __init__(self, keep: int) -> None:
        self.errors = Shelf(keep)
        self.slow = Shelf(keep)

    def use(self, keep: int) -> None:
        self.errors.use(keep)
        self.slow.use(keep)

    def shown(self, most: int) -> Row:
        """At most so many of each, newest first, and how many there have been."""
        return {
            "errors": self.errors.newest(most),
            "slow": self.slow.newest(most),
            "errors_total": self.errors.total,
            "slow_total": self.slow.total,
        }


def merged(shown: Iterable[Row], most: int) -> Row:
    """What several workers show, as if it were one."""
    found = [*shown]
    return {
        "slow_ms": max((each["slow_ms"] for each in found), default=0),
        **{kind: _newest([row for each in found for row in each[kind]], most) for kind in ("errors", "slow")},
        **{total: sum(each[total] for each in found) for total in ("errors_total", "slow_total")},
    }


def _newest(rows: list[Row], most: int) -> list[Row]:
    return sorted(rows, key=_ended, reverse=True)[:most]


def _ended(row: Row) -> float:
    return datetime.fromisoformat(row["time"]).timestamp() + float(row["ms"]) / 1000
