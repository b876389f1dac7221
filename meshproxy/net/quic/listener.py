"""Where QUIC connections arrive: one socket for all of them, told apart by the ID that a datagram begins with.

    listener = QuicListener(loop, clock, door, side, accepted)      # `accepted` is told who has shown a certificate

A stranger costs little: under load nobody is listened to who has not shown that its address is its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshproxy.net.clock import Clock
from meshproxy.net.quic import library
from meshproxy.net.quic.conn import QuicConn
from meshproxy.net.quic.dial import Outcome, Side
from meshproxy.net.udp import DatagramDoor

SMALLEST_FIRST = 1200
"""Bytes of a datagram that begins a connection: what is answered to it is never longer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    handshakes: int = 256
    """At a time; who comes then is not answered, and comes again."""
    retry_from: int = 32
    """Handshakes from which on an address has to be proven first."""
    connections: int = 1024
    within: float = 10.0
    """Seconds for a handshake."""


@dataclass(frozen=True, slots=True)
class _Back:
    """The way to a client, wherever it is; the socket is that of all."""

    send: Callable[[bytes, Any], object]
    close: Callable[[], None]


class QuicListener:
    """Live: it is one of the users of its door, which serves its `received`, and ends with it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        door: DatagramDoor,
        side: Side,
        accepted: Callable[[QuicConn], None],
        bounds: Bounds = Bounds(),
    ) -> None:
        from aioquic.quic.retry import QuicRetryTokenHandler

        self._loop = loop
        self._clock = clock
        self._door = door
        self.side = side
        """For those who come from now on."""
        self.accepted = accepted
        self.bounds = bounds
        self._tokens = QuicRetryTokenHandler()
        self._by_id: dict[bytes, QuicConn] = {}
        self._handshakes: set[QuicConn] = set()
        self._conns: set[QuicConn] = set()
        self.retries = 0
        """Addresses that had to be proven."""
        door.joined(self)

    @property
    def conns(self) -> int:
        return len(self._conns)

    def retire(self, grace: float) -> None:
        """Streams go on by other connections, where there are some."""
        self.drain()

    def drain(self) -> None:
        for conn in tuple(self._conns):
            conn.close()
        self._door.left(self)

    def received(self, data: bytes, source: Any) -> None:
        from aioquic.quic.packet import QuicPacketType

        try:
            head = library.head(data)
        except ValueError:
            return
        conn = self._by_id.get(head.destination_cid)
        if conn is not None:
            conn.received(data, source)
        elif len(data) < SMALLEST_FIRST or len(head.destination_cid) < library.CID_SIZE:
            return
        elif head.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return  # two that answer each other would never end
        elif head.version is not None and head.version not in self.side.configuration.supported_versions:
            self._name_versions(head, source)
        elif head.packet_type == QuicPacketType.INITIAL:
            self._first(head, data, source)

    def _name_versions(self, head: Any, source: Any) -> None:
        from aioquic.quic.packet import encode_quic_version_negotiation

        versions = self.side.configuration.supported_versions
        answer = encode_quic_version_negotiation(
            source_cid=head.destination_cid, destination_cid=head.source_cid, supported_versions=versions
        )
        self._door.reply(answer, source)

    def _first(self, head: Any, data: bytes, source: Any) -> None:
        bounds = self.bounds
        if len(self._handshakes) >= bounds.handshakes or len(self._conns) >= bounds.connections:
            return
        original, retried = head.destination_cid, None
        if head.token:
            address = self._door.peer(source)
            try:
                original = self._tokens.validate_token(
                    address=address, destination_cid=original, token=head.token, now=self._clock.now()
                )
            except ValueError:
                return
            retried = head.destination_cid
        elif len(self._handshakes) >= bounds.retry_from:
            self._ask_again(head, source)
            return
        self._accept(original, retried, head.destination_cid).received(data, source)

    def _ask_again(self, head: Any, source: Any) -> None:
        from aioquic.quic.packet import encode_quic_retry

        self.retries += 1
        ours = os.urandom(library.CID_SIZE)
        token = self._tokens.create_token(
            address=self._door.peer(source),
            original_destination_connection_id=head.destination_cid,
            retry_source_connection_id=ours,
            now=self._clock.now(),
        )
        answer = encode_quic_retry(
            version=head.version,
            source_cid=ours,
            destination_cid=head.source_cid,
            original_destination_cid=head.destination_cid,
            retry_token=token,
        )
        self._door.reply(answer, source)

    def _accept(self, original: bytes, retried: bytes | None, addressed: bytes) -> QuicConn:
        connection = library.accepted(self.side.configuration, original, retried)
        conn: QuicConn
        late = self._clock.after(self.bounds.within, lambda: conn.fail(TimeoutError("a handshake took too long")))

        def shaken() -> None:
            late.cancel()
            self._handshakes.discard(conn)

        def made(outcome: Outcome) -> None:
            if isinstance(outcome, QuicConn):
                shaken()
                self.accepted(outcome)

        def over() -> None:
            shaken()
            self._conns.discard(conn)

        way = _Back(self._door.reply, over)
        conn = QuicConn(self._loop, self._clock, connection, way, self.side.trust, made, self._by_id)
        conn.known_as(addressed)
        conn.known_as(connection.host_cid)
        self._handshakes.add(conn)
        self._conns.add(conn)
        return conn
