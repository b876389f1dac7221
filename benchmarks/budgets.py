"""What meshproxy may cost: the promises of the project, as one table.

A budget against a peer is a ratio, ours to theirs, of costs measured in the same round.  A budget against
nobody is an amount in the unit of the work.  `must` is the promise, `aim` is what we work towards.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    must: float | None
    """None where there is only something to work towards."""
    aim: float
    worst: bool = False
    """Held by the worst round, not by the median."""

    def verdict(self, median: float, high: float) -> str:
        figure = high if self.worst else median
        if figure <= self.aim:
            return "aim met"
        if self.must is None:
            return "aim missed"
        return "met" if figure <= self.must else "MISSED"


BUDGETS: dict[tuple[str, str], Budget] = {
    # work, against         must    aim
    ("download", "nginx"): Budget(0.75, 0.55),
    ("upload", "nginx"): Budget(0.75, 0.55),
    ("echo", "nginx"): Budget(1.4, 1.0),
    ("connect", "nginx"): Budget(1.8, 1.3),
    ("http same", "nginx"): Budget(1.35, 1.1),
    ("http same", "envoy"): Budget(0.4, 0.4),
    ("http differing", "nginx"): Budget(2.0, 1.5),
    ("http differing", "envoy"): Budget(0.6, 0.6),
    ("http policy", "meshproxy-plain"): Budget(1.5, 1.25),
    ("http policy", "envoy"): Budget(0.85, 0.85),
    ("http connect", "nginx"): Budget(1.8, 1.3),
    ("http direct-wrk", "nginx"): Budget(1.5, 1.0),
    ("http direct-ab", "nginx"): Budget(1.5, 1.0),
    ("http body-1m", "nginx"): Budget(1.2, 0.8),
    ("http body-1g", "nginx"): Budget(1.2, 0.8),
    ("http upload-1m", "nginx"): Budget(1.2, 0.8),
    ("http latency p50", "envoy"): Budget(1.0, 0.6),
    ("http latency p99", "envoy"): Budget(1.0, 0.6),
    ("tls small", "nginx"): Budget(1.5, 1.1),
    ("tls full-rsa", "nginx"): Budget(1.3, 1.1),
    ("tls full-ecdsa", "nginx"): Budget(1.3, 1.1),
    ("tls resumed", "nginx"): Budget(1.3, 1.1),
    ("tls memory", ""): Budget(48, 48),
    ("tls policy", "meshproxy-plain"): Budget(1.5, 1.25),
    ("tls policy", "envoy"): Budget(0.85, 0.85),
    ("tls pair p50", "envoy"): Budget(1.0, 0.6),
    ("tls pair p99", "envoy"): Budget(1.0, 0.6),
    ("inplace pair p50", "envoy"): Budget(1.0, 0.6),
    ("inplace pair p99", "envoy"): Budget(1.0, 0.6),
    ("h2 same", "nginx"): Budget(None, 1.3),
    ("h2 same", "envoy"): Budget(0.8, 0.8),
    ("h2 differing", "envoy"): Budget(1.5, 0.8),
    ("h2 body-1m", "nginx"): Budget(1.3, 1.3),
    ("h2 body-1g", "nginx"): Budget(1.3, 1.3),
    ("h2 upload-1m", "nginx"): Budget(1.3, 1.3),
    ("h2 memory", ""): Budget(12, 12),
    ("mqtt qos0", "haproxy"): Budget(2.0, 1.4),
    ("mqtt qos0-64", ""): Budget(4, 2),
    ("mqtt memory", ""): Budget(6, 6),
    **{
        (f"observe {what} {said}", against): Budget(must, aim)
        for said in ("same", "differing")
        for what, against, must, aim in (
            ("metrics", "meshproxy-uncounted", 1.04, 1.03),
            ("log", "meshproxy-plain", 1.10, 1.08),
            ("trace-1%", "meshproxy-plain", 1.03, 1.02),
            ("trace-all", "meshproxy-plain", 1.35, 1.25),
        )
    },
    # 0.95 times the goodput is 1 / 0.95 of the time
    ("tunnel goodput", "meshproxy-tls"): Budget(1 / 0.95, 1.02),
    ("tunnel cpu download", "meshproxy-tls"): Budget(1.3, 1.0),
    ("tunnel cpu upload", "meshproxy-tls"): Budget(1.3, 1.0),
    ("tunnel streams", ""): Budget(20, 10),
    ("tunnel lossy-p99", ""): Budget(None, 3),
    ("tunnel lossy-p99, classes apart", ""): Budget(3, 1.5),
    ("tunnel lossy-p99, QUIC", ""): Budget(None, 1.5),
    ("tunnel lossy-p99, QUIC, classes apart", ""): Budget(1.5, 1.2),
    **{
        (f"tunnel recovery{way}", ""): Budget(1000, 700)
        for way in ("", ", classes apart", ", QUIC", ", QUIC, classes apart")
    },
    ("idle memory", ""): Budget(45, 30),
    ("start to ready", ""): Budget(400, 150),
    ("workers: memory of four", "one worker"): Budget(2.2, 2.0),
    # 1.8 times the throughput is 0.556 of the time
    ("workers: two, each 0.25 of a CPU", "one worker"): Budget(1 / 1.8, 0.5),
    ("scrape", ""): Budget(20, 10),
    ("reload: longest stall", ""): Budget(50, 10, worst=True),
    ("reload: failed", ""): Budget(0, 0, worst=True),
    **{
        (f"policy {dialect}: {what}", ""): budget
        for dialect in ("native", "fsm")
        for what, budget in {
            "from PUT to 200": Budget(2000, 1500),
            "unchanged": Budget(50, 20),
            "longest stall": Budget(50, 10, worst=True),
            "failed": Budget(0, 0, worst=True),
            "memory": Budget(10, 8),
            "memory after swaps": Budget(10, 8),
        }.items()
    },
}
