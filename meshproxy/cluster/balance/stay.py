"""A connection of a client stays where it is: what comes on it goes to the endpoint that it was given first.

That is followed for as long as the endpoint may be picked; then another is given, to stay with.  A retry asks somebody
else, and moves nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meshproxy import model
from meshproxy.cluster.balance.base import Pick
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import Exchange

MOST_KEPT = 1024
"""Clusters, and parts of them, for which a connection has an endpoint."""


def stay(part: model.Share, fit: Sequence[Endpoint], pick: Pick) -> Pick:
    """What `pick` says for whoever has nobody that is fit."""
    may_stay, key = frozenset(fit), (part.cluster, part.subset)

    def staying(tried: Collection[Endpoint], x: Exchange) -> Endpoint | None:
        kept = x.origin.kept
        had = kept.get(key)
        if had in may_stay:
            return had if had not in tried else pick(tried, x)
        found = pick(tried, x)
        if found is not None:
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[key] = found
        return found

    return staying  # type: ignore[return-value]  # only HTTP leads to a cluster that does this
