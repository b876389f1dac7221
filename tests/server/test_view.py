"""What `/clusters` tells of endpoints: who is picked, for which share, and why not."""

from __future__ import annotations

from typing import Any

from meshproxy.admin.tables import text_table
from meshproxy.model import Config, decode
from meshproxy.observe.exposition import merged
from meshproxy.observe.metrics.clusters import ClusterStats, EndpointStats
from meshproxy.server.view import _cluster

ONE, TWO, THREE, FOUR = (f"127.0.0.1:{port}" for port in (1, 2, 3, 4))


class Names:
    known: dict[str, tuple[str, ...]] = {"books": ("127.0.0.1", "127.0.0.2")}

    def failure(self, host: str) -> str | None:
        return "no such name" if host == "nowhere" else None


def rows(doubts: dict[str, set[str]], *endpoints: Any, zone: str = "a") -> list[dict[str, Any]]:
    """As two workers see it, of which only the first has any doubts."""
    said = decode(Config, {"clusters": {"up": {"endpoints": list(endpoints), "balance": "ewma"}}}).clusters[0]
    workers = []
    for worker in range(2):
        stats = ClusterStats()
        stats.streams_active = 3
        for address in (ONE, TWO, THREE, FOUR, "127.0.0.2:1"):
            stats.endpoints[address] = EndpointStats()
            if not worker:
                stats.endpoints[address].doubts = frozenset(doubts.get(address, ()))
        workers.append(stats.snapshot())
    names: Any = Names()
    found = _cluster(said, merged(workers), names, zone, lambda _: {})
    assert (found["balance"], found["http"], found["streams"]) == ("ewma", "h1", 6)
    listed: Any = found["endpoints"]
    return [*listed]


def standings(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(each["zone"], each["priority"], each["weight"], each["share"], each["picked"]) for each in found]


def test_who_is_picked_and_why_not() -> None:
    said = (
        {"address": ONE, "zone": "a"},
        {"address": TWO, "zone": "a", "weight": 2},
        {"address": THREE, "zone": "b", "priority": 1},
        {"address": FOUR, "zone": "a", "weight": 0},
    )
    assert standings(rows({}, *said)) == [
        ("a", 0, 1, 0.333, "yes"),
        ("a", 0, 2, 0.667, "yes"),
        ("b", 1, 1, 0.0, "spare"),
        ("a", 0, 0, 0.0, "weight 0"),
    ]
    assert standings(rows({TWO: {"outlier", "health"}}, *said)) == [
        ("a", 0, 1, 0.467, "yes"),
        ("a", 0, 2, 0.0, "no: health, outlier"),
        ("b", 1, 1, 0.533, "yes"),
        ("a", 0, 0, 0.0, "weight 0"),
    ]


def test_in_panic_all_are_picked() -> None:
    assert standings(rows({ONE: {"health"}, TWO: {"health"}}, ONE, TWO, THREE)) == [
        (None, 0, 1, 0.333, "in panic: health"),
        (None, 0, 1, 0.333, "in panic: health"),
        (None, 0, 1, 0.333, "yes"),
    ]


def test_a_name_has_a_row_for_each_address_and_one_if_it_has_none() -> None:
    found = rows({}, "books:1", "nowhere:1")
    assert [each["address"] for each in found] == [ONE, "127.0.0.2:1", None]
    assert [each["share"] for each in found] == [0.5, 0.5, 0.0]
    assert (found[2]["picked"], found[2]["failure"]) == ("no: address", "no such name")


def test_it_is_a_table_for_people() -> None:
    (head, row) = text_table(rows({}, ONE)).splitlines()
    assert head.split()[:6] == ["address", "zone", "priority", "weight", "share", "picked"]
    assert row.split()[:6] == [ONE, "-", "0", "1", "1.0", "yes"]


def test_all_original_destinations_are_one_row() -> None:
    said = decode(Config, {"clusters": {"out": {"original": True}}}).clusters[0]
    stats = ClusterStats()
    row = stats.endpoints["original"] = EndpointStats()
    row.connections_total, row.connect_failures_total = 5, 2
    names: Any = Names()
    found: Any = _cluster(said, merged([stats.snapshot()]), names, "", lambda _: {})["endpoints"]
    assert [(each["address"], each["total"], each["connect_failures"], each["picked"]) for each in found] == [
        ("original", 5, 2, "yes")
    ]
