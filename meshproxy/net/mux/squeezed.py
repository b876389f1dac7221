"""A stream of a tunnel whose bytes are compressed on their way: to all others it is a `Conn` as any.

What has come waits as it came, and is decompressed when somebody reads it, as much as is read: so the windows of
streams, which count what is carried, bound what waits here, whatever would become of it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from meshproxy.net.conn import ENDED, FAILED, LARGE_READ
from meshproxy.net.mux.conn import StreamConn
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.session import Session
from meshproxy.wire.mux.squeeze import Coding, Garbled, Squeezer, Unsqueezer


class Tally(Protocol):
    """Bytes as they are, `plain`, and as they are `carried`."""

    compressed_received: dict[str, int]
    compressed_sent: dict[str, int]


class SqueezedConn(StreamConn):
    __slots__ = ("_fed", "_reads_on", "_squeezer", "_tally", "_unsqueezer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        session: Session,
        number: int,
        destination: tuple[str, int] | None,
        coding: Coding,
        tally: Tally,
    ) -> None:
        super().__init__(loop, session, number, destination)
        self._squeezer: Squeezer | None = Squeezer(coding)
        self._unsqueezer: Unsqueezer | None = Unsqueezer(coding)
        self._fed = False
        """Whether the first of what has come is in its hands."""
        self._reads_on = False
        self._tally = tally

    # Reading

    def read_on(self) -> None:
        """A read at a time, then others have their turn: much may become of little."""
        if not self._paused and (self._came or self._last):
            self._reader()
        if not self._paused and (self._came or self._last) and not self._reads_on:
            self._reads_on = True
            self._loop.call_soon(self._read_more)

    def _read_more(self) -> None:
        self._reads_on = False
        self.read_on()

    def _read(self) -> bytes:
        try:
            data = self._unsqueezed(LARGE_READ)
        except Garbled:
            self._garbled()
            return b""
        if self._paused & FAILED:
            # As much as is taken at once.
            self._came.clear()
        elif not data and self._last and not self._paused & ENDED:
            self._read_end()
        self.received += len(data)
        self._tally.compressed_received["plain"] += len(data)
        return data

    def _unsqueezed(self, most: int) -> bytes:
        """Raises Garbled."""
        came, unsqueezer = self._came, self._unsqueezer
        assert unsqueezer is not None, "nobody reads what is closed"
        pieces = []
        while came and most:
            if not self._fed:
                self._fed = True
                unsqueezer.feed(came[0])
            piece = unsqueezer.read(most)
            pieces.append(piece)
            most -= len(piece)
            if most:
                # It is taken only now that there is nothing more in it.
                self._fed = False
                size = len(came.popleft())
                self._tally.compressed_received["carried"] += size
                self._took(size)
        if self._last and not came and not unsqueezer.between:
            raise Garbled("it ends within a block")
        return b"".join(pieces)

    def _garbled(self) -> None:
        self._came.clear()
        session = self._session
        if session is not None:
            session.reset(self._number, Reason.MALFORMED)
            self.reset(Reason.MALFORMED)

    # Writing

    def write(self, data: bytes) -> None:
        squeezer = self._squeezer
        if squeezer is None or self._session is None or self._write_over or not data:
            return
        squeezed = squeezer.squeeze(data)
        super().write(squeezed)
        self.sent += len(data) - len(squeezed)
        sent = self._tally.compressed_sent
        sent["plain"] += len(data)
        sent["carried"] += len(squeezed)

    # The end

    def _leave(self) -> None:
        super()._leave()
        self._squeezer = self._unsqueezer = None
