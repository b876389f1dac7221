"""What workers remember in the words of SMI's metrics API."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.admin.traffic_metrics import SECONDS, TrafficMetrics
from meshproxy.model import Config, decode
from meshproxy.observe.history import History
from meshproxy.observe.metrics.answers import AnswerStats, EdgeStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats

START = 1_700_000_000
ITSELF = {"kind": "Service", "namespace": "shop", "name": "books"}
BUYER, SPIFFE, STRANGER = "buyer.shop.cluster.local", "spiffe://cluster.local/ns/bank/sa/teller", "10.0.0.9"
OWN = {
    "node": {"service": "books", "namespace": "shop"},
    "listeners": [{"name": name, "listen": "127.0.0.1:0", "protocol": "http"} for name in ("inbound", "outbound")],
}


def answered(stats: Stats, listener: str, cluster: str, source: str, *told: tuple[int, str, float]) -> None:
    """Status, flag and seconds of each answer."""
    of_listener = stats.listeners.setdefault(listener, ListenerStats())
    held = of_listener.answers.setdefault("route/0", {}).setdefault(cluster, AnswerStats())
    by_cluster = stats.edges.setdefault(listener, {})
    edge = by_cluster.setdefault(cluster, {}).setdefault(source, {}).setdefault("10.0.0.1:80", EdgeStats())
    for status, flag, seconds in told:
        held.count(status, flag, seconds)
        edge.count(status, flag, seconds)


def remembered(stats: Stats, seconds: int = SECONDS) -> bytes:
    history = History(START, 0.0)
    for at in range(1, seconds + 1):
        for _ in history.second(stats, START + at, at):
            pass
    return history.told(SECONDS)


@pytest.fixture
def metrics() -> TrafficMetrics:
    stats, other = Stats(), Stats()
    answered(stats, "inbound", "local|9090", BUYER, *[(200, "", 0.1)] * 97, (404, "", 0.1), (503, "UF", 10.0))
    answered(stats, "inbound", "local|9090", STRANGER, (200, "", 0.1))
    answered(other, "inbound", "local|9090", BUYER, (404, "NR", 0.0))
    answered(stats, "inbound", "local|9091", SPIFFE, (500, "", 0.1))
    answered(stats, "outbound", "shop/stock|80", "127.0.0.1", *[(200, "", 0.01)] * 3)
    answered(other, "outbound", "shop/stock|81", "127.0.0.1", (503, "", 0.01))
    answered(stats, "outbound", "bank/pay|443", "127.0.0.1", (201, "", 0.01))
    answered(stats, "outbound", "elsewhere", "127.0.0.1", (200, "", 0.01))
    database = stats.edges["outbound"].setdefault("shop/db|3306", {}).setdefault("127.0.0.1", {})
    database["10.0.0.2:3306"] = EdgeStats()
    database["10.0.0.2:3306"].connections_total = 7
    return TrafficMetrics(decode(Config, OWN), [remembered(stats), remembered(other)])


def values(row: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in row["metrics"]}


def test_what_a_workload_has_served_is_told_of_its_service(metrics: TrafficMetrics) -> None:
    found = metrics.of("services", "shop", "books")
    assert found is not None
    assert {key: found[key] for key in ("kind", "apiVersion", "resource", "timestamp", "window")} == {
        "kind": "TrafficMetrics",
        "apiVersion": "metrics.smi-spec.io/v1alpha1",
        "resource": ITSELF,
        "timestamp": "2023-11-14T22:13:50Z",
        "window": "30s",
    }
    told = values(found)
    assert (told["success_count"], told["failure_count"]) == ("100", "2")
    assert told["p50_response_latency"] == "76m"
    assert {each.get("unit") for each in found["metrics"][:3]} == {"seconds"}


def edges(metrics: TrafficMetrics) -> dict[tuple[str, ...], dict[str, str]]:
    found = metrics.edges("services", "shop", "books")
    assert found is not None
    assert (found["kind"], found["resource"]) == ("TrafficMetricsList", ITSELF)
    told = {}
    for item in found["items"]:
        assert item["resource"] == ITSELF
        edge = item["edge"]
        told[edge["direction"], edge["side"], *edge["resource"].values()] = values(item)
    return told


def test_an_edge_is_told_for_each_service_that_was_asked_and_each_who_has_asked(metrics: TrafficMetrics) -> None:
    counted = {side: (told["success_count"], told["failure_count"]) for side, told in edges(metrics).items()}
    # Of who has proved nothing there is no name; and connections are no requests.
    assert counted == {
        ("to", "client", "Service", "bank", "pay"): ("1", "0"),
        ("to", "client", "Service", "shop", "stock"): ("3", "1"),
        ("from", "server", "ServiceAccount", "bank", "teller"): ("0", "1"),
        ("from", "server", "ServiceAccount", "shop", "buyer"): ("99", "1"),
    }


def test_what_is_longer_ago_is_not_told() -> None:
    stats = Stats()
    answered(stats, "inbound", "local|9090", BUYER, (200, "", 0.1))
    for seconds, window, count in ((5, "5s", "1"), (SECONDS, "30s", "1"), (SECONDS + 1, "30s", "0")):
        metrics = TrafficMetrics(decode(Config, OWN), [remembered(stats, seconds)])
        found = metrics.of("services", "shop", "books")
        assert found is not None
        assert (found["window"], values(found)["success_count"]) == (window, count)
        assert bool(edges(metrics)) == bool(int(count))


def test_a_list_has_the_own_service_alone(metrics: TrafficMetrics) -> None:
    for namespace, names in (("shop", ["books"]), ("bank", [])):
        found = metrics.all("services", namespace)
        assert found is not None
        assert [item["resource"]["name"] for item in found["items"]] == names


@pytest.mark.parametrize(
    "asked", [("services", "shop", "stock"), ("services", "bank", "books"), ("pods", "shop", "books")]
)
def test_nothing_is_told_of_others(metrics: TrafficMetrics, asked: tuple[str, str, str]) -> None:
    assert metrics.of(*asked) is None
    assert metrics.edges(*asked) is None


def test_a_proxy_without_a_service_has_nothing_to_tell() -> None:
    nobody = TrafficMetrics(Config(), [])
    assert nobody.of("services", "", "") is None
