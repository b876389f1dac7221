"""What a listener keeps over reloads: its counters, and the connections that came in through it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, MutableSequence
from typing import Any, Generic, Protocol, TypeVar

from meshproxy.cluster.cluster import Cluster
from meshproxy.cluster.endpoint import User, drain_after, end_all
from meshproxy.core.limit import Stock
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.sinks import Sink
from meshproxy.observe.metrics.answers import AnswerStats, EdgeStats, FilterStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.process import SinkStats
from meshproxy.observe.telling import Edges, Teller, Told, Watch
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import REFUSED, Turned

S = TypeVar("S")

STAGE_AT = 32
"""The bit of a number on the board from which on it shows the stage of overload; below are the connections."""


class Connection(User, Protocol):
    def account(self) -> None:
        """Add what has moved since the last time to the counters."""

    def leave(self) -> None:
        """Nothing new is to be begun: end as soon as that cuts nothing."""


class Chooser(Protocol):
    def choose(self, origin: Any, /) -> Any:
        """The service for a connection, which a connection may ask for anew."""


class Named(Protocol):
    """A cluster of one generation."""

    @property
    def cluster(self) -> Cluster: ...


class Guests:
    """Everybody who is in, through any listener of any generation."""

    __slots__ = ("_board", "_number", "_rank", "count", "states")

    def __init__(self, board: MutableSequence[int], number: int) -> None:
        """`board[number]` shows how many they are; what else stands there belongs to other workers."""
        self._board = board
        self._number = number
        self._rank = 0
        self.count = 0
        self.states: set[ListenerState] = set()

    @property
    def number(self) -> int:
        """Which worker this is."""
        return self._number

    @property
    def workers(self) -> int:
        """For how many workers there is a place on the board."""
        return len(self._board)

    def rank(self, stage: int) -> None:
        """Who is in a higher stage of overload has more on the board than any who is not."""
        self._rank = stage << STAGE_AT
        self.show()

    def show(self) -> None:
        self._board[self._number] = self._rank + self.count

    def came(self) -> None:
        self.count += 1
        self.show()

    def left(self) -> None:
        self.count -= 1
        self.show()


class ListenerState:
    """Live, keyed by the listener's name."""

    __slots__ = (
        "_clock", "_guests", "_registry", "_retired", "clusters", "connections", "entry", "limit", "name", "stats",
        "told", "turned",
    )  # fmt: skip

    def __init__(
        self, name: str, registry: dict[str, ListenerStats], guests: Guests, clock: Clock, limit: Stock, watch: Watch
    ) -> None:
        self.name = name
        self.limit = limit
        self.stats = ListenerStats()
        self.told = Told(watch)
        """Of what is over."""
        self.turned = Turned(name, clock.now, self.told)
        self.connections: set[Connection] = set()
        self.entry: Chooser | None = None
        """Of the generation in force."""
        self.clusters: Mapping[str, Named] = {}
        """The same: by name, for who has to find another endpoint."""
        self._registry = registry
        self._guests = guests
        self._clock = clock
        self._retired = False
        registry[name] = self.stats
        guests.states.add(self)

    def came(self) -> None:
        """A unit of the limit is taken for it, and it is counted in."""
        self.stats.connections_total += 1
        self.stats.connections_active += 1
        self._guests.came()

    def identified(self, identity: str | None) -> None:
        """TLS is established with it, and it is handed to its service; to be called once."""
        if identity:
            self.stats.identified(identity)

    def turn_away(self, conn: Conn, origin: Origin, reason: str) -> None:
        """It had been counted in, and comes no further."""
        self.turned.tell(conn, origin, REFUSED[reason])
        conn.abort()
        self.rejected(reason)

    def rejected(self, reason: str) -> None:
        """It had been counted in, and is not relayed."""
        self.stats.rejected[reason] += 1
        self._left("error")

    def closed(self, connection: Connection, reason: str) -> None:
        self.connections.discard(connection)
        self._left(reason)

    def _left(self, reason: str) -> None:
        self.stats.connections_active -= 1
        self.stats.closed[reason] += 1
        self._guests.left()
        self.limit.give()
        self._forget_if_over()

    def account(self) -> Generator[None, None, None]:
        """In steps."""
        for connection in tuple(self.connections):
            # Whoever has left since the last step has accounted for all of it.
            if connection in self.connections:
                connection.account()
            yield

    def leave(self) -> None:
        for connection in tuple(self.connections):
            connection.leave()

    def drain(self) -> None:
        end_all(self.connections)

    def retire(self, grace: float) -> None:
        if self._registry.get(self.name) is self.stats:
            del self._registry[self.name]
        self.leave()
        drain_after(self._clock, grace, self.connections)
        self._retired = True
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        if self._retired and not self.connections:
            self._guests.states.discard(self)
            # It knows this state: a circle, in which all that it leads to would stay.
            self.entry = None
            self.clusters = {}


class OfPolicy(Generic[S]):
    """Live, keyed by listener and policy: what is counted there."""

    __slots__ = ("_name", "_registry", "stats")

    def __init__(self, registry: dict[str, S], name: str, stats: S) -> None:
        self.stats = stats
        self._registry = registry
        self._name = name
        registry[name] = stats

    def retire(self, grace: float) -> None:
        if self._registry.get(self._name) is self.stats:
            del self._registry[self._name]


class OfRoute(Generic[S]):
    """Live, keyed by listener, route and cluster: what is counted there."""

    __slots__ = ("_cluster", "_registry", "_route", "stats")

    def __init__(self, registry: dict[str, dict[str, S]], route: str, cluster: str, stats: S) -> None:
        self.stats = stats
        self._registry = registry
        self._route = route
        self._cluster = cluster
        registry.setdefault(route, {})[cluster] = self.stats

    def retire(self, grace: float) -> None:
        of_route = self._registry.get(self._route, {})
        if of_route.get(self._cluster) is self.stats:
            del of_route[self._cluster]
        if not of_route:
            self._registry.pop(self._route, None)


class OfAnswers:
    """Live, keyed by listener, route and cluster: who counts the requests there."""

    __slots__ = ("_of_route", "_tellers", "teller")

    def __init__(
        self,
        registry: dict[str, dict[str, AnswerStats]],
        tellers: set[Teller],
        route: str,
        cluster: str,
        teller: Teller,
    ) -> None:
        """`tellers` are all those of a worker, who are asked to settle."""
        self.teller = teller
        self._of_route = OfRoute(registry, route, cluster, teller.stats)
        self._tellers = tellers
        tellers.add(teller)

    def retire(self, grace: float) -> None:
        self.teller.settle()
        self._tellers.discard(self.teller)
        self._of_route.retire(grace)


class OfEdges:
    """Live, keyed by listener and cluster: who talks to whom."""

    __slots__ = ("_cluster", "_held", "_listener", "_registry", "edges")

    def __init__(
        self, registry: dict[str, dict[str, dict[str, dict[str, EdgeStats]]]], listener: str, cluster: str
    ) -> None:
        self._registry = registry
        self._listener = listener
        self._cluster = cluster
        self._held: dict[str, dict[str, EdgeStats]] = {}
        registry.setdefault(listener, {})[cluster] = self._held
        self.edges = Edges(self._held)

    def retire(self, grace: float) -> None:
        of_listener = self._registry.get(self._listener, {})
        if of_listener.get(self._cluster) is self._held:
            del of_listener[self._cluster]
        if not of_listener:
            self._registry.pop(self._listener, None)


class OfSink:
    """Live, keyed by where it leads: where lines go."""

    __slots__ = ("_name", "_registry", "_sinks", "sink")

    def __init__(self, registry: dict[str, SinkStats], sinks: set[Sink], name: str, sink: Sink) -> None:
        """`sinks` are all those of a worker, who are told of rotations."""
        self.sink = sink
        self._registry = registry
        self._sinks = sinks
        self._name = name
        registry[name] = sink.stats
        sinks.add(sink)

    def retire(self, grace: float) -> None:
        self.sink.retire(grace)
        self._sinks.discard(self.sink)
        if self._registry.get(self._name) is self.sink.stats:
            del self._registry[self._name]


class Kept:
    """Live: anything that a filter wants to find again."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def retire(self, grace: float) -> None:
        """It is a filter's own affair."""


class FilterState:
    """Live, keyed by listener and filter: how it fails."""

    __slots__ = ("_name", "_registry", "stats")

    def __init__(self, registry: dict[str, FilterStats], name: str) -> None:
        self.stats = FilterStats()
        self._registry = registry
        self._name = name
        registry[name] = self.stats

    def retire(self, grace: float) -> None:
        if self._registry.get(self._name) is self.stats:
            del self._registry[self._name]
