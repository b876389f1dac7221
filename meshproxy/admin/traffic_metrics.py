"""The counters as SMI's metrics API shows them: what the workload has served, and what it has had of other services.

    found = TrafficMetrics(config, stats["listeners"], window=3600.0, now=1_700_000_000.0)
    found.of("services", "shop", "books")       # TrafficMetrics of what it has served; None: it is not ours to know
    found.edges("services", "shop", "books")    # a TrafficMetricsList, an item for each service that it has asked

A sidecar knows its own side only, so a collector asks all of them.  What arrives at the listener `outbound` is the
workload's own asking; what arrives at any other is asked of it.  The window is all the time that the process has run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, inf
from typing import Any

from meshproxy.model import Config

GROUP = "metrics.smi-spec.io/v1alpha1"
BASE = f"/apis/{GROUP}"
OUTBOUND = "outbound"
KIND = "Service"
PLURAL = "services"
QUANTILES = (0.99, 0.90, 0.50)

_CLUSTER = re.compile(r"(?P<namespace>[^/|]+)/(?P<name>[^/|]+)(?:\|.*)?")
"""As the dialects of meshes name the clusters of services."""

Row = dict[str, Any]
Counted = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrafficMetrics:
    config: Config
    listeners: Mapping[str, Counted]
    """What has been counted of each."""
    window: float
    now: float

    def resources(self) -> Row:
        """What may be asked for."""
        names = ((PLURAL, KIND), (f"{PLURAL}/edges", KIND))
        verbs = ["get", "list"]
        rows = [{"name": name, "namespaced": True, "kind": kind, "verbs": verbs} for name, kind in names]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": rows}

    def all(self, plural: str, namespace: str) -> Row | None:
        """Of the services of a namespace, of which a sidecar knows its own."""
        node = self.config.node
        if plural != PLURAL:
            return None
        found = self.of(plural, namespace, node.service)
        return self._list({"kind": KIND, "namespace": namespace}, [found] if found is not None else [])

    def of(self, plural: str, namespace: str, name: str) -> Row | None:
        if not self._ours(plural, namespace, name):
            return None
        answers = (held for listener, held in self.listeners.items() if listener != OUTBOUND for held in _answers(held))
        return self._item(_service(namespace, name), answers)

    def edges(self, plural: str, namespace: str, name: str) -> Row | None:
        if not self._ours(plural, namespace, name):
            return None
        by_service: dict[tuple[str, str], list[Counted]] = {}
        for cluster, held in _by_cluster(self.listeners.get(OUTBOUND, {"answers": {}})):
            if found := _CLUSTER.fullmatch(cluster):
                by_service.setdefault((found["namespace"], found["name"]), []).append(held)
        resource = _service(namespace, name)
        items = []
        for asked, answers in sorted(by_service.items()):
            edge = {"direction": "to", "side": "client", "resource": _service(*asked)}
            items.append(self._item(resource, answers, edge=edge))
        return self._list(resource, items)

    def _ours(self, plural: str, namespace: str, name: str) -> bool:
        node = self.config.node
        return bool(name) and (plural, namespace, name) == (PLURAL, node.namespace, node.service)

    def _list(self, resource: Row, items: list[Row]) -> Row:
        return {"kind": "TrafficMetricsList", "apiVersion": GROUP, "resource": resource, "items": items}

    def _item(self, resource: Row, answers: Iterable[Counted], **more: Row) -> Row:
        return {
            "kind": "TrafficMetrics",
            "apiVersion": GROUP,
            "resource": resource,
            **more,
            "timestamp": datetime.fromtimestamp(self.now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "window": f"{self.window:.0f}s",
            "metrics": _metrics([*answers]),
        }


def _service(namespace: str, name: str) -> Row:
    return {"kind": KIND, "namespace": namespace, "name": name}


def _answers(listener: Counted) -> Iterator[Counted]:
    for of_route in listener["answers"].values():
        yield from of_route.values()


def _by_cluster(listener: Counted) -> Iterator[tuple[str, Counted]]:
    for of_route in listener["answers"].values():
        yield from of_route.items()


def _metrics(answers: list[Counted]) -> list[Row]:
    succeeded = failed = 0
    seconds: dict[float, int] = {}
    for held in answers:
        for code, counted in held["requests"].items():
            if code.startswith("5"):
                failed += counted["count"]
            else:
                succeeded += counted["count"]
        for bound, count in held["seconds"]["counts"].items():
            seconds[_bound(bound)] = seconds.get(_bound(bound), 0) + count
    latencies = [
        {
            "name": f"p{share * 100:.0f}_response_latency",
            "unit": "seconds",
            "value": f"{ceil(quantile(seconds, share) * 1000)}m",
        }
        for share in QUANTILES
    ]
    return [
        *latencies,
        {"name": "success_count", "value": str(succeeded)},
        {"name": "failure_count", "value": str(failed)},
    ]


def _bound(text: str) -> float:
    return inf if text == "+Inf" else float(text)


def quantile(counts: Mapping[float, int], share: float) -> float:
    """From a histogram: within a bucket as if all were spread evenly; of what is beyond all bounds, the last bound."""
    wanted = share * sum(counts.values())
    below, passed = 0.0, 0
    for bound in sorted(counts):
        count = counts[bound]
        if count and passed + count >= wanted:
            return below if bound == inf else below + (bound - below) * (wanted - passed) / count
        passed += count
        below = below if bound == inf else bound
    return 0.0
