"""From what each worker remembers to the last seconds of all of them: rates, errors, percentiles, second by second.

    window = Window([history.told(60), ...], 60)
    document(window)                # what `/stats?window=60s` answers

No step sees a live object, so that a thread can do it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import add
from typing import Any

from meshproxy.observe.changes import ACTIVE, BUCKETS, CONNECTIONS, ERRORS, RECEIVED, SENT, WIDTH, Change, read
from meshproxy.observe.history import ANSWERS, CLUSTER, EDGE, LATE, LISTENER, Names
from meshproxy.observe.metrics.answers import REQUEST_BOUNDS
from meshproxy.observe.quantile import quantiles
from meshproxy.wire.introduction import Said

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NO_CHANGE = [0] * WIDTH
NO_TIMES = (None,) * len(SHARES)


class Past:
    """What one worker has told."""

    def __init__(self, told: bytes) -> None:
        line, _, rest = told.partition(b"\n")
        head = json.loads(line)
        self.since: int = head["since"]
        self.until: int = head["until"]
        self.ended: bool = "ended" in head
        self.names: dict[int, Names] = {number: tuple(names) for number, *names in head["names"]}
        self.active: dict[Names, int] = {tuple(names): active for active, *names in head["active"]}
        self.peers: dict[str, Said] = head.get("peers", {})
        """By the id of a node of the graph."""
        self._frames: dict[int, list[bytes]] = {}
        """By second, of which one may have two after the clock was set."""
        at = 0
        for second, length in head["frames"]:
            self._frames.setdefault(second, []).append(rest[at : at + length])
            at += length

    def changes(self, second: int) -> Iterator[tuple[Names, Change]]:
        for frame in self._frames.get(second, ()):
            for number, change in read(frame):
                yield self.names[number], change


class Window:
    """The last seconds that are over for all workers; one that has hung for a while is not waited for."""

    def __init__(self, told: Sequence[bytes], seconds: int) -> None:
        self.seconds = seconds
        self._pasts = [*map(Past, told)]
        there = [past for past in self._pasts if not past.ended]
        newest = max((past.until for past in there), default=0)
        current = [past for past in there if past.until >= newest - LATE]
        self.workers = len(current)
        self.end = min((past.until for past in current), default=0)
        """Unix time; it is no part of it."""
        since = min((past.since for past in self._pasts if past.until > self.end - seconds), default=self.end)
        self.known = max(0, min(seconds, self.end - since))
        """For how many of its last seconds there has been a worker that remembers them."""
        self.peers = {node: said for past in self._pasts for node, said in past.peers.items()}
        """What other proxies have said of themselves, by the id of their node in the graph."""

    def changes(self) -> Iterator[Iterator[tuple[Names, Change]]]:
        """Of each second, in order, and of all workers."""
        for second in range(self.end - self.seconds, self.end):
            yield (found for past in self._pasts for found in past.changes(second))

    def active(self) -> Iterator[tuple[Names, int]]:
        """How many connections there were at its end, in parts that are to be added up."""
        for past in self._pasts:
            if past.ended and past.until < self.end:
                # They had gone before.  Within the window they were there until then: see `departures`.
                continue
            yield from past.active.items()
            for second in range(self.end, past.until):
                for names, change in past.changes(second):
                    if change[ACTIVE]:
                        yield names, -change[ACTIVE]

    def departures(self) -> Iterator[tuple[int, Names, int]]:
        """The connections that ended with their worker: in which second of the window, whose, how many."""
        start = self.end - self.seconds
        for past in self._pasts:
            if past.ended and start <= past.until < self.end:
                for names, active in past.active.items():
                    yield past.until - start, names, active


def document(window: Window) -> dict[str, Any]:
    lines = _Lines(window.seconds)
    for at, changes in enumerate(window.changes()):
        for names, change in changes:
            for line in lines.of(names):
                line.add(change)
        lines.close(at)
    for at, names, active in window.departures():
        for line in lines.of(names):
            line.moves[at] -= active
    for names, active in window.active():
        for line in lines.of(names):
            line.active += active
    shown: dict[str, Any] = {
        "window_seconds": window.seconds,
        "known_seconds": window.known,
        "end": window.end,
        "workers": window.workers,
        "total": lines.total.document(window.known),
    }
    for kind, named in lines.named.items():
        shown[kind] = {name: line.document(window.known) for name, line in sorted(named.items())}
    return shown


def summary(change: Change, seconds: int) -> dict[str, float | None]:
    """Of all that happened in so many seconds: requests in a second, which share went well, and how long they took."""
    buckets = change[BUCKETS]
    requests = sum(buckets)
    return {
        "rate": round(requests / seconds, 3) if seconds else 0.0,
        "success": success(requests, change[ERRORS]),
        **dict(zip(SHARES, milliseconds(buckets), strict=True)),
    }


def success(of: int, failed: int) -> float | None:
    """Rounded down: what is not quite all is not shown as all."""
    return (of - failed) * 1_000_000 // of / 1_000_000 if of else None


def milliseconds(buckets: Sequence[int]) -> Sequence[float | None]:
    """Of each of `SHARES`."""
    found = quantiles(REQUEST_BOUNDS, buckets, [*SHARES.values()])
    return NO_TIMES if found is None else [round(seconds * 1000, 3) for seconds in found]


class _Line:
    """One name over the window."""

    def __init__(self, seconds: int) -> None:
        self.requests, self.errors, self.received, self.sent, self.connections, self.moves = (
            [0] * seconds for _ in range(6)
        )
        self.percentiles: dict[str, list[float | None]] = {name: [None] * seconds for name in SHARES}
        self.active = 0
        """At its end."""
        self.whole = NO_CHANGE
        self.second: Change | None = None
        """What is known so far of the one that is being added up."""

    def add(self, change: Change) -> None:
        self.second = change if self.second is None else [*map(add, self.second, change)]

    def close(self, at: int) -> None:
        if self.second is None:
            return
        change, self.second = self.second, None
        self.whole = [*map(add, self.whole, change)]
        self.errors[at] = change[ERRORS]
        self.received[at] = change[RECEIVED]
        self.sent[at] = change[SENT]
        self.connections[at] = change[CONNECTIONS]
        self.moves[at] = change[ACTIVE]
        buckets = change[BUCKETS]
        requests = self.requests[at] = sum(buckets)
        if requests:
            for percentile, value in zip(self.percentiles.values(), milliseconds(buckets), strict=True):
                percentile[at] = value

    def document(self, known: int) -> dict[str, Any]:
        # What was open at the end of a second is what was open before the window, and all that has moved since.
        before = self.active - sum(self.moves)
        return {
            "requests": self.requests,
            "errors": self.errors,
            **self.percentiles,
            "received_bytes": self.received,
            "sent_bytes": self.sent,
            "connections": self.connections,
            "connections_active": [*accumulate(self.moves, initial=before)][1:],
            "summary": summary(self.whole, known),
        }


class _Lines:
    """By what they are shown as."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._of: dict[Names, tuple[_Line, ...]] = {}
        self.total = _Line(seconds)
        self.named: dict[str, dict[str, _Line]] = {"listeners": {}, "routes": {}, "clusters": {}}

    def of(self, names: Names) -> tuple[_Line, ...]:
        """All to which the changes of a series are to be added."""
        found = self._of.get(names)
        if found is None:
            found = self._of[names] = self._found(names)
        return found

    def _found(self, names: Names) -> tuple[_Line, ...]:
        match names:
            case (kind, listener) if kind == LISTENER:
                return self.total, self._line("listeners", listener)
            case (kind, cluster) if kind == CLUSTER:
                return (self._line("clusters", cluster),)
            case (kind, listener, route, cluster) if kind == ANSWERS:
                lines = self.total, self._line("listeners", listener), self._line("routes", f"{listener}/{route}")
                # Where the proxy has answered there is none.
                return (*lines, self._line("clusters", cluster)) if cluster else lines
            case (kind, *_) if kind == EDGE:
                return ()
        raise ValueError(names)

    def _line(self, kind: str, name: str) -> _Line:
        named = self.named[kind]
        if name not in named:
            named[name] = _Line(self._seconds)
        return named[name]

    def close(self, at: int) -> None:
        self.total.close(at)
        for named in self.named.values():
            for line in named.values():
                line.close(at)
