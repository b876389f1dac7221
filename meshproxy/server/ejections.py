"""Whom the workers have ejected, and which breakers have opened: what one of them says, all others are told, and also
one that starts later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from meshproxy.cluster.outlier import Ejection
from meshproxy.model import Config
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.plan.verdicts import EVERYBODY, gate_of, judge_of

LOG_EVERY = 60.0
"""Seconds between two lines about one endpoint."""


def ejections(body: bytes) -> dict[str, Ejection]:
    """What one process has written to another, as JSON."""
    return {key: Ejection(*said) for key, said in json.loads(body).items()}


class Ejections:
    def __init__(self, clock: Clock, log: Log) -> None:
        self.known: dict[str, Ejection] = {}
        """Those that last, by the key of the verdict."""
        self.told: Callable[[str], None] = lambda _: None
        """Hears of one that is new, or lasts longer than was known."""
        self._clock = clock
        self._log = log
        self._judged: frozenset[str] = frozenset()

    def commit(self, config: Config) -> None:
        self._judged = frozenset(key(cluster) for cluster in config.clusters for key in (judge_of, gate_of))
        self._forget()

    def hear(self, said: Mapping[str, Ejection]) -> None:
        """From a worker, which may be late and speak of what is gone."""
        new = {
            key: ejection
            for key, ejection in said.items()
            if key not in self.known or self.known[key].until < ejection.until
        }
        self.known.update(new)
        self._forget()
        for key in new.keys() & self.known.keys():
            self._report(key, new[key])
            self.told(key)

    def _report(self, key: str, ejection: Ejection) -> None:
        name, _, address = key.split(" ", 2)
        seconds = round(ejection.until - self._clock.now(), 3)
        whom = {} if address == EVERYBODY else {"endpoint": address, "reason": ejection.reason}
        word = "breaker-opened" if address == EVERYBODY else "endpoint-ejected"
        self._log.limited(f"ejected {key}", LOG_EVERY, "warning", word, cluster=name, **whom, seconds=seconds)

    def left(self, judge: str, address: str) -> float | None:
        """For how many seconds more, if it is ejected."""
        ejection = self.known.get(judge + address)
        left = ejection.until - self._clock.now() if ejection is not None else 0.0
        return left if left > 0 else None

    def _forget(self) -> None:
        now = self._clock.now()
        for key, ejection in tuple(self.known.items()):
            name, digest, _ = key.split(" ", 2)
            if ejection.until <= now or f"{name} {digest} " not in self._judged:
                del self.known[key]
