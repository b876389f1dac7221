"""Who carries the traffic: the only worker in this process, or several in processes of their own.

Whoever steers (`server.process`, `server.view`, `admin.reload`) sees one `Fleet` and no difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from meshproxy.admin.live import Told
from meshproxy.core.buckets import Shelves
from meshproxy.errors import CannotBind, Problem
from meshproxy.model import Config
from meshproxy.net.clock import Clock, LoopClock
from meshproxy.net.doors import Doors, Inherited
from meshproxy.observe.log import Level, Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.recent import merged
from meshproxy.observe.tap import Query
from meshproxy.plan import places
from meshproxy.server.addresses import Addresses
from meshproxy.server.beginnings import Beginnings
from meshproxy.server.board import shared_memory
from meshproxy.server.fitness import Fitness
from meshproxy.server.limits import OwnedLimits
from meshproxy.server.papers import Papers
from meshproxy.server.taps import open_tap
from meshproxy.server.worker import Worker

Row = dict[str, object]


class Fleet(Protocol):
    doors: Doors

    addresses: Addresses

    fitness: Fitness

    papers: Papers

    broken: str
    """Why it cannot go on for long; empty where all is well."""

    @property
    def connections(self) -> int: ...

    @property
    def stage(self) -> int:
        """Of overload, of the worker that has the most to do."""

    async def prepare(self, config: Config) -> None:
        """Be able to serve it.  Raises Invalid, and then nothing has happened."""

    async def commit(self) -> None:
        """Serve what was prepared, on every worker.  Nothing can refuse any more."""

    def abort(self) -> None:
        """Forget what was prepared."""

    async def stats(self) -> dict[str, Any]:
        """What the workers have counted, added up."""

    async def recent(self, most: int) -> Row:
        """At most so many of the newest requests that failed, and of those that were slow."""

    def tap(self, query: Query, told: Told) -> Callable[[], None]:
        """Every worker tells of the requests that the query chooses, until what is returned is called."""

    async def history(self, seconds: int) -> list[bytes]:
        """What each worker remembers of the last ones, for `observe.window`."""

    def workers(self) -> list[Row]: ...

    def set_log_level(self, level: Level) -> None: ...

    def reopen(self) -> None:
        """The files of logs, which have been moved away."""

    async def drain(self, within: float) -> None:
        """Let nobody in any more; return when everybody has left or the time is over."""

    def close(self) -> None:
        """End everything now."""


def open_doors(config: Config, doors: Doors) -> None:
    """Have a socket for every listener, or raise CannotBind with all the reasons."""
    problems = []
    for listener in config.listeners:
        for place in places(listener):
            try:
                doors.open(place)
                if listener.tproxy:
                    doors.take_for_others(place)
            except OSError as error:
                problems.append(Problem(f"listeners[{listener.name}].listen", str(error.strerror)))
    if problems:
        doors.abort()
        raise CannotBind(problems)


class Solo:
    """One worker, here."""

    broken = ""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, doors: Doors, process: ProcessStats, log: Log
    ) -> None:
        self._beginnings = Beginnings(clock)
        self.doors = doors
        self.papers = Papers(clock, process, log)
        self.addresses = Addresses(loop, clock, process, log)
        self.addresses.told = self._tell_addresses
        self.limits = OwnedLimits(loop, clock, 1, Shelves(shared_memory(Shelves.SIZE)), self.addresses, process, log)
        ledger = self.limits.ledger
        self.worker = Worker(
            loop, clock, [0], self.limits.shelves, 0, lambda said: ledger.hear(0, said), log,
            eject=lambda key, ejection: self.fitness.ejections.hear({key: ejection}),
        )
        ledger.join(0, self.worker.limits.hear)
        self.fitness = Fitness(loop, clock, self.addresses.known, lambda: self.papers.known, process, log)
        checks = self.fitness.checks
        checks.told = lambda key: self.worker.hear_health({key: checks.known[key]})

    def _tell_addresses(self, name: str) -> None:
        self.worker.hear({name: self.addresses.known[name]})
        self.fitness.checks.renew(name)

    @classmethod
    def here(cls, process: ProcessStats, log: Log, inherited: Inherited | None = None) -> Solo:
        loop = asyncio.get_running_loop()
        solo = cls(loop, LoopClock(loop), Doors(inherited=inherited), process, log)
        solo.worker.measure_lag()
        solo.worker.seconds.begin()
        return solo

    async def prepare(self, config: Config) -> None:
        open_doors(config, self.doors)
        self.limits.prepare(config)
        try:
            await self.papers.prepare(config)
            await self.addresses.prepare(config)
            self.worker.hear(self.addresses.known)
            self._beginnings.prepare(config)
            self.worker.plans(self._beginnings.known)
            await self.fitness.prepare(config)
            self.worker.hear_health(self.fitness.checks.known)
            await self.worker.prepare(config, lambda place: self.doors.share(place, 0), self.papers.known)
        except BaseException:
            self.fitness.abort()
            self.limits.abort()
            self.addresses.abort()
            self.papers.abort()
            self.doors.abort()
            raise

    async def commit(self) -> None:
        # The owner lets go first: the worker's copy is then the last, and it serves who stands in the queue.
        self.doors.commit()
        self.papers.commit()
        self.addresses.commit()
        self._beginnings.commit()
        self.fitness.commit()
        self.limits.commit()
        await self.worker.commit()

    def abort(self) -> None:
        self.worker.abort()
        self.fitness.abort()
        self.limits.abort()
        self.addresses.abort()
        self.papers.abort()
        self.doors.abort()

    @property
    def connections(self) -> int:
        return self.worker.connections

    @property
    def stage(self) -> int:
        return self.worker.overload.stage

    async def stats(self) -> dict[str, Any]:
        return await self.worker.counted()

    async def recent(self, most: int) -> Row:
        return merged([self.worker.watch.shown(most)], most)

    def tap(self, query: Query, told: Told) -> Callable[[], None]:
        async def tell(lines: Sequence[bytes], lost: int) -> bool:
            told(lines, lost)
            return True

        return open_tap(self.worker.watch, query, tell)

    async def history(self, seconds: int) -> list[bytes]:
        return [await self.worker.seconds.told(seconds)]

    def workers(self) -> list[Row]:
        return []

    def set_log_level(self, level: Level) -> None:
        """The log of this process is the only one."""

    def reopen(self) -> None:
        self.worker.reopen()

    async def drain(self, within: float) -> None:
        self.doors.close()
        await self.worker.drain(within)

    def close(self) -> None:
        self.fitness.close()
        self.limits.close()
        self.addresses.close()
        self.doors.close()
        self.worker.close()
