"""What is measured of a worker becomes a stage, and every stage does less than the one before.

    overload = Overload()
    overload.use(model.Overload())                              # or None: nothing is too much
    overload.look(now, lag=0.06, memory=0.4, connections=None)  # again and again; True if the stage is another one
    STAGES[overload.stage]                                      # "none", "keep_alive", "low", "connections"

It rises at once, to where the worst of the measures says.  It falls by one at a time, each after a while in which all
of them were clearly below: what has been refused comes back, and must not begin it all again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import NamedTuple

from meshproxy import model

STAGES = ("none", "keep_alive", "low", "connections")
NONE, KEEP_ALIVE, LOW, CONNECTIONS = range(4)

CALM = 3.0
"""Seconds before it falls by one."""
LOOKS = 4
"""Of which the second longest lag counts: a timer falls anywhere into a long turn of the loop, so one that is early
says little, and one pause is none that stays."""


class Steps(NamedTuple):
    """Of one measure: from where on a stage begins, and below what it may end."""

    enter: tuple[float, ...]
    leave: tuple[float, ...]


def of_lag(threshold: float) -> Steps:
    enter = tuple([threshold * times for times in (1, 2, 4)])
    return Steps(enter, tuple([each * 0.75 for each in enter]))


def of_share(threshold: float, most: int = CONNECTIONS) -> Steps:
    """Half of what is left is the second step, and three quarters the third."""
    left = 1 - threshold
    enter = tuple([threshold + left * part for part in (0, 0.5, 0.75)][:most])
    return Steps(enter, tuple([each - left / 4 for each in enter]))


class Overload:
    __slots__ = ("_calm_since", "_connections", "_lag", "_lags", "_memory", "lag", "stage")

    def __init__(self) -> None:
        self.stage = NONE
        self.lag = 0.0
        """That stays."""
        self._lags: deque[float] = deque(maxlen=LOOKS)
        self._calm_since: float | None = None
        self.use(None)

    def use(self, said: model.Overload | None) -> None:
        """From the next look on; the stage stays until then, if there may be any."""
        self._lag = of_lag(said.lag) if said is not None and said.lag else None
        self._memory = of_share(said.memory) if said is not None and said.memory else None
        # What is full refuses connections by itself, and no other listener need do so for it.
        self._connections = of_share(said.connections, LOW) if said is not None and said.connections else None
        if said is None:
            self.stage = NONE
            self._lags.clear()

    def look(self, now: float, *, lag: float, memory: float | None, connections: float | None) -> bool:
        """What cannot be measured is None."""
        self._lags.append(lag)
        self.lag = sorted(self._lags)[-2] if len(self._lags) > 1 else 0.0
        measured = [
            (steps, value)
            for steps, value in ((self._lag, self.lag), (self._memory, memory), (self._connections, connections))
            if steps is not None and value is not None
        ]
        rises = max((bisect_right(steps.enter, value) for steps, value in measured), default=NONE)
        stays = max((bisect_right(steps.leave, value) for steps, value in measured), default=NONE)
        before = self.stage
        if rises > before:
            self.stage = rises
        if stays >= self.stage:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= CALM:
            self.stage -= 1
            self._calm_since = now
        return self.stage != before
