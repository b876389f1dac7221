"""One question to one server: over UDP, and over TCP where the answer is too long for that.

Whoever wants to slip in an answer must guess the id and the port of a socket that hears nobody but the server.  A
datagram that is not the answer is passed over, and is no reason to stop waiting for the one that is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from meshproxy.model import Address
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dial, Outcome, Way
from meshproxy.net.udp import DatagramPeer
from meshproxy.wire.dns import Bounds, Kept, Malformed, Truncated, asking, read_answer

LENGTH = 2
"""Bytes before each message over TCP that say how long it is."""


class Attempt:
    """`done` is told once, of the answer or of None; after `cancel` it hears nothing."""

    __slots__ = (
        "_bounds", "_buffer", "_clock", "_conn", "_dial", "_done", "_id", "_key", "_loop", "_peer", "_server",
        "_timeout", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        server: Address,
        key: bytes,
        bounds: Bounds,
        timeout: float,
        done: Callable[[Kept | None], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._server = server
        self._key = key
        self._bounds = bounds
        self._timeout = timeout
        self._done = done
        self._id = int.from_bytes(os.urandom(2))
        self._peer: DatagramPeer | None = None
        self._dial: Dial | None = None
        self._conn: Conn | None = None
        self._timer: Timer | None = None
        self._buffer = b""

    def begin(self) -> None:
        self._timer = self._clock.after(self._timeout, self._fail)
        try:
            self._peer = DatagramPeer(self._loop, self._server, self._datagram, self._lost)
        except OSError:
            self._fail()
            return
        self._peer.send(asking(self._id, self._key))

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hang_up()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def _finish(self, kept: Kept | None) -> None:
        self.cancel()
        done = self._done
        done(kept)

    def _fail(self) -> None:
        self._finish(None)

    # Over UDP

    def _datagram(self, data: bytes) -> None:
        try:
            kept = read_answer(data, self._id, self._key, self._bounds)
        except Malformed:
            return
        except Truncated:
            self._hang_up()
            self._over_tcp()
            return
        self._finish(kept)

    def _lost(self, _error: OSError) -> None:
        self._fail()

    # Over TCP

    def _over_tcp(self) -> None:
        dial = Dial(self._loop, self._clock, self._server, self._timeout, self._dialled, Way(keepalive=False))
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
        else:
            self._dialled(outcome)

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        if isinstance(outcome, OSError):
            self._fail()
            return
        self._conn = outcome
        outcome.handler = self
        outcome.read_to(self._read)
        outcome.start()
        message = asking(self._id, self._key)
        outcome.write(len(message).to_bytes(LENGTH) + message)

    def _read(self, data: bytes) -> None:
        self._buffer += data
        end = LENGTH + int.from_bytes(self._buffer[:LENGTH])
        if len(self._buffer) < max(end, LENGTH):
            return
        try:
            kept = read_answer(self._buffer[LENGTH:end], self._id, self._key, self._bounds)
        except (Malformed, Truncated):
            self._fail()
        else:
            self._finish(kept)

    def on_end(self, conn: Conn) -> None:
        self._fail()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        if self._conn is not None:
            self._fail()
