"""A client's connection as it comes in: one request after the other, and how long it may take.

While an answer is awaited the client is still read, so that its leaving is noticed.  Whatever it sends early is kept,
at most one read of it, and no more is read until its turn comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR, FilterFailed
from meshproxy.core.reply import of_failure
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.http import failures
from meshproxy.relay.http.answers import Answers
from meshproxy.relay.http.upstream import Upstream
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import BodyReader, Malformed, RequestHead, body_reader
from meshproxy.wire.preface import PREFACE, may_be

if TYPE_CHECKING:
    from meshproxy.relay.http.service import HttpService

LINGER = 2.0
"""Seconds for which a client may go on sending what nobody reads any more, so that it reads the answer."""
MOST_LINGERING = 1 << 20
"""Bytes of that."""

CLOSE = b"Connection: close\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Incoming(Answers):
    __slots__ = (
        "_awaiting",
        "_conn",
        "_entry",
        "_first_time",
        "_front",
        "_held",
        "_leaving",
        "_lingered",
        "_pending",
        "_reader",
        "_too_old",
    )

    def __init__(self, service: HttpService, conn: Conn, origin: Origin) -> None:
        super().__init__(service, origin)
        self._conn = conn
        self.feeder = conn
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
        now = self._site.now()
        self._too_old = now + service.lifetime
        self.deadline = now + service.head
        self._take_service(service)

    def _take_service(self, service: HttpService) -> None:
        self._service = service
        self._entry = service.state.entry
        self._front = front = service.front_for(self._origin)
        self._said = None
        self._reader = front.codec.reader()
        self._site.deadlines.watch(self, service.shortest)

    def begin(self) -> None:
        conn, service = self._conn, self._service
        service.state.connections.add(self)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take_first)
        if self._pending:
            data, self._pending = self._pending, b""
            conn.start()
            self._take_first(data)
        else:
            conn.look()
            if self._x is None:
                conn.start()

    def _take_first(self, data: bytes) -> None:
        """How it begins tells which HTTP is spoken."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        if self._service.engines is not None and may_be(data):
            if len(data) < len(PREFACE):
                self._pending = data
                self._awaiting = True
            else:
                self._turn_to(data)
            return
        self._conn.read_to(self._take)
        self._take(data)

    def _turn_to(self, data: bytes) -> None:
        """It is HTTP/2."""
        service, conn = self._service, self._conn
        self._site.deadlines.forget(self)
        service.state.connections.discard(self)
        service.multiplex(conn, self._origin, data)

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
            x.taken = len(passed)
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
        x.complete = False
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
        if body.done and body.rest:
            self._wait_with(body.rest)
        self._took(x, body, passed)

    def _pour(self, x: Exchange, body: BodyReader) -> None:
        """What is left of a body need not come up here, if nobody looks at it, copies it, or keeps it for later."""
        upstream, handling = x.upstream, x.handling
        kept = handling.retry is not None and not x.streamed
        if kept or handling.pipeline.request_data or handling.mirror is not None:
            return
        if body.left and isinstance(upstream, Upstream):
            self._conn.pour(body, upstream.conn, self._site.pipes)

    def _read_on(self) -> None:
        self._conn.start()

    def _read_no_more(self) -> None:
        self._conn.stop()

    def _say_continue(self) -> None:
        self._conn.write(GO_ON)

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
        self._service.unread(self._origin, failure)
        self._conn.write(of_failure(failure.status, failure.reason).render(self._site.dates.line() + CLOSE))
        self._linger()

    # Between two exchanges

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
        self._held = held = upstream.conn if upstream is not None and upstream.carries else self._conn
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

    def _expire_at(self, deadline: float) -> None:
        self.deadline = deadline
        self._site.deadlines.expect(deadline)

    @property
    def _paced(self) -> bool:
        return self._conn.paced

    def expired(self) -> None:
        if self._x is not None:
            super().expired()
        elif self._paced:
            self._expire_at(self._site.now() + self._service.idle)
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
