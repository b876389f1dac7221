"""One TCP connection relayed to one endpoint.

    a unit of the cluster's limit -> pick -> dial (another endpoint if that fails) -> joined -> both have ended

The client is not read before the upstream is there: its early bytes wait in the kernel.  An end is passed on as an end,
a failure as a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.cluster.cluster import Cluster, Lease
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import NOBODY, Nobody
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.net.splice import Pipes
from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.telling import Edges
from meshproxy.relay.joined import Joined, Side
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.passed import ENDED, Passed, Spot
from meshproxy.wire import proxy_protocol

DIAL_ATTEMPTS = 3
"""Endpoints tried for one connection, each within the cluster's connect timeout."""

OVERFLOW = Failure("overflow", flag="UO")

Announce = Callable[[proxy_protocol.Endpoint | None, proxy_protocol.Endpoint | None], bytes]
"""Writes the PROXY header that an upstream wants to see."""


@dataclass(frozen=True, slots=True)
class TcpService:
    """Compiled: what one chain does with its connections."""

    clock: Clock
    state: ListenerState
    cluster: Cluster
    idle: float
    lifetime: float
    pipes: Pipes | None
    announce: Announce | None
    edges: Edges

    def behind(self, origin: Origin) -> None:
        """What was begun goes on as it was: nothing in it is ever begun anew."""

    def start(self, conn: Conn, origin: Origin) -> None:
        origin.called()
        TcpRelay(self, conn, origin).begin()


class TcpRelay(Joined):
    __slots__ = (
        "_came_at", "_dial", "_dialled_at", "_edge", "_endpoint", "_joined_at", "_lease", "_origin",
        "_received", "_sent", "_service", "_tried", "_unit",
    )  # fmt: skip

    _down: Conn
    _up: Conn | None

    def __init__(self, service: TcpService, conn: Conn, origin: Origin) -> None:
        super().__init__(conn)
        self._service = service
        self._origin = origin
        self._unit: Stock | None = None
        self._lease: Lease | None = None
        self._dial: Dialling | None = None
        self._came_at = service.clock.now()
        self._dialled_at = self._joined_at = 0.0
        self._tried: tuple[Endpoint, ...] = ()
        self._endpoint: Endpoint | Nobody = NOBODY
        """Who was dialled last."""
        self._edge: EdgeStats | None = None
        self._received = self._sent = 0
        """Bytes, from and to the client."""
        self._lifespan = Lifespan(service.clock, service.idle, service.lifetime, self._has_moved, self._finish)
        service.state.connections.add(self)
        if service.state.told.hears:
            origin.look()
        conn.handler = self
        conn.stop()

    # Towards the upstream

    def begin(self) -> None:
        limit = self._service.cluster.limit
        if limit.take():
            self._enter(True)
        else:
            limit.ask(self._enter)

    def _enter(self, granted: bool) -> None:
        service = self._service
        if granted:
            self._unit = service.cluster.limit
        if self not in service.state.connections:
            self._give_back()  # it has ended while it waited
        elif granted:
            self._try_next()
        else:
            service.cluster.stats.overflow_total += 1
            service.state.stats.rejected["limit"] += 1
            self._failure = OVERFLOW
            self._finish("error")

    def _try_next(self) -> None:
        service = self._service
        lease = service.cluster.pick(self, self._tried, self._origin)
        if isinstance(lease, Failure):
            if self._tried:
                self._finish("connect")
            else:
                service.state.stats.rejected[lease.reason] += 1
                self._failure = lease
                self._finish("error")
            return
        self._lease = lease
        self._endpoint = lease.endpoint
        self._dialled_at = service.clock.now()
        dial = service.cluster.dial(lease.endpoint.address, self._dialled, self._origin)
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
        else:
            self._dialled(outcome)

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        lease = self._lease
        assert lease is not None
        if isinstance(outcome, OSError):
            self._lease = None
            lease.failed(outcome)
            lease.done()
            self._tried += (lease.endpoint,)
            self._service.edges.failed(self._origin.who, lease.endpoint.name)
            if len(self._tried) < DIAL_ATTEMPTS:
                self._try_next()
            else:
                self._finish("connect")
        else:
            service, origin = self._service, self._origin
            lease.opened()
            self._edge = edge = service.edges.of(origin.who, lease.endpoint.name)
            edge.connections_total += 1
            self._joined_at = now = service.clock.now()
            seconds = now - self._dialled_at
            lease.cluster.stats.connect_seconds.observe(seconds)
            if lease.cluster.heed is not None:
                lease.cluster.heed(lease.endpoint, None, 0, seconds)
            first = origin.early
            if service.announce is not None:
                first = service.announce(origin.source, origin.destination or self._down.local) + first
            self._join(outcome, service.pipes, first)

    def _account(self, down: Side, up: Side) -> None:
        assert self._lease is not None
        stats = self._service.state.stats
        stats.bytes_received_total += down.received
        stats.bytes_sent_total += down.sent
        self._lease.moved(up.sent, up.received)
        edge = self._edge
        assert edge is not None
        edge.received_bytes_total += down.received
        edge.sent_bytes_total += down.sent
        self._received += down.received
        self._sent += down.sent

    # The end

    def _finish(self, reason: str) -> None:
        if self._dial is not None:
            self._dial.cancel()
        self.account()
        self._tell(reason)
        super()._finish(reason)

    def _finished(self, reason: str) -> None:
        if self._lease is not None:
            self._lease.done()
            self._lease = None
        self._give_back()
        self._service.state.closed(self, reason)

    def _tell(self, reason: str) -> None:
        service, failure = self._service, self._failure or ENDED.get(reason)
        service.state.told.tell(
            Passed(
                self._origin, Spot(service.state.name), self._came_at, service.clock.now() - self._came_at,
                self._received, self._sent, failure, self._endpoint, self._tried, self._dialled_at, self._joined_at,
                failure.flag if failure is not None else "",
            )
        )  # fmt: skip

    def _give_back(self) -> None:
        if self._unit is not None:
            self._unit.give()
            self._unit = None
