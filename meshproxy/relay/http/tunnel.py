"""What a client and an endpoint become when the protocol changes: whatever one sends, the other gets."""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING

from meshproxy.net.conn import Conn
from meshproxy.relay.http.channel import Channel
from meshproxy.relay.http.site import Site
from meshproxy.relay.http.upstream import Switching
from meshproxy.relay.joined import Joined, Side
from meshproxy.relay.lifespan import Lifespan

if TYPE_CHECKING:
    from meshproxy.relay.http.multiplexed import Multiplexed
    from meshproxy.relay.http.service import HttpService


class Tunnel(Joined):
    __slots__ = ("_site", "_upstream")

    def __init__(self, site: Site, down: Side, upstream: Switching, idle: float) -> None:
        super().__init__(down)
        self._site = site
        self._upstream = upstream
        self._lifespan = Lifespan(site.clock, idle, inf, self._has_moved, self._finish)

    def begin(self, to_up: bytes, to_down: bytes) -> None:
        """With what had come before the change was made."""
        self._join(self._upstream.surrender(self), self._site.pipes, to_up, to_down)

    def _account(self, down: Side, up: Side) -> None:
        self._upstream.moved(up.sent, up.received)

    def _finished(self, reason: str) -> None:
        self._upstream.over()
        self._left(reason)

    @abstractmethod
    def _left(self, reason: str) -> None:
        """It is over."""


class ConnectionTunnel(Tunnel):
    """Of a client's connection, which is nothing else any more."""

    __slots__ = ("_service",)

    def __init__(self, service: HttpService, conn: Conn, upstream: Switching, idle: float) -> None:
        super().__init__(service.site, conn, upstream, idle)
        self._service = service
        service.state.connections.add(self)

    def _account(self, down: Side, up: Side) -> None:
        stats = self._service.state.stats
        stats.bytes_received_total += down.received
        stats.bytes_sent_total += down.sent
        super()._account(down, up)

    def _left(self, reason: str) -> None:
        self._service.state.closed(self, reason)


class StreamTunnel(Tunnel):
    """Of one stream of a client's connection, which has others and counts the bytes of all."""

    __slots__ = ("_session",)

    def __init__(self, session: Multiplexed, channel: Channel, upstream: Switching, idle: float) -> None:
        super().__init__(session.service.site, channel, upstream, idle)
        self._session = session
        session.tunnels.add(self)

    def _left(self, reason: str) -> None:
        self._session.parted(self)
