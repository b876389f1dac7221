"""Which requests are recorded: those whose sender says so, and a share of all others, so many a second at most.

    sampler = Sampler(0.01, 100, random.random)
    sampler.left -= 1                           # for a request that brought nothing: usually this is all
    recorded = not sampler.left and sampler.draw(clock.now())
    recorded = sampler.decide(came, clock.now())        # for one that brought a context

How many requests there are until the next one that is drawn is itself drawn, when one was: to say no is to count down.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, log1p

from meshproxy.wire.trace.context import Context

NEVER = 1 << 62
BURST = 1.0
"""Seconds' worth that may be recorded at once."""


class Sampler:
    __slots__ = ("_each", "_most", "_random", "_share", "_until", "heeds", "left")

    def __init__(self, share: float, rate: float | None, random: Callable[[], float], *, parent: bool = True) -> None:
        """`rate`: so many each second, or None.  `random`: from 0 to less than 1.  `parent`: the sender is heeded."""
        self._random = random
        self.heeds = parent
        self._share = share
        self._each = 0.0 if rate is None else 1 / rate
        self._most = max(BURST, self._each) * (1 + 1e-9) if share > 0 else -1.0
        self._until = 0.0
        """Until when what was recorded takes, at that rate."""
        self.left = self._gap()
        """Requests until one is drawn, with that one."""

    def draw(self, now: float) -> bool:
        """`left` has come to nothing: whether there is room for one more, and how many there are until the next."""
        if self._share < 1:
            self.left = self._gap()
        else:
            self.left = 1
        until = self._until
        if until < now:
            until = now
        until += self._each
        if until - now > self._most:
            return False
        self._until = until
        return True

    def decide(self, context: Context, now: float) -> bool:
        if self.heeds and context.sampled is not None:
            return context.sampled
        self.left -= 1
        return not self.left and self.draw(now)

    def _gap(self) -> int:
        """From the geometric distribution."""
        share = self._share
        if share >= 1:
            return 1
        return 1 + int(min(log(1 - self._random()) / log1p(-share), NEVER - 1)) if share > 0 else NEVER
