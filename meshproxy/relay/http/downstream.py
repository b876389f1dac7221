"""A client's connection: one request after the other, each answered before the next is looked at.

    head -> what was decided of it -> an answer of ours, or an attempt at an endpoint -> the answer passed on -> next

While an answer is awaited the client is still read, so that its leaving is noticed.  Whatever it sends early is kept,
at most one read of it, and no more is read until its turn comes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from meshproxy.core.exchange import Exchange
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.entry import Origin
from meshproxy.relay.http import failures
from meshproxy.relay.http.replies import Reply, of_failure
from meshproxy.relay.http.tunnel import Tunnel
from meshproxy.relay.http.upstream import Connecting, Upstream
from meshproxy.wire.h1 import CHUNKED, UNTIL_CLOSE, BodyReader, Malformed, RequestHead, ResponseHead, body_reader

if TYPE_CHECKING:
    from meshproxy.relay.http.service import HttpService

LINGER = 2.0
"""Seconds for which a client may go on sending what nobody reads any more, so that it reads the answer."""
MOST_LINGERING = 1 << 20
"""Bytes of that."""
MOST_DIALS = 3
"""Endpoints that are tried for one exchange, each within the cluster's connect timeout."""
SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""What may be asked twice (RFC 9110 9.2.2)."""
FRAMES = frozenset((b"transfer-encoding",))

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"


class Downstream:
    __slots__ = (
        "_awaiting",
        "_body",
        "_conn",
        "_entry",
        "_first",
        "_front",
        "_held",
        "_leaving",
        "_lingered",
        "_origin",
        "_pending",
        "_reader",
        "_said",
        "_service",
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
        """The head for the upstream and what of the body came with it."""
        self._pending = origin.early
        self._awaiting = False
        """The rest of a head."""
        self._held: Feeder | None = None
        """Who may not write to the client now, which takes no more."""
        self._leaving = False
        self._lingered = -1
        """Bytes that came after the end; less than none while it lasts."""
        now = service.site.clock.now()
        self._too_old = now + service.lifetime
        self.deadline = now + service.head
        self._take_service(service)

    def _take_service(self, service: HttpService) -> None:
        self._service = service
        self._entry = service.state.entry
        believed = service.believes(self._origin)
        self._front = front = service.believed if believed else service.front
        source = self._origin.source
        self._said = service.identity.of(source and source[0], believed=believed, scheme=b"http")
        self._reader = front.codec.reader()

    def begin(self) -> None:
        conn, service = self._conn, self._service
        service.state.connections.add(self)
        service.site.deadlines.watch(self)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        conn.start()
        if self._pending:
            self._run()

    # Requests

    def _take(self, data: bytes) -> None:
        if self._x is None:
            self._pending = data
            self._run()
        elif self._body is not None:
            self._take_body(self._body, data)
        else:
            self._wait_with(data)

    def _wait_with(self, data: bytes) -> None:
        """It is of the next request, whose turn has not come."""
        self._pending = data
        self._conn.stop()

    def _run(self) -> None:
        """Read the next request, as far as it has come."""
        data, self._pending = self._pending, b""
        if self._entry is not self._service.state.entry and not self._reader.begun and not self._renew():
            return
        reader = self._reader
        try:
            head = reader.feed(data)
        except Malformed as fault:
            self._refuse(fault)
            return
        if head is not None:
            self._begin(head, reader.rest)
        elif not self._awaiting and reader.begun:
            self._awaiting = True
            self._expire_at(self._service.site.clock.now() + self._service.head)

    def _renew(self) -> bool:
        """The configuration has changed: the next request belongs to the new one, if that still wants it."""
        entry = self._service.state.entry
        service = entry.choose(self._origin) if entry is not None else None
        if service is None or type(service) is not type(self._service):
            self._close()
            return False
        self._take_service(service)
        return True

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        decision = head.decision
        if decision is None:
            decision = head.decision = self._front.decide(head)
        handling, opening = decision
        service = self._service
        now = service.site.clock.now()
        self._x = x = Exchange(head, handling, opening, now)
        self._awaiting = False
        patience = handling.patience
        self.deadline = deadline = now + min(patience.idle, patience.total)
        service.site.deadlines.expect(deadline)
        if head.body:
            self._body = body = body_reader(head.body, self._front.codec.limits)
            try:
                self._first = body.feed(rest) if rest else b""
            except Malformed as fault:
                self._refuse(fault)
                return
            if body.done:
                self._body = None
                rest = body.rest
            else:
                # Until somebody takes it, the rest waits in the kernel.
                rest = b""
                self._conn.stop()
        elif self._first:
            self._first = b""
        if rest:
            self._wait_with(rest)
        handling.begin(self, x)

    def _take_body(self, body: BodyReader, data: bytes) -> None:
        x = self._x
        assert x is not None
        try:
            passed = body.feed(data)
        except Malformed as fault:
            self._refuse(fault)
            return
        self._moved(x)
        x.streamed = True
        if body.done:
            self._body = None
            if body.rest:
                self._wait_with(body.rest)
        if passed:
            x.upstream.more(passed)

    # Attempts

    def attempt(self, x: Exchange) -> None:
        endpoint = x.cluster.choose(x.tried)
        if endpoint is None:
            self.fail(x, x.failure or failures.NO_ENDPOINT)
            return
        said = self._said
        opening = x.opening
        if said.more is not None:
            opening += said.more(x.request)
        if said.new_id and not (said.keeps_id and b"x-request-id" in x.request.shape.positions):
            data = b"%b%bX-Request-Id: %b\r\n\r\n%b" % (opening, said.lines, self._service.site.ids.next(), self._first)
        else:
            data = b"%b%b\r\n%b" % (opening, said.lines, self._first)
        idle = endpoint.idle
        if idle and not x.attempts:
            idle.pop().carry(self, x, data)
            if self._body is not None:
                self.sent(x)
        else:
            Connecting(self._service.site, self, x, endpoint, data).begin()

    def sent(self, x: Exchange) -> None:
        if self._body is not None and isinstance(x.upstream, Upstream):
            self._conn.start()

    def request_sent(self, x: Exchange) -> bool:
        return self._body is None

    def lost(self, x: Exchange, failure: Failure, *, unheard: bool) -> None:
        x.upstream = None
        again = False
        if failure is failures.CONNECT_FAILED or failure is failures.CONNECT_TIMEOUT:
            # Nobody has heard of the request.
            again = len(x.tried) < MOST_DIALS
        elif unheard and not x.attempts:
            again = self._body is None and not x.streamed and x.request.method in SAFE
        if again:
            x.attempts += 1
            x.cluster.stats.retries_total += 1
            x.failure = failure
            self.attempt(x)
        else:
            self.fail(x, failure)

    # Answers

    def interim(self, x: Exchange, head: ResponseHead) -> None:
        self._moved(x)
        if x.request.minor:
            self._conn.write(head.forward())

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        return not x.request.minor and head.body == CHUNKED

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        x.response = head
        if x.handling.response is None and self._goes_on(x, head) and x.request.minor:
            opening = head.decision
            if opening is None:
                opening = head.decision = head.forward()
        else:
            opening = self._opening(x, head)
        self._conn.write(opening + data)
        if whole:
            self._finish(x, head.status)
        else:
            self._moved(x)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        if data:
            self._conn.write(data)
        if last:
            assert x.response is not None
            self._finish(x, x.response.status)
        else:
            self._moved(x)

    def _goes_on(self, x: Exchange, head: ResponseHead) -> bool:
        """Whether another request may follow on this connection."""
        return (
            x.request.keep_alive
            and self._body is None
            and head.body != UNTIL_CLOSE
            and not self._leaving
            and x.started < self._too_old
        )

    def _opening(self, x: Exchange, head: ResponseHead) -> bytes:
        edit = x.handling.response
        without, lines = edit if edit is not None else (frozenset(), b"")
        goes_on = self._goes_on(x, head)
        if self.decodes(x, head):
            without |= FRAMES
            goes_on = False
        if not goes_on:
            self._leaving = True
            lines += CLOSE
        elif not x.request.minor:
            lines += KEEP_ALIVE
        return head.forward(without=without, added=lines)

    def reply(self, x: Exchange, reply: Reply) -> None:
        """Say something ourselves."""
        request = x.request
        if not request.keep_alive or self._body is not None or x.started >= self._too_old:
            self._leaving = True
        connection = CLOSE if self._leaving else b"" if request.minor else KEEP_ALIVE
        self._conn.write(reply.render(connection=connection, with_body=request.method != b"HEAD"))
        self._finish(x, reply.status)

    def fail(self, x: Exchange, failure: Failure) -> None:
        self._give_up(x, failure)
        if failure is failures.NO_CONNECT:
            # Whoever asks for a tunnel may send at once what is for its far end, and is no request.
            self._leaving = True
        if x.response is None:
            self.reply(x, of_failure(failure.status, failure.reason))
        else:
            # What was cut must not look whole.
            self._count(x, x.response.status)
            self._abort("reset")

    def _refuse(self, fault: Malformed) -> None:
        """What has come is no request, or no body of one: nothing after it can be understood."""
        self._service.state.stats.malformed[fault.reason.value] += 1
        failure = Failure(fault.reason.value, fault.status, "DPE")
        self._leaving = True
        self._body = None
        if self._x is not None:
            if self._x.stats is None:
                self._x.stats = self._service.unrouted
            self.fail(self._x, failure)
            return
        self._service.unrouted.count(failure.status, failure.flag, 0.0)
        self._conn.write(of_failure(failure.status, failure.reason).render(connection=CLOSE))
        self._linger()

    def _count(self, x: Exchange, status: int) -> None:
        x.stats.count(status, x.failure.flag if x.failure else "", self._service.site.clock.now() - x.started)

    def _finish(self, x: Exchange, status: int) -> None:
        """The answer is whole."""
        now = self._service.site.clock.now()
        failure = x.failure
        x.stats.count(status, failure.flag if failure is not None and x.response is None else "", now - x.started)
        self._x = x.upstream = None
        if self._held is not None:
            # Who wrote the answer has done so.  No other is begun before the client has taken it.
            self._held.release()
            self.hold()
        if self._body is not None or self._leaving or not x.request.keep_alive:
            self._end(x)
        else:
            self.deadline = deadline = min(now + self._service.idle, self._too_old)
            self._service.site.deadlines.expect(deadline)
            if self._pending and self._held is None:
                # Not at once: a thousand requests in one segment are others' time too.
                self._service.site.loop.call_soon(self._next)

    def _next(self) -> None:
        """What waited has its turn, unless the connection has ended meanwhile."""
        if self._pending:
            self._conn.start()
            self._run()

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
        if self._pending and self._x is None:
            self._service.site.loop.call_soon(self._next)

    # Time

    def _moved(self, x: Exchange) -> None:
        patience = x.handling.patience
        self.deadline = min(self._service.site.clock.now() + patience.idle, x.started + patience.total)

    def _expire_at(self, deadline: float) -> None:
        self.deadline = deadline
        self._service.site.deadlines.expect(deadline)

    def expired(self) -> None:
        x = self._x
        if x is not None:
            self.deadline = inf
            if self._service.site.clock.now() >= x.started + x.handling.patience.total:
                self.fail(x, failures.REQUEST_TIMEOUT)
            else:
                self.fail(x, failures.BODY_TIMEOUT if self._body is not None else failures.IDLE_TIMEOUT)
        elif self._awaiting:
            failure = failures.HEAD_TIMEOUT
            self._service.unrouted.count(failure.status, failure.flag, 0.0)
            self._conn.write(of_failure(failure.status, failure.reason).render(connection=CLOSE))
            self._linger()
        elif self._conn.full or self._lingered >= 0:
            self._abort("idle")
        else:
            self._close("idle")

    # The end

    def _end(self, x: Exchange) -> None:
        """The last answer is out, or on its way."""
        if self._body is None and not self._pending and not self._conn.full and not x.request.keep_alive:
            self._close("done")  # as the client has asked
        else:
            self._linger()

    def _linger(self) -> None:
        """Say that no more comes.  To close while the client still sends would reset what it has not yet read."""
        self._lingered = 0
        self._awaiting = False
        self._body = None
        self._pending = b""
        self._conn.read_to(self._discard)
        self._conn.start()
        self._expire_at(self._service.site.clock.now() + LINGER)
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
        x = self._x
        if x is None:
            self._close(reason)
        else:
            self._give_up(x, failure)
            self._count(x, x.response.status if x.response is not None else failure.status)
            self._abort(reason)

    def _give_up(self, x: Exchange, failure: Failure) -> None:
        self._x = None
        x.failure = failure
        if x.upstream is not None:
            x.upstream.cancel()
            x.upstream = None

    def leave(self) -> None:
        """There is no future here: what is under way is finished."""
        if self._x is None and not self._awaiting and self._lingered < 0:
            self._close("drain")
        else:
            self._leaving = True

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
        self._service.site.deadlines.forget(self)
        self._service.state.closed(self, reason)

    # Another protocol

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Upstream) -> None:
        self._x = None
        x.stats.count(head.status, "", self._service.site.clock.now() - x.started)
        conn = self._conn
        conn.write(head.forward())
        self.account()
        service = self._service
        service.site.deadlines.forget(self)
        service.state.connections.discard(self)
        Tunnel(service, conn, upstream, x.handling.patience.idle).begin(self._pending, data)
