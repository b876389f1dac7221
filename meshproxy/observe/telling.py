"""What is counted of each request: by its route, by who talks to whom, and whether anybody should look at it.

    teller = Teller(edges, watch)
    teller.tell(x, 503, "UF", 0.25)     # at its end: the status, the flags, the seconds
    teller.settle()                     # before anybody looks at teller.stats

A request is one call, and in that one addition.  By which route it came and who talks to whom are two views of the same
tallies, which are settled when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from meshproxy.observe.metrics.answers import REQUEST_BOUNDS, AnswerStats, EdgeStats
from meshproxy.observe.metrics.counters import OTHERS
from meshproxy.observe.record import Record

MOST_SOURCES = 100
MOST_EDGES = 500
MOST_TALLIES = 200
"""Pairs of a source and an endpoint that are told apart for one route and cluster."""
FAILED = 500
"""The least status that says that it is not the client's fault."""


Hear = Callable[[Record], None]


class Watch(Protocol):
    """Who keeps what went wrong or was slow, and shows what is looked at live."""

    slow: float
    """Seconds from which on it wants to see a request; less than none: it wants all."""

    def notice(self, record: Record, /) -> None: ...

    def unix(self, at: float, /) -> float:
        """The time of the wall at a time of the loop."""


class Ending(Record, Protocol):
    """All is known of it once this is said."""

    @property
    def traced(self) -> Any:
        """A trace that is recorded, or nothing that counts as true."""

    def end(self, status: int, flags: str, seconds: float, /) -> None: ...


class Edges:
    """Live, of one listener and cluster: what each source had of each endpoint."""

    __slots__ = ("_edges", "_held", "_stats")

    def __init__(self, held: dict[str, dict[str, EdgeStats]]) -> None:
        """`held` is where they are found by who exposes them: by source, and by endpoint."""
        self._held = held
        self._edges: dict[tuple[str, str], EdgeStats] = {}

    def of(self, source: str, endpoint: str) -> EdgeStats:
        edge = self._edges.get((source, endpoint))
        return edge if edge is not None else self._first(source, endpoint)

    def failed(self, source: str, endpoint: str) -> None:
        """A connection that was to be made, and was not."""
        edge = self.of(source, endpoint)
        edge.connections_total += 1
        edge.failed_total += 1

    def _first(self, source: str, endpoint: str) -> EdgeStats:
        """Names of sources come from outside: beyond the first ones they are one, and so are endpoints."""
        held, edges = self._held, self._edges
        if source not in held and len(held) >= MOST_SOURCES:
            source = OTHERS
        if len(edges) >= MOST_EDGES:
            source = endpoint = OTHERS
        edge = held.setdefault(source, {}).setdefault(endpoint, EdgeStats())
        if len(edges) < MOST_EDGES:
            edges[source, endpoint] = edge
        return edge


class Told:
    """Live, of one listener: who hears of connections and sessions that are over, by what is in force then."""

    __slots__ = ("_watch", "hears", "hears_sessions")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.hears: Sequence[Hear] = ()
        """Beside whoever watches: the logs."""
        self.hears_sessions: Sequence[Hear] = ()
        """The same of what is a session: its lines may say more."""

    def wants(self, flags: str) -> bool:
        """Whether anybody would hear of something with these: for those who come in great numbers."""
        return bool(flags or self.hears) or self._watch.slow < 0

    def tell(self, x: Record) -> None:
        # To last long is no fault of a connection.
        if x.flags or self._watch.slow < 0:
            self._watch.notice(x)
        for hear in self.hears if x.session is None else self.hears_sessions:
            hear(x)


class Tally:
    """What was counted since it was last settled: one addition for each request, two when that is done."""

    __slots__ = ("_answers", "_edge", "counts", "exemplars", "requests", "sum")

    def __init__(self, answers: AnswerStats, edge: EdgeStats) -> None:
        self._answers = answers
        self._edge = edge
        self._begin()

    def _begin(self) -> None:
        self.requests: dict[int | str, int] = {}
        self.counts = [0] * (len(REQUEST_BOUNDS) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, tuple[bytes, float, float]] = {}
        """By bucket: the last trace that came there, its seconds, and when it ended by the clock of the loop."""

    def settle(self, unix: Callable[[float], float]) -> None:
        if not self.requests:
            return
        for counted in (self._answers, self._edge):
            counted.add(self.requests, self.counts, self.sum)
        for trace_id, seconds, at in self.exemplars.values():
            self._answers.seconds.exemplify(seconds, trace_id, unix(at))
        self._begin()


class Teller:
    """Live: of the requests of one route that one cluster answers, or the proxy itself.

    What is counted here is seen once it is settled.
    """

    __slots__ = ("_edges", "_tallies", "_watch", "stats")

    def __init__(self, edges: Edges, watch: Watch) -> None:
        self.stats = AnswerStats()
        self._edges = edges
        self._watch = watch
        self._tallies: dict[tuple[str, str], Tally] = {}

    def tell(self, x: Ending, status: int, flags: str, seconds: float) -> None:
        tally = self._tallies.get((x.origin.who, x.endpoint.name))
        if tally is None:
            tally = self._first(x.origin.who, x.endpoint.name)
        key = f"{status} {flags}" if flags else status
        requests = tally.requests
        try:
            requests[key] += 1
        except KeyError:
            requests[key] = 1
        place = bisect_left(REQUEST_BOUNDS, seconds)
        tally.counts[place] += 1
        tally.sum += seconds
        if x.traced:
            tally.exemplars[place] = x.traced.trace_id, seconds, x.started + seconds
        if flags or seconds >= self._watch.slow or status >= FAILED:
            x.end(status, flags, seconds)
            self._watch.notice(x)

    def _first(self, source: str, endpoint: str) -> Tally:
        tallies = self._tallies
        if len(tallies) >= MOST_TALLIES:
            source = endpoint = OTHERS
        tally = tallies.get((source, endpoint))
        if tally is None:
            tally = tallies[source, endpoint] = Tally(self.stats, self._edges.of(source, endpoint))
        return tally

    def settle(self) -> None:
        for tally in self._tallies.values():
            tally.settle(self._watch.unix)
