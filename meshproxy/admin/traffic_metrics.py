"""The last half minute as SMI's metrics API shows it: what the workload has served, and who has asked whom.

    found = TrafficMetrics(config, [history.told(SECONDS), ...])
    found.of("services", "shop", "books")       # TrafficMetrics of what it has served; None: it is not ours to know
    found.edges("services", "shop", "books")    # a TrafficMetricsList: whom it has asked, and who has asked it

A sidecar knows its own side only, so a collector asks all of them.  What arrives at a listener for the workload's own
asking is that; what arrives at any other is asked of it.  Whoever asks is known by the identity that it has proved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from math import ceil
from operator import add
from typing import Any

from meshproxy.model import Config
from meshproxy.observe.changes import BUCKETS, ERRORS, Change
from meshproxy.observe.history import ANSWERS, EDGE, Names
from meshproxy.observe.metrics.answers import REQUEST_BOUNDS
from meshproxy.observe.presets.identity import NOBODY, identity_of, party, service
from meshproxy.observe.quantile import quantiles
from meshproxy.observe.window import NO_CHANGE, Window

GROUP = "metrics.smi-spec.io/v1alpha1"
BASE = f"/apis/{GROUP}"
KIND, ACCOUNT = "Service", "ServiceAccount"
PLURAL = "services"
QUANTILES = (0.50, 0.90, 0.99)
SECONDS = 30
"""Of which it is told."""

Row = dict[str, Any]
Side = tuple[str, str, str]
"""Of an edge: the kind of who is there, its namespace and its name."""


class TrafficMetrics:
    def __init__(self, config: Config, told: Sequence[bytes]) -> None:
        """`told` is what each worker remembers; a thread makes sense of it."""
        self._config = config
        self._told = told

    def resources(self) -> Row:
        """What may be asked for."""
        names = ((PLURAL, KIND), (f"{PLURAL}/edges", KIND))
        verbs = ["get", "list"]
        rows = [{"name": name, "namespaced": True, "kind": kind, "verbs": verbs} for name, kind in names]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": rows}

    def all(self, plural: str, namespace: str) -> Row | None:
        """Of the services of a namespace, of which a sidecar knows its own."""
        node = self._config.node
        if plural != PLURAL:
            return None
        found = self.of(plural, namespace, node.service)
        return self._list({"kind": KIND, "namespace": namespace}, [found] if found is not None else [])

    def of(self, plural: str, namespace: str, name: str) -> Row | None:
        if not self._ours(plural, namespace, name):
            return None
        outbound = self._outbound
        answers = (
            change for names, change in self._changes.items() if names[0] == ANSWERS and names[1] not in outbound
        )
        return self._item(_resource(KIND, namespace, name), answers)

    def edges(self, plural: str, namespace: str, name: str) -> Row | None:
        if not self._ours(plural, namespace, name):
            return None
        to: dict[Side, list[Change]] = {}
        by: dict[Side, list[Change]] = {}
        for names, change in self._changes.items():
            if names[0] != EDGE or not any(change[BUCKETS]):
                continue
            _, listener, cluster, source, _ = names
            if listener in self._outbound:
                if asked := service(cluster):
                    to.setdefault((KIND, *asked), []).append(change)
            elif (asking := party(source)) != NOBODY:
                by.setdefault((ACCOUNT, asking.namespace, asking.account), []).append(change)
        resource = _resource(KIND, namespace, name)
        asked_by = self._edges(resource, by, "from", "server")
        return self._list(resource, [*self._edges(resource, to, "to", "client"), *asked_by])

    def _edges(self, resource: Row, found: Mapping[Side, list[Change]], direction: str, side: str) -> Iterator[Row]:
        for other, changes in sorted(found.items()):
            edge = {"direction": direction, "side": side, "resource": _resource(*other)}
            yield self._item(resource, changes, edge=edge)

    @cached_property
    def _window(self) -> Window:
        return Window(self._told, SECONDS)

    @cached_property
    def _changes(self) -> Mapping[Names, Change]:
        """Of the window as a whole."""
        found: dict[Names, Change] = {}
        for second in self._window.changes():
            for names, change in second:
                found[names] = [*map(add, found.get(names, NO_CHANGE), change)]
        return found

    @cached_property
    def _outbound(self) -> frozenset[str]:
        return identity_of(self._config).outbound

    def _ours(self, plural: str, namespace: str, name: str) -> bool:
        node = self._config.node
        return bool(name) and (plural, namespace, name) == (PLURAL, node.namespace, node.service)

    def _list(self, resource: Row, items: list[Row]) -> Row:
        return {"kind": "TrafficMetricsList", "apiVersion": GROUP, "resource": resource, "items": items}

    def _item(self, resource: Row, changes: Iterable[Change], **more: Row) -> Row:
        end = datetime.fromtimestamp(self._window.end, UTC)
        return {
            "kind": "TrafficMetrics",
            "apiVersion": GROUP,
            "resource": resource,
            **more,
            "timestamp": end.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "window": f"{self._window.known}s",
            "metrics": _metrics(changes),
        }


def _resource(kind: str, namespace: str, name: str) -> Row:
    return {"kind": kind, "namespace": namespace, "name": name}


def _metrics(changes: Iterable[Change]) -> list[Row]:
    whole = NO_CHANGE
    for change in changes:
        whole = [*map(add, whole, change)]
    buckets, failed = whole[BUCKETS], whole[ERRORS]
    found = quantiles(REQUEST_BOUNDS, buckets, QUANTILES) or [0.0] * len(QUANTILES)
    latencies = [
        {"name": f"p{share * 100:.0f}_response_latency", "unit": "seconds", "value": f"{ceil(value * 1000)}m"}
        for share, value in reversed([*zip(QUANTILES, found, strict=True)])
    ]
    return [
        *latencies,
        {"name": "success_count", "value": str(sum(buckets) - failed)},
        {"name": "failure_count", "value": str(failed)},
    ]
