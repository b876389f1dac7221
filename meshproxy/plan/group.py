"""A cluster, compiled, and who is in it: the endpoints that are written, and those that names stand for at the moment.

When a name has other addresses a group changes in place, in the generation that is in force: who stays keeps its live
state, who is gone is retired, and from the next call on the cluster picks among those who are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from meshproxy import model
from meshproxy.cluster.balance import BALANCERS, Pick
from meshproxy.cluster.breaker import Breaker
from meshproxy.cluster.breaker import Terms as BreakerTerms
from meshproxy.cluster.cluster import Cluster, ClusterState, Reuse
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.cluster.retry import Budget, BudgetTerms
from meshproxy.core.limit import Stock
from meshproxy.core.table import Claims, Table
from meshproxy.model import Address
from meshproxy.observe.metrics import EndpointStats
from meshproxy.plan.answer import fixed
from meshproxy.plan.rim import Rim
from meshproxy.wire.h1 import ResponseCodec

Known = Mapping[str, tuple[str, ...]]
"""The addresses of names, of those that have any."""


class Group:
    """A cluster, and what was said of it."""

    __slots__ = ("__weakref__", "_breaker", "_members", "_state", "_weights", "cluster", "config")

    def __init__(self, said: model.Cluster, limit: Stock, claims: Claims, rim: Rim) -> None:
        self.config = said
        self._state = claims.claim(("cluster", said.name), lambda: ClusterState(said.name, rim.stats.clusters))
        self._state.pickers.add(self)
        self._weights = weights(said, rim.known)
        self._members = self._found(claims, rim)
        self._breaker = _breaker(said, self._state, claims, rim)
        bounds = said.breaker
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
            heed=self._breaker.heed if self._breaker is not None else None,
            requests=stock(requests_of(said.name), bounds.max_requests, claims, rim),
            pending=stock(pending_of(said.name), bounds.max_pending, claims, rim),
            degraded=fixed(bounds.reply) if bounds.reply is not None else None,
            budget=_budget(said, claims),
        )
        self.refresh()

    def renew(self, table: Table, rim: Rim, grace: float) -> None:
        """Be what the names say now."""
        before, self._weights = self._weights, weights(self.config, rim.known)
        if self._weights == before:
            return
        self._members = self._found(table, rim)
        self.refresh()
        for address in before.keys() - self._weights.keys():
            table.drop(self._key(address), grace)

    def refresh(self) -> None:
        """Pick among those who are fit now, if the breaker lets anybody pass."""
        self.cluster.use(self._pick(), [endpoint for endpoint, _ in self._members])
        if self._breaker is not None:
            self.cluster.turn(self._breaker.gate)

    def _pick(self) -> Pick:
        return BALANCERS[self.config.balance](
            [(endpoint, weight) for endpoint, weight in self._members if weight and not endpoint.doubts]
        )

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


def _breaker(said: model.Cluster, state: ClusterState, claims: Claims, rim: Rim) -> Breaker | None:
    bounds = said.breaker
    if not bounds.opens:
        return None
    terms = BreakerTerms(
        window=bounds.window,
        open_for=bounds.open,
        min_requests=bounds.min_requests,
        error_ratio=_or_never(bounds.error_ratio),
        error_amount=_or_never(bounds.error_amount),
        slow=_or_never(bounds.slow),
        slow_ratio=_or_never(bounds.slow_ratio),
        slow_amount=_or_never(bounds.slow_amount),
        probes=bounds.probes,
    )

    def made() -> Breaker:
        state.stats.breaker_open = 0

        def turned() -> None:
            state.stats.breaker_open = int(breaker.state != "closed")
            state.stats.breaker_opened_total += breaker.state == "open"
            rim.log.warning("breaker-turned", cluster=said.name, state=breaker.state)
            state.changed()

        breaker = Breaker(terms, rim.clock.now, turned)
        return breaker

    return claims.claim(("breaker", said.name, terms), made)


def _or_never(threshold: float | None) -> float:
    return inf if threshold is None else threshold


def _budget(said: model.Cluster, claims: Claims) -> Budget:
    bounds = said.breaker
    terms = BudgetTerms(bounds.retry_share, bounds.min_retries, _or_never(bounds.max_retries))
    return claims.claim(("budget", said.name, terms), lambda: Budget(terms))


def stock(key: str, most: int | None, claims: Claims, rim: Rim) -> Stock | None:
    """The limit of that name, if there is any."""
    return None if most is None else claims.claim(("limit", key), lambda: rim.limits.stock(key))


def requests_of(cluster: str) -> str:
    """What the limit of requests at a time is called."""
    return f"cluster/{cluster}/requests"


def pending_of(cluster: str) -> str:
    """What the limit of those who wait for a connection is called."""
    return f"cluster/{cluster}/pending"


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
