"""A cluster, compiled, and who is in it: the endpoints that are written, and those that names stand for at the moment.

When a name has other addresses a group changes in place, in the generation that is in force: who stays keeps its live
state, who is gone is retired, and from the next call on the cluster picks among those who are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from meshproxy import model
from meshproxy.cluster.balance import BALANCERS, Pick
from meshproxy.cluster.cluster import Cluster, ClusterState, Reuse
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.cluster.heed import together
from meshproxy.cluster.outlier import Outliers
from meshproxy.core.limit import Stock
from meshproxy.core.table import Claims, Table
from meshproxy.model import Address
from meshproxy.observe.metrics import EJECTED, EndpointStats
from meshproxy.plan.rim import Rim
from meshproxy.plan.verdicts import Verdicts, check_of, judge_of
from meshproxy.wire.h1 import ResponseCodec

HEALTH = "health"
"""The doubt that checks have."""

Known = Mapping[str, tuple[str, ...]]
"""The addresses of names, of those that have any."""


class Group:
    """A cluster, and what was said of it."""

    __slots__ = ("__weakref__", "_members", "_outliers", "_state", "_weights", "check", "cluster", "config", "judge")

    def __init__(self, said: model.Cluster, limit: Stock, claims: Claims, rim: Rim) -> None:
        self.config = said
        self._state = claims.claim(("cluster", said.name), lambda: ClusterState(said.name, rim.stats.clusters))
        self._state.pickers.add(self)
        self._weights = weights(said, rim.known)
        self._members = self._found(claims, rim)
        self.check, self.judge = check_of(said), judge_of(said)
        self._outliers = self._watching(claims, rim)
        self.cluster = Cluster(
            said.name,
            self._state.stats,
            self._pick(),
            limit,
            connect_timeout=said.connect_timeout,
            keepalive=said.keepalive,
            reuse=Reuse(
                said.pool.max_idle, said.pool.idle or inf, said.pool.lifetime or inf, said.pool.requests or inf
            ),
            codec=ResponseCodec(),
            heed=together(self._outliers.heed if self._outliers is not None else None),
        )

    def renew(self, table: Table, rim: Rim, grace: float) -> None:
        """Be what the names say now."""
        before, self._weights = self._weights, weights(self.config, rim.known)
        if self._weights == before:
            return
        self._members = self._found(table, rim)
        self.follow(rim.verdicts)
        self.refresh()
        for address in before.keys() - self._weights.keys():
            table.drop(self._key(address), grace)

    def follow(self, verdicts: Verdicts) -> None:
        """Doubt whom the checks of this generation find unfit, and nobody else; let its endpoints be judged."""
        with self._state.at_once():
            for endpoint, _ in self._members:
                unfit = bool(self.check) and self.check + endpoint.name in verdicts.unfit
                if unfit and HEALTH not in endpoint.doubts:
                    endpoint.doubt(HEALTH)
                    endpoint.close_idle()
                elif endpoint.doubts and not unfit:
                    endpoint.trust(HEALTH)
            if self._outliers is not None:
                self._outliers.watch(endpoint for endpoint, _ in self._members)
                for key, ejection in verdicts.ejected.items():
                    if key.startswith(self.judge):
                        self._outliers.hear(key[len(self.judge) :], ejection)

    def refresh(self) -> None:
        """Pick among those who are fit now."""
        self.cluster.use(self._pick())

    def _pick(self) -> Pick:
        return BALANCERS[self.config.balance](
            [(endpoint, weight) for endpoint, weight in self._members if weight and not endpoint.doubts]
        )

    def _watching(self, claims: Claims, rim: Rim) -> Outliers | None:
        said, judge = self.config.outlier, self.judge
        if said is None:
            return None
        counted = self._state.stats.ejections
        counted.update({reason: counted.get(reason, 0) for reason in EJECTED})
        say = rim.verdicts.say

        def make() -> Outliers:
            return Outliers(said, rim.clock, counted, lambda endpoint, ejection: say(judge + endpoint.name, ejection))

        return claims.claim(("outlier", judge), make)

    def _found(self, live: Claims | Table, rim: Rim) -> list[tuple[Endpoint, int]]:
        return [(self._endpoint(address, live, rim), weight) for address, weight in self._weights.items()]

    def _endpoint(self, address: Address, live: Claims | Table, rim: Rim) -> Endpoint:
        def make() -> Endpoint:
            name, stats, registry = str(address), EndpointStats(), self._state.stats.endpoints
            registry[name] = stats

            def forget() -> None:
                if registry.get(name) is stats:
                    del registry[name]

            return Endpoint(address, stats, rim.clock, forget, self._state.changed)

        return live.claim(self._key(address), make)

    def _key(self, address: Address) -> tuple[str, str, Address]:
        return ("endpoint", self.config.name, address)


def weights(said: model.Cluster, known: Known) -> dict[Address, int]:
    """Who is in it.  An address that has several names, or stands there as well, has the sum of their weights."""
    found: dict[Address, int] = {}
    for endpoint in said.endpoints:
        for address in addresses(endpoint, known):
            found[address] = found.get(address, 0) + endpoint.weight
    return found


def addresses(said: model.Endpoint, known: Known) -> tuple[Address, ...]:
    """What an endpoint stands for."""
    where = said.address
    if isinstance(where, Address):
        return (where,)
    hosts = known.get(where.host, ())
    return tuple(Address("ipv6" if ":" in host else "ipv4", host, where.port) for host in hosts)
