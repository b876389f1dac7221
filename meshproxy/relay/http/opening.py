"""A connection to where a client wants a tunnel to: once it is there, the client is told, and both are joined."""

from __future__ import annotations

from meshproxy.cluster.cluster import DialTo
from meshproxy.core.limit import Stock
from meshproxy.net.conn import Conn
from meshproxy.relay.http.connecting import Connecting
from meshproxy.relay.http.link import Link
from meshproxy.relay.http.upstream import Upstream
from meshproxy.wire.h1 import ResponseCodec

ESTABLISHED = ResponseCodec().parse(b"HTTP/1.1 200 Connection established\r\n\r\n", b"CONNECT")


class Opening(Connecting):
    __slots__ = ()

    @property
    def _dial_to(self) -> DialTo:
        """Nothing of HTTP is offered: what is spoken is the client's own affair."""
        return self._cluster.dial

    def _carrier(self, conn: Conn, unit: Stock) -> Upstream:
        return Upstream(self._site, self._cluster, self._endpoint, conn, unit)

    def _made(self, carrier: Upstream | Link) -> None:
        assert isinstance(carrier, Upstream)
        self._give_back()
        heed = self._cluster.heed
        if heed is not None:
            heed(self._endpoint, None, 0, self._site.now() - self._since)
        self._x.upstream = None
        self._asker.switch(self._x, ESTABLISHED, b"", carrier)
