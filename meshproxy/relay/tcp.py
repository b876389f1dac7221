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
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.net.splice import Pipes
from meshproxy.relay.joined import Joined, Side
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.wire import proxy_protocol

DIAL_ATTEMPTS = 3
"""Endpoints tried for one connection, each within the cluster's connect timeout."""

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

    def behind(self, origin: Origin) -> None:
        """What was begun goes on as it was: nothing in it is ever begun anew."""

    def start(self, conn: Conn, origin: Origin) -> None:
        TcpRelay(self, conn, origin).begin()


class TcpRelay(Joined):
    __slots__ = ("_dial", "_dialled_at", "_lease", "_origin", "_service", "_tried", "_unit")

    _down: Conn
    _up: Conn | None

    def __init__(self, service: TcpService, conn: Conn, origin: Origin) -> None:
        super().__init__(conn)
        self._service = service
        self._origin = origin
        self._unit: Stock | None = None
        self._lease: Lease | None = None
        self._dial: Dialling | None = None
        self._dialled_at = 0.0
        self._tried: tuple[Endpoint, ...] = ()
        self._lifespan = Lifespan(service.clock, service.idle, service.lifetime, self._has_moved, self._finish)
        service.state.connections.add(self)
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
            self._finish("error")

    def _try_next(self) -> None:
        service = self._service
        lease = service.cluster.pick(self, self._tried, self._origin)
        if isinstance(lease, Failure):
            if not self._tried:
                service.state.stats.rejected[lease.reason] += 1
            self._finish("connect" if self._tried else "error")
            return
        self._lease = lease
        self._dialled_at = service.clock.now()
        dial = service.cluster.dial(lease.endpoint.address, self._dialled)
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
            if len(self._tried) < DIAL_ATTEMPTS:
                self._try_next()
            else:
                self._finish("connect")
        else:
            service, origin = self._service, self._origin
            lease.opened()
            seconds = service.clock.now() - self._dialled_at
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

    # The end

    def _finish(self, reason: str) -> None:
        if self._dial is not None:
            self._dial.cancel()
        super()._finish(reason)

    def _finished(self, reason: str) -> None:
        if self._lease is not None:
            self._lease.done()
            self._lease = None
        self._give_back()
        self._service.state.closed(self, reason)

    def _give_back(self) -> None:
        if self._unit is not None:
            self._unit.give()
            self._unit = None
