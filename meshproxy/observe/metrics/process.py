"""What is counted of the process and of each worker."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from meshproxy.observe.metrics.counters import Counters, Histogram

OVERLOADS = ("keep_alive", "low", "connections")
RELOADS = ("ok", "refused", "unchanged")
RENEWALS = ("ok", "refused")
POLLS = ("changed", "unchanged", "refused", "gone", "denied", "failed")
NOTES = ("ignored", "not-in-force", "plugin", "compat")
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


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
