"""Smooth weighted round robin: of weights 5, 1, 1 come a a a b a c a, and not a a a a a b c.

Each endpoint is due at a time of its own, and when it has had its turn it is due again after one step, which is the
shorter the more it weighs.  Who is due first is next: that is the top of a heap, with three endpoints or a thousand.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heapreplace

from meshproxy.cluster.balance.base import Asking, Means, Pick, Weighted
from meshproxy.cluster.endpoint import Endpoint

Turn = tuple[float, int, float, Endpoint]
"""When it is due, its place among equals, its step, and whose turn it is."""


def turns(members: Weighted) -> list[Turn]:
    """In order.  The rotation goes on where endpoints have left it; who was not in it takes its place between others.

    The last turn that was taken is at 0: nobody is behind it, and so nobody makes up for a time in which it was away.
    """
    steps = [(endpoint, 1 / weight) for endpoint, weight in members]
    last = max((endpoint.due - step for endpoint, step in steps if endpoint.due), default=0.0)
    found = []
    for place, (endpoint, step) in enumerate(steps):
        due = endpoint.due - last
        if not endpoint.due or due <= 0:
            due = (place + 0.5) / len(steps) * step
        endpoint.due = due
        found.append((due, place, step, endpoint))
    return sorted(found)


def round_robin(members: Weighted, _: Means) -> Pick:
    heap = turns(members)

    def pick(tried: Collection[Endpoint], _: Asking) -> Endpoint | None:
        due, place, step, endpoint = heap[0]
        if tried and endpoint in tried:
            return _before_its_turn(heap, tried)
        endpoint.due = due = due + step
        heapreplace(heap, (due, place, step, endpoint))
        return endpoint

    return pick


def _before_its_turn(heap: list[Turn], tried: Collection[Endpoint]) -> Endpoint | None:
    """Whoever is due first of those who are left."""
    turn = min((turn for turn in heap if turn[3] not in tried), default=None)
    if turn is None:
        return None
    due, place, step, endpoint = turn
    endpoint.due = due = due + step
    heap[heap.index(turn)] = due, place, step, endpoint
    heapify(heap)
    return endpoint
