"""What an engine of HTTP/2 says, written: at once, or when the loop turns next, with all that comes until then."""

from __future__ import annotations

import asyncio

from meshproxy.net.conn import SMALL_READ, Conn
from meshproxy.wire.h2 import Engine


class Flushing:
    __slots__ = ("_flushing", "conn", "engine", "loop")

    engine: Engine

    def __init__(self, loop: asyncio.AbstractEventLoop, conn: Conn) -> None:
        self.loop = loop
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
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self.flush()
