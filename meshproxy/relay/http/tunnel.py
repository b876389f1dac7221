"""What two connections become when the protocol changes: whatever one sends, the other gets."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from meshproxy.net.conn import Conn
from meshproxy.relay.http.upstream import Upstream
from meshproxy.relay.joined import Joined
from meshproxy.relay.lifespan import Lifespan

if TYPE_CHECKING:
    from meshproxy.relay.http.service import HttpService


class Tunnel(Joined):
    __slots__ = ("_service", "_upstream")

    def __init__(self, service: HttpService, conn: Conn, upstream: Upstream, idle: float) -> None:
        super().__init__(conn)
        self._service = service
        self._upstream = upstream
        self._lifespan = Lifespan(service.site.clock, idle, inf, self._has_moved, self._finish)
        service.state.connections.add(self)

    def begin(self, to_up: bytes, to_down: bytes) -> None:
        """With what had come before the change was made."""
        self._join(self._upstream.surrender(self), self._service.site.pipes, to_up, to_down)

    def _account(self, down: Conn, up: Conn) -> None:
        stats = self._service.state.stats
        stats.bytes_received_total += down.received
        stats.bytes_sent_total += down.sent
        self._upstream.moved(up.sent, up.received)

    def _finished(self, reason: str) -> None:
        self._upstream.over()
        self._service.state.closed(self, reason)
