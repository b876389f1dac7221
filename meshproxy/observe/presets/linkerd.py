"""The metrics of Linkerd's proxy, where we count it too; docs/metric-presets.md says what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshproxy.observe.exposition import Family
from meshproxy.observe.presets.gathering import Edge, Gathering, edges, milliseconds, nonempty, status_class
from meshproxy.observe.presets.identity import UNKNOWN, Identity, party, service

ASKED = ("direction", "authority", "target_addr", "tls", "client_id", "dst_namespace", "dst_service")
TCP = ("direction", "peer", "tls")


def families(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    return [*_http(snapshot, identity), *_tcp(snapshot, identity)]


def _http(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    requests = Gathering("request_total", "counter", ASKED, "Requests.")
    responses = Gathering("response_total", "counter", (*ASKED, "status_code", "classification"), "Answers.")
    latency = Gathering("response_latency_ms", "histogram", ASKED, "Time that requests took, in milliseconds.")
    for edge in edges(snapshot):
        if not edge.held["requests"]:
            continue
        asked = _asked(edge, identity)
        for status, flags, count in edge.outcomes:
            requests.add(asked, count)
            responses.add((*asked, status, "failure" if status_class(status) == "5" or flags else "success"), count)
        latency.add(asked, milliseconds(edge.held["seconds"]))
    return nonempty([requests, responses, latency])


def _asked(edge: Edge, identity: Identity) -> tuple[str, ...]:
    if edge.listener in identity.outbound:
        to = service(edge.cluster)
        host = f"{to.name}.{to.namespace}.svc.{identity.trust_domain}" if to else edge.cluster
        return ("outbound", host, edge.endpoint, UNKNOWN, "", to.namespace if to else "", to.name if to else "")
    by = party(edge.source)
    known = by.principal != UNKNOWN
    client = f"{by.account}.{by.namespace}.serviceaccount.identity.linkerd.{identity.trust_domain}" if known else ""
    return ("inbound", "", edge.endpoint, "true" if known else "no_identity", client, "", "")


def _tcp(snapshot: Mapping[str, Any], identity: Identity) -> list[Family]:
    opened = Gathering("tcp_open_total", "counter", TCP, "Connections accepted.")
    active = Gathering("tcp_open_connections", "gauge", TCP, "Connections open now.")
    closed = Gathering("tcp_close_total", "counter", (*TCP, "classification"), "Connections ended.")
    read = Gathering("tcp_read_bytes_total", "counter", TCP, "Bytes read.")
    wrote = Gathering("tcp_write_bytes_total", "counter", TCP, "Bytes written.")
    for listener, held in snapshot["listeners"].items():
        values = ("outbound" if listener in identity.outbound else "inbound", "src", UNKNOWN)
        opened.add(values, held["connections_total"])
        active.add(values, held["connections_active"])
        read.add(values, held["bytes_received_total"])
        wrote.add(values, held["bytes_sent_total"])
        for reason, count in held["closed"].items():
            closed.add((*values, "failure" if reason in ("reset", "connect", "error") else "success"), count)
    return nonempty([opened, active, closed, read, wrote])
