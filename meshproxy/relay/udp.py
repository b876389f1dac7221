"""Datagrams relayed in sessions: all from one source goes to one endpoint, until it has been silent for a while."""

from __future__ import annotations

import asyncio
from typing import Any

from meshproxy.cluster.cluster import Cluster, Lease
from meshproxy.core.limit import Flow, Stock
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.udp import DatagramDoor, DatagramPeer
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.live import ListenerState

Source = tuple[DatagramDoor, Any]
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
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        state: ListenerState,
        sessions: UdpSessions,
        cluster: Cluster,
        *,
        idle: float,
        lifetime: float,
        rate: Flow | None,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.state = state
        self.sessions = sessions.by_source
        self.cluster = cluster
        self.idle = idle
        self.lifetime = lifetime
        self._rate = rate

    def receive(self, door: DatagramDoor, data: bytes, source: Any) -> None:
        self.state.stats.datagrams_received_total += 1
        session = self.sessions.get((door, source)) or self._open(door, source)
        if session is not None:
            session.send(data)

    def _open(self, door: DatagramDoor, source: Any) -> UdpSession | None:
        """A datagram does not wait for a unit: it is dropped, and the next one may find what was asked for."""
        if not self._may_open():
            return None
        self.state.came()
        session = UdpSession(self, door, source)
        self.sessions[door, source] = session
        self.state.connections.add(session)
        door.users.add(session)
        return session if session.open() else None

    def _may_open(self) -> bool:
        stats, limit, rate = self.state.stats, self.state.limit, self._rate
        if not _taken(limit):
            stats.rejected["limit"] += 1
            return False
        if rate is not None and not rate.take():
            rate.ask(lambda _granted: None)
            limit.give()
            stats.rejected["rate_limit"] += 1
            return False
        return True


def _taken(limit: Stock) -> bool:
    """Without waiting; if there is none here, the next one may find what was asked for."""
    if limit.take():
        return True
    limit.ask(lambda granted: limit.give() if granted else None)
    return False


class UdpSession:
    __slots__ = ("_door", "_lease", "_lifespan", "_moved", "_peer", "_service", "_source", "_unit")

    def __init__(self, service: UdpService, door: DatagramDoor, source: Any) -> None:
        self._service = service
        self._door = door
        self._source = source
        self._moved = False
        self._unit: Stock | None = None
        self._lease: Lease | None = None
        self._peer: DatagramPeer | None = None
        self._lifespan = Lifespan(
            service.clock, service.idle, service.lifetime, self._has_moved, self._finish
        )

    @property
    def client(self) -> str | None:
        return self._source[0] if isinstance(self._source, tuple) else None

    def open(self) -> bool:
        service = self._service
        limit = service.cluster.limit
        if not _taken(limit):
            service.cluster.stats.overflow_total += 1
            service.state.stats.rejected["limit"] += 1
            self._finish("error")
            return False
        self._unit = limit
        lease = service.cluster.pick(self, (), self)
        if isinstance(lease, Failure):
            service.state.stats.rejected[lease.reason] += 1
            self._finish("error")
            return False
        self._lease = lease
        try:
            self._peer = DatagramPeer(service.loop, lease.endpoint.address, self._receive, self._lost)
        except OSError as error:
            lease.failed(error)
            self._finish("connect")
            return False
        lease.opened()
        return True

    def send(self, data: bytes) -> None:
        if self._peer is not None and self._lease is not None and self._peer.send(data):
            self._moved = True
            self._service.state.stats.bytes_received_total += len(data)
            self._lease.moved(len(data), 0)

    def _receive(self, data: bytes) -> None:
        assert self._lease is not None
        self._lease.moved(0, len(data))
        if self._door.reply(data, self._source):
            self._moved = True
            stats = self._service.state.stats
            stats.datagrams_sent_total += 1
            stats.bytes_sent_total += len(data)

    def _lost(self, error: OSError) -> None:
        """The endpoint's host says that nobody is there.  The next datagram starts anew, and may go elsewhere."""
        assert self._lease is not None
        self._lease.failed(error)
        self._finish("reset")

    def account(self) -> None:
        """Every datagram is counted as it passes."""

    def leave(self) -> None:
        """Nobody can say when a conversation of datagrams is over."""

    def _has_moved(self) -> bool:
        moved, self._moved = self._moved, False
        return moved

    def drain(self) -> None:
        self._finish("drain")

    def _finish(self, reason: str) -> None:
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
        self._door.users.discard(self)
        del self._service.sessions[self._door, self._source]
        self._service.state.closed(self, reason)
