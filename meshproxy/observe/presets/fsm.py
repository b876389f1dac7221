"""What the sidecars of FSM and osm-edge tell, where we count it too; docs/metric-presets.md says what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshproxy.observe.exposition import Family
from meshproxy.observe.presets.gathering import Gathering, edges, milliseconds, nonempty, outcomes, status_class
from meshproxy.observe.presets.identity import UNKNOWN, Identity, Service, service

CLUSTER = ("sidecar_cluster_name",)
SOURCE = ("source_namespace", "source_workload_kind", "source_workload_name", "source_workload_pod")
DURATION = (
    "source_namespace", "source_kind", "source_name", "source_pod",
    "destination_namespace", "destination_kind", "destination_name", "destination_pod",
)  # fmt: skip
SHORTEST = 5.0
"""Milliseconds, of its first bucket; ours that are below are part of it."""

OF_A_CLUSTER = {
    "sidecar_cluster_upstream_cx_tx_bytes_total": ("bytes_sent_total", "Bytes written to the cluster."),
    "sidecar_cluster_upstream_cx_rx_bytes_total": ("bytes_received_total", "Bytes read from the cluster."),
    "sidecar_cluster_upstream_cx_connect_timeout": ("connect_timeouts_total", "Connects that took too long."),
    "sidecar_cluster_upstream_rq_pending_overflow": ("overflow_total", "Refused because the cluster was at a limit."),
    "sidecar_cluster_upstream_rq_retry": ("retries_total", "Requests sent again."),
    "sidecar_cluster_upstream_rq_retry_limit_exceeded": ("retries_exhausted_total", "Failed at the last try."),
    "sidecar_cluster_upstream_rq_retry_overflow": ("retries_refused_total", "Retries that the budget did not allow."),
}
OF_A_FLAG = {
    "sidecar_cluster_upstream_rq_timeout": ("UT", "Requests whose time was over."),
    "sidecar_cluster_upstream_rq_rx_reset": ("UC", "Requests that the endpoint has reset."),
    "sidecar_cluster_upstream_rq_tx_reset": ("DC", "Requests whose client has left."),
    "sidecar_cluster_upstream_rq_pending_failure_eject": ("UF", "Requests for which no connection could be made."),
}


def families(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    live = Family("sidecar_server_live", "gauge", "1 while the sidecar runs.", (), [("", 1)])
    return [live, *_of_clusters(snapshot), *_of_requests(snapshot, identity), *_durations(snapshot, identity)]


def _of_clusters(snapshot: Mapping[str, Any]) -> list[Family]:
    counters = {field: Gathering(name, "counter", CLUSTER, help) for name, (field, help) in OF_A_CLUSTER.items()}
    active = Gathering("sidecar_cluster_upstream_cx_active", "gauge", CLUSTER, "Connections open now.")
    for cluster, held in snapshot["clusters"].items():
        for field, counter in counters.items():
            counter.add((cluster,), held[field])
        active.add((cluster,), held["connections_active"])
    return nonempty([*counters.values(), active])


def _of_requests(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    ours = (identity.namespace, identity.kind, identity.service_account, identity.pod)
    classed = ("sidecar_response_code_class",)
    completed = Gathering(
        "sidecar_cluster_external_upstream_rq_completed", "counter", CLUSTER, "Requests that were answered."
    )
    by_code = Gathering(
        "sidecar_cluster_external_upstream_rq", "counter", (*CLUSTER, "sidecar_response_code"), "By status."
    )
    by_class = Gathering(
        "sidecar_cluster_external_upstream_rq_xx", "counter", (*CLUSTER, *classed), "By the first digit of the status."
    )
    total = Gathering("sidecar_cluster_upstream_rq_total", "counter", (*SOURCE, *CLUSTER), "Requests of this workload.")
    by_class_and_source = Gathering(
        "sidecar_cluster_upstream_rq_xx", "counter", (*SOURCE, *CLUSTER, *classed), "By the first digit of the status."
    )
    flagged = {flag: Gathering(name, "counter", CLUSTER, help) for name, (flag, help) in OF_A_FLAG.items()}
    for listener in snapshot["listeners"].values():
        for by_cluster in listener["answers"].values():
            for cluster, held in by_cluster.items():
                if not cluster:
                    continue
                for flag in flagged.values():
                    flag.add((cluster,), 0)
                for status, flags, count in outcomes(held):
                    completed.add((cluster,), count)
                    by_code.add((cluster, status), count)
                    by_class.add((cluster, status_class(status)), count)
                    total.add((*ours, cluster), count)
                    by_class_and_source.add((*ours, cluster, status_class(status)), count)
                    for said in flags.split(","):
                        if said in flagged:
                            flagged[said].add((cluster,), count)
    return nonempty([completed, by_code, by_class, total, by_class_and_source, *flagged.values()])


def _durations(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    found = Gathering("osm_request_duration_ms", "histogram", DURATION, "Time that requests took, in milliseconds.")
    ours = (identity.namespace, identity.kind, identity.service_account, identity.pod)
    for edge in edges(snapshot):
        if edge.listener in identity.outbound and edge.held["requests"]:
            to = service(edge.cluster) or Service(UNKNOWN, edge.cluster)
            theirs = (to.namespace, UNKNOWN, to.name, UNKNOWN)
            found.add((*ours, *theirs), _theirs(milliseconds(edge.held["seconds"])))
    return nonempty([found])


def _theirs(histogram: dict[str, Any]) -> dict[str, Any]:
    """Without the buckets that theirs has not."""
    short, counts = 0, {}
    for bound, count in histogram["counts"].items():
        if float(bound) < SHORTEST:
            short += count
        else:
            counts[bound] = count + short
            short = 0
    return {"counts": counts, "sum": histogram["sum"]}
