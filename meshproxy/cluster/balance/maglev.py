"""Maglev's table: a prime number of places that endpoints take in turn, each in an order of its own.

It is more even than a ring, and a key is found at once; when an endpoint leaves, a few keys of others move as well.
Like a ring it is made of addresses and weights alone, the same everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import blake2b
from heapq import heapify, heapreplace
from itertools import count

from meshproxy.cluster.balance.base import Asking, Means, Pick, Weighted
from meshproxy.cluster.endpoint import Endpoint

SIZE = 8_191
"""A prime, and the same for all clusters, for with another size every key moves: a hundred places for each of 80
endpoints, and eight for each of a thousand."""


def maglev(members: Weighted, means: Means) -> Pick:
    key_of, chance = means.key, means.chance
    table = places(members)

    def pick(tried: Collection[Endpoint], asking: Asking) -> Endpoint | None:
        key = key_of(asking)
        place = (int(chance() * 0x1_0000_0000) if key is None else key) % SIZE
        endpoint = table[place]
        if tried and endpoint in tried:
            after = (*table[place:], *table[:place])
            return next((other for other in after if other not in tried), None)
        return endpoint

    return pick


def places(members: Weighted) -> list[Endpoint]:
    """Whose place each is.  Whoever weighs less than one part in `SIZE` may have none."""
    free = bytearray(b"\1") * SIZE
    table: list[Endpoint] = [members[0][0]] * SIZE
    takers = []
    for number, (endpoint, weight) in enumerate(sorted(members, key=lambda member: member[0].name)):
        # A filter, so that places that are taken are passed over at the speed of C.
        wanted = filter(free.__getitem__, _order(endpoint.name))
        takers.append((0.5 / weight, number, 1 / weight, endpoint, wanted))
    heapify(takers)
    for _ in range(SIZE):
        due, number, step, endpoint, wanted = takers[0]
        place = next(wanted)
        free[place] = 0
        table[place] = endpoint
        heapreplace(takers, (due + step, number, step, endpoint, wanted))
    return table


def _order(name: str) -> Iterator[int]:
    """All places, again and again, in an order that is made of the address."""
    number = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")
    first, step = number % SIZE, number // SIZE % (SIZE - 1) + 1
    return map(SIZE.__rmod__, count(first, step))
