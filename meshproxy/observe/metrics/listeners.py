"""What is counted of a listener."""

from __future__ import annotations

from collections import Counter

from meshproxy.observe.metrics.answers import AnswerStats, CallStats, FilterStats, MirrorStats
from meshproxy.observe.metrics.counters import OTHERS, Counters
from meshproxy.observe.metrics.mqtt import MqttStats

REJECTED = (
    "limit", "rate_limit", "proxy_protocol", "tls", "no_chain", "no_endpoint", "breaker_open", "overload", "authorize",
    "loop", "protocol",
)
CLOSED = ("done", "reset", "idle", "lifetime", "drain", "connect", "error")
DNS_RESULTS = (
    "table", "cache", "upstream", "shared", "denied", "failed", "overflow", "refused", "malformed", "ignored",
)  # fmt: skip
MOST_IDENTITIES = 100
"""Of a listener that are counted each by its name."""
LONGEST_IDENTITY = 256


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
