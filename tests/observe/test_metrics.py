"""Metrics: counted as integers, copied as plain data, printed so that Prometheus reads them back."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from meshproxy.observe.exposition import Family, families, labelled, merged, without_gauges
from meshproxy.observe.metrics.answers import MOST_OUTCOMES, AnswerStats, EdgeStats, FilterStats, MirrorStats
from meshproxy.observe.metrics.clusters import ClusterStats, EndpointStats
from meshproxy.observe.metrics.counters import Histogram
from meshproxy.observe.metrics.listeners import CLOSED, ListenerStats
from meshproxy.observe.metrics.mqtt import BridgeStats, MqttStats, SpoolStats, TopicStats, UplinkStats
from meshproxy.observe.metrics.process import HealthStats, ProcessStats, SinkStats, SourceStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.observe.rendering import expose
from meshproxy.observe.table import METRICS

DOCS = Path(__file__).parent.parent.parent / "docs" / "metrics.md"


def busy_stats() -> Stats:
    stats = Stats()
    web = stats.listeners["web"] = ListenerStats()
    web.connections_total += 3
    web.rejected["limit"] += 2
    web.bytes_received_total += 2**60
    web.malformed["bare_lf"] += 1
    web.asked()["table"] += 1
    web.http2["ping_flood"] += 1
    web.handshakes["full"] += 1
    web.identified("spiffe://cluster.local/ns/shop/sa/web")
    web.calls.count("web/0", "books", ("books.Books", "Get"), "ok")
    web.filters["web/0:0:a:B"] = FilterStats()
    mirror = MirrorStats()
    web.mirrors["web/0"] = {"next": mirror}
    mirror.answers["2xx"] += 1
    mirror.dropped["slow"] += 1
    answers = web.answers["web/0"] = {"books": AnswerStats()}
    answers["books"].count(200, "", 0.002)
    answers["books"].count(503, "UF", 1)
    books = stats.clusters["books"] = ClusterStats()
    books.connect_seconds.observe(0.001)
    books.connect_seconds.observe(99)
    books.malformed["bad_length"] += 1
    books.http2["pushed"] += 1
    books.handshakes["expired"] += 1
    books.ejections["5xx"] = 1
    books.endpoints["127.0.0.1:9090"] = EndpointStats()
    books.endpoints["127.0.0.1:9090"].connections_active += 1
    books.endpoints["127.0.0.1:9090"].doubts = frozenset({"health"})
    mqtt = web.mqtt["plant"] = MqttStats()
    mqtt.malformed["bad_topic"] += 1
    mqtt.topics["telemetry"] = TopicStats()
    stats.bridges["site"] = BridgeStats()
    stats.bridges["site"].sides["local"].lost["reset"] += 1
    stats.tunnels["centre"] = TunnelStats()
    stats.tunnels["centre"].opened["here"] += 4
    stats.uplinks["brokers"] = UplinkStats()
    stats.uplinks["brokers"].lost["reset"] += 1
    stats.spools["plant"] = {"brokers": SpoolStats()}
    stats.sinks["access_log stdout"] = SinkStats()
    asked, relayed = EdgeStats(), EdgeStats()
    asked.count(200, "", 0.002)
    relayed.connections_total += 1
    relayed.sent_bytes_total += 7
    stats.edges["web"] = {"books": {"10.0.0.7": {"127.0.0.1:9090": asked, "": relayed}}}
    return stats


def whole(stats: Stats) -> dict[str, Any]:
    process = ProcessStats("1.2.3")
    process.certificates = {"web": {"": {"certificate": {"not_after": 1_800_000_000}}}}
    process.reloaded("ok", 7, 1_700_000_000.5)
    process.relaxed = {"web": {"bare_lf": 1}}
    process.health = {"books": HealthStats()}
    process.sources = {"mesh": SourceStats()}
    process.health["books"].checks["ok"] = 4
    process.redis_up = process.redis_failures_total = {"10.0.0.1:6379/0": 1}
    process.metrics_overflow["meshproxy_edge_seconds"] += 1
    return {"process": process.snapshot(), **stats.snapshot()}


def scraped(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_prometheus_reads_back_what_was_counted() -> None:
    found = scraped(expose(families(whole(busy_stats()))))
    assert found["meshproxy_listener_connections_total", (("listener", "web"),)] == 3
    assert found["meshproxy_listener_rejected_total", (("listener", "web"), ("reason", "limit"))] == 2
    assert found["meshproxy_listener_closed_total", (("listener", "web"), ("reason", "idle"))] == 0
    route = (("listener", "web"), ("route", "web/0"))
    failed = (("cluster", "books"), ("code", "503"), ("flags", "UF"))
    assert found["meshproxy_requests_total", (*failed, *route)] == 1
    assert found["meshproxy_request_seconds_count", (("cluster", "books"), *route)] == 2
    assert found["meshproxy_info", (("version", "1.2.3"),)] == 1
    assert found["meshproxy_listener_relaxed", (("listener", "web"), ("switch", "bare_lf"))] == 1
    assert found["meshproxy_config_last_reload_ok_timestamp_seconds", ()] == 1_700_000_000.5
    endpoint = (("cluster", "books"), ("endpoint", "127.0.0.1:9090"))
    assert found["meshproxy_endpoint_connections_active", endpoint] == 1
    assert found["meshproxy_endpoint_doubted", (*endpoint, ("reason", "health"))] == 1


def test_large_counts_are_printed_whole() -> None:
    assert b'meshproxy_listener_received_bytes_total{listener="web"} 1152921504606846976\n' in expose(
        families(whole(busy_stats()))
    )


def test_each_family_of_the_table_is_exposed_once_with_its_type_and_labels() -> None:
    text = expose(families(whole(busy_stats()))).decode()
    assert re.findall(r"^# HELP (\S+)", text, re.M) == [metric.name for metric in METRICS]
    assert re.findall(r"^# TYPE (\S+) (\S+)", text, re.M) == [(metric.name, metric.type) for metric in METRICS]
    labels: dict[str, set[str]] = {metric.name: set() for metric in METRICS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name if sample.name in labels else re.sub(r"_(bucket|sum|count)$", "", sample.name)
            labels[name] |= set(sample.labels) - {"le"}
    assert labels == {metric.name: set(metric.labels) for metric in METRICS}


def test_names_follow_the_rules_of_prometheus() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"(meshproxy|process)_[a-z][a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert metric.type != "histogram" or metric.name.endswith("_seconds")


def test_a_bucket_counts_what_is_at_most_its_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.snapshot() == {"counts": {"1.0": 2, "2.0": 2, "+Inf": 1}, "sum": 8.0}


def test_buckets_are_printed_as_running_totals() -> None:
    found = scraped(expose(families(whole(busy_stats()))))
    bucket = "meshproxy_cluster_connect_seconds_bucket"
    assert found[bucket, (("cluster", "books"), ("le", "0.0005"))] == 0
    assert found[bucket, (("cluster", "books"), ("le", "0.001"))] == 1
    assert found[bucket, (("cluster", "books"), ("le", "10.0"))] == 1
    assert found[bucket, (("cluster", "books"), ("le", "+Inf"))] == 2
    assert found["meshproxy_cluster_connect_seconds_count", (("cluster", "books"),)] == 2
    assert found["meshproxy_cluster_connect_seconds_sum", (("cluster", "books"),)] == 99.001


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "two\nlines", "\\n", "büro", 'end\\"'])
def test_any_label_value_survives(name: str) -> None:
    stats = Stats()
    stats.listeners[name] = ListenerStats()
    assert ("meshproxy_listener_connections_total", (("listener", name),)) in scraped(
        expose(families(whole(stats)))
    )


def test_help_cannot_break_a_line_and_a_lone_surrogate_cannot_break_a_scrape() -> None:
    family = Family("x_total", "counter", "one\ntwo \\", ("a",), [(labelled(["a"], ["\udc80"]), 1)])
    assert expose([family]) == b'# HELP x_total one\\ntwo \\\\\n# TYPE x_total counter\nx_total{a="?"} 1\n'


def test_numbers_that_are_not_finite_have_their_words() -> None:
    samples = [(labelled("n", str(n)), value) for n, value in enumerate((math.inf, -math.inf, math.nan))]
    lines = expose([Family("x", "gauge", "h", ("n",), samples)]).decode().splitlines()[2:]
    assert [line.split()[-1] for line in lines] == ["+Inf", "-Inf", "NaN"]


def test_a_word_outside_the_fixed_ones_is_an_error_and_not_a_series() -> None:
    with pytest.raises(KeyError):
        ListenerStats().rejected["typo"] += 1
    assert tuple(ListenerStats().closed) == CLOSED


def test_stats_take_no_attribute_by_mistake() -> None:
    with pytest.raises(AttributeError):
        ListenerStats().conections_total = 1  # type: ignore[attr-defined]


def test_a_snapshot_is_plain_data_that_later_counts_do_not_change() -> None:
    stats = busy_stats()
    before = stats.snapshot()
    again = json.loads(json.dumps(before))
    stats.listeners["web"].rejected["limit"] += 1
    stats.clusters["books"].connect_seconds.observe(1)
    stats.clusters["books"].endpoints.clear()
    assert before == again


def test_an_edge_of_requests_says_nothing_of_connections_and_one_of_connections_nothing_of_requests() -> None:
    found = scraped(expose(families(whole(busy_stats()))))
    asked = (("cluster", "books"), ("endpoint", "127.0.0.1:9090"), ("listener", "web"), ("source", "10.0.0.7"))
    relayed = (("cluster", "books"), ("endpoint", ""), ("listener", "web"), ("source", "10.0.0.7"))
    assert found["meshproxy_edge_seconds_count", asked] == 1
    assert found["meshproxy_edge_connections_total", relayed] == 1
    assert ("meshproxy_edge_seconds_count", relayed) not in found
    assert ("meshproxy_edge_connections_total", asked) not in found


def test_outcomes_come_from_outside_and_those_beyond_the_first_are_one() -> None:
    answers = AnswerStats()
    for status in range(100, 1000):
        answers.count(status, "", 0.1)
    answers.count(100, "", 0.1)
    requests = answers.snapshot()["requests"]
    assert len(requests) == MOST_OUTCOMES + 1
    assert requests["100"] == {"count": 2}
    assert requests["other"] == {"count": 900 - MOST_OUTCOMES}


def test_a_refused_reload_leaves_the_time_of_the_last_good_one() -> None:
    process = ProcessStats("1")
    process.reloaded("ok", 1, 100.0)
    process.reloaded("refused", 1, 200.0)
    assert (process.last_reload_successful, process.last_reload_ok_seconds) == (0, 100)
    process.reloaded("unchanged", 1, 300.0)
    assert (process.last_reload_successful, process.last_reload_ok_seconds) == (1, 300)
    assert process.reloads == {"ok": 1, "refused": 1, "unchanged": 1}
    assert process.config_generation == 1


def test_the_document_has_one_row_for_each_metric() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith(("| `meshproxy_", "| `process_"))]
    assert rows == [
        f"| `{metric.name}` | {metric.type} | {', '.join(metric.labels) or '-'} | {metric.help} |" for metric in METRICS
    ]


def test_snapshots_of_workers_add_up_and_names_are_united() -> None:
    one, other = busy_stats(), busy_stats()
    other.listeners["bounds"] = ListenerStats()
    other.listeners["bounds"].connections_active += 4
    total = merged([json.loads(json.dumps(stats.snapshot())) for stats in (one, other)])
    assert total["listeners"]["web"]["connections_total"] == 6
    assert total["listeners"]["bounds"]["connections_active"] == 4
    assert total["clusters"]["books"]["connect_seconds"]["counts"]["0.001"] == 2
    assert total["clusters"]["books"]["endpoints"]["127.0.0.1:9090"]["connections_active"] == 2


def test_of_a_worker_that_is_gone_remains_what_it_counted_and_not_what_it_held() -> None:
    stats = busy_stats()
    stats.listeners["connections_active"] = ListenerStats()
    stats.listeners["connections_active"].connections_total += 5
    left = without_gauges(stats.snapshot())
    assert left["clusters"]["books"]["endpoints"]["127.0.0.1:9090"]["connections_active"] == 0
    assert left["listeners"]["web"]["connections_total"] == 3
    assert left["listeners"]["connections_active"]["connections_total"] == 5
