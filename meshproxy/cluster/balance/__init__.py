"""Who is next: a balancer is a function from the endpoints tried so far, and from who asks, to the endpoint to try now.

    means = Means(random, clock.now, key_of(said.hash), everyone=(3.0, 1.0))
    pick = balanced([(endpoint, Seat(weight=3)), ...], said, "zone-a", means)
    pick((), exchange)      # an endpoint, or None; `pick` is made anew when somebody becomes unfit, or fit again

Each is built over the endpoints that may be picked, with all that can be known before, and keeps its memory in them,
where a reload does not reach it.  Whatever decides who is preferred, such as zones, health or a slow start, says so in
weights, so that no balancer knows of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meshproxy import model
from meshproxy.cluster.balance.base import Asking as Asking
from meshproxy.cluster.balance.base import Balancer, Weighted, nobody
from meshproxy.cluster.balance.base import Means as Means
from meshproxy.cluster.balance.base import Pick as Pick
from meshproxy.cluster.balance.chance import random
from meshproxy.cluster.balance.key import key_of as key_of
from meshproxy.cluster.balance.load import ewma, least_request
from meshproxy.cluster.balance.load import listening as listening
from meshproxy.cluster.balance.maglev import maglev
from meshproxy.cluster.balance.parts import Seat as Seat
from meshproxy.cluster.balance.parts import standing as standing
from meshproxy.cluster.balance.ring import ring_hash
from meshproxy.cluster.balance.stay import stay
from meshproxy.cluster.balance.sticky import sticky
from meshproxy.cluster.balance.turns import round_robin
from meshproxy.cluster.balance.warm import until_next as until_next
from meshproxy.cluster.balance.warm import warmth
from meshproxy.cluster.endpoint import Endpoint

BALANCERS: dict[str, Balancer] = {
    "round_robin": round_robin,
    "least_request": least_request,
    "ewma": ewma,
    "ring_hash": ring_hash,
    "maglev": maglev,
    "random": random,
}

Seated = Sequence[tuple[Endpoint, Seat]]


def balanced(
    members: Seated, said: model.Cluster, zone: str, means: Means, part: model.Share | None = None
) -> Pick:
    """Pick among these as the cluster says; they are all of it, or a part."""
    fit = [not endpoint.doubts for endpoint, _ in members]
    weights, spare = standing([seat for _, seat in members], fit, zone=zone, panic=said.panic)
    window, now = said.slow_start, means.now()
    picked = [
        (endpoint, weight * warmth(endpoint, window, now))
        for (endpoint, _), weight in zip(members, weights, strict=True)
        if weight
    ]
    pick = among(picked, BALANCERS[said.balance], means)
    later = [[(members[number][0], float(members[number][1].weight)) for number in some] for some in spare]
    if later:
        pick = _then(pick, [among(some, round_robin, means) for some in later])
    if said.sticky is not None or said.stay:
        may_stay = [endpoint for some in (picked, *later) for endpoint, _ in some]
        if said.sticky is not None:
            pick = sticky(said.sticky, said.name, may_stay, pick)
        else:
            pick = stay(part or model.Share(said.name), may_stay, pick)
    return pick


def among(members: Weighted, balancer: Balancer, means: Means) -> Pick:
    if not members:
        return nobody
    if len(members) == 1:
        only = members[0][0]
        return lambda tried, _: None if only in tried else only
    return balancer(members, means)


def _then(first: Pick, others: Sequence[Pick]) -> Pick:
    """Those who are left for later, one after the other, when all that are picked were tried."""

    def pick(tried: Collection[Endpoint], asking: Asking) -> Endpoint | None:
        found = first(tried, asking)
        if found is None:
            for other in others:
                found = other(tried, asking)
                if found is not None:
                    break
        return found

    return pick


def part_of(members: Seated, share: model.Share) -> Seated:
    """Those who have the labels that a route asks for, or all where nobody of them is fit and any other is as good."""
    wanted = set(share.subset)
    found = [(endpoint, seat) for endpoint, seat in members if wanted <= set(seat.labels)]
    if share.no_subset == "any" and not any(seat.weight and not endpoint.doubts for endpoint, seat in found):
        return members
    return found
