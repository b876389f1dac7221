"""Make a QUIC connection, which goes on when this host has another address: like `net.dial.Dial`.

    outcome = QuicDial(loop, clock, address, side, 5.0, done).begin()
    # what went wrong, or None: then `done` is told
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshproxy.model import Address
from meshproxy.net.address import sockaddr
from meshproxy.net.clock import Clock
from meshproxy.net.dial import bare
from meshproxy.net.quic import library
from meshproxy.net.quic.conn import QuicConn
from meshproxy.net.quic.trust import Trust
from meshproxy.net.tls.context import Terms
from meshproxy.net.udp import DatagramPeer

Outcome = QuicConn | OSError


@dataclass(frozen=True, slots=True)
class Side:
    """One end, made of what the configuration says of it; many connections share it."""

    configuration: Any
    trust: Trust


def side(terms: Terms, *, dials: bool, names: frozenset[str] = frozenset()) -> Side:
    """`names` are those of the other end, of which it has to show one.  Raises Unusable and Missing."""
    return Side(library.configuration(terms, dials=dials), Trust(terms, dials=dials, names=names))


class Socket:
    """The socket of one connection, or the one after it: what is lost with an address is not the connection."""

    __slots__ = ("_address", "_heard", "_loop", "_peer", "conn")

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address) -> None:
        """Raises OSError."""
        self._loop = loop
        self._address = address
        self._heard = False
        self.conn: QuicConn | None = None
        self._peer = DatagramPeer(loop, address, self._came, self._failed)

    def send(self, data: bytes, to: Any) -> object:
        return self._peer.send(data)

    def close(self) -> None:
        self._peer.close()

    def move(self) -> None:
        """Raises OSError."""
        before = self._peer
        self._peer = DatagramPeer(self._loop, self._address, self._came, self._failed)
        before.close()
        self._heard = False
        if self.conn is not None:
            self.conn.moved()

    def _came(self, data: bytes) -> None:
        self._heard = True
        if self.conn is not None:
            self.conn.received(data, sockaddr(self._address))

    def _failed(self, error: OSError) -> None:
        """In the middle of something: what follows is for another turn."""
        self._loop.call_soon(self._go_on, bare(error))

    def _go_on(self, error: OSError) -> None:
        """From another address, if it is not the peer who is not there."""
        conn = self.conn
        if conn is None or conn.closed:
            return
        if conn.certificate is None or not self._heard or error.errno == errno.ECONNREFUSED:
            conn.fail(error)
            return
        try:
            self.move()
        except OSError as why:
            conn.fail(bare(why))


class QuicDial:
    """One attempt.  A timeout is a `TimeoutError`; after `cancel` nothing is heard of it."""

    __slots__ = ("_address", "_clock", "_conn", "_done", "_loop", "_side", "_timeout", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        address: Address,
        side: Side,
        timeout: float,
        done: Callable[[Outcome], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._address = address
        self._side = side
        self._timeout = timeout
        self._done = done

    def begin(self) -> Outcome | None:
        try:
            way = Socket(self._loop, self._address)
        except OSError as error:
            return bare(error)
        connection = library.dialled(self._side.configuration)
        self._conn = way.conn = QuicConn(self._loop, self._clock, connection, way, self._side.trust, self._made)
        self._conn.begin(sockaddr(self._address))
        self._timer = self._clock.after(self._timeout, self._expired)
        return None

    def cancel(self) -> None:
        self._timer.cancel()
        self._conn.close()

    def _made(self, outcome: Outcome) -> None:
        self._timer.cancel()
        self._done(outcome)

    def _expired(self) -> None:
        self._conn.fail(TimeoutError(errno.ETIMEDOUT, "connect timeout"))
