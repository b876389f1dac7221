"""What bounds how much is asked of a cluster: its breaker, its budget for retries, its limits of requests."""

from __future__ import annotations

from math import inf

from meshproxy import model
from meshproxy.cluster.breaker import Breaker, Terms
from meshproxy.cluster.cluster import ClusterState
from meshproxy.cluster.outlier import Ejection
from meshproxy.cluster.retry import Budget, BudgetTerms
from meshproxy.core.limit import Stock
from meshproxy.core.table import Claims
from meshproxy.plan.rim import Rim
from meshproxy.plan.verdicts import EVERYBODY, gate_of


def breaker_of(said: model.Cluster, state: ClusterState, claims: Claims, rim: Rim) -> Breaker | None:
    bounds = said.breaker
    if not bounds.opens:
        return None
    terms = Terms(
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
    say = rim.verdicts.say

    def made() -> Breaker:
        def turned() -> None:
            state.stats.breaker_open = int(breaker.state != "closed")
            state.stats.breaker_opened_total += breaker.state == "open"
            rim.log.info("breaker-turned", cluster=said.name, state=breaker.state)
            state.changed()

        def tell(until: float) -> None:
            say(gate_of(said) + EVERYBODY, Ejection(until, 1, "breaker"))

        breaker = Breaker(terms, rim.clock.now, turned, tell)
        return breaker

    return claims.claim(("breaker", said.name, terms), made)


def _or_never(threshold: float | None) -> float:
    return inf if threshold is None else threshold


def budget_of(said: model.Cluster, claims: Claims) -> Budget:
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
