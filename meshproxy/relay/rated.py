"""A service that takes so many connections in a time, for all workers together; those beyond that are refused."""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.core.limit import Flow
from meshproxy.net.conn import Conn
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin


@dataclass(frozen=True, slots=True)
class Rated:
    service: Service
    state: ListenerState
    rate: Flow

    def behind(self, origin: Origin) -> Service | None:
        """Who has come in was counted then."""
        return self.service.behind(origin)

    def start(self, conn: Conn, origin: Origin) -> None:
        if self.rate.take():
            self.service.start(conn, origin)
        else:
            Waiting(self, conn, origin)


class Waiting:
    """A connection for which the owner of the limit is asked."""

    __slots__ = ("_conn", "_origin", "_over", "_rated")

    def __init__(self, rated: Rated, conn: Conn, origin: Origin) -> None:
        self._rated = rated
        self._conn = conn
        self._origin = origin
        self._over = False
        conn.handler = self
        conn.stop()
        rated.state.connections.add(self)
        rated.rate.ask(self._told)

    def _told(self, granted: bool) -> None:
        if self._over:
            return
        self._leave()
        if granted:
            self._rated.service.start(self._conn, self._origin)
        else:
            self._refuse("rate_limit")

    def _leave(self) -> None:
        self._over = True
        self._rated.state.connections.discard(self)

    def _refuse(self, reason: str) -> None:
        self._rated.state.turn_away(self._conn, self._origin, reason)

    def on_end(self, conn: Conn) -> None:
        self.drain()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.drain()

    def account(self) -> None:
        """Nothing has been relayed yet."""

    def leave(self) -> None:
        """It has little time as it is."""

    def drain(self) -> None:
        self._leave()
        self._refuse("rate_limit")
