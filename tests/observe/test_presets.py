"""The metrics of other meshes: what their dashboards ask for is there, with the labels by which they ask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from meshproxy.model import Config, decode
from meshproxy.observe.exposition import Family
from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.presets import PRESETS, Identity, identity_of
from meshproxy.observe.presets.identity import NOBODY, Party, Service, party, service
from meshproxy.observe.rendering import expose, openmetrics

DOCS = Path(__file__).parent.parent.parent / "docs" / "metric-presets.md"
WEB = "spiffe://cluster.local/ns/shop/sa/web"
US = Identity(
    service="books", namespace="shop", service_account="bookstore", workload="books-v1", kind="Deployment",
    pod="books-v1-0", version="v1", cluster="east", outbound=frozenset(("outbound",)),
)  # fmt: skip

OURS = "source_namespace source_workload_kind source_workload_name source_workload_pod sidecar_cluster_name"
OSM_ENDS = (
    "source_namespace source_kind source_name source_pod "
    "destination_namespace destination_kind destination_name destination_pod"
)
ISTIO_ENDS = (
    "reporter connection_security_policy request_protocol "
    "source_workload source_workload_namespace source_principal source_app source_version source_cluster "
    "source_canonical_service source_canonical_revision destination_workload destination_workload_namespace "
    "destination_principal destination_app destination_version destination_cluster destination_canonical_service "
    "destination_canonical_revision destination_service destination_service_name destination_service_namespace"
)
ISTIO = f"{ISTIO_ENDS} response_code response_flags grpc_response_status"
LINKERD = "direction authority target_addr tls client_id dst_namespace dst_service"

# What the dashboards of each mesh ask for, and by which labels.
ASKED = {
    "fsm": {
        "sidecar_server_live": "",
        "sidecar_cluster_upstream_cx_tx_bytes_total": "sidecar_cluster_name",
        "sidecar_cluster_upstream_cx_rx_bytes_total": "sidecar_cluster_name",
        "sidecar_cluster_upstream_cx_active": "sidecar_cluster_name",
        "sidecar_cluster_upstream_cx_connect_timeout": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_timeout": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_rx_reset": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_tx_reset": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_pending_overflow": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_pending_failure_eject": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_retry": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_retry_limit_exceeded": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_retry_overflow": "sidecar_cluster_name",
        "sidecar_cluster_external_upstream_rq": "sidecar_cluster_name sidecar_response_code",
        "sidecar_cluster_external_upstream_rq_xx": "sidecar_cluster_name sidecar_response_code_class",
        "sidecar_cluster_external_upstream_rq_completed": "sidecar_cluster_name",
        "sidecar_cluster_upstream_rq_total": OURS,
        "sidecar_cluster_upstream_rq_xx": f"{OURS} sidecar_response_code_class",
        "osm_request_duration_ms_bucket": f"{OSM_ENDS} le",
        "osm_request_duration_ms_sum": OSM_ENDS,
        "osm_request_duration_ms_count": OSM_ENDS,
    },
    "istio": {
        "istio_requests_total": ISTIO,
        "istio_request_duration_milliseconds_bucket": f"{ISTIO_ENDS} le",
        "istio_request_duration_milliseconds_sum": ISTIO_ENDS,
        "istio_request_duration_milliseconds_count": ISTIO_ENDS,
        "istio_request_bytes_sum": ISTIO_ENDS,
        "istio_request_bytes_count": ISTIO_ENDS,
        "istio_response_bytes_sum": ISTIO_ENDS,
        "istio_response_bytes_count": ISTIO_ENDS,
        "istio_tcp_sent_bytes_total": ISTIO,
        "istio_tcp_received_bytes_total": ISTIO,
        "istio_tcp_connections_opened_total": ISTIO,
        "istio_tcp_connections_closed_total": ISTIO,
    },
    "linkerd": {
        "request_total": LINKERD,
        "response_total": f"{LINKERD} status_code classification",
        "response_latency_ms_bucket": f"{LINKERD} le",
        "response_latency_ms_sum": LINKERD,
        "response_latency_ms_count": LINKERD,
        "tcp_open_total": "direction peer tls",
        "tcp_open_connections": "direction peer tls",
        "tcp_close_total": "direction peer tls classification",
        "tcp_read_bytes_total": "direction peer tls",
        "tcp_write_bytes_total": "direction peer tls",
    },
}


def snapshot() -> dict[str, Any]:
    stats = Stats()
    for name in ("inbound", "outbound", "db"):
        stats.listeners[name] = ListenerStats()
        stats.listeners[name].connections_total = 3
    stats.listeners["inbound"].closed["reset"] = 1
    came, went, relayed = EdgeStats(), EdgeStats(), EdgeStats()
    came.count(200, "", 0.002)
    came.count(500, "", 0.004)
    came.received_bytes_total, came.sent_bytes_total = 10, 300
    for _ in range(2):
        went.count(200, "", 0.03)
    went.count(503, "UF", 70)
    relayed.connections_total, relayed.sent_bytes_total, relayed.received_bytes_total = 4, 50, 60
    stats.edges["inbound"] = {"shop/books|80|local": {WEB: {"127.0.0.1:80": came}}}
    stats.edges["outbound"] = {"mail/post|25": {"unix": {"10.0.0.9:25": went}}}
    stats.edges["db"] = {"db": {"10.0.0.7": {"10.0.0.8:5432": relayed}}}
    stats.listeners["outbound"].answers["a"] = {"mail/post|25": went, "": EdgeStats()}
    stats.clusters["mail/post|25"] = ClusterStats()
    stats.clusters["mail/post|25"].retries_total = 6
    return {"process": ProcessStats("1").snapshot(), **stats.snapshot()}


def of(preset: str) -> list[Family]:
    return PRESETS[preset](snapshot(), US)


def read(found: list[Family]) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Without types, since this parser gives counters the names that they should have had."""
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in plain_text(re.sub("(?m)^# TYPE .*\n", "", expose(found).decode())):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def the(found: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str) -> float:
    (value,) = [value for held, value in found[name] if labels.items() <= held.items()]
    return value


@pytest.mark.parametrize("preset", PRESETS)
def test_what_dashboards_ask_for_is_there(preset: str) -> None:
    found = {
        name: {label for labels, _ in samples for label in labels} for name, samples in read(of(preset)).items()
    }
    asked = {name: set(labels.split()) for name, labels in ASKED[preset].items()}
    assert {name: labels for name, labels in found.items() if name in asked} == asked
    assert found.keys() - asked.keys() <= {"istio_request_bytes_bucket", "istio_response_bytes_bucket"}


@pytest.mark.parametrize("preset", PRESETS)
def test_both_parsers_read_it(preset: str) -> None:
    assert {family.name for family in open_metrics(openmetrics(of(preset)).decode())}  # type: ignore[no-untyped-call]
    assert {family.name for family in plain_text(expose(of(preset)).decode())}


@pytest.mark.parametrize("preset", PRESETS)
def test_of_a_proxy_that_has_done_nothing_it_is_told_too(preset: str) -> None:
    nothing = {"process": ProcessStats("1").snapshot(), **Stats().snapshot()}
    assert all(family.samples for family in PRESETS[preset](nothing, Identity()))


def test_the_page_names_every_metric_of_every_preset() -> None:
    page = DOCS.read_text()
    assert [family.name for preset in PRESETS for family in of(preset) if f"`{family.name}`" not in page] == []


def test_fsm_counts_by_cluster_and_by_what_the_workload_asks() -> None:
    found = read(of("fsm"))
    post = {"sidecar_cluster_name": "mail/post|25"}
    assert the(found, "sidecar_cluster_upstream_rq_xx", **post, sidecar_response_code_class="2") == 2
    assert the(found, "sidecar_cluster_external_upstream_rq", **post, sidecar_response_code="503") == 1
    assert the(found, "sidecar_cluster_upstream_rq_total", source_workload_name="bookstore", **post) == 3
    assert the(found, "sidecar_cluster_upstream_rq_pending_failure_eject", **post) == 1
    assert the(found, "sidecar_cluster_upstream_rq_timeout", **post) == 0
    assert the(found, "sidecar_cluster_upstream_rq_retry", **post) == 6


def test_fsm_has_its_own_buckets_for_what_the_workload_asks() -> None:
    buckets = read(of("fsm"))["osm_request_duration_ms_bucket"]
    assert {labels["destination_name"] for labels, _ in buckets} == {"post"}
    told = {labels["le"]: value for labels, value in buckets}
    assert "1.0" not in told
    assert (told["5.0"], told["50.0"], told["60000.0"], told["+Inf"]) == (0, 2, 2, 3)


def test_istio_is_told_from_both_sides() -> None:
    found = read(of("istio"))
    came = {"reporter": "destination", "source_workload": "web", "source_principal": WEB}
    assert the(found, "istio_requests_total", **came, response_code="500", response_flags="-") == 1
    assert the(found, "istio_requests_total", **came, response_code="200", connection_security_policy="mutual_tls") == 1
    assert the(found, "istio_request_duration_milliseconds_sum", **came) == 6
    assert the(found, "istio_response_bytes_sum", **came) == 300
    went = {"reporter": "source", "source_workload": "books-v1"}
    host = "post.mail.svc.cluster.local"
    assert the(found, "istio_requests_total", **went, destination_service=host, response_flags="UF") == 1
    assert the(found, "istio_tcp_sent_bytes_total", source_workload="unknown", request_protocol="tcp") == 50


def test_linkerd_knows_directions_and_what_has_failed() -> None:
    found = read(of("linkerd"))
    assert the(found, "response_total", direction="inbound", classification="failure", status_code="500") == 1
    client = "web.shop.serviceaccount.identity.linkerd.cluster.local"
    assert the(found, "request_total", direction="inbound", tls="true", client_id=client) == 2
    assert the(found, "request_total", direction="outbound", dst_service="post", dst_namespace="mail") == 3
    assert the(found, "response_latency_ms_bucket", direction="outbound", le="50.0") == 2
    assert the(found, "tcp_open_total", direction="inbound", peer="src") == 6
    assert the(found, "tcp_close_total", direction="inbound", classification="failure") == 1


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (WEB, Party("shop", "web", WEB)),
        ("web.shop.cluster.local", Party("shop", "web", WEB)),
        ("10.0.0.7", NOBODY),
        ("::1", NOBODY),
        ("unix", NOBODY),
        ("other", NOBODY),
        ("spiffe://cluster.local/web", NOBODY),
    ],
)
def test_who_asks_is_known_by_name(source: str, found: Party) -> None:
    assert party(source) == found


def test_a_cluster_is_a_service_where_it_is_called_like_one() -> None:
    assert service("shop/books|8080|local") == Service("shop", "books")
    assert service("books") is None


def test_who_we_are_is_what_node_says() -> None:
    config = decode(Config, {
        "node": {
            "service": "books", "namespace": "shop", "service_account": "bookstore",
            "labels": {"pod": "books-0", "version": "v2"},
        },
        "sidecar": {"outbound": "127.0.0.1:15001"},
        "listeners": [
            {"name": "all", "listen": "127.0.0.1:15001", "protocol": "tcp", "cluster": "books"},
            {"name": "outbound", "listen": "127.0.0.1:15002", "protocol": "tcp", "cluster": "books"},
            {"name": "in", "listen": "127.0.0.1:15003", "protocol": "tcp", "cluster": "books"},
        ],
        "clusters": {"books": {"endpoints": ["127.0.0.1:9"]}},
    })  # fmt: skip
    found = identity_of(config)
    assert (found.pod, found.version, found.workload, found.cluster) == ("books-0", "v2", "books", "unknown")
    assert found.outbound == {"all", "outbound"}
    assert found.principal == "spiffe://cluster.local/ns/shop/sa/bookstore"
    assert Identity().principal == "unknown"
