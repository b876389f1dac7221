"""A scrape is bounded: the largest families give way, and what they lose is in their `other`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from meshproxy.model.metrics import PLAIN_METRICS
from meshproxy.net.clock import at_once
from meshproxy.observe.exposition import Family, families, labelled
from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.metrics.clusters import ClusterStats, EndpointStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.process import WorkerStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.presets import Identity
from meshproxy.observe.rendering import expose
from meshproxy.observe.scrape import bounded, scraped
from meshproxy.observe.usage import measured
from tests.observe.test_metrics import busy_stats, whole
from tests.observe.test_metrics import scraped as read


def crowd(clients: int) -> dict[str, Any]:
    stats = Stats()
    stats.listeners["web"] = ListenerStats()
    books = stats.clusters["books"] = ClusterStats()
    sources = stats.edges["web"] = {"books": {}}
    for number in range(clients):
        books.endpoints[f"10.0.0.{number}:80"] = EndpointStats()
        edge = EdgeStats()
        edge.count(200, "", 0.002)
        sources["books"][f"10.1.0.{number}"] = {"10.0.0.1:80": edge}
    return whole(stats)


def series(found: list[Family]) -> int:
    return sum(not line.startswith(b"#") for line in expose(found).splitlines())


def of(found: list[Family], name: str) -> Family:
    return next(family for family in found if family.name == name)


def test_a_scrape_has_no_more_series_than_are_allowed() -> None:
    snapshot = crowd(400)
    assert series(families(snapshot)) > 9000
    for most in (1000, 3000, 9000):
        found, left = bounded(families(snapshot), most)
        assert series(found) <= most
        assert series(found) + sum(left.values()) >= series(families(snapshot))
        assert left["meshproxy_edge_seconds"] > 0
        assert "meshproxy_listener_closed_total" not in left


def test_where_there_is_room_nothing_is_left_to_others() -> None:
    found = families(whole(busy_stats()))
    assert bounded(found, 1000) == (found, {})


def test_of_counters_and_histograms_the_sum_stays() -> None:
    found, left = bounded(families(crowd(400)), 1000)
    told = read(expose(found))
    for name in ("meshproxy_edge_requests_total", "meshproxy_edge_seconds_count"):
        assert sum(value for (each, _), value in told.items() if each == name) == 400
    others = tuple((label, "other") for label in ("cluster", "code", "endpoint", "flags", "listener", "source"))
    assert told["meshproxy_edge_requests_total", others] == left["meshproxy_edge_requests_total"]


def test_of_gauges_no_sum_is_told() -> None:
    found, _ = bounded(families(crowd(400)), 1000)
    assert "other" not in expose([of(found, "meshproxy_endpoint_connections_active")]).decode()


def test_who_has_come_first_keeps_its_series_when_others_come() -> None:
    before, _ = bounded(families(crowd(390)), 1000)
    after, _ = bounded(families(crowd(400)), 1000)
    for name in ("meshproxy_edge_requests_total", "meshproxy_endpoint_connections_total"):
        assert [labels for labels, _ in of(before, name).samples] == [labels for labels, _ in of(after, name).samples]


def test_a_metric_without_labels_is_never_left_away() -> None:
    lonely = Family("x", "gauge", "h", (), [("", 1)])
    many = Family("y", "counter", "h", ("a",), [(labelled("a", str(number)), 1) for number in range(9)])
    found, left = bounded([lonely, many], 1)
    assert found == [lonely, many._replace(samples=[('a="other"', 9)])]
    assert left == {"y": 9}


def test_a_preset_stands_beside_our_own_once() -> None:
    said = replace(PLAIN_METRICS, presets=("linkerd", "fsm", "linkerd"))
    found, _ = scraped(whole(busy_stats()), Identity(), said)
    names = [family.name for family in found]
    assert {"meshproxy_requests_total", "request_total", "sidecar_server_live"} <= {*names}
    assert len(names) == len({*names})


def test_a_process_knows_what_it_uses() -> None:
    stats = WorkerStats()
    at_once(measured(stats))
    assert stats.cpu_seconds_total > 0
    assert stats.resident_bytes > 1 << 20
    with open(os.devnull) as one, open(os.devnull) as other:
        assert (one.fileno(), other.fileno()) > (0, 0)
        before = stats.open_fds
        at_once(measured(stats))
    assert stats.open_fds == before + 2


def test_many_descriptors_are_counted_in_steps() -> None:
    held = [os.dup(0) for _ in range(600)]
    try:
        assert sum(1 for _ in measured(WorkerStats())) >= 2
    finally:
        for descriptor in held:
            os.close(descriptor)


