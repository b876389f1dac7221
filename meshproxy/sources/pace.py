"""How long to wait before the next question, so that a thousand proxies do not ask at once, nor a dead server is hurt.

    pace = Pace(clock)
    await pace.rest(pace.regular(5.0))      # 4 to 6 seconds
    await pace.rest(pace.failed())          # up to 2 seconds, then 4, ... and never more than a minute
    pace.went_well()
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from meshproxy.net.clock import Clock

SPREAD = 0.2
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
LEAST = 0.05
"""Chance may say nothing at all; it is not to be asked without end."""


class Pace:
    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._limit = FIRST_PAUSE
        self._woken = asyncio.Event()

    def regular(self, seconds: float) -> float:
        return seconds * (1 - SPREAD + 2 * SPREAD * self._chance())

    def failed(self) -> float:
        pause = max(LEAST, self._limit * self._chance())
        self._limit = min(2 * self._limit, LONGEST_PAUSE)
        return pause

    def went_well(self) -> None:
        self._limit = FIRST_PAUSE

    def wake(self) -> None:
        """End the rest that is taken, or the next one."""
        self._woken.set()

    async def rest(self, seconds: float) -> bool:
        """Whether it was ended before its time."""
        late = self._clock.after(seconds, self.wake)
        until = self._clock.now() + seconds
        try:
            await self._woken.wait()
        finally:
            late.cancel()
            self._woken.clear()
        return self._clock.now() < until
