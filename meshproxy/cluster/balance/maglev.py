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

SIZES = (1_021, 4_093, 16_381)
"""Primes: the first that has a hundred places for each endpoint of the cluster, fit or not, or else the last."""
EACH = 100


def maglev(members: Weighted, means: Means) -> Pick:
    key_of, chance = means.key, means.chance
    size = next((size for size in SIZES if size >= EACH * len(means.everyone)), SIZES[-1])
    table = places(members, size)

    def pick(tried: Collection[Endpoint], asking: Asking) -> Endpoint | None:
        key = key_of(asking)
        place = (int(chance() * 0x1_0000_0000) if key is None else key) % size
        endpoint = table[place]
        if tried and endpoint in tried:
            after = (*table[place:], *table[:place])
            return next((other for other in after if other not in tried), None)
        return endpoint

    return pick


def places(members: Weighted, size: int) -> list[Endpoint]:
    """Whose place each is.  Whoever weighs less than one part in `size` may have none."""
    free = bytearray(b"\1") * size
    table: list[Endpoint] = [members[0][0]] * size
    takers = []
    for number, (endpoint, weight) in enumerate(sorted(members, key=lambda member: member[0].name)):
        # A filter, so that places that are taken are passed over at the speed of C.
        wanted = filter(free.__getitem__, _order(endpoint.name, size))
        takers.append((0.5 / weight, number, 1 / weight, endpoint, wanted))
    heapify(takers)
    for _ in range(size):
        due, number, step, endpoint, wanted = takers[0]
        place = next(wanted)
        free[place] = 0
        table[place] = endpoint
        heapreplace(takers, (due + step, number, step, endpoint, wanted))
    return table


def _order(name: str, size: int) -> Iterator[int]:
    """All places, again and again, in an order that is made of the address."""
    number = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")
    first, step = number % size, number // size % (size - 1) + 1
    return map(size.__rmod__, count(first, step))
