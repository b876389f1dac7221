"""Families as text: in the format of Prometheus, version 0.0.4, or as OpenMetrics 1.0 says it.

    expose(families)                        # what every scraper reads
    openmetrics(families)                   # the same with units and exemplars, for those who ask for it
    preferred(accept).render(families)      # whichever is asked for

Thousands of lines are made for each scrape, so what the lines of a family share is put together once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from meshproxy.observe.exposition import Family, quoted
from meshproxy.observe.metrics.counters import number

UNITS = ("seconds", "milliseconds", "bytes")


def expose(families: Iterable[Family]) -> bytes:
    """Prometheus text, version 0.0.4."""
    lines: list[str] = []
    for family in families:
        help = family.help.replace("\\", "\\\\").replace("\n", "\\n")
        lines += f"# HELP {family.name} {help}", f"# TYPE {family.name} {family.type}"
        lines += _histograms(family) if family.type == "histogram" else _plain(family)
    return _text(lines)


def openmetrics(families: Iterable[Family]) -> bytes:
    """OpenMetrics 1.0.  A counter whose name is not one there (`_total`) has no type."""
    lines: list[str] = []
    for family in families:
        name, type = family.name, family.type
        if type == "counter":
            name, type = (name[:-6], type) if name.endswith("_total") else (name, "unknown")
        lines.append(f"# TYPE {name} {type}")
        unit = name.rpartition("_")[2]
        if unit in UNITS and name != unit:
            lines.append(f"# UNIT {name} {unit}")
        lines.append(f"# HELP {name} {quoted(family.help)}")
        lines += _histograms(family, exemplars=True) if type == "histogram" else _plain(family)
    lines.append("# EOF")
    return _text(lines)


def _plain(family: Family) -> list[str]:
    name = family.name
    return [
        f"{name}{{{labels}}} {value if type(value) is int else number(value)}"
        if labels
        else f"{name} {number(value)}"
        for labels, value in family.samples
    ]


def _histograms(family: Family, *, exemplars: bool = False) -> Iterator[str]:
    name = family.name
    for labels, histogram in family.samples:
        beside = histogram.get("exemplars", {}) if exemplars else {}
        before = f'{name}_bucket{{{labels}{"," if labels else ""}le="'
        total = 0
        for bound, count in histogram["counts"].items():
            total += count
            yield f'{before}{bound}"}} {total}{_exemplar(*beside[bound]) if bound in beside else ""}'
        inside = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{inside} {number(histogram['sum'])}"
        yield f"{name}_count{inside} {total}"


def _exemplar(trace: str, value: float, at: float) -> str:
    return f' # {{trace_id="{quoted(trace)}"}} {number(value)} {number(at)}'


def _text(lines: list[str]) -> bytes:
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


class Format(NamedTuple):
    content_type: str
    render: Callable[[Iterable[Family]], bytes]


TEXT = Format("text/plain; version=0.0.4; charset=utf-8", expose)
OPENMETRICS = Format("application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics)


def preferred(accept: str) -> Format:
    """By the header: OpenMetrics where it is named, and nothing else is wanted more."""
    text = open_metrics = 0.0
    for said in accept.split(","):
        media, *rest = (part.strip().lower() for part in said.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        wanted = _quality(parameters.get("q", "1"))
        if media == "application/openmetrics-text":
            if parameters.get("version", "1.0.0") == "1.0.0":
                open_metrics = max(open_metrics, wanted)
        elif media == "text/plain":
            text = max(text, wanted)
    return OPENMETRICS if open_metrics and open_metrics >= text else TEXT


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
