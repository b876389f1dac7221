"""MQTT within WebSocket: to who takes MQTT, a connection like any other.

    WebSocketService(mqtt, state, clock, codec, dates, within=10.0, paths=..., origins=...)

A client that begins with a capital letter asks by HTTP for a WebSocket; every other one is handed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from meshproxy.core.reply import of_failure
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.conn import NOBODY, Conn, Feeder
from meshproxy.relay.arrival import Arrival
from meshproxy.relay.entry import Service
from meshproxy.relay.farewell import Farewell
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import REFUSED
from meshproxy.wire.h1 import Malformed, RequestCodec, RequestHead
from meshproxy.wire.websocket_request import Declined, may_come, understood
from meshproxy.wire.websocket_server import Code, Frames, accepted, binary, closing

SUBPROTOCOL = b"mqtt"
FIRST_OF_HTTP = tuple(bytes((letter,)) for letter in range(ord("A"), ord("Z") + 1))
"""As no CONNECT begins."""
_TOLD_BY_STATUS = {405: b"Allow: GET\r\n", 426: b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"}


@dataclass(frozen=True, slots=True, eq=False)
class WebSocketService:
    inner: Service
    """Takes MQTT, within WebSocket or not."""
    state: ListenerState
    clock: Clock
    codec: RequestCodec
    date: Callable[[], bytes]
    """The line of an answer that says when it was given."""
    within: float
    """Seconds for the request."""
    paths: frozenset[bytes]
    origins: frozenset[bytes]

    def start(self, conn: Conn, origin: Origin) -> None:
        Asking(self, conn, origin).begin()

    def behind(self, origin: Origin) -> Service | None:
        return self.inner.behind(origin)

    def agree(self, head: RequestHead) -> bytes:
        """The answer that makes it one.  Raises Declined."""
        if head.target.partition(b"?")[0] not in self.paths:
            raise Declined(404, "not_found")
        key = understood(head, SUBPROTOCOL)
        if not may_come(head.all(b"origin"), head.authority, self.origins):
            raise Declined(403, "pages_of_this_origin_may_not")
        return accepted(key, SUBPROTOCOL)


class Asking(Arrival):
    """Its first byte, and then its request."""

    __slots__ = ("_answer", "_head", "_reader", "_service", "_status", "_why")

    reason = "protocol"

    def __init__(self, service: WebSocketService, conn: Conn, origin: Origin) -> None:
        self._service = service
        self._reader = service.codec.reader()
        self._answer = b""
        """What makes it a WebSocket; empty, where it is none."""
        self._status = 0
        """With which it is refused."""
        self._why = ""
        super().__init__(service, service.within, conn, origin)

    def _understand(self, data: bytes) -> Origin | None:
        # Each byte is looked at once: the reader keeps what it needs.
        self._buffer = b""
        if not self._reader.begun and not data.startswith(FIRST_OF_HTTP):
            self._origin.early = data
            return self._origin
        try:
            head = self._reader.feed(data)
            if head is None:
                return None
            self._answer = self._service.agree(head)
        except Malformed as fault:
            self._service.state.stats.malformed[fault.reason.value] += 1
            self._status, self._why = fault.status, fault.reason.value
        except Declined as why:
            self._status, self._why = why.status, str(why)
        self._origin.early = self._reader.rest
        return self._origin

    def _go_on(self, origin: Origin) -> None:
        service, conn = self._service, self._conn
        if self._status:
            self._tell(_declined(self._status, self._why))
            lines = service.date() + b"Connection: close\r\n" + _TOLD_BY_STATUS.get(self._status, b"")
            self._last_word(of_failure(self._status, self._why).render(lines))
        elif not self._answer:
            service.inner.start(conn, origin)
        else:
            frames = Frames()
            origin.early = frames.feed(origin.early)
            conn.write(self._answer)
            if frames.over:
                self._tell(REFUSED[self.reason])
                self._last_word(closing(frames.over))
            else:
                service.inner.start(cast(Conn, WebSocketConn(conn, frames)), origin)

    def _tell(self, why: Failure) -> None:
        self._service.state.turned.tell(
            self._conn, self._origin, why, since=self._came_at, status=self._status, protocol="HTTP/1.1"
        )

    def _last_word(self, word: bytes) -> None:
        Farewell(self._service.clock, self._service.state, self._conn, word, self.reason)


def _declined(status: int, why: str) -> Failure:
    """What stands for an answer with this status."""
    if status == 404:
        return Failure(why, flag="NR")
    return Failure(why, flag="AZ") if status == 403 else Failure(why, flag="DPE")


class Violation(ConnectionAbortedError):
    """What came is no WebSocket any more."""


class WebSocketConn:
    """What a `Conn` is to who takes MQTT from it: what is read are the bytes in frames, what is written goes in one."""

    __slots__ = (
        "__weakref__", "_closing", "_conn", "_frames", "_full_for", "_heard_end", "_said_close", "_take", "fed_by",
        "handler",
    )  # fmt: skip

    spliceable = False

    def __init__(self, conn: Conn, frames: Frames) -> None:
        self._conn = conn
        self._frames = frames
        self._take: Callable[[bytes], None] = NOBODY
        self._closing = int(Code.NORMAL)
        """With which code."""
        self._said_close = False
        self._heard_end = False
        self.handler: Any = NOBODY
        self.fed_by: Feeder | None = None
        conn.handler = self
        conn.fed_by = Outward(self)
        conn.read_to(self._read)
        self._pay()

    # What others ask for

    @property
    def local(self) -> tuple[str, int] | None:
        return self._conn.local

    @property
    def closed(self) -> bool:
        return self._conn.closed

    @property
    def paced(self) -> bool:
        return self._conn.paced

    @property
    def full(self) -> bool:
        return self._conn.full

    @property
    def received(self) -> int:
        """On the wire, as of any connection."""
        return self._conn.received

    @received.setter
    def received(self, size: int) -> None:
        self._conn.received = size

    @property
    def sent(self) -> int:
        return self._conn.sent

    @sent.setter
    def sent(self, size: int) -> None:
        self._conn.sent = size

    def read_to(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def look(self) -> None:
        self._conn.look()

    def start(self) -> None:
        self._conn.start()

    def stop(self) -> None:
        self._conn.stop()

    def hold(self) -> None:
        self._conn.hold()

    def release(self) -> None:
        self._conn.release()

    def write(self, data: bytes) -> None:
        if data and not self._said_close:
            self._conn.write(binary(data))

    def end(self) -> None:
        self._say_close()
        self._conn.end()

    def close(self) -> None:
        if not self._conn.closed:
            self._say_close()
            self._forget(self._conn.close)

    def abort(self) -> None:
        """Who has broken the protocol is still told which way."""
        if self._frames.word:
            self.close()
        elif not self._conn.closed:
            self._forget(self._conn.abort)

    def _say_close(self) -> None:
        if not self._said_close:
            self._said_close = True
            self._conn.write(closing(self._closing))

    def _forget(self, leave: Callable[[], None]) -> None:
        leave()
        self.handler = self._take = NOBODY
        self.fed_by = None

    # What the connection tells

    def _read(self, data: bytes) -> None:
        frames = self._frames
        payload = frames.feed(data)
        if frames.owed:
            self._pay()
        if payload:
            take = self._take
            take(payload)
        if frames.over and not self._conn.closed:
            self._over(frames)

    def _pay(self) -> None:
        """A pong waits for a client that reads: no more than the latest one is kept."""
        if self._frames.owed and not self._conn.full and not self._said_close:
            pong, self._frames.owed = self._frames.owed, b""
            self._conn.write(pong)

    def _over(self, frames: Frames) -> None:
        if self._heard_end:
            return  # what still comes is nothing to anybody
        self._heard_end = True
        self._closing = frames.over
        if frames.word:
            self.handler.on_lost(self, Violation(f"websocket {frames.word}"))
        else:
            self.handler.on_end(self)

    def on_end(self, conn: Conn) -> None:
        if not self._heard_end:
            self._heard_end = True
            self.handler.on_end(self)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.handler.on_lost(self, error)

    def has_room(self) -> None:
        self._pay()
        if self.fed_by is not None and not self._conn.full:
            self.fed_by.release()

    # As the connection of a listener that it is, to who knows only what is below

    def leave(self) -> None:
        self.handler.leave()

    def drain(self) -> None:
        self.handler.drain()


class Outward:
    """Who feeds the connection below: whoever feeds the one above, and we ourselves."""

    __slots__ = ("_conn",)

    def __init__(self, conn: WebSocketConn) -> None:
        self._conn = conn

    def hold(self) -> None:
        feeder = self._conn.fed_by
        if feeder is not None:
            feeder.hold()

    def release(self) -> None:
        self._conn.has_room()
