"""When each plan of timed steps was first put in force: for who outlives reloads and workers to know.

    beginnings.prepare(config)      # a plan that is in force goes on, any other begins now
    beginnings.known                # for whoever is to serve it
    beginnings.commit()
"""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy.model import Config
from meshproxy.net.clock import Clock
from meshproxy.plan.split import plans


class Beginnings:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_force: dict[str, float] = {}
        self._next: dict[str, float] = {}

    def prepare(self, config: Config) -> None:
        now = self._clock.now()
        self._next = {plan: self._in_force.get(plan, now) for plan in plans(config)}

    def commit(self) -> None:
        self._in_force = self._next

    @property
    def known(self) -> Mapping[str, float]:
        """Of what is in force, and of what is prepared."""
        return self._in_force | self._next
