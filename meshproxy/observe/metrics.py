"""What is counted: plain integers in objects.

The data path does `stats.connections_total += 1` and nothing more.  `snapshot()` gives plain data, of which
`observe.exposition` makes the text that Prometheus reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from functools import cache
from math import inf, isnan
from operator import add
from typing import Any, Literal

# The words that labels may take.  Counting any other is a KeyError, so a typo cannot become a series.
REJECTED = (
    "limit", "rate_limit", "proxy_protocol", "tls", "no_chain", "no_endpoint", "breaker_open", "overload", "authorize",
    "loop", "protocol",
)
CLOSED = ("done", "reset", "idle", "lifetime", "drain", "connect", "error")
OVERLOADS = ("keep_alive", "low", "connections")
RELOADS = ("ok", "refused", "unchanged")
RENEWALS = ("ok", "refused")
POLLS = ("changed", "unchanged", "refused", "gone", "denied", "failed")
NOTES = ("ignored", "not-in-force", "plugin", "compat")
CHECKED = ("ok", "unable", "connect", "timeout", "closed", "malformed", "status", "mismatch")
DIRECTIONS = ("push", "pull")
SIDES = ("local", "remote")
LOST = ("full", "late", "unknown")
EJECTED = ("connect", "gateway", "5xx", "success_rate")
MQTT_REFUSED = (
    "malformed", "version", "client_id", "wrong", "unknown", "nothing", "busy", "no_way", "will", "timeout", "closed",
    "reset", "drain",
)  # fmt: skip
MQTT_ENDED = (
    "disconnect", "closed", "reset", "keep_alive", "malformed", "in_flight", "slow", "refused", "no_broker", "broker",
    "untaken", "taken_over", "subscriptions", "drain",
)  # fmt: skip
DNS_RESULTS = (
    "table", "cache", "upstream", "shared", "denied", "failed", "overflow", "refused", "malformed", "ignored",
)  # fmt: skip
MQTT_LOST = ("closed", "reset", "silent", "drain", "protocol", "leaves")
MQTT_DENIED = ("publish", "subscribe", "subscriptions", "will")
MQTT_DROPPED = ("away", "slow", "outside", "oversized", "refused")

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST_IDENTITIES = 100
"""Of a listener that are counted each by its name."""
LONGEST_IDENTITY = 256
MOST_OUTCOMES = 64
"""Status with flags, of the answers of one cluster to one route, that are counted each by its name."""
MOST_METHODS = 100
"""Of gRPC on a listener that are counted each by its name."""
NO_SUCH_METHOD = "unimplemented"
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

    __slots__ = ("_bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, tuple[bytes, float, float]] | None = None
        """By the place of the bucket: the trace of the value that came there last, the value, and its Unix time."""

    def snapshot(self) -> dict[str, Any]:
        words = _words(self._bounds)
        found: dict[str, Any] = {"counts": dict(zip(words, self.counts, strict=True)), "sum": self.sum}
        if self.exemplars:
            found["exemplars"] = {
                words[place]: [trace.decode("ascii", "replace"), value, at]
                for place, (trace, value, at) in self.exemplars.items()
            }
        return found

    def exemplify(self, value: float, trace_id: bytes, at: float) -> None:
        """A value that has been counted was that of a trace which is recorded."""
        if self.exemplars is None:
            self.exemplars = {}
        self.exemplars[bisect_left(self._bounds, value)] = trace_id, value, at

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


@cache
def _words(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(map(number, (*bounds, inf)))


NO_REQUESTS: dict[int | str, int] = {}
NO_SECONDS = Histogram(REQUEST_BOUNDS)


class AnswerStats(Counters):
    """The answers to requests of one route that one cluster gave, or the proxy itself."""

    __slots__ = ("requests", "seconds")

    def __init__(self) -> None:
        self.requests = NO_REQUESTS
        """By status; by status and flags where something went wrong.  Of ten thousand routes most are never asked for:
        they share what says so."""
        self.seconds = NO_SECONDS

    def count(self, status: int, flags: str, seconds: float) -> None:
        """One."""
        counts = [0] * (len(REQUEST_BOUNDS) + 1)
        counts[bisect_left(REQUEST_BOUNDS, seconds)] = 1
        self.add({f"{status} {flags}" if flags else status: 1}, counts, seconds)

    def add(self, requests: Mapping[int | str, int], counts: Sequence[int], seconds: float) -> None:
        """So many of each kind, in the buckets of `REQUEST_BOUNDS`, and how long they took together."""
        held = self.requests
        if held is NO_REQUESTS:
            held = self.requests = {}
            self.seconds = Histogram(REQUEST_BOUNDS)
        for key, count in requests.items():
            if key not in held and len(held) >= MOST_OUTCOMES:
                key = OTHERS  # an upstream may answer with any status
            held[key] = held.get(key, 0) + count
        histogram = self.seconds
        histogram.counts[:] = map(add, histogram.counts, counts)
        histogram.sum += seconds

    def snapshot(self) -> dict[str, Any]:
        return {
            "requests": {str(key): {"count": count} for key, count in self.requests.items()},
            "seconds": self.seconds.snapshot(),
        }


class EdgeStats(AnswerStats):
    """What one source had of one endpoint of a cluster, through one listener: requests, or connections."""

    __slots__ = ("connections_total", "failed_total", "received_bytes_total", "sent_bytes_total")

    def __init__(self) -> None:
        super().__init__()
        self.connections_total = 0
        """Of TCP, which are counted at their end."""
        self.failed_total = 0
        self.sent_bytes_total = 0
        self.received_bytes_total = 0

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), **{name: getattr(self, name) for name in self.__slots__}}


class FilterStats(Counters):
    """How a filter has failed."""

    __slots__ = ("errors_total", "off", "slow_total", "timeouts_total")

    def __init__(self) -> None:
        self.errors_total = 0
        self.slow_total = 0
        self.timeouts_total = 0
        self.off = 0


class CallStats(Counters):
    """Calls of gRPC on one listener, where they are counted, by route, cluster, service, method and status."""

    __slots__ = ("_counts", "_methods")

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, str, str]] = Counter()
        self._methods: set[tuple[str, str]] = set()

    def count(self, route: str, cluster: str, called: tuple[str, str] | None, status: str) -> None:
        """Paths come from outside: all methods beyond the first ones are one, and so are those that nobody has."""
        methods = self._methods
        if called is None or (called not in methods and (status == NO_SUCH_METHOD or len(methods) >= MOST_METHODS)):
            called = OTHERS, OTHERS
        else:
            methods.add(called)
        self._counts[route, cluster, *called, status] += 1

    def snapshot(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for (*names, status), count in self._counts.items():
            at = found
            for name in names:
                at = at.setdefault(name, {})
            at[status] = count
        return found


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


class TopicStats(Counters):
    """What clients of MQTT published to the topics of one rule."""

    __slots__ = ("bytes_total", "messages_total")

    def __init__(self) -> None:
        self.bytes_total = 0
        self.messages_total = 0


class MqttStats(Counters):
    """Sessions of MQTT on one listener, by one policy."""

    __slots__ = (
        "denied", "dropped", "ended", "in_doubt_total", "lost", "malformed", "messages_in_total", "messages_out_total",
        "moved_total", "refused", "sessions_active", "sessions_total", "topics",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sessions_total = 0
        self.sessions_active = 0
        self.messages_in_total = 0
        self.messages_out_total = 0
        self.moved_total = 0
        self.in_doubt_total = 0
        self.refused = dict.fromkeys(MQTT_REFUSED, 0)
        self.ended = dict.fromkeys(MQTT_ENDED, 0)
        self.lost = dict.fromkeys(MQTT_LOST, 0)
        self.denied = dict.fromkeys(MQTT_DENIED, 0)
        self.dropped = dict.fromkeys(MQTT_DROPPED, 0)
        self.malformed: Counter[str] = Counter()
        """By the word of the fault; words that never were are not shown."""
        self.topics: dict[str, TopicStats] = {}
        """By the name of the rule."""


class SpoolStats(Counters):
    """What became of the messages that were to be kept on disk until they can be delivered."""

    __slots__ = (
        "bytes", "damaged_total", "dropped_total", "expired_total", "failed_total", "forwarded_total", "refused_total",
        "rejected_total", "stored_total", "unfit_total", "waiting",
    )

    def __init__(self) -> None:
        self.stored_total = 0
        self.forwarded_total = 0
        self.dropped_total = 0
        """The oldest, for room."""
        self.refused_total = 0
        """Not taken, for want of room."""
        self.failed_total = 0
        """Not taken, since the disk said no."""
        self.damaged_total = 0
        """Not readable any more."""
        self.expired_total = 0
        self.rejected_total = 0
        """Refused for good by the broker."""
        self.unfit_total = 0
        """Of QoS 0, which is not kept."""
        self.waiting = 0
        self.bytes = 0


class SinkStats(Counters):
    """What became of the lines of one log, or of the spans for one collector.

    What was offered is what was written, was dropped, or is waiting."""

    __slots__ = ("dropped_total", "failed_total", "lines", "written_total")

    def __init__(self) -> None:
        self.written_total = 0
        self.dropped_total = 0
        self.failed_total = 0
        """Attempts, whatever became of the lines then."""
        self.lines: list[bytes] = []
        """Those that wait, where their sink keeps them."""

    @property
    def waiting(self) -> int:
        return len(self.lines)

    def snapshot(self) -> dict[str, Any]:
        counted = super().snapshot()
        del counted["lines"]
        return counted | {"waiting": self.waiting}


class ListenerStats(Counters):
    """What one listener saw.  A UDP session counts as a connection."""

    __slots__ = (
        "accept_errors_total",
        "answers",
        "bytes_received_total",
        "bytes_sent_total",
        "calls",
        "closed",
        "connections_active",
        "connections_total",
        "datagrams_received_total",
        "datagrams_sent_total",
        "dns",
        "filters",
        "handshakes",
        "http2",
        "identities",
        "malformed",
        "mirrors",
        "mqtt",
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
        self.http2: Counter[str] = Counter()
        """What clients of HTTP/2 have done that is refused, or cut off, by what it was."""
        self.handshakes: Counter[str] = Counter()
        """Of TLS, by how they went."""
        self.answers: dict[str, dict[str, AnswerStats]] = {}
        """By route and cluster, either of which may be empty."""
        self.calls = CallStats()
        self.filters: dict[str, FilterStats] = {}
        self.identities: dict[str, int] = {}
        """How often each has come; `identified` counts."""
        self.mirrors: dict[str, dict[str, MirrorStats]] = {}
        """By route and cluster."""
        self.mqtt: dict[str, MqttStats] = {}
        """By the name of the policy, which may be empty."""
        self.dns: dict[str, int] = {}
        """Questions, by what came of them; empty where nobody asks for names."""

    def asked(self) -> dict[str, int]:
        """Where questions are counted, of a listener of dns."""
        if not self.dns:
            self.dns = dict.fromkeys(DNS_RESULTS, 0)
        return self.dns

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
        "streams_active",
    )

    def __init__(self) -> None:
        self.connections_total = 0
        self.connections_active = 0
        self.streams_active = 0
        """Exchanges on connections of HTTP/2."""
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
        "http2",
        "malformed",
        "no_endpoint_total",
        "overflow_total",
        "refused_total",
        "retries_exhausted_total",
        "retries_refused_total",
        "retries_total",
        "streams_active",
        "streams_total",
        "unasked_total",
    )

    def __init__(self) -> None:
        self.connections_total = 0
        self.connections_active = 0
        self.streams_total = 0
        """Of HTTP/2."""
        self.streams_active = 0
        self.connect_failures_total = 0
        self.connect_timeouts_total = 0
        self.overflow_total = 0
        self.no_endpoint_total = 0
        self.bytes_sent_total = 0
        self.bytes_received_total = 0
        self.malformed: Counter[str] = Counter()
        self.http2: Counter[str] = Counter()
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


class UplinkStats(Counters):
    """What one session of our own with brokers of MQTT has done, or several that are counted together."""

    __slots__ = (
        "acknowledged_total", "dropped_total", "in_doubt_total", "lost", "published_total", "received_total",
        "refused_total", "repeated_total", "returns_total", "unexpected_total", "unsubscribed_total", "up",
    )  # fmt: skip

    def __init__(self) -> None:
        self.up = 0
        self.returns_total = 0
        """Times that it was let in again."""
        self.lost: Counter[str] = Counter()
        """Connections that were lost or of no use, by why."""
        self.published_total = 0
        self.repeated_total = 0
        """Messages sent again, since their acknowledgement was lost."""
        self.acknowledged_total = 0
        self.refused_total = 0
        """Messages that the broker does not take."""
        self.dropped_total = 0
        """Messages that were sent to nobody: there was no connection, or no room."""
        self.in_doubt_total = 0
        """Messages of QoS 2 of which only a broker knows that is gone; they are taken as delivered."""
        self.received_total = 0
        self.unexpected_total = 0
        """Acknowledgements of what was never sent."""
        self.unsubscribed_total = 0
        """Subscriptions that were refused."""


class BridgeStats(Counters):
    """What one bridge has carried."""

    __slots__ = ("dropped", "passed", "sides")

    def __init__(self) -> None:
        self.passed = dict.fromkeys(DIRECTIONS, 0)
        self.dropped = dict.fromkeys(DIRECTIONS, 0)
        self.sides = {side: UplinkStats() for side in SIDES}


class TunnelStats(Counters):
    """What one tunnel carries."""

    __slots__ = (
        "attached_total", "compressed_received", "compressed_sent", "datagrams_dropped", "datagrams_received_total",
        "datagrams_sent_total", "kept_bytes", "links", "lost_total", "opened", "received_bytes_total", "reset_total",
        "sent_bytes_total", "streams",
    )  # fmt: skip

    def __init__(self) -> None:
        self.links = 0
        self.streams = 0
        self.kept_bytes = 0
        self.attached_total = 0
        self.lost_total = 0
        self.opened = {"here": 0, "there": 0}
        self.reset_total = 0
        self.received_bytes_total = 0
        self.sent_bytes_total = 0
        self.datagrams_received_total = 0
        self.datagrams_sent_total = 0
        self.datagrams_dropped = dict.fromkeys(LOST, 0)
        self.compressed_received = {"plain": 0, "carried": 0}
        self.compressed_sent = {"plain": 0, "carried": 0}


class HealthStats(Counters):
    """What is known of the endpoints of one cluster, for all workers."""

    __slots__ = ("checks", "fit")

    def __init__(self) -> None:
        self.checks: dict[str, int] = {}
        """By result, where there are checks."""
        self.fit = 0


class SourceStats(Counters):
    """How it goes with one source of documents."""

    __slots__ = ("last_success_seconds", "polls", "up")

    def __init__(self) -> None:
        self.up = 0
        self.polls = dict.fromkeys(POLLS, 0)
        self.last_success_seconds = 0.0


class ProcessStats(Counters):
    """What concerns the whole process, whatever the number of its workers."""

    __slots__ = (
        "certificate_renewals",
        "certificates",
        "config_generation",
        "health",
        "last_reload_ok_seconds",
        "last_reload_successful",
        "metrics_overflow",
        "notes",
        "redis_failures_total",
        "redis_up",
        "relaxed",
        "reloads",
        "resolutions_failed_total",
        "sources",
        "started_seconds",
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
        self.notes = dict.fromkeys(NOTES, 0)
        """Of the policy in force, by kind: what is not done as it is said."""
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
        self.sources: dict[str, SourceStats] = {}
        self.redis_up: dict[str, int] = {}
        """By address and database."""
        self.redis_failures_total: dict[str, int] = {}
        self.started_seconds = 0.0
        self.metrics_overflow: Counter[str] = Counter()
        """By metric."""

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
    """What concerns the loop of a worker, and its process."""

    __slots__ = (
        "buckets_forgotten_total", "connections_passed_total", "cpu_seconds_total", "loop_lag_seconds", "open_fds",
        "resident_bytes", "stages",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cpu_seconds_total = 0.0
        self.resident_bytes = 0
        self.open_fds = 0
        self.buckets_forgotten_total = 0
        self.connections_passed_total = 0
        self.loop_lag_seconds = Histogram(LAG_BOUNDS)
        self.stages = {name: StageStats() for name in OVERLOADS}


class Stats(Counters):
    """The root: everything one worker counts, by name."""

    __slots__ = ("bridges", "clusters", "edges", "listeners", "sinks", "spools", "tunnels", "uplinks", "worker")

    def __init__(self) -> None:
        self.worker = WorkerStats()
        self.listeners: dict[str, ListenerStats] = {}
        self.clusters: dict[str, ClusterStats] = {}
        self.bridges: dict[str, BridgeStats] = {}
        self.uplinks: dict[str, UplinkStats] = {}
        """By cluster: sessions of our own with its brokers, for clients."""
        self.spools: dict[str, dict[str, SpoolStats]] = {}
        """By policy and cluster: what is stored for its brokers."""
        self.edges: dict[str, dict[str, dict[str, dict[str, EdgeStats]]]] = {}
        """By listener, cluster, source and endpoint: who talks to whom."""
        self.sinks: dict[str, SinkStats] = {}
        """By name: where logs and traces go."""
        self.tunnels: dict[str, TunnelStats] = {}

    def in_steps(self) -> Generator[None, None, dict[str, Any]]:
        """The snapshot, part by part: of thousands of endpoints it takes a while."""
        named: dict[str, dict[str, Any]] = {
            "listeners": {}, "clusters": {}, "bridges": {}, "uplinks": {}, "spools": {}, "edges": {}, "sinks": {},
            "tunnels": {},
        }  # fmt: skip
        for kind, found in named.items():
            for name, counted in list(getattr(self, kind).items()):
                if kind == "edges":
                    found[name] = yield from _edges_in_steps(counted)
                else:
                    found[name] = _plain(counted)
                yield
        return {"worker": self.worker.snapshot(), **named}


def _edges_in_steps(edges: dict[str, dict[str, Any]]) -> Generator[None, None, dict[str, Any]]:
    found: dict[str, Any] = {}
    for cluster, by_source in list(edges.items()):
        found[cluster] = {}
        for source, by_endpoint in list(by_source.items()):
            found[cluster][source] = _plain(by_endpoint)
            yield
    return found


def number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
