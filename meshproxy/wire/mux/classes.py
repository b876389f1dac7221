"""Whose turn it is on a link: classes that come first, classes that share, and how much each may send.

    classes = Classes((Class("interactive", tier=0), Class("bulk", tier=1, rate=125000.0)), now)
    classes.add(1, stream)              # it has something to send
    classes.next(allowed)               # (class, stream), or None: nobody may send now
    classes.sent(1, 4096)

A lower tier goes first, and nothing of a higher one goes while it has something; except for the share that is kept for
those behind it, so that nobody waits for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

QUANTUM = 4096
"""Bytes of a turn for a weight of 1."""
SPARED = 16
"""Of so many turns of those who come first one is for those behind them."""
BURST = 0.1
"""Seconds of its rate that a class may send at once."""


@dataclass(frozen=True, slots=True)
class Class:
    name: str
    tier: int = 0
    weight: int = 1
    rate: float | None = None
    """Bytes in a second; None: as many as go."""
    compress: bool = True
    """Whether its streams are, where both ends of the tunnel do that."""


class _Queue:
    """Live: the streams of one class that have something to send."""

    __slots__ = ("allowed_at", "left", "of", "place", "streams")

    def __init__(self, place: int, of: Class) -> None:
        self.place = place
        self.of = of
        self.streams: deque[int] = deque()
        self.left = 0
        """Bytes of its turn."""
        self.allowed_at = 0.0
        """When its rate lets it send."""


class Classes:
    def __init__(self, classes: Sequence[Class], now: Callable[[], float]) -> None:
        self._queues = [_Queue(place, each) for place, each in enumerate(classes)]
        tiers = sorted({each.tier for each in classes})
        self._tiers = [[queue for queue in self._queues if queue.of.tier == tier] for tier in tiers]
        self._now = now
        self._turns = 0
        self.waiting = 0
        """How many have something to send."""

    def add(self, number: int, stream: int) -> None:
        self.waiting += 1
        self._queues[number].streams.append(stream)

    def next(self, carried: Collection[int] | None) -> tuple[int, int] | None:
        """`carried` are the classes that a link carries, if not all; whoever is told leaves its queue."""
        if not self.waiting:
            return None
        self._turns += 1
        tiers = self._tiers
        if self._turns % SPARED == 0:
            tiers = tiers[::-1]
        for tier in tiers:
            queue = self._of_tier(tier, carried)
            if queue is not None:
                self.waiting -= 1
                return queue.place, queue.streams.popleft()
        return None

    def sent(self, number: int, size: int) -> None:
        queue = self._queues[number]
        queue.left -= size
        rate = queue.of.rate
        if rate is not None:
            queue.allowed_at = max(queue.allowed_at, self._now() - BURST) + size / rate

    def wait(self) -> float | None:
        """Seconds until a class may send that has something and may not; None: there is none."""
        if not self.waiting:
            return None
        now = self._now()
        waits = [each.allowed_at - now for each in self._queues if each.streams and each.allowed_at > now]
        return min(waits, default=None)

    def _of_tier(self, tier: list[_Queue], carried: Collection[int] | None) -> _Queue | None:
        """By turns, each as long as its weight."""
        able = []
        for queue in tier:
            if queue.streams and (carried is None or queue.place in carried) and self._may(queue):
                if queue.left > 0:
                    return queue
                able.append(queue)
        for queue in able:
            queue.left += QUANTUM * queue.of.weight
        return max(able, key=lambda queue: queue.left, default=None)

    def _may(self, queue: _Queue) -> bool:
        return queue.of.rate is None or queue.allowed_at <= self._now()
