"""All that is known of the fitness of endpoints: what their checks find, and whom the traffic has ejected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator

from meshproxy.cluster.outlier import WORD
from meshproxy.model import Address, Cluster, Config
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import HealthStats, ProcessStats
from meshproxy.plan.group import HEALTH, Known, seats
from meshproxy.plan.tls import Papers
from meshproxy.plan.verdicts import check_of, judge_of
from meshproxy.server.checks import Checks
from meshproxy.server.ejections import Ejections

Row = dict[str, object]


class Fitness:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        names: Known,
        papers: Callable[[], Papers],
        process: ProcessStats,
        log: Log,
    ) -> None:
        self.checks = Checks(loop, clock, names, papers, process, log)
        self.ejections = Ejections(clock, log)
        self._clock = clock
        self._names = names
        self._process = process
        self._next = self._in_force = Config()

    async def prepare(self, config: Config) -> None:
        self._next = config
        await self.checks.prepare(config)

    def commit(self) -> None:
        self._in_force = self._next
        self.checks.commit()
        self.ejections.commit(self._in_force)
        judged = {cluster.name for cluster in self._in_force.clusters if cluster.health or cluster.outlier}
        health = self._process.health
        for name in health.keys() - judged:
            del health[name]
        for name in judged - health.keys():
            health[name] = HealthStats()

    def abort(self) -> None:
        self.checks.abort()

    def close(self) -> None:
        self.checks.close()

    def count(self) -> Generator[None, None, None]:
        """Bring the counters up to date, in steps: an ejection is over without a word."""
        for cluster in self._in_force.clusters:
            stats = self._process.health.get(cluster.name)
            if stats is not None:
                check, judge = check_of(cluster), judge_of(cluster)
                fit = [not self._doubts(check, judge, address) for address in seats(cluster, self._names)]
                stats.fit = sum(fit)
                yield

    def _doubts(self, check: str, judge: str, address: Address) -> list[str]:
        known = self.checks.known.get(check + str(address), True)
        left = self.ejections.left(judge, str(address))
        return [word for word, holds in ((HEALTH, not known), (WORD, left is not None)) if holds]

    def rows(self, cluster: Cluster) -> Callable[[Address], Row]:
        """What to show of the fitness of an endpoint; nothing, where nobody looks at it."""
        check, judge = check_of(cluster), judge_of(cluster)
        if not check and not judge:
            return lambda _: {}

        def row(address: Address) -> Row:
            doubts = self._doubts(check, judge, address)
            found: Row = {"fit": not doubts, "doubts": doubts}
            if check:
                watch, now = self.checks.of(check, address), self._clock.now()
                heard = watch if watch is not None and watch.last is not None else None
                found["check"] = str(heard.last) if heard else None
                found["checked_ago"] = round(now - heard.looked, 3) if heard else None
                found["same_for"] = round(now - heard.since, 3) if heard else None
            if judge:
                left = self.ejections.left(judge, str(address))
                found["ejected_for"] = round(left, 3) if left is not None else None
            return found

        return row
