"""So many bytes each second for the requests of a rule: the client's connection goes at that pace meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.net.shaped import Pace, ShapedConn


def build(pace: Callable[[], Pace]) -> Hooks:
    def request(x: Exchange) -> None:
        conn = x.origin.conn
        # One that came in before anything here was slowed down goes on as it is.
        if isinstance(conn, ShapedConn):
            conn.use(pace())

    def done(x: Exchange) -> None:
        conn = x.origin.conn
        if isinstance(conn, ShapedConn):
            conn.use(None)

    return Hooks(request=request, done=done)
