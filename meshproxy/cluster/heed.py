"""Several who heed how attempts go, as one."""

from __future__ import annotations

from meshproxy.cluster.cluster import Heed
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure


def together(*heeds: Heed | None) -> Heed | None:
    """None if nobody is left who cares, and whoever is alone is called without a detour."""
    found = [heed for heed in heeds if heed is not None]
    if len(found) <= 1:
        return found[0] if found else None

    def all_of_them(endpoint: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        for heed in found:
            heed(endpoint, failure, status, seconds)

    return all_of_them
