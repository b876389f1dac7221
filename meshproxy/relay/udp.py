"""Datagrams relayed in sessions: all from one source goes to one endpoint, until it has been silent for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from meshproxy.cluster.cluster import CONNECT_FAILED, Cluster, Lease
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import NOBODY, Nobody
from meshproxy.core.limit import Flow, Stock
from meshproxy.errors import Failure
from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.net.udp import Peer
from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.telling import Edges
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.passed import ENDED, Passed, Spot
from meshproxy.relay.tcp import OVERFLOW

FAULTS = {reason: ENDED[reason] for reason in ("connect", "lifetime", "drain")} | {"reset": CONNECT_FAILED}
"""By the reason for which a session has ended.  To fall silent is how a conversation of datagrams ends."""

UNANSWERED = frozenset(("connect", "reset", "error"))
"""Reasons for which a session has ended that mean that nobody is there to answer."""


class Door(Protocol):
    """Where datagrams come in, and answers leave."""

    @property
    def local(self) -> tuple[str, int]: ...

    @property
    def goal(self) -> tuple[str, int] | None:
        """The address to which the client wants to go, if it says that."""

    def peer(self, source: Any, /) -> tuple[str, int]: ...

    def reply(self, data: bytes, source: Any, /) -> bool: ...

    def joined(self, session: UdpSession, /) -> None: ...

    def left(self, session: UdpSession, lost: bool, /) -> None:
        """`lost`: there is nobody to answer."""


Over = Callable[[OSError | None], None]
Talk = Callable[[Address, tuple[str, int], Callable[[bytes], None], Over], Peer]
"""Begins to talk to an endpoint, for who has that address.  It hears what comes, and once that nothing comes any more:
what the network says of the endpoint, or None, that it has ended it in good order.  Raises OSError."""
Source = tuple[Door, Any]
"""Where it came in, and what the door calls its source: one peer may talk to two addresses of a listener."""


class UdpSessions:
    """Live, beside the listener's state: a session goes on over reloads with the endpoint that it has."""

    def __init__(self) -> None:
        self.by_source: dict[Source, UdpSession] = {}

    def retire(self, grace: float) -> None:
        """The listener's state ends its connections, and sessions are among them."""


class UdpService:
    """Compiled: what a listener does with datagrams."""

    def __init__(
        self,
        talk: Talk,
        clock: Clock,
        state: ListenerState,
        sessions: UdpSessions,
        cluster: Cluster,
        edges: Edges,
        *,
        idle: float,
        lifetime: float,
        rate: Flow | None,
    ) -> None:
        self.talk = talk
        self.clock = clock
        self.state = state
        self.sessions = sessions.by_source
        self.cluster = cluster
        self.edges = edges
        self.idle = idle
        self.lifetime = lifetime
        self._rate = rate

    def receive(self, door: Door, data: bytes, source: Any) -> None:
        self.state.stats.datagrams_received_total += 1
        session = self.sessions.get((door, source)) or self._open(door, source)
        if session is not None:
            session.send(data)

    def _open(self, door: Door, source: Any) -> UdpSession | None:
        """A datagram does not wait for a unit: it is dropped, and the next one may find what was asked for."""
        if not self._may_open():
            return None
        self.state.came()
        session = UdpSession(self, door, source)
        self.sessions[door, source] = session
        self.state.connections.add(session)
        door.joined(session)
        return session if session.open() else None

    def _may_open(self) -> bool:
        stats, limit, rate = self.state.stats, self.state.limit, self._rate
        if not limit.take_at_once():
            stats.rejected["limit"] += 1
            return False
        if rate is not None and not rate.take():
            rate.ask(lambda _granted: None)
            limit.give()
            stats.rejected["rate_limit"] += 1
            return False
        return True


class UdpSession:
    __slots__ = (
        "_came_at", "_counted", "_door", "_edge", "_endpoint", "_lease", "_lifespan", "_moved", "_peer", "_received",
        "_sent", "_service", "_source", "_unit",
    )  # fmt: skip

    def __init__(self, service: UdpService, door: Door, source: Any) -> None:
        self._service = service
        self._door = door
        self._source = source
        self._moved = False
        self._came_at = service.clock.now()
        self._received = self._sent = 0
        """Bytes, from and to the client."""
        self._counted = (0, 0)
        """Of these, by the edge."""
        self._edge: EdgeStats | None = None
        self._endpoint: Endpoint | Nobody = NOBODY
        self._unit: Stock | None = None
        self._lease: Lease | None = None
        self._peer: Peer | None = None
        self._lifespan = Lifespan(
            service.clock, service.idle, service.lifetime, self._has_moved, self._finish
        )

    @property
    def client(self) -> str:
        return self._door.peer(self._source)[0]

    @property
    def destination(self) -> tuple[str, int] | None:
        return self._door.goal

    def open(self) -> bool:
        service = self._service
        limit = service.cluster.limit
        if not limit.take_at_once():
            service.cluster.stats.overflow_total += 1
            service.state.stats.rejected["limit"] += 1
            self._turn_away(OVERFLOW)
            return False
        self._unit = limit
        lease = service.cluster.pick(self, (), self)
        if isinstance(lease, Failure):
            service.state.stats.rejected[lease.reason] += 1
            self._turn_away(lease)
            return False
        self._lease = lease
        self._endpoint = lease.endpoint
        try:
            talk, client = service.talk, self._door.peer(self._source)
            self._peer = talk(lease.endpoint.address, client, self._receive, self._over)
        except OSError as error:
            lease.failed(error)
            service.edges.failed(self.client, lease.endpoint.name)
            self._finish("connect")
            return False
        lease.opened()
        self._edge = edge = service.edges.of(self.client, lease.endpoint.name)
        edge.connections_total += 1
        return True

    def _turn_away(self, why: Failure) -> None:
        """Each datagram may be another one."""
        self._service.state.turned.tell(None, self._origin, why, protocol="UDP")
        self._finish("error")

    @property
    def _origin(self) -> Origin:
        local = self._door.local
        return Origin(self._door.peer(self._source), local[1], local)

    def send(self, data: bytes) -> None:
        if self._peer is not None and self._lease is not None and self._peer.send(data):
            size = len(data)
            self._moved = True
            self._received += size
            self._service.state.stats.bytes_received_total += size
            self._lease.moved(size, 0)

    def _receive(self, data: bytes) -> None:
        assert self._lease is not None
        self._lease.moved(0, len(data))
        if self._door.reply(data, self._source):
            self._moved = True
            self._sent += len(data)
            stats = self._service.state.stats
            stats.datagrams_sent_total += 1
            stats.bytes_sent_total += len(data)

    def _over(self, error: OSError | None) -> None:
        """The endpoint's host says that nobody is there.  The next datagram starts anew, and may go elsewhere."""
        if error is None:
            self._finish("done")
            return
        assert self._lease is not None
        self._lease.failed(error)
        if self._edge is not None:
            self._edge.failed_total += 1
        self._finish("reset")

    def account(self) -> None:
        """All else is counted as it passes."""
        if self._edge is not None:
            received, sent = self._counted
            self._counted = self._received, self._sent
            self._edge.received_bytes_total += self._received - received
            self._edge.sent_bytes_total += self._sent - sent

    def leave(self) -> None:
        """Nobody can say when a conversation of datagrams is over."""

    def _has_moved(self) -> bool:
        moved, self._moved = self._moved, False
        return moved

    def drain(self) -> None:
        self._finish("drain")

    def gone(self) -> None:
        """Whoever has talked here does so no more."""
        self._finish("done")

    def _finish(self, reason: str) -> None:
        self.account()
        if reason != "error":
            self._tell(FAULTS.get(reason))
        self._lifespan.stop()
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        if self._lease is not None:
            self._lease.done()
            self._lease = None
        if self._unit is not None:
            self._unit.give()
            self._unit = None
        self._door.left(self, reason in UNANSWERED)
        del self._service.sessions[self._door, self._source]
        self._service.state.closed(self, reason)

    def _tell(self, failure: Failure | None) -> None:
        service, told = self._service, self._service.state.told
        flags = failure.flag if failure is not None else ""
        if told.wants(flags):
            now = service.clock.now()
            told.tell(
                Passed(
                    self._origin, Spot(service.state.name), self._came_at, now - self._came_at, self._received,
                    self._sent, failure, self._endpoint, asked=self._came_at, flags=flags, protocol="UDP",
                )
            )  # fmt: skip
