"""A ring of hashes, as ketama has it: each endpoint has points on it, and a key belongs to the next point.

Where a point is depends on the address alone, and how many there are on the weight alone.  So every worker of every
proxy has the same ring, and only the keys move of who comes or goes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from hashlib import blake2b
from struct import Struct

from meshproxy.cluster.balance.base import Asking, Means, Pick, Weighted
from meshproxy.cluster.endpoint import Endpoint

POINTS = 160
"""For a weight of 1: the shares of two such endpoints differ by about 8 %."""
MOST_OF_ONE = 2_560
"""Of an endpoint: where the largest weight would have more, all have a quarter, or a sixteenth, and so on."""
MOST_POINTS = 65_536
"""On a ring: with more, all endpoints have half as many, or a quarter, and so on, but each has one."""

_numbers = Struct("<16I")


def points(name: str, count: int) -> list[int]:
    """The first so many of an address."""
    found: list[int] = []
    for block in range(-(-count // 16)):
        found += _numbers.unpack(blake2b(f"{name} {block}".encode()).digest())
    return found[:count]


def _unit(largest: float, total: float) -> float:
    """The points of a weight of 1.  It seldom changes: each time half of the keys move."""
    unit = float(POINTS)
    while unit * largest > MOST_OF_ONE:
        unit /= 4
    while unit * total > MOST_POINTS:
        unit /= 2
    return unit


def ring_hash(members: Weighted, means: Means) -> Pick:
    key_of, chance = means.key, means.chance
    # Of all endpoints: else those that are left would have other points when one becomes unfit.
    unit = _unit(max(means.everyone), max(sum(means.everyone), sum(weight for _, weight in members)))
    owners: dict[int, Endpoint] = {}
    for endpoint, weight in sorted(members, key=lambda member: member[0].name):
        owners.update(dict.fromkeys(points(endpoint.name, max(1, round(weight * unit))), endpoint))
    ring = sorted(owners)
    around = [*map(owners.__getitem__, ring)]
    around.append(around[0])

    def pick(tried: Collection[Endpoint], asking: Asking) -> Endpoint | None:
        key = key_of(asking)
        place = bisect_left(ring, int(chance() * 0x1_0000_0000) if key is None else key)
        endpoint = around[place]
        if tried and endpoint in tried:
            after = (*around[place:], *around[:place])
            return next((other for other in after if other not in tried), None)
        return endpoint

    return pick
