"""From snapshots of counters to the families that Prometheus reads, one way.

    families(merged([one, other]))          # by the table `METRICS`; `observe.rendering` prints them

`merged` adds up what several workers have counted.  No step sees a live object.  A sample carries its labels as they
are printed: whatever is said of one object is said with the same labels, so they are put together once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from meshproxy.observe.table import METRICS, SCOPE_LABELS, Metric

Sample = tuple[str, Any]
"""Labels as they are printed, without braces; and a number, or the snapshot of a histogram."""
Objects = list[tuple[str, Mapping[str, Any]]]

GAUGES = frozenset(metric.field for metric in METRICS if metric.type == "gauge")


class Family(NamedTuple):
    """One metric as it is printed: its name, type and help once, then its samples."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...]
    samples: Sequence[Sample]


def labelled(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join([f'{name}="{quoted(value)}"' for name, value in zip(names, values, strict=True)])


def quoted(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text


# Several snapshots as one --------------------------------------------------------------------------


def merged(snapshots: Sequence[Any]) -> Any:
    """The sum of snapshots of the same kind: numbers are added up, names are united."""
    total: dict[str, Any] = {}
    for snapshot in snapshots:
        add(total, snapshot)
    return total


def add(total: dict[str, Any], snapshot: Mapping[str, Any]) -> None:
    """Of two exemplars the newer one stays."""
    for name, held in snapshot.items():
        kind = type(held)
        if name not in total:
            if kind is dict:
                add(total.setdefault(name, {}), held)
            else:
                total[name] = held
        elif kind is dict:
            add(total[name], held)
        elif kind is list:
            total[name] = max(total[name], held, key=_age)
        else:
            total[name] += held


def _age(exemplar: Sequence[Any]) -> Any:
    return exemplar[-1]


def without_gauges(snapshot: Any) -> Any:
    """What remains true of a worker that is gone: what it has counted, and not what it held."""
    if not isinstance(snapshot, dict):
        return snapshot
    return {
        name: 0 if name in GAUGES and isinstance(held, int) else without_gauges(held)
        for name, held in snapshot.items()
    }


# Families ------------------------------------------------------------------------------------------


def families(snapshot: Mapping[str, Any]) -> list[Family]:
    """The families of what `ProcessStats` (as `process`) and `Stats` say, in the order of the table.

    One that has no sample is left out.
    """
    objects = _objects(snapshot)
    found = []
    for metric in METRICS:
        samples = _samples(metric, objects[metric.scope])
        if samples:
            found.append(Family(metric.name, metric.type, metric.help, metric.labels, samples))
    return found


def _samples(metric: Metric, objects: Objects) -> list[Sample]:
    field = metric.field
    if not metric.by:
        return [(labels, held[field]) for labels, held in objects]
    return [sample for labels, held in objects for sample in _by_word(metric.by, labels, held[field])]


def _by_word(by: str, labels: str, said: Mapping[str, Any] | str) -> Iterator[Sample]:
    before = f'{labels},{by}="' if labels else f'{by}="'
    for word, value in {said: 1}.items() if isinstance(said, str) else said.items():
        yield f'{before}{quoted(word)}"', value


def _objects(snapshot: Mapping[str, Any]) -> dict[str, Objects]:
    """What each scope speaks of."""
    process, worker, edges = snapshot["process"], snapshot["worker"], snapshot["edges"]
    listeners, clusters, bridges = snapshot["listeners"], snapshot["clusters"], snapshot["bridges"]
    answers = [*_nested(listeners, "answers", depth=2)]
    endpoints = [*_nested(clusters, "endpoints")]
    mqtt = [*_nested(listeners, "mqtt")]
    edged = [*leaves(edges, 4)]
    asked = [(names, held) for names, held in edged if held["requests"]]
    connected = [(names, held) for names, held in edged if held["connections_total"]]
    moved = [(names, held) for names, held in edged if held["received_bytes_total"] or held["sent_bytes_total"]]
    found: dict[str, Iterable[tuple[tuple[str, ...], Any]]] = {
        "process": [((), process)],
        "config": [((name,), {"relaxed": held}) for name, held in process["relaxed"].items()],
        "source": leaves(process["sources"]),
        "certificate": leaves(process["certificates"], 3),
        "health": leaves(process["health"]),
        "worker": [((), worker)],
        "stage": leaves(worker["stages"]),
        "listener": leaves(listeners),
        "answers": answers,
        "code": _coded(answers),
        "call": [(names, {"statuses": held}) for names, held in _nested(listeners, "calls", depth=4)],
        "filter": _nested(listeners, "filters"),
        "mirror": _nested(listeners, "mirrors", depth=2),
        "mqtt": mqtt,
        "topic": [((*names, topic), counted) for names, held in mqtt for topic, counted in held["topics"].items()],
        "cluster": leaves(clusters),
        "endpoint": endpoints,
        "own": leaves(snapshot["uplinks"]),
        "spool": leaves(snapshot["spools"], 2),
        "sink": leaves(snapshot["sinks"]),
        "tunnel": leaves(snapshot["tunnels"]),
        "bridge": leaves(bridges),
        "uplink": _nested(bridges, "sides"),
        "doubt": [((*names, word), doubt) for names, held in endpoints for word, doubt in held["doubts"].items()],
        "edge": asked,
        "edge_code": _coded(asked),
        "edge_tcp": connected,
        "edge_bytes": moved,
    }
    return {
        scope: [(labelled(SCOPE_LABELS[scope], names), held) for names, held in named]
        for scope, named in found.items()
    }


def leaves(held: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What stands so many names deep, with these names."""
    for name, below in held.items():
        if depth == 1:
            yield (name,), below
        else:
            for names, leaf in leaves(below, depth - 1):
                yield (name, *names), leaf


def _nested(named: Mapping[str, Any], field: str, depth: int = 1) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, held in named.items():
        for names, leaf in leaves(held[field], depth):
            yield (name, *names), leaf


def _coded(answers: Iterable[tuple[tuple[str, ...], Any]]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """By status and flags, which stand together in one key."""
    for names, held in answers:
        for key, counted in held["requests"].items():
            code, _, flags = key.partition(" ")
            yield (*names, code, flags), counted
