"""At each full second of the wall clock a worker remembers what the last one has brought, beside its traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator

from meshproxy.net.clock import Clock, Timer, in_slices
from meshproxy.observe.history import History
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.peers import Peers

SLICE = 0.0005
"""Seconds of work between two events of the traffic."""
MOST_AT_ONCE = 2000
"""Open connections whose bytes are brought up to date every second; of twice as many it is every other one."""


class Seconds:
    def __init__(
        self,
        clock: Clock,
        stats: Stats,
        settle: Callable[[], Generator[None, None, None]],
        account: Callable[[], Generator[None, None, None]],
        connections: Callable[[], int],
        peers: Peers,
    ) -> None:
        """`settle` brings what is counted of requests up to date, and `account` the bytes of open connections, of which
        there are so many."""
        self._clock = clock
        self._stats = stats
        self._settle = settle
        self._account = account
        self._connections = connections
        self._history = History(clock.wall(), clock.now(), peers)
        self._timer: Timer | None = None
        self._work: asyncio.Task[None] | None = None
        self._turn = 0

    def begin(self) -> None:
        """From now on, again and again."""
        self._timer = self._clock.after(until_next(self._clock.wall()), self._over)

    def _over(self) -> None:
        self.begin()
        # Where the last one is still at it there is too much to do, and that is more urgent.
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(in_slices(self._remember(), SLICE))

    def _remember(self) -> Generator[None, None, None]:
        self._turn += 1
        if self._turn % (1 + self._connections() // MOST_AT_ONCE) == 0:
            yield from self._account()
        yield from self._settle()
        yield from self._history.second(self._stats, self._clock.wall(), self._clock.now())

    async def told(self, seconds: int) -> bytes:
        """Of so many of the last ones."""
        if self._work is not None:
            await asyncio.wait([self._work])
        return self._history.told(seconds)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()


def until_next(wall: float) -> float:
    """To the next full second, but for the one that is next to now: a timer may come a little early or late."""
    left = 1 - wall % 1
    return left if left >= 0.5 else left + 1
