"""What balancers have in common: what they are made of, and what they are."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, TypeVar

from meshproxy.cluster.endpoint import Endpoint


class Asking(Protocol):
    """Whom an endpoint is wanted for: a connection, or an exchange."""

    @property
    def client(self) -> str | None:
        """The address of who connected; None for a unix socket."""


Pick = Callable[[Collection[Endpoint], Asking], Endpoint | None]
"""From the endpoints tried so far, and from who asks, to the endpoint to try now."""
Weighted = Sequence[tuple[Endpoint, float]]
"""Who may be picked; each has a weight above 0."""
Key = Callable[[Asking], int | None]
"""32 bits of what is to go to the same endpoint; None where nothing of the kind is there."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a balancer may use beside its members."""

    chance: Callable[[], float]
    """From 0 to 1, which is never reached."""
    now: Callable[[], float]
    key: Key
    everyone: tuple[float, ...]
    """The weights of all endpoints of the cluster, fit or not: what must not change with their health is made of it."""


T = TypeVar("T")
Balancer = Callable[[Weighted, Means], Pick]


def nobody(tried: Collection[Endpoint], asking: Asking) -> None:
    """Where nobody may be picked."""


def without(members: Weighted, tried: Collection[Endpoint]) -> Weighted:
    return [member for member in members if member[0] not in tried]


def drawing(weighted: Sequence[tuple[T, float]], chance: Callable[[], float]) -> Callable[[], T]:
    """By chance, each by its weight."""
    things = [thing for thing, _ in weighted]
    bounds = list(accumulate(weight for _, weight in weighted))
    total = bounds[-1]
    return lambda: things[bisect(bounds, chance() * total)]
