"""What is counted of a cluster and its endpoints."""

from __future__ import annotations

from collections import Counter
from typing import Any

from meshproxy.observe.metrics.counters import Counters, Histogram

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EJECTED = ("connect", "gateway", "5xx", "success_rate")
CHECKED = ("ok", "unable", "connect", "timeout", "closed", "malformed", "status", "mismatch")


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
