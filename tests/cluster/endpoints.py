"""Endpoints and askers for tests of balancers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from meshproxy.cluster.balance import Asking, Means, Pick
from meshproxy.cluster.balance.key import no_key
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.metrics.clusters import EndpointStats


class Client:
    def __init__(self, client: str | None = None) -> None:
        self.client = client


NOBODY = Client()


def endpoint(port: int, clock: Clock, changed: Callable[[], None] = lambda: None) -> Endpoint:
    return Endpoint(Address("ipv4", "127.0.0.1", port), EndpointStats(), clock, lambda: None, on_change=changed)


def endpoints(count: int, clock: Clock) -> list[Endpoint]:
    return [endpoint(port + 1, clock) for port in range(count)]


def means(
    clock: Clock,
    weights: Sequence[float] = (),
    key: Callable[[Asking], int | None] = no_key,
    seed: int = 1,
) -> Means:
    return Means(Random(seed).random, clock.now, key, tuple(weights))


def picked(pick: Pick, times: int) -> Counter[Endpoint | None]:
    return Counter(pick((), NOBODY) for _ in range(times))
