"""All that a worker counts."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.counters import Counters, _plain
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.mqtt import BridgeStats, SpoolStats, UplinkStats
from meshproxy.observe.metrics.process import SinkStats, WorkerStats
from meshproxy.observe.metrics.tunnels import TunnelStats


class Stats(Counters):
    """The root: everything one worker counts, by name."""

    __slots__ = ("bridges", "clusters", "edges", "listeners", "sinks", "spools", "tunnels", "uplinks", "worker")

    def __init__(self) -> None:
        self.worker = WorkerStats()
        self.listeners: dict[str, ListenerStats] = {}
        self.clusters: dict[str, ClusterStats] = {}
        self.bridges: dict[str, BridgeStats] = {}
        self.uplinks: dict[str, UplinkStats] = {}
        """By cluster: sessions of our own with its brokers, for clients."""
        self.spools: dict[str, dict[str, SpoolStats]] = {}
        """By policy and cluster: what is stored for its brokers."""
        self.edges: dict[str, dict[str, dict[str, dict[str, EdgeStats]]]] = {}
        """By listener, cluster, source and endpoint: who talks to whom."""
        self.sinks: dict[str, SinkStats] = {}
        """By name: where logs and traces go."""
        self.tunnels: dict[str, TunnelStats] = {}

    def in_steps(self) -> Generator[None, None, dict[str, Any]]:
        """The snapshot, part by part: of thousands of endpoints it takes a while."""
        named: dict[str, dict[str, Any]] = {
            "listeners": {}, "clusters": {}, "bridges": {}, "uplinks": {}, "spools": {}, "edges": {}, "sinks": {},
            "tunnels": {},
        }  # fmt: skip
        for kind, found in named.items():
            for name, counted in list(getattr(self, kind).items()):
                if kind == "edges":
                    found[name] = yield from _edges_in_steps(counted)
                else:
                    found[name] = _plain(counted)
                yield
        return {"worker": self.worker.snapshot(), **named}


def _edges_in_steps(edges: dict[str, dict[str, Any]]) -> Generator[None, None, dict[str, Any]]:
    found: dict[str, Any] = {}
    for cluster, by_source in list(edges.items()):
        found[cluster] = {}
        for source, by_endpoint in list(by_source.items()):
            found[cluster][source] = _plain(by_endpoint)
            yield
    return found
