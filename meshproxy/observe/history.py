"""The last five minutes of one worker: of each second what has changed in its counters, and nothing where nothing has.

    history = History(clock.wall(), clock.now())
    for _ in history.second(stats, clock.wall(), clock.now()): ...      # at each full second; may be interrupted
    told = history.told(60)                                             # bytes, of which `observe.window` makes sense

Seconds are Unix seconds, so that several workers can be added up.  When the clock of the machine is set, what is
remembered moves with it: five minutes stay five minutes.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from itertools import count
from operator import sub
from typing import Any

from meshproxy.observe.changes import FIELDS, write
from meshproxy.observe.faults import is_error
from meshproxy.observe.metrics.answers import NO_REQUESTS, REQUEST_BOUNDS, AnswerStats, EdgeStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.counters import OTHERS
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.peers import Peers

LONGEST = 300
"""Seconds that may be asked for."""
LATE = 2
"""Seconds by which a worker may be behind the others before they are told without it."""
MOST_SERIES = 2000
"""Of routes and edges that are remembered each by its names; all further ones of a listener are one."""
MOST_BYTES = 4 << 20
"""Of changes; when there are more, the oldest are forgotten before their time."""
AT_ONCE = 32
"""Series that are looked at between two events of the traffic."""
TIDY_EVERY = 60

LISTENER, CLUSTER, ANSWERS, EDGE = "listener", "cluster", "answers", "edge"
NO_FIELDS = (0,) * len(FIELDS)
NO_COUNTS = [0] * (len(REQUEST_BOUNDS) + 1)

Names = tuple[str, ...]
"""What a series is, one of the four words above, and whose: `("answers", listener, route, cluster)`."""
Grown = tuple[Sequence[int], Sequence[int]]
"""`FIELDS`, and the answers by how long they took."""


class History:
    def __init__(self, wall: float, now: float, peers: Peers | None = None) -> None:
        """`wall` is Unix time, and `now` a clock that nobody sets; `peers` are told of with the edges that they end."""
        self.since = self.until = round(wall)
        """Seconds from the first to before the second of these are known."""
        self._offset = wall - now
        self._peers = peers
        self._marks: dict[object, _Mark] = {}
        """By what counts: an object that replaces another one begins at 0, as its names may not."""
        self._turn = 0
        self._fresh = count()
        self._numbers: dict[Names, int] = {}
        self._changed: dict[Names, int] = {}
        """The second in which each that has a number changed last."""
        self._active: dict[Names, int] = {}
        """Connections that are open now, where there are any."""
        self._frames: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def second(self, stats: Stats, wall: float, now: float) -> Generator[None, None, None]:
        """One has ended: remember what it has brought.  In steps."""
        self._follow(wall - now)
        second = round(wall) - 1
        self._turn += 1
        frame = bytearray()
        for at, (names, counted) in enumerate(_counting(stats)):
            if at % AT_ONCE == 0:
                yield
            mark = self._marks.get(counted)
            if mark is None:
                if isinstance(counted, AnswerStats) and _untouched(counted):
                    continue
                mark = self._marks[counted] = _mark(names, counted)
            mark.turn = self._turn
            grown = mark.grown(counted)
            if grown is not None:
                self._write(frame, second, mark.names, grown)
        self._forget_gone(frame, second)
        if frame:
            self._frames.append((second, bytes(frame)))
            self._bytes += len(frame)
        self.until = second + 1
        self._forget_old()

    def _follow(self, offset: float) -> None:
        """The clock may have been set, by many seconds or by a part of one, again and again."""
        seconds = round(offset - self._offset)
        if seconds:
            self._offset += seconds
            self.since += seconds
            self.until += seconds
            self._frames = deque((at + seconds, frame) for at, frame in self._frames)
            self._changed = {names: at + seconds for names, at in self._changed.items()}

    def _write(self, frame: bytearray, second: int, names: Names, grown: Grown) -> None:
        fields, buckets = grown
        active = fields[1]
        if active:
            self._active[names] = self._active.get(names, 0) + active
            if not self._active[names]:
                del self._active[names]
        if names not in self._numbers and len(names) > 2 and len(self._numbers) >= MOST_SERIES:
            names = (*names[:2], *(OTHERS for _ in names[2:]))
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = next(self._fresh)
        self._changed[names] = second
        write(frame, number, fields, buckets)

    def _forget_gone(self, frame: bytearray, second: int) -> None:
        """What was not met any more: with it went whoever was connected."""
        gone = [counted for counted, mark in self._marks.items() if mark.turn != self._turn]
        for counted in gone:
            mark = self._marks.pop(counted)
            if isinstance(mark, _OfPlace) and mark.active:
                self._write(frame, second, mark.names, ((0, -mark.active, 0, 0, 0, 0), ()))

    def _forget_old(self) -> None:
        oldest = self.until - LONGEST - LATE
        frames = self._frames
        while frames and (frames[0][0] < oldest or self._bytes > MOST_BYTES):
            at, frame = frames.popleft()
            self._bytes -= len(frame)
            self.since = max(self.since, at + 1)
        self.since = max(self.since, oldest)
        if self._turn % TIDY_EVERY == 0:
            # A number is never given twice, so that none of those in the frames can be taken for another one.
            for names in [names for names, at in self._changed.items() if at < self.since]:
                del self._changed[names], self._numbers[names]

    def told(self, seconds: int) -> bytes:
        """What of the last seconds is remembered: a line of JSON, and then the changes as they are."""
        since = self.until - seconds - LATE
        frames = [(at, frame) for at, frame in self._frames if at >= since]
        named = [(number, names) for names, number in self._numbers.items() if self._changed[names] >= since]
        head: dict[str, Any] = {
            "since": self.since,
            "until": self.until,
            "names": [[number, *names] for number, names in named],
            "active": [[active, *names] for names, active in self._active.items()],
            "frames": [[at, len(frame)] for at, frame in frames],
        }
        if self._peers is not None:
            head["peers"] = self._peers.among(names[1:] for _, names in named if names[0] == EDGE)
        return b"\n".join((json.dumps(head).encode(), b"".join(frame for _, frame in frames)))


def ended(told: bytes) -> bytes:
    """The same of a worker that is not there any more."""
    head, _, frames = told.partition(b"\n")
    return b"\n".join((json.dumps({**json.loads(head), "ended": True}).encode(), frames))


def _counting(stats: Stats) -> Iterator[tuple[Names, Any]]:
    """All that counts; it may change meanwhile."""
    for listener, of_listener in tuple(stats.listeners.items()):
        yield (LISTENER, listener), of_listener
        for route, of_route in tuple(of_listener.answers.items()):
            for cluster, answers in tuple(of_route.items()):
                yield (ANSWERS, listener, route, cluster), answers
    for cluster, of_cluster in tuple(stats.clusters.items()):
        yield (CLUSTER, cluster), of_cluster
    for listener, by_cluster in tuple(stats.edges.items()):
        for cluster, by_source in tuple(by_cluster.items()):
            for source, by_endpoint in tuple(by_source.items()):
                for endpoint, edge in tuple(by_endpoint.items()):
                    yield (EDGE, listener, cluster, source, endpoint), edge


def _untouched(answers: AnswerStats) -> bool:
    return answers.requests is NO_REQUESTS and not isinstance(answers, EdgeStats)


class _Mark:
    """What had been counted when it was last looked at."""

    __slots__ = ("names", "turn")

    def __init__(self, names: Names) -> None:
        self.names = names
        self.turn = 0

    @abstractmethod
    def grown(self, counted: Any) -> Grown | None:
        """Since then; None: it has not."""


class _OfPlace(_Mark):
    __slots__ = ("active", "connections", "received", "sent")

    def __init__(self, names: Names) -> None:
        super().__init__(names)
        self.active = self.connections = self.received = self.sent = 0

    def grown(self, counted: ListenerStats | ClusterStats) -> Grown | None:
        active, connections = counted.connections_active - self.active, counted.connections_total - self.connections
        received, sent = counted.bytes_received_total - self.received, counted.bytes_sent_total - self.sent
        if not (active or connections or received or sent):
            return None
        self.active += active
        self.connections += connections
        self.received += received
        self.sent += sent
        return (0, active, received, sent, connections, 0), ()


class _OfAnswers(_Mark):
    __slots__ = ("buckets", "errors")

    def __init__(self, names: Names) -> None:
        super().__init__(names)
        self.buckets = NO_COUNTS
        self.errors = 0

    def grown(self, counted: AnswerStats) -> Grown | None:
        # Each answer is in one bucket, so that this is enough to look at.
        if counted.seconds.counts == self.buckets:
            return None
        buckets, self.buckets = self.buckets, counted.seconds.counts.copy()
        errors, self.errors = self.errors, sum(many for key, many in counted.requests.items() if is_error(key))
        return (self.errors - errors, 0, 0, 0, 0, 0), [*map(sub, self.buckets, buckets)]


class _OfEdge(_OfAnswers):
    __slots__ = ("connections", "failed", "received", "sent")

    def __init__(self, names: Names) -> None:
        super().__init__(names)
        self.connections = self.failed = self.received = self.sent = 0

    def grown(self, counted: AnswerStats) -> Grown | None:
        assert isinstance(counted, EdgeStats)
        answers = super().grown(counted)
        connections, failed = counted.connections_total - self.connections, counted.failed_total - self.failed
        received, sent = counted.received_bytes_total - self.received, counted.sent_bytes_total - self.sent
        if answers is None and not (connections or failed or received or sent):
            return None
        self.connections += connections
        self.failed += failed
        self.received += received
        self.sent += sent
        fields, buckets = answers or (NO_FIELDS, ())
        return (fields[0], 0, received, sent, connections, failed), buckets


def _mark(names: Names, counted: object) -> _Mark:
    kind = _OfEdge if isinstance(counted, EdgeStats) else _OfAnswers if isinstance(counted, AnswerStats) else _OfPlace
    return kind(names)
