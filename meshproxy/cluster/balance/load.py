"""The least load for its weight: by connections that have something to do, or by how long an answer takes as well.

Among few, all are looked at, and those that are equal take turns.  Among many, two are drawn, each by its weight, and
the better one is taken: that is nearly as even, costs the same with a thousand, and does not send everything to the
same one because it has looked idle to everybody at once.

The time of answers is a *peak* EWMA: a slow answer counts at once, and is forgotten as time goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import exp

from meshproxy.cluster.balance.base import Asking, Means, Pick, Weighted, drawing, without
from meshproxy.cluster.balance.turns import turns
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure

FEW = 8
TAU = 10.0
"""Seconds in which what was heard of an endpoint loses all but 37 % of its meaning."""
FAILED = 1.0
"""The seconds that an attempt counts for at least that has failed: who fails at once is not fast."""

AT_ONCE = 1e-6
"""The least that an answer takes: 0 stands for what is not known."""

Cost = Callable[[Endpoint], float]
"""What it would cost to be served there, were its weight 1."""


def busy(endpoint: Endpoint) -> int:
    """Connections and streams that have something to do, or will have when they are made.

    A connection that carries streams and takes more counts for nothing itself: it stands among the idle ones.
    """
    stats = endpoint.stats
    return stats.connections_active + stats.streams_active + endpoint.dialling - len(endpoint.idle)


def least_request(members: Weighted, means: Means) -> Pick:
    return least(members, means, busy)


def ewma(members: Weighted, means: Means) -> Pick:
    now = means.now

    def cost(endpoint: Endpoint) -> float:
        stats = endpoint.stats
        load = stats.connections_active + stats.streams_active + endpoint.dialling - len(endpoint.idle)
        if not endpoint.latency:
            # Nothing is known of it: it gets one request, and more when that is answered.
            return load * FAILED
        return endpoint.latency * exp((endpoint.heard - now()) / TAU) * (load + 1)

    return least(members, means, cost)


def listening(now: Callable[[], float]) -> Callable[[Endpoint, Failure | None, int, float], None]:
    """Hears how long each attempt has taken."""

    def heed(endpoint: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        seconds = max(seconds, FAILED if failure is not None or status >= 500 else AT_ONCE)
        at, before = now(), endpoint.latency
        kept = exp((endpoint.heard - at) / TAU)
        endpoint.latency = seconds if seconds > before * kept else before * kept + seconds * (1 - kept)
        endpoint.heard = at

    return heed


def least(members: Weighted, means: Means, cost: Cost) -> Pick:
    return _of_all(members, cost) if len(members) <= FEW else _of_two(members, means, cost)


def _of_all(members: Weighted, cost: Cost) -> Pick:
    steps = [(endpoint, step) for _, _, step, endpoint in turns(members)]
    last = 0.0

    def pick(tried: Collection[Endpoint], _: Asking) -> Endpoint | None:
        nonlocal last
        best, lowest, its_step = None, 0.0, 0.0
        for endpoint, step in steps:
            if tried and endpoint in tried:
                continue
            asked = cost(endpoint) * step
            if best is None or asked < lowest or (asked == lowest and endpoint.due < best.due):
                best, lowest, its_step = endpoint, asked, step
        if best is not None:
            # Who was too busy for many turns does not make up for them.
            last = max(last, best.due)
            best.due = last + its_step
        return best

    return pick


def _of_two(members: Weighted, means: Means, cost: Cost) -> Pick:
    draw = drawing([(number, weight) for number, (_, weight) in enumerate(members)], means.chance)
    steps = [(endpoint, 1 / weight) for endpoint, weight in members]

    def pick(tried: Collection[Endpoint], asking: Asking) -> Endpoint | None:
        number = draw()
        another = draw()
        if another == number:
            another -= 1
        one, step = steps[number]
        other, its_step = steps[another]
        if tried and (one in tried or other in tried):
            left = without(members, tried)
            return _of_all(left, cost)((), asking) if left else None
        return one if cost(one) * step <= cost(other) * its_step else other

    return pick
