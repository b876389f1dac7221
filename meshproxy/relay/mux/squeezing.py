"""Which streams of a tunnel are compressed, and how many at a time: each of them needs memory at both ends.

    squeezing = Squeezing(loop, session, codings, hello.reads, stats)
    squeezing.coding()                      # "zstd", for a stream that is opened here; empty: it is not compressed
    squeezing.opens(7, purpose)             # its connection; of a stream of the other end: `opened`
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from meshproxy.net.mux.conn import StreamConn
from meshproxy.net.mux.squeezed import SqueezedConn, Tally
from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.metadata import Purpose
from meshproxy.wire.mux.session import Session
from meshproxy.wire.mux.squeeze import Coding

MOST = 100
"""Streams of each end; what it opens beyond them goes as it is."""


class Squeezing:
    """Live, as long as its session."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        session: Session,
        codings: Mapping[str, Coding],
        reads: Collection[str],
        tally: Tally,
    ) -> None:
        """Of `codings`, the best first, the other end reads some, perhaps."""
        self._loop = loop
        self._session = session
        self._codings = codings
        self._chosen = next((name for name in codings if name in reads), "")
        self._tally = tally
        self._ours: set[int] = set()
        self._theirs: set[StreamConn] = set()

    def coding(self) -> str:
        if len(self._ours) >= MOST:
            self._ours.intersection_update(self._session.streams)
        return self._chosen if len(self._ours) < MOST else ""

    def opens(self, number: int, purpose: Purpose) -> StreamConn:
        if not purpose.coding:
            return StreamConn(self._loop, self._session, number, purpose.to)
        self._ours.add(number)
        return self._squeezed(number, purpose)

    def opened(self, number: int, purpose: Purpose) -> StreamConn | None:
        """By the other end; None: it has too many of them.  Raises Fault."""
        if not purpose.coding:
            return StreamConn(self._loop, self._session, number, purpose.to)
        if purpose.coding not in self._codings:
            raise Fault(Reason.OUT_OF_STATE, "a stream is compressed in a way that was not agreed on")
        # Twice as many: what has ended may be known to the one end before the other.
        if len(self._theirs) >= 2 * MOST:
            self._theirs = {conn for conn in self._theirs if not conn.closed}
            if len(self._theirs) >= 2 * MOST:
                return None
        conn = self._squeezed(number, purpose)
        self._theirs.add(conn)
        return conn

    def _squeezed(self, number: int, purpose: Purpose) -> StreamConn:
        coding = self._codings[purpose.coding]
        return SqueezedConn(self._loop, self._session, number, purpose.to, coding, self._tally)
