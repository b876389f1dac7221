"""Metrics: plain integers in objects, and the text that Prometheus reads.

The data path does `stats.connections_total += 1` and nothing more.  A scrape walks one way:
`snapshot()` gives plain data, `merged()` adds up that of several workers, `families()` reads it by the table
`METRICS`, `expose()` prints it.  No step after the snapshot sees a live object.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from math import inf, isnan
from typing import Any, Literal, NamedTuple

# The words that labels may take.  Counting any other is a KeyError, so a typo cannot become a series.
REJECTED = (
    "limit", "rate_limit", "proxy_protocol", "tls", "no_chain", "no_endpoint", "breaker_open", "overload", "authorize",
)
CLOSED = ("done", "reset", "idle", "lifetime", "drain", "connect", "error")
OVERLOADS = ("keep_alive", "low", "connections")
RELOADS = ("ok", "refused", "unchanged")
RENEWALS = ("ok", "refused")
CHECKED = ("ok", "unable", "connect", "timeout", "closed", "malformed", "status", "mismatch")
EJECTED = ("connect", "gateway", "5xx", "success_rate")

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST_IDENTITIES = 100
"""Of a listener that are counted each by its name."""
LONGEST_IDENTITY = 256
OTHERS = "other"

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Counters:
    """Numbers in slots; `snapshot` copies them, and what they hold, into plain data."""

    __slots__: tuple[str, ...] = ()

    def snapshot(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


def _plain(value: Any) -> Any:
    if isinstance(value, Counters):
        return value.snapshot()
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    return value


class Histogram(Counters):
    """Values counted by fixed upper bounds; the last count is for what exceeds them all."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def snapshot(self) -> dict[str, Any]:
        return {
            "counts": dict(zip(map(_number, (*self._bounds, inf)), self.counts, strict=True)),
            "sum": self.sum,
        }

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class AnswerStats(Counters):
    """The answers to requests of one route that one cluster gave, or the proxy itself."""

    __slots__ = ("requests", "seconds")

    def __init__(self) -> None:
        self.requests: dict[int | str, int] = {}
        """By status; by status and flags where something went wrong."""
        self.seconds = Histogram(REQUEST_BOUNDS)

    def count(self, status: int, flag: str, seconds: float) -> None:
        key = f"{status} {flag}" if flag else status
        requests = self.requests
        requests[key] = requests.get(key, 0) + 1
        # As `observe` does, without the call
        histogram = self.seconds
        histogram.counts[bisect_left(REQUEST_BOUNDS, seconds)] += 1
        histogram.sum += seconds

    def snapshot(self) -> dict[str, Any]:
        return {
            "requests": {str(key): {"count": count} for key, count in self.requests.items()},
            "seconds": self.seconds.snapshot(),
        }


class FilterStats(Counters):
    """How a filter has failed."""

    __slots__ = ("errors_total", "off", "slow_total", "timeouts_total")

    def __init__(self) -> None:
        self.errors_total = 0
        self.slow_total = 0
        self.timeouts_total = 0
        self.off = 0


class MirrorStats(Counters):
    """What became of the copies of one route's requests."""

    __slots__ = ("answers", "copies_active", "copies_total", "dropped")

    def __init__(self) -> None:
        self.copies_total = 0
        self.copies_active = 0
        self.answers: Counter[str] = Counter()
        """By class of status, such as 2xx."""
        self.dropped: Counter[str] = Counter()
        """By reason; reasons that never were are not shown."""


class ListenerStats(Counters):
    """What one listener saw.  A UDP session counts as a connection."""

    __slots__ = (
        "accept_errors_total",
        "answers",
        "bytes_received_total",
        "bytes_sent_total",
        "closed",
        "connections_active",
        "connections_total",
        "datagrams_received_total",
        "datagrams_sent_total",
        "filters",
        "handshakes",
        "identities",
        "malformed",
        "mirrors",
        "rejected",
    )

    def __init__(self) -> None:
        self.connections_total = 0
        self.connections_active = 0
        self.rejected = dict.fromkeys(REJECTED, 0)
        self.closed = dict.fromkeys(CLOSED, 0)
        self.bytes_received_total = 0
        self.bytes_sent_total = 0
        self.datagrams_received_total = 0
        self.datagrams_sent_total = 0
        self.accept_errors_total = 0
        self.malformed: Counter[str] = Counter()
        """Requests refused for what they are, by reason; reasons that never were are not shown."""
        self.handshakes: Counter[str] = Counter()
        """Of TLS, by how they went."""
        self.answers: dict[str, dict[str, AnswerStats]] = {}
        """By route and cluster, either of which may be empty."""
        self.filters: dict[str, FilterStats] = {}
        self.identities: dict[str, int] = {}
        """How often each has come; `identified` counts."""
        self.mirrors: dict[str, dict[str, MirrorStats]] = {}
        """By route and cluster."""

    def identified(self, identity: str) -> None:
        """A connection has proved it.  Names come from outside: all beyond the first ones are one."""
        identities = self.identities
        if identity not in identities and (len(identities) >= MOST_IDENTITIES or len(identity) > LONGEST_IDENTITY):
            identity = OTHERS
        identities[identity] = identities.get(identity, 0) + 1


class EndpointStats(Counters):
    """What one endpoint was given, and gave back."""

    __slots__ = (
        "bytes_received_total",
        "bytes_sent_total",
        "connect_failures_total",
        "connect_timeouts_total",
        "connections_active",
        "connections_total",
        "doubts",
    )

    def __init__(self) -> None:
        self.connections_total = 0
        self.connections_active = 0
        self.doubts: frozenset[str] = frozenset()
        """The words for which it is not to be picked; in a snapshot each with the number of workers that have it."""
        self.connect_failures_total = 0
        self.connect_timeouts_total = 0
        self.bytes_sent_total = 0
        self.bytes_received_total = 0

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "doubts": {word: {"doubted": 1} for word in sorted(self.doubts)}}


class ClusterStats(Counters):
    """The totals of a cluster.  They outlive its endpoints, so they are counted and not summed."""

    __slots__ = (
        "breaker_open",
        "breaker_opened_total",
        "bytes_received_total",
        "bytes_sent_total",
        "connect_failures_total",
        "connect_seconds",
        "connect_timeouts_total",
        "connections_active",
        "connections_total",
        "ejections",
        "endpoints",
        "handshakes",
        "hedges_total",
        "malformed",
        "no_endpoint_total",
        "overflow_total",
        "refused_total",
        "retries_exhausted_total",
        "retries_refused_total",
        "retries_total",
        "unasked_total",
    )

    def __init__(self) -> None:
        self.connections_total = 0
        self.connections_active = 0
        self.connect_failures_total = 0
        self.connect_timeouts_total = 0
        self.overflow_total = 0
        self.no_endpoint_total = 0
        self.bytes_sent_total = 0
        self.bytes_received_total = 0
        self.malformed: Counter[str] = Counter()
        self.handshakes: Counter[str] = Counter()
        self.retries_total = 0
        self.retries_exhausted_total = 0
        self.retries_refused_total = 0
        self.hedges_total = 0
        self.refused_total = 0
        self.breaker_open = 0
        """In how many workers."""
        self.breaker_opened_total = 0
        self.unasked_total = 0
        self.connect_seconds = Histogram(CONNECT_BOUNDS)
        self.ejections: dict[str, int] = {}
        """By reason, where there is somebody who ejects."""
        self.endpoints: dict[str, EndpointStats] = {}


class HealthStats(Counters):
    """What is known of the endpoints of one cluster, for all workers."""

    __slots__ = ("checks", "fit")

    def __init__(self) -> None:
        self.checks: dict[str, int] = {}
        """By result, where there are checks."""
        self.fit = 0


class ProcessStats(Counters):
    """What concerns the whole process, whatever the number of its workers."""

    __slots__ = (
        "certificate_renewals",
        "certificates",
        "config_generation",
        "health",
        "last_reload_ok_seconds",
        "last_reload_successful",
        "redis_failures_total",
        "redis_up",
        "relaxed",
        "reloads",
        "resolutions_failed_total",
        "version",
        "worker_deaths_total",
        "workers",
    )

    def __init__(self, version: str) -> None:
        self.version = version
        self.reloads = dict.fromkeys(RELOADS, 0)
        self.config_generation = 0
        self.last_reload_ok_seconds = 0.0
        self.last_reload_successful = 0
        self.relaxed: dict[str, dict[str, int]] = {}
        """By listener, the switches of the config in force by which it is less strict."""
        self.certificates: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
        """By listener and cluster, one of which is empty, and by role."""
        self.certificate_renewals = dict.fromkeys(RENEWALS, 0)
        self.workers = 1
        self.worker_deaths_total = 0
        self.resolutions_failed_total = 0
        self.health: dict[str, HealthStats] = {}
        """By cluster, of those whose endpoints are judged."""
        self.redis_up: dict[str, int] = {}
        """By address and database."""
        self.redis_failures_total: dict[str, int] = {}

    def reloaded(self, result: Literal["ok", "refused", "unchanged"], generation: int, at: float) -> None:
        """A config was put in force, refused, or found to be the one in force; `at` is Unix time."""
        self.reloads[result] += 1
        self.config_generation = generation
        self.last_reload_successful = int(result != "refused")
        if result != "refused":
            self.last_reload_ok_seconds = at


class StageStats(Counters):
    """One stage of overload."""

    __slots__ = ("entered_total", "in_force")

    def __init__(self) -> None:
        self.entered_total = 0
        self.in_force = 0


class WorkerStats(Counters):
    """What concerns the loop of a worker."""

    __slots__ = ("buckets_forgotten_total", "connections_passed_total", "loop_lag_seconds", "stages")

    def __init__(self) -> None:
        self.buckets_forgotten_total = 0
        self.connections_passed_total = 0
        self.loop_lag_seconds = Histogram(LAG_BOUNDS)
        self.stages = {name: StageStats() for name in OVERLOADS}


class Stats(Counters):
    """The root: everything one worker counts, by name."""

    __slots__ = ("clusters", "listeners", "worker")

    def __init__(self) -> None:
        self.worker = WorkerStats()
        self.listeners: dict[str, ListenerStats] = {}
        self.clusters: dict[str, ClusterStats] = {}

    def in_steps(self) -> Generator[None, None, dict[str, Any]]:
        """The snapshot, part by part: of thousands of endpoints it takes a while."""
        named: dict[str, dict[str, Any]] = {"listeners": {}, "clusters": {}}
        for kind, found in named.items():
            for name, counted in list(getattr(self, kind).items()):
                found[name] = counted.snapshot()
                yield
        return {"worker": self.worker.snapshot(), **named}


class Metric(NamedTuple):
    """One row of the table: a `field` of the objects in `scope`; words in the field become the label `by`."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    scope: Literal[
        "process", "config", "certificate", "health", "worker", "stage", "listener", "answers", "code", "filter",
        "mirror", "cluster", "endpoint", "doubt",
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
    "certificate": ("listener", "cluster", "role"),
    "health": ("cluster",),
    "worker": (),
    "stage": ("stage",),
    "listener": ("listener",),
    "answers": ("listener", "route", "cluster"),
    "code": ("listener", "route", "cluster", "code", "flags"),
    "filter": ("listener", "filter"),
    "mirror": ("listener", "route", "cluster"),
    "cluster": ("cluster",),
    "endpoint": ("cluster", "endpoint"),
    "doubt": ("cluster", "endpoint", "reason"),
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
    Metric("meshproxy_listener_malformed_total", "counter", "listener", "malformed",
           "Requests refused because they are malformed.", "reason"),
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
    Metric("meshproxy_cluster_connections_total", "counter", "cluster", "connections_total",
           "Connections made to the cluster."),
    Metric("meshproxy_cluster_connections_active", "gauge", "cluster", "connections_active",
           "Connections to the cluster open now."),
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
    objects: dict[str, list[tuple[tuple[str, ...], Mapping[str, Any]]]] = {
        "process": [((), snapshot["process"])],
        "config": [((name,), {"relaxed": held}) for name, held in snapshot["process"]["relaxed"].items()],
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
        "cluster": [((name,), held) for name, held in snapshot["clusters"].items()],
        "endpoint": endpoints,
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
            lines.append(f"{family.name}{suffix}{f'{{{inside}}}' if inside else ''} {_number(value)}")
    return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
