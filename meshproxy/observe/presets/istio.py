"""Istio's standard metrics, where we count it too; docs/metric-presets.md says what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshproxy.observe.exposition import Family
from meshproxy.observe.presets.gathering import Edge, Gathering, edges, milliseconds, nonempty, total_alone
from meshproxy.observe.presets.identity import UNKNOWN, Identity, Service, party, service

SIDE = ("workload", "workload_namespace", "principal", "app", "version", "cluster", "canonical_service",
        "canonical_revision")  # fmt: skip
ENDS = (
    "reporter",
    *(f"source_{name}" for name in SIDE),
    *(f"destination_{name}" for name in SIDE),
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "connection_security_policy",
    "request_protocol",
)
ANSWER = ("response_code", "response_flags", "grpc_response_status")
NO_FLAGS = "-"


def families(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    answered = (*ENDS, *ANSWER)
    requests = Gathering("istio_requests_total", "counter", answered, "Requests answered.")
    duration = Gathering("istio_request_duration_milliseconds", "histogram", ENDS, "Time that requests took.")
    asked = Gathering("istio_request_bytes", "histogram", ENDS, "Sizes of requests' bodies: their sum alone.")
    told = Gathering("istio_response_bytes", "histogram", ENDS, "Sizes of answers' bodies: their sum alone.")
    opened = Gathering("istio_tcp_connections_opened_total", "counter", answered, "Connections opened.")
    closed = Gathering("istio_tcp_connections_closed_total", "counter", answered, "Connections closed.")
    sent = Gathering("istio_tcp_sent_bytes_total", "counter", answered, "Bytes sent to clients.")
    received = Gathering("istio_tcp_received_bytes_total", "counter", answered, "Bytes received from clients.")
    for edge in edges(snapshot):
        held = edge.held
        moved = held["received_bytes_total"], held["sent_bytes_total"]
        if held["requests"]:
            ends = _ends(edge, identity, "http")
            number = 0
            for status, flags, count in edge.outcomes:
                requests.add((*ends, status, flags or NO_FLAGS, ""), count)
                number += count
            duration.add(ends, milliseconds(held["seconds"]))
            if any(moved):
                asked.add(ends, total_alone(moved[0], number))
                told.add(ends, total_alone(moved[1], number))
        if held["connections_total"]:
            values = (*_ends(edge, identity, "tcp"), "0", NO_FLAGS, "")
            opened.add(values, held["connections_total"])
            closed.add(values, held["connections_total"])
            received.add(values, moved[0])
            sent.add(values, moved[1])
    return nonempty([requests, duration, asked, told, opened, closed, sent, received])


def _ends(edge: Edge, identity: Identity, protocol: str) -> tuple[str, ...]:
    ours: tuple[str, ...] = (
        identity.workload, identity.namespace, identity.principal, identity.service, identity.version,
        identity.cluster, identity.service, identity.version,
    )  # fmt: skip
    if edge.listener in identity.outbound:
        to = service(edge.cluster) or Service(UNKNOWN, edge.cluster or UNKNOWN)
        source, destination = ours, _other(UNKNOWN, to.namespace, UNKNOWN, to.name)
        reporter, security = "source", UNKNOWN
    else:
        by = party(edge.source)
        to = Service(identity.namespace, identity.service)
        source, destination = _other(by.account, by.namespace, by.principal, UNKNOWN), ours
        reporter, security = "destination", "none" if by.principal == UNKNOWN else "mutual_tls"
    host = UNKNOWN if UNKNOWN in to else f"{to.name}.{to.namespace}.svc.{identity.trust_domain}"
    return (reporter, *source, *destination, host, to.name, to.namespace, security, protocol)


def _other(workload: str, namespace: str, principal: str, service: str) -> tuple[str, ...]:
    return (workload, namespace, principal, UNKNOWN, UNKNOWN, UNKNOWN, service, UNKNOWN)
