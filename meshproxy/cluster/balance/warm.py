"""Slow start: the weight of an endpoint that is new, or fit again, grows from a tenth to the whole.

It grows in steps, at each of which the balancer is built anew, so that a pick need not look at the clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.cluster.endpoint import Endpoint

STEPS = 10


def warmth(endpoint: Endpoint, window: float, now: float) -> float:
    """The part of its weight that it is given, from a tenth to 1."""
    return min(1.0, (now - endpoint.fit_since) / window + 1 / STEPS) if window else 1.0


def until_next(endpoints: Iterable[Endpoint], window: float, now: float) -> float | None:
    """Seconds until weights are to be looked at again; None if all have their whole weight."""
    return window / STEPS if any(warmth(each, window, now) < 1 for each in endpoints) else None
