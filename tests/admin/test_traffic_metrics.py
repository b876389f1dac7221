"""The counters in the words of SMI's metrics API."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from meshproxy.admin.traffic_metrics import TrafficMetrics, quantile
from meshproxy.model import Config, decode
from meshproxy.observe.metrics import AnswerStats, ListenerStats

ITSELF = {"kind": "Service", "namespace": "shop", "name": "books"}


def counted(answers: dict[str, dict[str, list[tuple[int, str, float]]]]) -> dict[str, Any]:
    """By listener and cluster: status, flag and seconds of each answer."""
    found = {}
    for listener, by_cluster in answers.items():
        stats = ListenerStats()
        for place, (cluster, told) in enumerate(by_cluster.items()):
            held = stats.answers.setdefault(f"route/{place}", {}).setdefault(cluster, AnswerStats())
            for status, flag, seconds in told:
                held.count(status, flag, seconds)
        found[listener] = stats.snapshot()
    return found


@pytest.fixture
def metrics() -> TrafficMetrics:
    listeners = counted(
        {
            "inbound": {
                "local|9090": [(200, "", 0.1)] * 98 + [(404, "", 0.1), (503, "UF", 10.0)],
                "": [(404, "NR", 0)],
            },
            "outbound": {
                "shop/stock|80": [(200, "", 0.01)] * 3,
                "shop/stock|81": [(503, "", 0.01)],
                "bank/pay|443": [(201, "", 0.01)],
                "elsewhere": [(200, "", 0.01)],
            },
        }
    )
    node = {"service": "books", "namespace": "shop"}
    return TrafficMetrics(decode(Config, {"node": node}), listeners, 90.0, 1_700_000_000.0)


def values(row: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in row["metrics"]}


def test_what_a_workload_has_served_is_told_of_its_service(metrics: TrafficMetrics) -> None:
    found = metrics.of("services", "shop", "books")
    assert found is not None
    assert {key: found[key] for key in ("kind", "apiVersion", "resource", "timestamp", "window")} == {
        "kind": "TrafficMetrics",
        "apiVersion": "metrics.smi-spec.io/v1alpha1",
        "resource": ITSELF,
        "timestamp": "2023-11-14T22:13:20Z",
        "window": "90s",
    }
    told = values(found)
    assert (told["success_count"], told["failure_count"]) == ("100", "1")
    assert told["p50_response_latency"] == "76m"
    assert {each.get("unit") for each in found["metrics"][:3]} == {"seconds"}


def test_an_edge_is_told_for_each_service_that_was_asked(metrics: TrafficMetrics) -> None:
    found = metrics.edges("services", "shop", "books")
    assert found is not None
    assert (found["kind"], found["resource"]) == ("TrafficMetricsList", ITSELF)
    edges = {(item["edge"]["resource"]["namespace"], item["edge"]["resource"]["name"]): item for item in found["items"]}
    assert edges.keys() == {("shop", "stock"), ("bank", "pay")}
    assert edges["shop", "stock"]["edge"]["direction"] == "to"
    assert edges["shop", "stock"]["edge"]["side"] == "client"
    assert values(edges["shop", "stock"]).items() >= {("success_count", "3"), ("failure_count", "1")}
    assert values(edges["bank", "pay"]).items() >= {("success_count", "1"), ("failure_count", "0")}


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
    nobody = TrafficMetrics(Config(), {}, 1.0, 0.0)
    assert nobody.of("services", "", "") is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({0.1: 10, 0.2: 0, inf: 0}, 0.5, 0.05),
        ({0.1: 10, 0.2: 10, inf: 0}, 0.75, 0.15),
        ({0.1: 1, 0.2: 0, inf: 99}, 0.99, 0.2),
        ({0.1: 0, inf: 0}, 0.99, 0.0),
    ],
)
def test_a_quantile_is_taken_from_the_buckets(counts: dict[float, int], share: float, expected: float) -> None:
    assert quantile(counts, share) == pytest.approx(expected)
