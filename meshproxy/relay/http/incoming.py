"""A client's connection as it comes in: one request after the other, and how long it may take.

While an answer is awaited the client is still read, so that its leaving is noticed.  Whatever it sends early is kept,
at most one read of it, and no more is read until its turn comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR, DataHook, FilterFailed, through
from meshproxy.core.identity import Said
from meshproxy.core.reply import of_failure
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.http import failures
from meshproxy.relay.http.upstream import Upstream
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import BodyReader, Malformed, RequestHead, body_reader, encode

if TYPE_CHECKING:
    from meshproxy.relay.http.service import HttpService

LINGER = 2.0
"""Seconds for which a client may go on sending what nobody reads any more, so that it reads the answer."""
MOST_LINGERING = 1 << 20
"""Bytes of that."""

CLOSE = b"Connection: close\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Gathered(NamedTuple):
    """A body, as far as it has come."""

    data: bytearray
    most: int
    then: Callable[[], None]
    """What is done when all of it is there."""


class Incoming(ABC):
    __slots__ = (
        "_awaiting",
        "_body",
        "_conn",
        "_entry",
        "_first",
        "_first_time",
        "_front",
        "_gathered",
        "_held",
        "_leaving",
        "_lingered",
        "_origin",
        "_pending",
        "_reader",
        "_said",
        "_service",
        "_site",
        "_too_old",
        "_x",
        "deadline",
        "feeder",
    )

    def __init__(self, service: HttpService, conn: Conn, origin: Origin) -> None:
        self._conn = conn
        self.feeder: Feeder = conn
        self._origin = origin
        self._x: Exchange | None = None
        self._body: BodyReader | None = None
        """What reads the body of the request, until that has all come."""
        self._first = b""
        """What of the body came with the head."""
        self._gathered: Gathered | None = None
        """Where all of the body is kept before it goes on."""
        self._first_time = True
        """The loop may not know of the connection yet."""
        self._pending = origin.early
        self._awaiting = False
        """The rest of a head."""
        self._held: Feeder | None = None
        """Who may not write to the client now, which takes no more."""
        self._leaving = False
        self._lingered = -1
        """Bytes that came after the end; less than none while it lasts."""
        self._site = service.site
        now = self._site.now()
        self._too_old = now + service.lifetime
        self.deadline = now + service.head
        self._take_service(service)

    def _take_service(self, service: HttpService) -> None:
        self._service = service
        self._entry = service.state.entry
        self._front = front = service.front_for(self._origin)
        self._said: Said | None = None
        self._reader = front.codec.reader()
        self._site.deadlines.watch(self, service.shortest)

    def begin(self) -> None:
        conn, service = self._conn, self._service
        service.state.connections.add(self)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        if self._pending:
            self._next()
        else:
            conn.look()
            if self._x is None:
                conn.start()

    # Requests

    def _wait_with(self, data: bytes) -> None:
        """It is of the next request, whose turn has not come."""
        self._pending = data
        self._conn.stop()

    def _take(self, data: bytes) -> None:
        """Read the next request, as far as it has come, and begin with it; or what belongs to the present one."""
        if self._x is not None:
            if self._body is not None:
                self._take_body(self._body, data)
            else:
                self._wait_with(data)
            return
        reader = self._reader
        if self._entry is not self._service.state.entry and not reader.begun:
            if not self._renew():
                return
            reader = self._reader
        try:
            head = reader.feed(data)
        except Malformed as fault:
            self._refuse(fault)
            return
        if head is None:
            if not self._awaiting and reader.begun:
                self._awaiting = True
                self._expire_at(self._site.now() + self._service.head)
            return
        decision = head.decision
        if decision is None:
            decision = head.decision = self._front.decide(head)
        handling, path, opening = decision
        clock = self._site.now
        now = clock()
        self._x = x = Exchange(head, path, self._origin, handling, opening, now)
        self._awaiting = False
        self.deadline = now + handling.patience.first
        rest = reader.rest
        if head.body:
            rest = self._begin_body(x, head, rest)
        elif self._first:
            self._first = b""
        if rest:
            self._wait_with(rest)
        if self._x is x:
            handling.begin(self, x)

    def _next(self) -> None:
        """What waited has its turn, unless the connection has ended meanwhile."""
        data, self._pending = self._pending, b""
        if data:
            self._conn.start()
            self._take(data)

    def _renew(self) -> bool:
        """The configuration has changed: the next request belongs to the new one, if that still wants it."""
        entry = self._service.state.entry
        chosen = entry.choose(self._origin) if entry is not None else None
        service = chosen.behind(self._origin) if chosen is not None else None
        if service is None or type(service) is not type(self._service):
            self._close()
            return False
        self._take_service(service)
        return True

    def _begin_body(self, x: Exchange, head: RequestHead, data: bytes) -> bytes:
        """What of the data is not of the body."""
        hooks = x.handling.pipeline.request_data
        self._body = body = body_reader(head.body, x.handling.limits or self._front.codec.limits, decode=bool(hooks))
        try:
            passed = body.feed(data) if data else b""
            self._first = self._rewritten(hooks, x, passed, body.done) if hooks else passed
        except Malformed as fault:
            self._refuse(fault)
            return b""
        except FilterFailed:
            self.fail(x, FILTER_ERROR)
            return b""
        if body.done:
            self._body = None
            return body.rest
        # Until somebody takes it, more of it waits in the kernel.
        x.sent = False
        self._conn.stop()
        return b""

    def _take_body(self, body: BodyReader, data: bytes) -> None:
        x = self._x
        assert x is not None
        hooks = x.handling.pipeline.request_data
        try:
            passed = body.feed(data)
            if hooks:
                passed = self._rewritten(hooks, x, passed, body.done)
        except Malformed as fault:
            self._refuse(fault)
            return
        except FilterFailed:
            self.fail(x, FILTER_ERROR)
            return
        self._moved(x)
        if self._gathered is not None:
            self._gather_more(x, self._gathered, passed, body)
            return
        retry = x.handling.retry
        if retry is not None and not x.streamed and len(self._first) + len(passed) <= retry.most_body:
            self._first += passed
        else:
            x.streamed = True
        if body.done:
            self._body = None
            x.sent = True
            if body.rest:
                self._wait_with(body.rest)
        if passed and x.upstream is not None:
            x.upstream.more(passed)
            self._pour(x, body)
        if x.handling.mirror is not None and x.copy is not None:
            x.copy.more(passed, x.sent)

    def gather(self, x: Exchange, most: int, then: Callable[[], None]) -> None:
        if len(self._first) > most:
            self.fail(x, failures.BODY_TOO_LARGE)
        elif x.sent:
            then()
        else:
            if x.request.expect_continue:
                # Nobody else can say it before all of it is there.
                x.request_changes.remove(b"expect")
                self._conn.write(GO_ON)
            self._gathered = Gathered(bytearray(self._first), most, then)
            self._first = b""
            self._conn.start()

    def _gather_more(self, x: Exchange, gathered: Gathered, data: bytes, body: BodyReader) -> None:
        gathered.data.extend(data)
        if len(gathered.data) > gathered.most:
            self._gathered = None
            self.fail(x, failures.BODY_TOO_LARGE)
        elif body.done:
            self._gathered = self._body = None
            self._first = bytes(gathered.data)
            x.sent = True
            if body.rest:
                self._wait_with(body.rest)
            gathered.then()

    def _pour(self, x: Exchange, body: BodyReader) -> None:
        """What is left of a body need not come up here, if nobody looks at it, copies it, or keeps it for later."""
        upstream, handling = x.upstream, x.handling
        kept = handling.retry is not None and not x.streamed
        if kept or handling.pipeline.request_data or handling.mirror is not None:
            return
        if body.left and isinstance(upstream, Upstream):
            self._conn.pour(body, upstream.conn, self._site.pipes)

    @staticmethod
    def _rewritten(hooks: tuple[DataHook, ...], x: Exchange, data: bytes, last: bool) -> bytes:
        """What filters make of a piece of a body, in chunks."""
        if not data and not last:
            return b""
        piece = encode.chunk(through(hooks, x, data, last))
        return piece + encode.LAST_CHUNK if last else piece

    def _refuse(self, fault: Malformed) -> None:
        """What has come is no request, or no body of one: nothing after it can be understood."""
        self._service.state.stats.malformed[fault.reason.value] += 1
        failure = Failure(fault.reason.value, fault.status, "DPE")
        self._leaving = True
        self._body = None
        if self._x is not None:
            self.fail(self._x, failure)
            return
        self._say_last(failure)

    def _say_last(self, failure: Failure) -> None:
        """To a client that has not asked for anything."""
        self._service.unrouted.count(failure.status, failure.flag, 0.0)
        self._conn.write(of_failure(failure.status, failure.reason).render(self._site.dates.line() + CLOSE))
        self._linger()

    # For who answers

    @abstractmethod
    def fail(self, x: Exchange, failure: Failure) -> None:
        """Answer that it has failed, or cut the answer that has begun."""

    @abstractmethod
    def _give_up(self, x: Exchange, failure: Failure) -> None:
        """There is nobody to answer any more."""

    def _over(self, now: float) -> None:
        """The exchange has had its answer, and another may follow."""
        self._x = None
        self.deadline = deadline = now + self._service.idle
        if deadline > self._too_old:
            self._leaving = now >= self._too_old
            self._expire_at(self._too_old)
        if self._held is not None:
            # Who wrote the answer has done so.  No other is begun before the client has taken it.
            self._held.release()
            self.hold()
        if self._pending:
            if self._held is None:
                # Not at once: a thousand requests in one segment are others' time too.
                self._site.loop.call_soon(self._next)
        elif self._first_time:
            self._first_time = False
            self._conn.start()

    # Back-pressure: the connection is full

    def hold(self) -> None:
        x = self._x
        upstream = x.upstream if x is not None else None
        self._held = held = upstream.conn if isinstance(upstream, Upstream) else self._conn
        held.hold()

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()
        if self._lingered >= 0:
            self._expire_at(self._site.now() + LINGER)
        elif self._pending and self._x is None:
            self._site.loop.call_soon(self._next)

    # Time

    def _moved(self, x: Exchange) -> None:
        patience = x.handling.patience
        self.deadline = min(self._site.now() + patience.idle, x.started + patience.total)

    def _expire_at(self, deadline: float) -> None:
        self.deadline = deadline
        self._site.deadlines.expect(deadline)

    def expired(self) -> None:
        x = self._x
        now = self._site.now()
        if self._conn.paced and (x is None or now < x.started + x.handling.patience.total):
            # It is we who let it wait.
            self._expire_at(now + self._service.idle)
        elif x is not None:
            self.deadline = inf
            if now >= x.started + x.handling.patience.total:
                self.fail(x, failures.REQUEST_TIMEOUT)
            else:
                self.fail(x, failures.BODY_TIMEOUT if self._body is not None else failures.IDLE_TIMEOUT)
        elif self._awaiting:
            self._say_last(failures.HEAD_TIMEOUT)
        elif self._conn.full:
            self._abort("idle")
        else:
            self._close("idle")

    # The end

    def _end(self, x: Exchange) -> None:
        """The last answer is out, or on its way."""
        self._x = None
        if self._held is not None:
            # Who wrote the answer has done so.
            self._held.release()
            self.hold()
        if self._body is None and not self._pending and not self._conn.full and not x.request.keep_alive:
            self._close("done")  # as the client has asked
        else:
            self._linger()

    def _linger(self) -> None:
        """Say that no more comes.  To close while the client still sends would reset what it has not yet read."""
        self._lingered = 0
        self._awaiting = False
        self._body = self._gathered = None
        self._pending = b""
        self._conn.read_to(self._discard)
        self._conn.start()
        self._expire_at(self._site.now() + (self._service.idle if self._conn.full else LINGER))
        self._conn.end()

    def _discard(self, data: bytes) -> None:
        self._lingered += len(data)
        if self._lingered > MOST_LINGERING:
            self._abort("done")

    def on_end(self, conn: Conn) -> None:
        if self._lingered < 0:
            self._gone("done" if self._x is None else "reset", failures.CLIENT_GONE)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._gone("done" if error is None else "reset", failures.CLIENT_GONE)

    def _gone(self, reason: str, failure: Failure) -> None:
        x, self._x = self._x, None
        if x is None:
            self._close(reason)
        else:
            self._give_up(x, failure)
            self._abort(reason)

    def leave(self) -> None:
        """There is no future here: what is under way is finished."""
        if self._x is not None or self._awaiting or self._lingered >= 0:
            self._leaving = True
        elif self._conn.full:
            self._linger()
        else:
            self._close("drain")

    def drain(self) -> None:
        self._gone("drain", failures.DRAINED)

    def account(self) -> None:
        stats, conn = self._service.state.stats, self._conn
        stats.bytes_received_total += conn.received
        stats.bytes_sent_total += conn.sent
        conn.received = conn.sent = 0

    def _close(self, reason: str = "done") -> None:
        self._conn.close()
        self._left(reason)

    def _abort(self, reason: str) -> None:
        self._conn.abort()
        self._left(reason)

    def _left(self, reason: str) -> None:
        self._pending = b""
        self.account()
        self._site.deadlines.forget(self)
        self._service.state.closed(self, reason)
