"""By chance, each by its weight: no memory, no order, and nothing to look at."""

from __future__ import annotations

from collections.abc import Collection

from meshproxy.cluster.balance.base import Asking, Means, Pick, Weighted, drawing, without
from meshproxy.cluster.endpoint import Endpoint


def random(members: Weighted, means: Means) -> Pick:
    chance, draw = means.chance, drawing(members, means.chance)

    def pick(tried: Collection[Endpoint], _: Asking) -> Endpoint | None:
        endpoint = draw()
        if tried and endpoint in tried:
            left = without(members, tried)
            return drawing(left, chance)() if left else None
        return endpoint

    return pick
