"""A QUIC connection: what comes and goes of it, between a way for datagrams and who uses its streams.

    conn = QuicConn(loop, clock, connection, way, trust, made)      # `made` hears once: it, or what is wrong
    conn.handler = user
    conn.write(stream, b"...")

The library only computes.  What it has to send goes out once in a turn of the loop, whatever has come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from meshproxy.net.clock import Clock, Timer
from meshproxy.net.quic import library
from meshproxy.net.tls.faults import Broken
from meshproxy.wire.x509 import Certificate

MOST_UNSENT = 32 * 1024
"""Bytes that may wait for their packets before more is asked for."""
CONTROL = 0
"""The stream that the client begins with, both ways."""
TLS = 0x100
"""Errors from here on are alerts of TLS."""
BAD_CERTIFICATE = TLS + 42
PROTOCOL_VIOLATION = 0x0A
NO_FRAME = 0
MOST_WORDS = 100
"""Characters that are taken of what a peer says of an end."""


class Way(Protocol):
    """Where datagrams go."""

    def send(self, data: bytes, to: Any) -> object: ...

    def close(self) -> None: ...


class Handler(Protocol):
    """Who uses a connection."""

    def came(self, stream: int, data: bytes) -> None: ...

    def datagram(self, data: bytes) -> None: ...

    def room(self) -> None:
        """More may be written."""

    def lost(self, error: OSError | None) -> None:
        """It is over, and was not closed here."""


class ClosedByPeer(ConnectionError):
    """The other end has closed it, for a reason that it says; 0 is none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the other end has closed it, code {code}")
        self.code = code


Made = Callable[["QuicConn | OSError"], None]


class QuicConn:
    __slots__ = (
        "_by_id", "_clock", "_connection", "_ids", "_loop", "_made", "_owing", "_soon", "_timer", "_timer_at", "_trust",
        "_window", "_written", "_wrote", "certificate", "closed", "handler", "way",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        connection: Any,
        way: Way,
        trust: Callable[[Sequence[Any]], Certificate],
        made: Made,
        by_id: dict[bytes, QuicConn] | None = None,
    ) -> None:
        """`by_id` is kept up to date: who shares a socket with others is found by the ID that datagrams begin with."""
        self._loop = loop
        self._clock = clock
        self._connection = connection
        self._window = library.bounded(connection)
        self._trust = trust
        self._made: Made | None = made
        self.way = way
        self._by_id = {} if by_id is None else by_id
        self._ids: set[bytes] = set()
        self._written: dict[int, int] = {}
        """Bytes of each stream."""
        self._owing: set[int] = set()
        """Streams of which not all has been sent."""
        self._wrote = False
        self._soon = False
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self.certificate: Certificate | None = None
        """Of the other end, once it has been verified."""
        self.handler: Handler | None = None
        self.closed = False

    # For who uses it

    def new_stream(self) -> int:
        """The number of a stream that only this end writes to; it is taken once it was written to."""
        number: int = self._connection.get_next_available_stream_id(is_unidirectional=True)
        return number

    def write(self, stream: int, data: bytes) -> None:
        self._connection.send_stream_data(stream, data)
        self._written[stream] = self._written.get(stream, 0) + len(data)
        self._owing.add(stream)
        self._wrote = True
        self.flush()

    def send_datagram(self, data: bytes) -> None:
        """It has to fit in a packet."""
        self._connection.send_datagram_frame(data)
        self.flush()

    @property
    def unsent(self) -> int:
        size = library.waiting(self._connection)
        for stream in tuple(self._owing):
            left = self._written[stream] - library.sent(self._connection, stream)
            if left:
                size += left
            else:
                self._owing.remove(stream)
        return size

    @property
    def peer(self) -> Any:
        """Where the other end is now: that may change."""
        return self._connection.get_peer_address()

    def close(self, code: int = 0, words: str = "") -> None:
        """Nothing is heard of it after that."""
        if not self.closed:
            self._connection.close(error_code=code, reason_phrase=words)
            self._transmit()
            self._over()

    def abort(self) -> None:
        """The same without a word."""
        self._over()

    # From where datagrams come

    def begin(self, address: Any) -> None:
        self._connection.connect(address, self._clock.now())
        self.flush()

    def received(self, data: bytes, source: Any) -> None:
        if not self.closed:
            try:
                self._connection.receive_datagram(data, source, self._clock.now())
            except Exception as why:  # it reads what anybody may send, and promises none
                self.fail(Broken("protocol", f"the library failed: {type(why).__name__}"))
            self.flush()

    def moved(self) -> None:
        """This end sends from another address now; nobody who looks on is to know that it is the same."""
        self._connection.change_connection_id()
        self._connection.send_ping(0)
        self.flush()

    def known_as(self, connection_id: bytes) -> None:
        self._ids.add(connection_id)
        self._by_id[connection_id] = self

    def fail(self, error: OSError) -> None:
        if not self.closed:
            self._over()
            self._tell(error)

    # Turns

    def flush(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._soon = False
        if self.closed:
            return
        self._wrote = False
        self._happened()
        if not self.closed and (end := library.closed_by_peer(self._connection)) is not None:
            self._terminated(end)
        if not self.closed and self.handler is not None and self.unsent < MOST_UNSENT:
            self.handler.room()
        if self.closed:
            return
        self._transmit()
        self._set_timer()
        if self._wrote and self.unsent < MOST_UNSENT:
            self.flush()

    def _happened(self) -> None:
        from aioquic.quic import events

        take = self._connection.next_event
        while not self.closed and (event := take()) is not None:
            match event:
                case events.StreamReset() | events.StopSendingReceived() | events.StreamDataReceived(end_stream=True):
                    words = "a stream ends that goes on as long as its connection"
                    self._refuse(PROTOCOL_VIOLATION, Broken("protocol", words))
                case events.StreamDataReceived():
                    self._window.taken += len(event.data)
                    if self.handler is not None:
                        self.handler.came(event.stream_id, event.data)
                case events.DatagramFrameReceived():
                    if self.handler is not None:
                        self.handler.datagram(event.data)
                case events.HandshakeCompleted():
                    self._shaken(event.alpn_protocol)
                case events.ConnectionIdIssued():
                    self.known_as(event.connection_id)
                case events.ConnectionIdRetired():
                    self._ids.discard(event.connection_id)
                    self._by_id.pop(event.connection_id, None)
                case events.ConnectionTerminated():
                    self._terminated(event)

    def _shaken(self, alpn: str | None) -> None:
        """A client has not yet sent its certificate, nor a server anything but its own: first the peer is verified."""
        try:
            if alpn != library.ALPN:
                raise Broken("not_chosen", library.ALPN)
            self.certificate = self._trust(library.shown(self._connection))
        except Broken as error:
            self._refuse(BAD_CERTIFICATE, error.with_traceback(None))
            return
        made, self._made = self._made, None
        if made is not None:
            made(self)

    def _terminated(self, end: Any) -> None:
        """Where the peer's user closes there is no type of frame; else something is wrong with the protocol, or TLS."""
        self._over()
        code = end.error_code
        if end.frame_type is None and self.certificate is not None:
            self._tell(ClosedByPeer(code) if code else None)
        else:
            words = "".join(filter(str.isprintable, end.reason_phrase[:MOST_WORDS]))
            self._tell(Broken("alert" if code >= TLS else "protocol", words))

    def _refuse(self, code: int, error: Broken) -> None:
        """By the protocol: what is wrong is none of its use."""
        self._connection.close(error_code=code, frame_type=NO_FRAME, reason_phrase=error.word)
        self._transmit()
        self.fail(error)

    def _tell(self, error: OSError | None) -> None:
        made, self._made = self._made, None
        if made is not None:
            made(error or ConnectionResetError("closed in the middle of a handshake"))
        elif self.handler is not None:
            self.handler.lost(error)

    def _transmit(self) -> None:
        send = self.way.send
        for data, to in self._connection.datagrams_to_send(self._clock.now()):
            send(data, to)

    def _set_timer(self) -> None:
        at = None if self.closed else self._connection.get_timer()
        if at is None or (self._timer is not None and self._timer_at <= at):
            return  # who wakes early looks again
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._clock.after(max(at - self._clock.now(), 0.0), self._due)

    def _due(self) -> None:
        self._timer = None
        if not self.closed:
            self._connection.handle_timer(self._clock.now())
            self._turn()

    def _over(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for each in self._ids:
            self._by_id.pop(each, None)
        self.way.close()
