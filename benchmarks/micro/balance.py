"""What it costs to say who is next, among 3, 100 and 1,000 endpoints, for each balancer.

Everything happens in this process: endpoints without connections, a key that is a header, and requests of which each
has another one.  A figure is the best of many passes over a thousand picks.  Beside it stands how long it takes to
build the function that picks, which is done when an endpoint becomes fit or unfit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import random

from benchmarks.harness import Plan, Result, interleave, note
from meshproxy.cluster.balance import BALANCERS, Means, Pick, key_of
from meshproxy.cluster.balance.base import Balancer, Weighted
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.model import Address, HashKey
from meshproxy.net.clock import Timer
from meshproxy.observe.metrics.clusters import EndpointStats

SIZES = (3, 100, 1_000)
REQUESTS = 1000
KINDS: dict[str, Balancer] = BALANCERS


class Request:
    """An exchange, as far as a balancer looks at it."""

    client = "127.0.0.1"

    def __init__(self, number: int) -> None:
        self.request = self
        self._user = b"user-%d" % number

    def get(self, name: bytes) -> bytes | None:
        return self._user if name == b"x-user" else None


class Time:
    """A clock whose timers nobody needs."""

    now = wall = staticmethod(time.monotonic)

    def after(self, seconds: float, action: object) -> Timer:
        raise AssertionError("nothing waits here")


def run(plan: Plan) -> list[Result]:
    note(f"micro balance: {plan.rounds} rounds of {plan.seconds / 10:g} s, {len(KINDS)} balancers, sizes {SIZES}")
    subjects = {f"{size} endpoints": members(size) for size in SIZES}
    return [result for name, balancer in KINDS.items() for result in measured(name, balancer, subjects, plan)]


def measured(name: str, balancer: Balancer, subjects: dict[str, Weighted], plan: Plan) -> Iterator[Result]:
    def picks(endpoints: Weighted) -> float:
        return best(built(balancer, endpoints)[0], plan.seconds / 10)

    def builds(endpoints: Weighted) -> float:
        return built(balancer, endpoints)[1]

    yield Result(f"micro balance: {name}", "µs", interleave(subjects, plan.rounds, picks))
    yield Result(f"micro balance: {name}, built", "ms", interleave(subjects, plan.rounds, builds))


def members(size: int) -> Weighted:
    """Every tenth weighs three times as much."""
    return [
        (
            Endpoint(Address("ipv4", f"10.0.{n >> 8}.{n & 255}", 80), EndpointStats(), Time(), lambda: None),
            1.0 if n % 10 else 3.0,
        )
        for n in range(size)
    ]


def built(balancer: Balancer, endpoints: Weighted) -> tuple[Pick, float]:
    """And the milliseconds that it took."""
    weights = tuple(weight for _, weight in endpoints)
    means = Means(random, time.monotonic, key_of([HashKey(header="x-user")]), weights)
    began = time.perf_counter()
    pick = balancer(endpoints, means)
    return pick, (time.perf_counter() - began) * 1e3


def best(pick: Pick, seconds: float) -> float:
    """Microseconds for one pick, of the best pass."""
    requests = [Request(number) for number in range(REQUESTS)]
    least, end = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        for request in requests:
            pick((), request)
        now = time.perf_counter()
        least = min(least, now - began)
        if now > end:
            return least / REQUESTS * 1e6
