"""What other proxies have said of themselves: names for the nodes of the service graph.

    peers.came("spiffe://cluster.local/ns/shop/sa/web", {"service": "web"})
    peers.reached("books", "10.0.0.1:8080", {"service": "books", "version": "v1"})
    peers.among(names)                  # of the ends of these edges, by the id of their node

Only who has proved who it is gets here.  Several that prove the same may say different things: the last word counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from meshproxy.wire.introduction import Said

MOST_KEPT = 500
"""Sources, and as many endpoints; of more, those who have not said anything for longest are forgotten."""

K = TypeVar("K")


def node_id(kind: str, name: str, cluster: str = "") -> str:
    """An endpoint may be in several clusters, and healthy in one of them."""
    return f"{kind}:{cluster}/{name}" if kind == "endpoint" else f"{kind}:{name}"


class Peers:
    __slots__ = ("_endpoints", "_sources")

    def __init__(self) -> None:
        self._sources: dict[str, Said] = {}
        self._endpoints: dict[tuple[str, str], Said] = {}

    def came(self, source: str, said: Said) -> None:
        _keep(self._sources, source, said)

    def reached(self, cluster: str, endpoint: str, said: Said) -> None:
        _keep(self._endpoints, (cluster, endpoint), said)

    def forget(self) -> None:
        self._sources.clear()
        self._endpoints.clear()

    def among(self, edges: Iterable[Sequence[str]]) -> dict[str, Said]:
        """Each edge is a listener, a cluster, a source and an endpoint."""
        found: dict[str, Said] = {}
        sources, endpoints = self._sources, self._endpoints
        if not (sources or endpoints):
            return found
        for _, cluster, source, endpoint in edges:
            if source in sources:
                found[node_id("source", source)] = sources[source]
            if (cluster, endpoint) in endpoints:
                found[node_id("endpoint", endpoint, cluster)] = endpoints[cluster, endpoint]
        return found


def _keep(known: dict[K, Said], key: K, said: Said) -> None:
    known.pop(key, None)
    if len(known) >= MOST_KEPT:
        del known[next(iter(known))]
    known[key] = said
