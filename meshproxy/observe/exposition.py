"""From snapshots of counters to the text that Prometheus reads, one way.

`merged()` adds up those of several workers, `families()` reads the sum by the table `METRICS`, `expose()` prints it.
No step sees a live object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from meshproxy.observe.metrics import number


class Metric(NamedTuple):
    """One row of the table: a `field` of the objects in `scope`; words in the field become the label `by`."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    scope: Literal[
        "process", "config", "source", "certificate", "health", "worker", "stage", "listener", "answers", "code",
        "call", "filter", "mirror", "mqtt", "topic", "cluster", "endpoint", "doubt", "bridge", "uplink", "own",
        "spool",
    ]
    field: str
    help: str
    by: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        return SCOPE_LABELS[self.scope] + ((self.by,) if self.by else ())


SCOPE_LABELS = {
    "process": (),
    "config": ("listener",),
    "source": ("source",),
    "certificate": ("listener", "cluster", "role"),
    "health": ("cluster",),
    "worker": (),
    "stage": ("stage",),
    "listener": ("listener",),
    "answers": ("listener", "route", "cluster"),
    "code": ("listener", "route", "cluster", "code", "flags"),
    "call": ("listener", "route", "cluster", "service", "method"),
    "filter": ("listener", "filter"),
    "mirror": ("listener", "route", "cluster"),
    "mqtt": ("listener", "policy"),
    "topic": ("listener", "policy", "topic"),
    "cluster": ("cluster",),
    "endpoint": ("cluster", "endpoint"),
    "doubt": ("cluster", "endpoint", "reason"),
    "bridge": ("bridge",),
    "uplink": ("bridge", "side"),
    "own": ("cluster",),
    "spool": ("policy", "cluster"),
}

# fmt: off
METRICS = (
    Metric("meshproxy_info", "gauge", "process", "version",
           "Always 1; the label says which version runs.", "version"),
    Metric("meshproxy_config_generation", "gauge", "process", "config_generation",
           "Generation of the config in force."),
    Metric("meshproxy_config_reloads_total", "counter", "process", "reloads",
           "Configs offered, by what became of them.", "result"),
    Metric("meshproxy_config_last_reload_successful", "gauge", "process", "last_reload_successful",
           "1 unless the last config offered was refused."),
    Metric("meshproxy_config_last_reload_ok_timestamp_seconds", "gauge", "process", "last_reload_ok_seconds",
           "Unix time of the last config that was accepted."),
    Metric("meshproxy_config_notes", "gauge", "process", "notes",
           "Settings of the policy in force that are left away or not yet done, by why.", "kind"),
    Metric("meshproxy_source_up", "gauge", "source", "up",
           "1 while the source answers, whatever becomes of what it says."),
    Metric("meshproxy_source_polls_total", "counter", "source", "polls",
           "Times that the source was asked, by what came of it.", "result"),
    Metric("meshproxy_source_last_success_timestamp_seconds", "gauge", "source", "last_success_seconds",
           "Unix time of its last answer that could be made use of; 0: none has come."),
    Metric("meshproxy_listener_relaxed", "gauge", "config", "relaxed",
           "1 for each switch by which the listener is less strict than by default.", "switch"),
    Metric("meshproxy_certificate_renewals_total", "counter", "process", "certificate_renewals",
           "Times that files with certificates, keys or CAs were replaced, by what became of it.", "result"),
    Metric("meshproxy_certificate_not_after_seconds", "gauge", "certificate", "not_after",
           "Unix time of the end: of the first to expire of a chain, of the last of several CAs."),
    Metric("meshproxy_workers", "gauge", "process", "workers",
           "Workers that serve now."),
    Metric("meshproxy_worker_deaths_total", "counter", "process", "worker_deaths_total",
           "Workers that ended without having been asked to."),
    Metric("meshproxy_resolutions_failed_total", "counter", "process", "resolutions_failed_total",
           "Times that no address could be had for the name of an endpoint."),
    Metric("meshproxy_redis_up", "gauge", "process", "redis_up",
           "1 where a Redis that counts for many proxies answers.", "redis"),
    Metric("meshproxy_redis_failures_total", "counter", "process", "redis_failures_total",
           "Connections to such a Redis that were lost, too slow or refused.", "redis"),
    Metric("meshproxy_buckets_forgotten_total", "counter", "worker", "buckets_forgotten_total",
           "Values of a limit that were forgotten before they were full again, for want of places."),
    Metric("meshproxy_connections_passed_total", "counter", "worker", "connections_passed_total",
           "Connections that a worker handed to one that has fewer."),
    Metric("meshproxy_loop_lag_seconds", "histogram", "worker", "loop_lag_seconds",
           "How late the event loop called a timer."),
    Metric("meshproxy_overload_workers", "gauge", "stage", "in_force",
           "Workers in which this stage of overload is in force."),
    Metric("meshproxy_overload_entered_total", "counter", "stage", "entered_total",
           "Times that a worker entered this stage of overload."),
    Metric("meshproxy_listener_connections_total", "counter", "listener", "connections_total",
           "Connections accepted, or UDP sessions begun."),
    Metric("meshproxy_listener_connections_active", "gauge", "listener", "connections_active",
           "Connections or UDP sessions open now."),
    Metric("meshproxy_listener_rejected_total", "counter", "listener", "rejected",
           "Connections refused before they were relayed.", "reason"),
    Metric("meshproxy_listener_closed_total", "counter", "listener", "closed",
           "Connections ended, by why.", "reason"),
    Metric("meshproxy_identity_connections_total", "counter", "listener", "identities",
           "Connections that have proved an identity; in each worker the first 100 of them, and `other`.", "identity"),
    Metric("meshproxy_listener_received_bytes_total", "counter", "listener", "bytes_received_total",
           "Bytes read from clients."),
    Metric("meshproxy_listener_sent_bytes_total", "counter", "listener", "bytes_sent_total",
           "Bytes written to clients."),
    Metric("meshproxy_listener_received_datagrams_total", "counter", "listener", "datagrams_received_total",
           "Datagrams read from clients."),
    Metric("meshproxy_listener_sent_datagrams_total", "counter", "listener", "datagrams_sent_total",
           "Datagrams written to clients."),
    Metric("meshproxy_listener_accept_errors_total", "counter", "listener", "accept_errors_total",
           "Times that accept failed: for want of descriptors or memory, or because the connection was gone."),
    Metric("meshproxy_requests_total", "counter", "code", "count",
           "Requests answered, each once; the route or the cluster is empty where there was none."),
    Metric("meshproxy_request_seconds", "histogram", "answers", "seconds",
           "From the head of a request to the end of its answer."),
    Metric("meshproxy_grpc_requests_total", "counter", "call", "statuses",
           "Calls of gRPC, where the listener counts them; in each worker the first 100 methods, and `other`.",
           "status"),
    Metric("meshproxy_listener_malformed_total", "counter", "listener", "malformed",
           "Requests refused because they are malformed.", "reason"),
    Metric("meshproxy_listener_http2_faults_total", "counter", "listener", "http2",
           "What clients of HTTP/2 have done that is refused, or for which they are cut off.", "kind"),
    Metric("meshproxy_listener_handshakes_total", "counter", "listener", "handshakes",
           "Handshakes of TLS with clients, by how they went.", "result"),
    Metric("meshproxy_filter_errors_total", "counter", "filter", "errors_total",
           "Times that a filter raised, or answered with what is no answer."),
    Metric("meshproxy_filter_slow_total", "counter", "filter", "slow_total",
           "Times that a filter held up the loop for more than 5 ms."),
    Metric("meshproxy_filter_timeouts_total", "counter", "filter", "timeouts_total",
           "Times that what a filter awaited took too long."),
    Metric("meshproxy_filter_off", "gauge", "filter", "off",
           "Workers in which a filter is not called any more, because it was slow too often."),
    Metric("meshproxy_mirror_copies_total", "counter", "mirror", "copies_total",
           "Copies of requests begun for a mirror."),
    Metric("meshproxy_mirror_copies_active", "gauge", "mirror", "copies_active",
           "Copies under way now."),
    Metric("meshproxy_mirror_answers_total", "counter", "mirror", "answers",
           "Answers of a mirror, by class of status.", "code"),
    Metric("meshproxy_mirror_dropped_total", "counter", "mirror", "dropped",
           "Copies given up, or not begun.", "reason"),
    Metric("meshproxy_mqtt_sessions_total", "counter", "mqtt", "sessions_total",
           "Clients of MQTT that were let in."),
    Metric("meshproxy_mqtt_sessions_active", "gauge", "mqtt", "sessions_active",
           "Those that are there now."),
    Metric("meshproxy_mqtt_refused_total", "counter", "mqtt", "refused",
           "Clients of MQTT that were not let in, by why.", "reason"),
    Metric("meshproxy_mqtt_sessions_ended_total", "counter", "mqtt", "ended",
           "Sessions that ended, by how.", "reason"),
    Metric("meshproxy_mqtt_messages_in_total", "counter", "mqtt", "messages_in_total",
           "Messages that clients published."),
    Metric("meshproxy_mqtt_messages_out_total", "counter", "mqtt", "messages_out_total",
           "Messages that were delivered to clients."),
    Metric("meshproxy_mqtt_denied_total", "counter", "mqtt", "denied",
           "What clients were not allowed to do.", "what"),
    Metric("meshproxy_mqtt_dropped_total", "counter", "mqtt", "dropped",
           "Messages that went no further, by why.", "reason"),
    Metric("meshproxy_mqtt_malformed_total", "counter", "mqtt", "malformed",
           "Packets of clients that break the protocol, by how.", "fault"),
    Metric("meshproxy_mqtt_brokers_lost_total", "counter", "mqtt", "lost",
           "Times that a session lost its broker and its client stayed, by how.", "reason"),
    Metric("meshproxy_mqtt_sessions_moved_total", "counter", "mqtt", "moved_total",
           "Times that a session went on with a broker after it had lost one."),
    Metric("meshproxy_mqtt_in_doubt_total", "counter", "mqtt", "in_doubt_total",
           "Messages of QoS 2 of which only a broker that was lost knows whether they were passed on."),
    Metric("meshproxy_mqtt_topic_messages_total", "counter", "topic", "messages_total",
           "Messages that clients published to the topics of a rule."),
    Metric("meshproxy_mqtt_topic_bytes_total", "counter", "topic", "bytes_total",
           "Bytes of their payloads."),
    Metric("meshproxy_cluster_connections_total", "counter", "cluster", "connections_total",
           "Connections made to the cluster."),
    Metric("meshproxy_cluster_connections_active", "gauge", "cluster", "connections_active",
           "Connections to the cluster open now."),
    Metric("meshproxy_cluster_streams_total", "counter", "cluster", "streams_total",
           "Streams opened on connections of HTTP/2 to the cluster."),
    Metric("meshproxy_cluster_streams_active", "gauge", "cluster", "streams_active",
           "Streams to the cluster open now."),
    Metric("meshproxy_cluster_connect_failures_total", "counter", "cluster", "connect_failures_total",
           "Attempts to connect that were refused or failed."),
    Metric("meshproxy_cluster_connect_timeouts_total", "counter", "cluster", "connect_timeouts_total",
           "Attempts to connect that took too long."),
    Metric("meshproxy_cluster_overflow_total", "counter", "cluster", "overflow_total",
           "Connections and requests refused because the cluster was at a limit."),
    Metric("meshproxy_cluster_no_endpoint_total", "counter", "cluster", "no_endpoint_total",
           "Connections for which the cluster had no endpoint."),
    Metric("meshproxy_cluster_retries_total", "counter", "cluster", "retries_total",
           "Requests sent again, by policy or since nobody can have heard of them."),
    Metric("meshproxy_cluster_retries_exhausted_total", "counter", "cluster", "retries_exhausted_total",
           "Requests that failed at the last of their tries."),
    Metric("meshproxy_cluster_retries_refused_total", "counter", "cluster", "retries_refused_total",
           "Retries that the budget did not allow."),
    Metric("meshproxy_cluster_hedges_total", "counter", "cluster", "hedges_total",
           "Second tries beside a first one that took long."),
    Metric("meshproxy_cluster_breaker_open", "gauge", "cluster", "breaker_open",
           "Workers in which the breaker is not closed."),
    Metric("meshproxy_cluster_breaker_opened_total", "counter", "cluster", "breaker_opened_total",
           "Times that the breaker opened, in any worker."),
    Metric("meshproxy_cluster_refused_total", "counter", "cluster", "refused_total",
           "Requests and connections refused because the breaker was open."),
    Metric("meshproxy_cluster_malformed_total", "counter", "cluster", "malformed",
           "Answers refused because they are malformed.", "reason"),
    Metric("meshproxy_cluster_http2_faults_total", "counter", "cluster", "http2",
           "What endpoints of HTTP/2 have done that is refused, or for which they are cut off.", "kind"),
    Metric("meshproxy_cluster_handshakes_total", "counter", "cluster", "handshakes",
           "Handshakes of TLS with endpoints, by how they went.", "result"),
    Metric("meshproxy_cluster_unasked_total", "counter", "cluster", "unasked_total",
           "Connections ended because the upstream sent what nobody had asked for."),
    Metric("meshproxy_cluster_sent_bytes_total", "counter", "cluster", "bytes_sent_total",
           "Bytes written to the cluster."),
    Metric("meshproxy_cluster_received_bytes_total", "counter", "cluster", "bytes_received_total",
           "Bytes read from the cluster."),
    Metric("meshproxy_cluster_connect_seconds", "histogram", "cluster", "connect_seconds",
           "Time that successful connects took."),
    Metric("meshproxy_cluster_health_checks_total", "counter", "health", "checks",
           "Checks of endpoints, by what came of them.", "result"),
    Metric("meshproxy_cluster_endpoints_fit", "gauge", "health", "fit",
           "Endpoints that neither checks nor the traffic have anything against."),
    Metric("meshproxy_cluster_ejections_total", "counter", "cluster", "ejections",
           "Endpoints ejected by the traffic, by why.", "reason"),
    Metric("meshproxy_endpoint_connections_total", "counter", "endpoint", "connections_total",
           "Connections made to the endpoint."),
    Metric("meshproxy_endpoint_connections_active", "gauge", "endpoint", "connections_active",
           "Connections to the endpoint open now."),
    Metric("meshproxy_endpoint_streams_active", "gauge", "endpoint", "streams_active",
           "Streams of HTTP/2 to the endpoint open now."),
    Metric("meshproxy_endpoint_connect_failures_total", "counter", "endpoint", "connect_failures_total",
           "Attempts to connect that were refused or failed."),
    Metric("meshproxy_endpoint_connect_timeouts_total", "counter", "endpoint", "connect_timeouts_total",
           "Attempts to connect that took too long."),
    Metric("meshproxy_endpoint_sent_bytes_total", "counter", "endpoint", "bytes_sent_total",
           "Bytes written to the endpoint."),
    Metric("meshproxy_endpoint_received_bytes_total", "counter", "endpoint", "bytes_received_total",
           "Bytes read from the endpoint."),
    Metric("meshproxy_endpoint_doubted", "gauge", "doubt", "doubted",
           "Workers that do not pick the endpoint, by why; absent: all pick it."),
    Metric("meshproxy_bridge_passed_total", "counter", "bridge", "passed",
           "Messages of MQTT that the other side has taken.", "direction"),
    Metric("meshproxy_bridge_dropped_total", "counter", "bridge", "dropped",
           "Messages of MQTT that the other side has not taken, and that are not tried again.", "direction"),
    Metric("meshproxy_bridge_up", "gauge", "uplink", "up",
           "1 while the bridge is connected to a broker on this side."),
    Metric("meshproxy_bridge_lost_total", "counter", "uplink", "lost",
           "Connections to brokers that were lost, or of no use, by why.", "reason"),
    Metric("meshproxy_bridge_received_total", "counter", "uplink", "received_total",
           "Messages that this side has sent to the bridge."),
    Metric("meshproxy_bridge_repeated_total", "counter", "uplink", "repeated_total",
           "Messages sent again to this side, since their acknowledgement was lost."),
    Metric("meshproxy_bridge_in_doubt_total", "counter", "uplink", "in_doubt_total",
           "Messages of QoS 2 that only a session knows of which is gone; they are taken as delivered."),
    Metric("meshproxy_bridge_unexpected_total", "counter", "uplink", "unexpected_total",
           "Acknowledgements of what was never sent to this side."),
    Metric("meshproxy_bridge_unsubscribed_total", "counter", "uplink", "unsubscribed_total",
           "Subscriptions that this side has refused."),
    Metric("meshproxy_mqtt_uplinks_up", "gauge", "own", "up",
           "Sessions of the proxy's own with brokers, for its clients, that are there now."),
    Metric("meshproxy_mqtt_uplink_lost_total", "counter", "own", "lost",
           "Connections of theirs that were lost, or of no use, by why.", "reason"),
    Metric("meshproxy_mqtt_uplink_published_total", "counter", "own", "published_total",
           "Messages that they have sent."),
    Metric("meshproxy_mqtt_uplink_acknowledged_total", "counter", "own", "acknowledged_total",
           "Messages of QoS 1 and 2 that brokers have taken."),
    Metric("meshproxy_mqtt_uplink_refused_total", "counter", "own", "refused_total",
           "Messages that brokers have refused."),
    Metric("meshproxy_mqtt_uplink_dropped_total", "counter", "own", "dropped_total",
           "Messages that were sent to nobody: there was no connection, or no room."),
    Metric("meshproxy_mqtt_uplink_repeated_total", "counter", "own", "repeated_total",
           "Messages sent again, since their acknowledgement was lost."),
    Metric("meshproxy_mqtt_uplink_in_doubt_total", "counter", "own", "in_doubt_total",
           "Messages of QoS 2 that only a session knows of which is gone; they are taken as delivered."),
    Metric("meshproxy_mqtt_uplink_received_total", "counter", "own", "received_total",
           "Messages that brokers have sent to them."),
    Metric("meshproxy_mqtt_spool_waiting", "gauge", "spool", "waiting",
           "Messages on disk that no broker has taken yet."),
    Metric("meshproxy_mqtt_spool_bytes", "gauge", "spool", "bytes",
           "Bytes on disk."),
    Metric("meshproxy_mqtt_spool_stored_total", "counter", "spool", "stored_total",
           "Messages that were written and synced."),
    Metric("meshproxy_mqtt_spool_forwarded_total", "counter", "spool", "forwarded_total",
           "Messages that a broker has taken."),
    Metric("meshproxy_mqtt_spool_dropped_total", "counter", "spool", "dropped_total",
           "The oldest messages, dropped to make room."),
    Metric("meshproxy_mqtt_spool_refused_total", "counter", "spool", "refused_total",
           "Messages that were not taken, for want of room."),
    Metric("meshproxy_mqtt_spool_failed_total", "counter", "spool", "failed_total",
           "Messages that were not taken, for the disk said no."),
    Metric("meshproxy_mqtt_spool_damaged_total", "counter", "spool", "damaged_total",
           "Messages that cannot be read any more."),
    Metric("meshproxy_mqtt_spool_expired_total", "counter", "spool", "expired_total",
           "Messages that have waited for too long."),
    Metric("meshproxy_mqtt_spool_rejected_total", "counter", "spool", "rejected_total",
           "Messages that the broker has refused for good."),
)
# fmt: on

GAUGES = {metric.field for metric in METRICS if metric.type == "gauge"}


class Sample(NamedTuple):
    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


def merged(snapshots: Sequence[Any]) -> Any:
    """The sum of snapshots of the same kind: numbers are added up, names are united."""
    first = snapshots[0]
    if isinstance(first, dict):
        names = dict.fromkeys(name for snapshot in snapshots for name in snapshot)
        return {name: merged([held[name] for held in snapshots if name in held]) for name in names}
    return sum(snapshots)


def without_gauges(snapshot: Any) -> Any:
    """What remains true of a worker that is gone: what it has counted, and not what it held."""
    if not isinstance(snapshot, dict):
        return snapshot
    return {
        name: 0 if name in GAUGES and isinstance(held, int) else without_gauges(held)
        for name, held in snapshot.items()
    }


class Family(NamedTuple):
    """One metric as it is printed: its name, type and help once, then its samples."""

    name: str
    type: str
    help: str
    samples: Sequence[Sample]


def families(snapshot: Mapping[str, Any]) -> list[Family]:
    """The families of what `ProcessStats` (as `process`) and `Stats` say, in the order of the table.

    One that has no sample is left out.
    """
    answers: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [
        ((listener, route, cluster), held)
        for listener, of_listener in snapshot["listeners"].items()
        for route, of_route in of_listener["answers"].items()
        for cluster, held in of_route.items()
    ]
    endpoints: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [
        ((cluster, name), held)
        for cluster, of_cluster in snapshot["clusters"].items()
        for name, held in of_cluster["endpoints"].items()
    ]
    mqtt: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [
        ((listener, policy), held)
        for listener, of_listener in snapshot["listeners"].items()
        for policy, held in of_listener["mqtt"].items()
    ]
    objects: dict[str, list[tuple[tuple[str, ...], Mapping[str, Any]]]] = {
        "process": [((), snapshot["process"])],
        "config": [((name,), {"relaxed": held}) for name, held in snapshot["process"]["relaxed"].items()],
        "source": [((name,), held) for name, held in snapshot["process"]["sources"].items()],
        "certificate": [
            ((listener, cluster, role), held)
            for listener, of_listener in snapshot["process"]["certificates"].items()
            for cluster, of_cluster in of_listener.items()
            for role, held in of_cluster.items()
        ],
        "health": [((name,), held) for name, held in snapshot["process"]["health"].items()],
        "worker": [((), snapshot["worker"])],
        "stage": [((name,), held) for name, held in snapshot["worker"]["stages"].items()],
        "listener": [((name,), held) for name, held in snapshot["listeners"].items()],
        "answers": answers,
        "code": [
            ((*names, code, flags), counted)
            for names, held in answers
            for key, counted in held["requests"].items()
            for code, _, flags in [key.partition(" ")]
        ],
        "call": [
            ((listener, route, cluster, service, method), {"statuses": held})
            for listener, of_listener in snapshot["listeners"].items()
            for route, of_route in of_listener["calls"].items()
            for cluster, of_cluster in of_route.items()
            for service, of_service in of_cluster.items()
            for method, held in of_service.items()
        ],
        "filter": [
            ((listener, name), held)
            for listener, of_listener in snapshot["listeners"].items()
            for name, held in of_listener["filters"].items()
        ],
        "mirror": [
            ((listener, route, cluster), held)
            for listener, of_listener in snapshot["listeners"].items()
            for route, of_route in of_listener["mirrors"].items()
            for cluster, held in of_route.items()
        ],
        "mqtt": mqtt,
        "topic": [((*names, topic), counted) for names, held in mqtt for topic, counted in held["topics"].items()],
        "cluster": [((name,), held) for name, held in snapshot["clusters"].items()],
        "endpoint": endpoints,
        "own": [((name,), held) for name, held in snapshot["uplinks"].items()],
        "spool": [
            ((policy, cluster), held)
            for policy, of_policy in snapshot["spools"].items()
            for cluster, held in of_policy.items()
        ],
        "bridge": [((name,), held) for name, held in snapshot["bridges"].items()],
        "uplink": [
            ((name, side), counted)
            for name, held in snapshot["bridges"].items()
            for side, counted in held["sides"].items()
        ],
        "doubt": [((*names, word), doubt) for names, held in endpoints for word, doubt in held["doubts"].items()],
    }
    found = []
    for metric in METRICS:
        samples = [
            sample for names, held in objects[metric.scope] for sample in _samples(metric, names, held[metric.field])
        ]
        if samples:
            found.append(Family(metric.name, metric.type, metric.help, samples))
    return found


def _samples(metric: Metric, names: tuple[str, ...], value: Any) -> Iterator[Sample]:
    labels = tuple(zip(SCOPE_LABELS[metric.scope], names, strict=True))
    if metric.type == "histogram":
        yield from _buckets(labels, value)
    elif isinstance(value, dict):
        for word, count in value.items():
            yield Sample("", (*labels, (metric.by, word)), count)
    elif isinstance(value, str):
        yield Sample("", (*labels, (metric.by, value)), 1)
    else:
        yield Sample("", labels, value)


def _buckets(labels: tuple[tuple[str, str], ...], histogram: Mapping[str, Any]) -> Iterator[Sample]:
    total = 0
    for bound, count in histogram["counts"].items():
        total += count
        yield Sample("_bucket", (*labels, ("le", bound)), total)
    yield Sample("_sum", labels, histogram["sum"])
    yield Sample("_count", labels, total)


def expose(families: Iterable[Family]) -> bytes:
    """Prometheus text, version 0.0.4."""
    lines = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.type}")
        for suffix, labels, value in family.samples:
            inside = ",".join(f'{label}="{_quoted(text)}"' for label, text in labels)
            lines.append(f"{family.name}{suffix}{f'{{{inside}}}' if inside else ''} {number(value)}")
    return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
