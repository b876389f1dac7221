"""What an engine of HTTP/2 says, written: at once, or when the loop turns next, with all that comes until then."""

from __future__ import annotations

from meshproxy.net.conn import SMALL_READ, Conn
from meshproxy.relay.http.site import Site
from meshproxy.wire.h2 import Engine


class Flushing:
    __slots__ = ("_flushing", "conn", "engine", "site")

    engine: Engine

    def __init__(self, site: Site, conn: Conn) -> None:
        self.site = site
        self.conn = conn
        self._flushing = False
        """Whether what there is will be written when the loop turns next."""

    def flush(self) -> None:
        engine = self.engine
        out = engine.out
        while out:
            data = b"".join(out)
            out.clear()
            self.conn.write(data)
            engine.more()

    def flush_after(self, data: bytes) -> None:
        """Large pieces of many streams do not gather here, before a peer that takes none of them."""
        if len(data) < SMALL_READ:
            self.flush_soon()
        else:
            self.flush()

    def flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.site.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self.flush()
