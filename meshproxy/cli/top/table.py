"""The rows of one section of `meshproxy top`: what each column says, how it is sorted, and which have room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from meshproxy.cli.top.feed import Look
from meshproxy.cli.top.text import (
    Line,
    Manner,
    Span,
    Style,
    milliseconds,
    per_second,
    placed,
    share,
    size,
    spark,
    width_of,
)
from meshproxy.observe.printable import printable

SECTIONS = ("routes", "clusters", "listeners")
NARROWEST_NAME, WIDEST_NAME = 10, 48
NARROWEST_SPARK, WIDEST_SPARK = 8, 60
GAP = 2


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    rate: float
    errors: float | None
    """The share of them."""
    p50: float | None
    p95: float | None
    p99: float | None
    received: float
    sent: float
    open: int
    note: str
    """What else is to be said of it."""
    worried: bool
    shape: Sequence[int]
    """Requests, or where it has none bytes, of each second."""


class Column(NamedTuple):
    head: str
    width: int
    text: Callable[[Row], str]
    sections: tuple[str, ...] = SECTIONS


PLACES = ("clusters", "listeners")
COLUMNS = (
    Column("req/s", 7, lambda row: per_second(row.rate)),
    Column("errors", 7, lambda row: share(row.errors)),
    Column("p99 ms", 7, lambda row: milliseconds(row.p99)),
    Column("state", 12, lambda row: row.note, PLACES),
    Column("open", 6, lambda row: str(row.open), PLACES),
    Column("in/s", 9, lambda row: size(row.received), PLACES),
    Column("out/s", 9, lambda row: size(row.sent), PLACES),
    Column("p50 ms", 7, lambda row: milliseconds(row.p50)),
    Column("p95 ms", 7, lambda row: milliseconds(row.p95)),
)
"""The first ones are the last to go where there is little room."""

SORTS: Mapping[str, Callable[[Row], Any]] = {
    "rate": lambda row: -row.rate,
    "errors": lambda row: -(row.errors or 0) * row.rate,
    "p99": lambda row: -(row.p99 or 0),
    "open": lambda row: -row.open,
    "bytes": lambda row: -(row.received + row.sent),
    "name": lambda row: row.name,
}
SORTED_BY = {"routes": ("rate", "errors", "p99", "name"), "clusters": tuple(SORTS), "listeners": tuple(SORTS)}


def rows(look: Look, section: str, sort: str) -> list[Row]:
    """All that there are, also those of which the window knows nothing."""
    counted = look.stats[section]
    said = {each["name"]: each for each in {"clusters": look.clusters, "listeners": look.listeners}.get(section, ())}
    found = [
        _row(name, counted.get(name), said.get(name), look.stats["known_seconds"]) for name in {**said, **counted}
    ]
    return sorted(found, key=lambda row: (SORTS[sort](row), row.name))


def failed(whole: Any) -> float | None:
    """Which share; the proxy says which one went well."""
    return None if whole["success"] is None else round(1 - whole["success"], 6)


def _row(name: str, counted: Any, said: Any, seconds: int) -> Row:
    note, worried = _note(said)
    if counted is None:
        return Row(name, 0.0, None, None, None, None, 0.0, 0.0, 0, note, worried, ())
    whole = counted["summary"]
    errors, over = failed(whole), seconds or 1
    received, sent = counted["received_bytes"], counted["sent_bytes"]
    shape = counted["requests"] if any(counted["requests"]) else [*map(sum, zip(received, sent, strict=True))]
    return Row(
        name,
        whole["rate"],
        errors,
        whole["p50"],
        whole["p95"],
        whole["p99"],
        sum(received) / over,
        sum(sent) / over,
        counted["connections_active"][-1],
        note,
        worried or bool(errors),
        shape,
    )


def _note(said: Any) -> tuple[str, bool]:
    """Of a cluster who may be asked, of a listener what it speaks; and whether that is bad news."""
    if said is None:
        return "", False
    if "endpoints" not in said:
        return str(said.get("protocol", "")), False
    if said.get("breaker") == "open":
        return "breaker open", True
    endpoints = said["endpoints"]
    picked = sum(not str(each.get("picked", "")).startswith("no") for each in endpoints)
    return f"{picked} of {len(endpoints)} up", picked < len(endpoints)


def table(shown: Sequence[Row], section: str, width: int, style: Style) -> list[Line]:
    """Its head, and a line for each."""
    columns = [column for column in COLUMNS if section in column.sections]
    room = width - min(NARROWEST_NAME, width)
    kept: list[Column] = []
    for column in columns:
        if room < column.width + GAP:
            break
        room -= column.width + GAP
        kept.append(column)
    longest = max((width_of(printable(row.name)) for row in shown), default=0)
    name = max(min(NARROWEST_NAME, width), min(longest, WIDEST_NAME, NARROWEST_NAME + room))
    bars = min(width - name - sum(column.width + GAP for column in kept) - GAP, WIDEST_SPARK)
    heads = "".join(" " * GAP + placed(column.head, column.width, style, right=True) for column in kept)
    lines: list[Line] = [[(placed(section[:-1], name, style) + heads, "dim")]]
    for row in shown:
        manner: Manner = "red" if row.worried else ""
        cells: list[Span] = [(placed(row.name, name, style), manner)]
        cells += [(" " * GAP + placed(column.text(row), column.width, style, right=True), "") for column in kept]
        if bars >= NARROWEST_SPARK:
            cells.append((" " * GAP + spark(row.shape, bars, style), "green"))
        lines.append(cells)
    return lines
