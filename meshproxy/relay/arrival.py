"""Connections of which something has to be read before it is known where they go.

    Introduced(entry, header, conn, origin)     # by a PROXY header
    Greeted(entry, hello, conn, origin)         # by a TLS hello, or by anything else: then it is a plain one

What was read beyond that goes on with the connection, in its `Origin`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.relay.expecting import Hello
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import DRAINED, GONE, LATE, REFUSED, without_tls
from meshproxy.wire import client_hello, proxy_protocol
from meshproxy.wire.beginning import TLS, spoken

if TYPE_CHECKING:
    from meshproxy.relay.entry import Entry, ProxyHeader


class Desk(Protocol):
    """Where it arrives."""

    @property
    def clock(self) -> Clock: ...

    @property
    def state(self) -> ListenerState: ...


class Arrival(ABC):
    """Whatever goes wrong, it ends in the same way: nobody comes in whose beginning does not make sense in time."""

    __slots__ = ("_buffer", "_came_at", "_conn", "_desk", "_origin", "_over", "_timer")

    reason: str
    """By which one that is refused is counted."""

    def __init__(self, desk: Desk, timeout: float, conn: Conn, origin: Origin) -> None:
        self._desk = desk
        self._conn = conn
        self._origin = origin
        self._buffer = b""
        self._over = False
        self._came_at = desk.clock.now()
        self._timer = desk.clock.after(timeout, self._expired)
        desk.state.connections.add(self)
        conn.handler = self
        conn.read_to(self._read)

    def begin(self) -> None:
        early, self._origin.early = self._origin.early, b""
        if early:
            self._read(early)
        if not self._over:
            self._conn.look()
        if not self._over:
            self._conn.start()

    def _read(self, data: bytes) -> None:
        self._buffer += data
        try:
            origin = self._understand(self._buffer)
        except ValueError as error:
            self._refuse(self._fault(error))
            return
        if origin is not None:
            self._go_as(origin)

    def _go_as(self, origin: Origin) -> None:
        self._conn.stop()
        self._leave()
        self._go_on(origin)

    @abstractmethod
    def _understand(self, data: bytes) -> Origin | None:
        """Who it is; None as long as more is needed.  Raises ValueError."""

    @abstractmethod
    def _go_on(self, origin: Origin) -> None: ...

    def _fault(self, error: ValueError) -> Failure:
        """How it is told that its beginning makes no sense."""
        return REFUSED[self.reason]

    def on_end(self, conn: Conn) -> None:
        self._fail(GONE)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._fail(GONE)

    def _expired(self) -> None:
        self._fail(LATE)

    def _fail(self, why: Failure) -> None:
        self._refuse(why)

    def account(self) -> None:  # noqa: B027 - it is what there is to do
        """Nothing has been relayed yet."""

    def leave(self) -> None:  # noqa: B027 - it is what there is to do
        """It has little time as it is."""

    def drain(self) -> None:
        self._refuse(DRAINED)

    def _refuse(self, why: Failure) -> None:
        self._leave()
        state, conn = self._desk.state, self._conn
        # Who comes and goes without a word has only looked whether somebody is here, as balancers do all day.
        if self._buffer or why is not GONE:
            state.turned.tell(conn, self._origin, why, since=self._came_at)
        conn.abort()
        state.rejected(self.reason)

    def _leave(self) -> None:
        self._over = True
        self._timer.cancel()
        self._desk.state.connections.discard(self)


class Introduced(Arrival):
    __slots__ = ("_entry", "_optional")

    reason = "proxy_protocol"

    def __init__(self, entry: Entry, header: ProxyHeader, conn: Conn, origin: Origin) -> None:
        super().__init__(entry, header.timeout, conn, origin)
        self._entry = entry
        self._optional = header.optional
        if header.trusts(origin):
            self.begin()
        else:
            self._refuse(REFUSED[self.reason])

    def _understand(self, data: bytes) -> Origin | None:
        try:
            header = proxy_protocol.parse(data)
        except proxy_protocol.Absent:
            if self._optional:
                return self._unannounced()
            raise
        if header is None:
            return None
        early = data[header.length :]
        source, destination = header.source, header.destination
        if source is None or destination is None:
            return Origin(self._origin.source, self._origin.port, self._origin.destination, early)
        return Origin(source, destination[1], destination, early)

    def _unannounced(self) -> Origin:
        self._origin.early = self._buffer
        return self._origin

    def _expired(self) -> None:
        if self._optional and not self._buffer:
            self._go_as(self._origin)
        else:
            super()._expired()

    def _go_on(self, origin: Origin) -> None:
        self._entry.introduced(self._conn, origin)


class Greeted(Arrival):
    __slots__ = ("_entry", "_hello")

    reason = "tls"

    def __init__(self, entry: Entry, hello: Hello, conn: Conn, origin: Origin) -> None:
        super().__init__(entry, hello.within, conn, origin)
        self._entry = entry
        self._hello = hello
        self.begin()

    def _understand(self, data: bytes) -> Origin | None:
        origin = self._origin
        try:
            origin.hello = client_hello.parse(data)
        except client_hello.NotTls:
            if self._hello.only_tls:
                self._count("plain")
                raise
            origin.plain = True
            if self._hello.spoken and not self._told(data):
                return None
        except client_hello.Malformed as fault:
            self._count(fault.reason)
            raise
        if origin.hello is not None:
            origin.begins = TLS
        elif not origin.plain:
            return None
        origin.early = data
        return origin

    def _told(self, data: bytes) -> bool:
        """Whether it is plain by now what is spoken."""
        begins = spoken(data)
        if begins is not None:
            self._origin.begins = begins
        return begins is not None

    def _expired(self) -> None:
        origin = self._origin
        if not self._hello.spoken or (self._buffer and not origin.plain):
            super()._expired()
            return
        # It says nothing, or not enough; in many protocols the server is the first to speak.
        origin.plain = True
        origin.early = self._buffer
        self._go_as(origin)

    def _fault(self, error: ValueError) -> Failure:
        return without_tls(error.reason if isinstance(error, client_hello.Malformed) else "plain")

    def _fail(self, why: Failure) -> None:
        self._count(why.reason)
        super()._fail(why)

    def _count(self, word: str) -> None:
        self._entry.state.stats.handshakes[word] += 1

    def _go_on(self, origin: Origin) -> None:
        self._entry.hand_on(self._conn, origin)
