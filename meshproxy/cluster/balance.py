"""Who is next: a balancer is a function from the endpoints tried so far, and from who asks, to the endpoint to try now.

Each is built once per generation over the endpoints that may be picked, and keeps its memory in them, where a reload
does not reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from meshproxy.cluster.endpoint import Endpoint


class Asking(Protocol):
    """Whom an endpoint is wanted for: a connection, or an exchange."""

    @property
    def client(self) -> str | None:
        """The address of who connected; None for a unix socket."""


Pick = Callable[[Collection[Endpoint], Asking], Endpoint | None]
Weighted = Sequence[tuple[Endpoint, int]]


def round_robin(members: Weighted) -> Pick:
    """Smooth and weighted: of weights 5, 1, 1 come a a b a c a a, not a a a a a b c."""
    if len(members) == 1:
        only = members[0][0]
        return lambda tried, _: None if only in tried else only

    def pick(tried: Collection[Endpoint], _: Asking) -> Endpoint | None:
        best = None
        total = 0
        for endpoint, weight in members:
            if endpoint in tried:
                continue
            endpoint.current += weight
            total += weight
            if best is None or endpoint.current > best.current:
                best = endpoint
        if best is not None:
            best.current -= total
        return best

    return pick


def least_request(members: Weighted) -> Pick:
    """The fewest connections for its weight; who is equal takes turns."""
    turn = round_robin(members)

    def pick(tried: Collection[Endpoint], _: Asking) -> Endpoint | None:
        loads = [
            (endpoint.load / weight, endpoint)
            for endpoint, weight in members
            if endpoint not in tried
        ]
        if not loads:
            return None
        least = min(load for load, _ in loads)
        busier = {endpoint for load, endpoint in loads if load > least}
        return turn(busier.union(tried), _)

    return pick


BALANCERS: dict[str, Callable[[Weighted], Pick]] = {
    "round_robin": round_robin,
    "least_request": least_request,
}
