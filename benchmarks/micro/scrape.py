"""What a scrape costs: 5,000 series of two workers, from the counters to the text.

Everything happens in this process, one part after the other, though the first is done by both workers at the same time.
A figure is CPU time, of the best of many passes.  Beside it stands the longest step that cannot be interrupted, of
those that are done between two events of the traffic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from benchmarks.harness import OURS, Plan, Result, interleave, note
from meshproxy.model.metrics import PLAIN_METRICS
from meshproxy.net.clock import at_once
from meshproxy.net.collector import at_rest
from meshproxy.observe.metrics.answers import AnswerStats
from meshproxy.observe.metrics.clusters import ClusterStats, EndpointStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.presets import Identity
from meshproxy.observe.rendering import OPENMETRICS, TEXT, Format
from meshproxy.observe.scrape import scraped
from meshproxy.server.sums import added, written

WORKERS = 2
LISTENERS, ROUTES, CLUSTERS, ENDPOINTS = 4, 23, 28, 10
LEAST = 5000
Steps = Callable[[], Generator[None, None, Any]]


def run(plan: Plan) -> list[Result]:
    note(f"micro scrape: {plan.rounds} rounds of {plan.seconds / 10:g} s, {WORKERS} workers")
    stats = counted()
    body = written_at_once(stats)
    snapshot, total = stats.snapshot(), summed([body] * WORKERS)
    lines = TEXT.render(told(total)).splitlines()
    series = sum(not line.startswith(b"#") for line in lines)
    if series < LEAST:
        raise RuntimeError(f"{series} series, which are fewer than {LEAST}")
    seconds = plan.seconds / 10
    whole = {OURS: TEXT, "as OpenMetrics": OPENMETRICS}
    parts: dict[str, Callable[[], object]] = {
        "a worker counts and writes": lambda: written_at_once(stats),
        "the supervisor adds up": lambda: summed([body] * WORKERS),
        "as text": lambda: TEXT.render(told(total)),
    }
    steps: dict[str, Steps] = {
        "a worker counts": stats.in_steps,
        "a worker writes": lambda: written(snapshot),
        "the supervisor adds up": lambda: added(Stats().snapshot(), body),
    }

    def once(format: Format) -> float:
        return best(lambda: scrape(stats, format), seconds)

    return [
        Result("scrape", "CPU ms", interleave(whole, plan.rounds, once)),
        Result("micro scrape: part", "CPU ms", interleave(parts, plan.rounds, lambda part: best(part, seconds))),
        Result("micro scrape: longest", "CPU ms", interleave(steps, plan.rounds, lambda step: longest(step, seconds))),
    ]


def counted() -> Stats:
    stats = Stats()
    for number in range(LISTENERS):
        listener = stats.listeners[f"listener-{number}"] = ListenerStats()
        for route in range(ROUTES):
            cluster = f"shop/books-{route}|8080"
            answers = listener.answers[f"shop/{route}"] = {cluster: AnswerStats()}
            for status, flag in ((200, ""), (404, ""), (503, "UF")):
                answers[cluster].count(status, flag, status / 1e5)
    for number in range(CLUSTERS):
        cluster_stats = stats.clusters[f"shop/books-{number}|8080"] = ClusterStats()
        for endpoint in range(ENDPOINTS):
            cluster_stats.endpoints[f"10.0.{number}.{endpoint}:8080"] = EndpointStats()
    return stats


def scrape(stats: Stats, format: Format) -> bytes:
    return format.render(told(summed([written_at_once(stats) for _ in range(WORKERS)])))


def written_at_once(stats: Stats) -> bytes:
    return at_once(written(at_once(stats.in_steps())))


def summed(bodies: list[bytes]) -> dict[str, Any]:
    total = Stats().snapshot()
    for body in bodies:
        at_once(added(total, body))
    return total


def told(total: dict[str, Any]) -> Any:
    return scraped({"process": ProcessStats("1").snapshot(), **total}, Identity(), PLAIN_METRICS)[0]


def best(work: Callable[[], object], seconds: float) -> float:
    """Milliseconds of CPU time, of the best pass."""
    least, end = float("inf"), time.thread_time() + seconds
    while True:
        with at_rest():
            began = time.thread_time()
            work()
            now = time.thread_time()
        least = min(least, now - began)
        if now > end:
            return least * 1e3


def longest(steps: Steps, seconds: float) -> float:
    """Milliseconds of CPU time, of the longest step in the best pass."""
    least, end = float("inf"), time.thread_time() + seconds
    while True:
        most, began = 0.0, time.thread_time()
        for _ in steps():
            now = time.thread_time()
            most, began = max(most, now - began), now
        least = min(least, most)
        if began > end:
            return least * 1e3
