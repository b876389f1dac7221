"""What a client and an endpoint become when the protocol changes, or there is none: what one sends, the other gets.

The exchange that was before is counted when the protocol changes.  The logs are told of it at the end of the tunnel,
with all its bytes and all its time; so it is kept until then, if there is a log.
"""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING

from meshproxy.core.exchange import Exchange
from meshproxy.net.conn import Conn
from meshproxy.relay.http.channel import Channel
from meshproxy.relay.http.site import Site
from meshproxy.relay.http.upstream import Switching
from meshproxy.relay.joined import Joined, Side
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.live import ListenerState
from meshproxy.relay.passed import ENDED

if TYPE_CHECKING:
    from meshproxy.relay.http.multiplexed import Multiplexed
    from meshproxy.relay.http.service import HttpService


SWITCHED = 101


class Tunnel(Joined):
    __slots__ = ("_received", "_sent", "_site", "_state", "_upstream", "_x")

    def __init__(
        self, site: Site, state: ListenerState, down: Side, upstream: Switching, x: Exchange, early: int
    ) -> None:
        """`early`: bytes of the endpoint that came behind its answer."""
        super().__init__(down)
        self._site = site
        self._state = state
        self._upstream = upstream
        self._x = x if state.told.hears else None
        """What the logs are told of."""
        self._received, self._sent = 0, early
        if self._x is not None:
            x.origin.look()
        self._lifespan = Lifespan(site.clock, x.patience.idle, inf, self._has_moved, self._finish)

    def begin(self, to_up: bytes, to_down: bytes) -> None:
        """With what had come before the change was made."""
        self._join(self._upstream.surrender(self), self._site.pipes, to_up, to_down)

    def _account(self, down: Side, up: Side) -> None:
        self._upstream.moved(up.sent, up.received)
        self._received += up.sent
        self._sent += up.received

    def _finish(self, reason: str) -> None:
        super()._finish(reason)
        if self._x is not None:
            self._tell(self._x, reason)

    def _tell(self, x: Exchange, reason: str) -> None:
        failure, noted = self._failure or ENDED.get(reason), x.noted
        flags = noted.flags if noted is not None else ""
        if failure is not None:
            x.failure = failure
            flags = f"{flags},{failure.flag}" if flags else failure.flag
        x.end(x.status, flags, self._site.now() - x.started)
        x.received, x.sent = self._received, self._sent
        self._state.told.tell(x)

    def _finished(self, reason: str) -> None:
        self._upstream.over()
        self._left(reason)

    @abstractmethod
    def _left(self, reason: str) -> None:
        """It is over."""


class ConnectionTunnel(Tunnel):
    """Of a client's connection, which is nothing else any more."""

    __slots__ = ("_service",)

    def __init__(self, service: HttpService, conn: Conn, upstream: Switching, x: Exchange, early: int) -> None:
        super().__init__(service.site, service.state, conn, upstream, x, early)
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

    def __init__(
        self, session: Multiplexed, channel: Channel, upstream: Switching, x: Exchange, early: int
    ) -> None:
        super().__init__(session.service.site, session.service.state, channel, upstream, x, early)
        self._session = session
        session.tunnels.add(self)

    def _left(self, reason: str) -> None:
        self._session.parted(self)
