"""One family of another mesh, to which many of our counters add: it has fewer labels than we, or other ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from meshproxy.observe.exposition import Family, add, labelled, leaves
from meshproxy.observe.metrics.counters import number


class Gathering:
    def __init__(self, name: str, type: str, labels: Sequence[str], help: str) -> None:
        self._family = Family(name, type, help, tuple(labels), ())
        self._found: dict[str, Any] = {}

    def add(self, values: Sequence[str], value: Any) -> None:
        """A number, or the snapshot of a histogram."""
        add(self._found, {labelled(self._family.labels, values): value})

    def family(self) -> Family:
        return self._family._replace(samples=tuple(self._found.items()))


class Edge(NamedTuple):
    """Who asked whom, and what has been counted of that."""

    listener: str
    cluster: str
    source: str
    endpoint: str
    held: Mapping[str, Any]

    @property
    def outcomes(self) -> Iterator[tuple[str, str, int]]:
        return outcomes(self.held)


def edges(snapshot: Mapping[str, Any]) -> Iterator[Edge]:
    for (listener, cluster, source, endpoint), held in leaves(snapshot["edges"], 4):
        yield Edge(listener, cluster, source, endpoint, held)


def outcomes(held: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Status, flags and how often."""
    for key, counted in held["requests"].items():
        status, _, flags = key.partition(" ")
        yield status, flags, counted["count"]


def status_class(status: str) -> str:
    """The first digit; of what is counted as `other` there is none."""
    return status[0] if status.isdigit() else status


def nonempty(gatherings: Sequence[Gathering]) -> list[Family]:
    return [family for family in (each.family() for each in gatherings) if family.samples]


def milliseconds(histogram: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "counts": {_milli(bound): count for bound, count in histogram["counts"].items()},
        "sum": histogram["sum"] * 1e3,
    }
    if "exemplars" in histogram:
        found["exemplars"] = {
            _milli(bound): [trace, value * 1e3, at] for bound, (trace, value, at) in histogram["exemplars"].items()
        }
    return found


def _milli(bound: str) -> str:
    return bound if bound == "+Inf" else number(round(float(bound) * 1e3, 6))


def total_alone(sum: float, count: int) -> dict[str, Any]:
    """A histogram of which only that is known."""
    return {"counts": {"+Inf": count}, "sum": sum}
