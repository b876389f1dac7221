"""What is counted of requests and their answers."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import add
from typing import Any

from meshproxy.observe.metrics.counters import OTHERS, Counters, Histogram

REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST_OUTCOMES = 64
"""Status with flags, of the answers of one cluster to one route, that are counted each by its name."""
MOST_METHODS = 100
"""Of gRPC on a listener that are counted each by its name."""
NO_SUCH_METHOD = "unimplemented"
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
