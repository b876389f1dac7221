"""What the data path knows of those who watch: from which time on a request is worth a call.

    if seconds >= watch.slow or flags or status >= 500:
        watch.notice(x)

That comparison is all it costs while nobody looks and all goes well.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.observe.recent import KEEP, Recent
from meshproxy.observe.record import Record
from meshproxy.observe.seen import Row, seen
from meshproxy.observe.tap import Tap

SLOW = 1.0
EVERY = -1.0
"""Nothing takes less."""
SWITCHED = 101


class Watch:
    """One for a worker."""

    __slots__ = ("_offset", "_taps", "recent", "slow", "threshold")

    def __init__(self, offset: Callable[[], float], slow: float = SLOW, keep: int = KEEP) -> None:
        """`offset` says what the clock of the loop lacks to Unix time."""
        self._offset = offset
        self._taps: tuple[Tap, ...] = ()
        self.recent = Recent(keep)
        self.threshold = slow
        self.slow = slow
        """Seconds; for the data path."""

    def use(self, slow: float, keep: int) -> None:
        """What a new configuration says."""
        self.threshold = slow
        self.recent.use(keep)
        self._look()

    def unix(self, at: float) -> float:
        return at + self._offset()

    def open(self, tap: Tap) -> None:
        self._taps += (tap,)
        self._look()

    def close(self, tap: Tap) -> None:
        self._taps = tuple(each for each in self._taps if each is not tap)
        self._look()

    def _look(self) -> None:
        self.slow = EVERY if self._taps else self.threshold

    def shown(self, most: int) -> Row:
        """At most so many errors, and so many slow requests."""
        return {"slow_ms": round(self.threshold * 1000), **self.recent.shown(most)}

    def notice(self, record: Record) -> None:
        """It is over."""
        event = self._keep(record)
        for tap in self._taps:
            if tap.wants(record):
                event = event or seen(record, self._offset())
                tap.add(record, event)

    def _keep(self, record: Record) -> Row | None:
        if record.flags or record.status >= 500:
            shelf = self.recent.errors
        elif record.seconds >= self.threshold and _has_an_end(record):
            shelf = self.recent.slow
        else:
            return None
        if not shelf.wants(record.started + record.seconds):
            return None
        event = seen(record, self._offset())
        shelf.put(event)
        return event


def _has_an_end(record: Record) -> bool:
    """A connection lasts as long as it is wanted, and so does a request that has become one: that is not slow."""
    return bool(record.status) and record.status != SWITCHED and record.request.method != b"CONNECT"
