"""Several who heed the same attempts."""

from __future__ import annotations

from meshproxy.cluster.cluster import Heed
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure


def together(*heeds: Heed | None) -> Heed | None:
    """All of these that there are, as one; None if there is none."""
    present = tuple(heed for heed in heeds if heed is not None)
    if len(present) < 2:
        return present[0] if present else None

    def heed(endpoint: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        for each in present:
            each(endpoint, failure, status, seconds)

    return heed
