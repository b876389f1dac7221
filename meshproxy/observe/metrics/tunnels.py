"""What is counted of a tunnel."""

from __future__ import annotations

from meshproxy.observe.metrics.counters import Counters

LOST = ("full", "late", "unknown")


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
