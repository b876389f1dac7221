"""A client's connection: one request after the other, each answered before the next is looked at.

    head -> what was decided of it -> an answer of ours, or an attempt at an endpoint -> the answer passed on -> next

While an answer is awaited the client is still read, so that its leaving is noticed.  Whatever it sends early is kept,
at most one read of it, and no more is read until its turn comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR, Answer, DataHook, FilterFailed, ask, through
from meshproxy.core.reply import Reply, of_failure
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.entry import Origin
from meshproxy.relay.http import failures
from meshproxy.relay.http.filtered import Waiting
from meshproxy.relay.http.tunnel import Tunnel
from meshproxy.relay.http.upstream import Connecting, Upstream
from meshproxy.wire.h1 import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    BodyReader,
    Malformed,
    RequestHead,
    ResponseHead,
    body_reader,
    encode,
)

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
FRAMES = frozenset((b"transfer-encoding", b"content-length"))
CHUNKS = b"Transfer-Encoding: chunked\r\n"

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
        "_site",
        "_too_old",
        "_waiting",
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
        self._waiting: Waiting | None = None
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
        believed = service.believes(self._origin)
        self._front = front = service.believed if believed else service.front
        source = self._origin.source
        self._said = service.identity.of(source and source[0], believed=believed, scheme=b"http")
        self._reader = front.codec.reader()

    def begin(self) -> None:
        conn, service = self._conn, self._service
        service.state.connections.add(self)
        self._site.deadlines.watch(self)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        conn.start()
        if self._pending:
            self._next()

    # Requests

    def _take(self, data: bytes) -> None:
        if self._x is None:
            self._run(data)
        elif self._body is not None:
            self._take_body(self._body, data)
        else:
            self._wait_with(data)

    def _wait_with(self, data: bytes) -> None:
        """It is of the next request, whose turn has not come."""
        self._pending = data
        self._conn.stop()

    def _run(self, data: bytes) -> None:
        """Read the next request, as far as it has come."""
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
        if head is not None:
            self._begin(head, reader.rest)
        elif not self._awaiting and reader.begun:
            self._awaiting = True
            self._expire_at(self._site.now() + self._service.head)

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
        handling, path, opening = decision
        site = self._site
        now = site.now()
        self._x = x = Exchange(head, path, self._origin, handling, opening, now)
        self._awaiting = False
        if now >= self._too_old:
            self._leaving = True
        self.deadline = deadline = now + handling.patience.first
        if deadline < site.deadlines.due:
            site.deadlines.expect(deadline)
        if head.body:
            rest = self._begin_body(x, head, rest)
        elif self._first:
            self._first = b""
        if rest:
            self._wait_with(rest)
        if self._x is x:
            handling.begin(self, x)

    def _begin_body(self, x: Exchange, head: RequestHead, data: bytes) -> bytes:
        """What of the data is not of the body."""
        hooks = x.handling.pipeline.request_data
        self._body = body = body_reader(head.body, self._front.codec.limits, decode=bool(hooks))
        try:
            passed = body.feed(data) if data else b""
            self._first = self._changed(hooks, x, passed, body.done) if hooks else passed
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
                passed = self._changed(hooks, x, passed, body.done)
        except Malformed as fault:
            self._refuse(fault)
            return
        except FilterFailed:
            self.fail(x, FILTER_ERROR)
            return
        self._moved(x)
        x.streamed = True
        if body.done:
            self._body = None
            x.sent = True
            if body.rest:
                self._wait_with(body.rest)
        if passed and x.upstream is not None:
            x.upstream.more(passed)

    @staticmethod
    def _changed(hooks: tuple[DataHook, ...], x: Exchange, data: bytes, last: bool) -> bytes:
        """What filters make of a piece of a body, in chunks."""
        if not data and not last:
            return b""
        piece = encode.chunk(through(hooks, x, data, last))
        return piece + encode.LAST_CHUNK if last else piece

    # Filters

    def decide(self, x: Exchange, answer: Reply | Failure) -> None:
        if isinstance(answer, Reply):
            self.reply(x, answer)
        else:
            self.fail(x, answer)

    def wait(self, answer: Awaitable[Answer], then: Callable[[Answer], None]) -> None:
        def decided(answer: Answer) -> None:
            self._waiting = None
            then(answer)

        self._waiting = Waiting(self._site.loop, answer, decided)

    # Attempts

    def attempt(self, x: Exchange) -> None:
        endpoint = x.cluster.choose(x.tried)
        if endpoint is None:
            self.fail(x, x.failure or failures.NO_ENDPOINT)
            return
        said = self._said
        opening = x.opening if x.handling.plain else self._changed_opening(x)
        if said.more is not None:
            opening += said.more(x.request)
        if said.id and not (said.keeps_id and b"x-request-id" in x.request.shape.positions):
            ids = self._site.ids
            new = ids.left.pop() if ids.left else ids.draw()
            data = opening + said.lines + said.id + new + b"\r\n\r\n" + self._first
        else:
            data = opening + said.lines + b"\r\n" + self._first
        idle = endpoint.idle
        if idle and not x.attempts:
            idle.pop().carry(self, x, data)
            if self._body is not None:
                self.begun(x)
        else:
            Connecting(self._site, self, x, endpoint, data).begin()

    def _changed_opening(self, x: Exchange) -> bytes:
        """With what filters have changed."""
        request, handling, without, lines = x.request, x.handling, self._front.without, b""
        changes, _ = x.changed()
        if changes is not None:
            without, lines = without | changes.without, changes.lines
        if request.body and handling.pipeline.request_data:
            without, lines = without | FRAMES, lines + CHUNKS
        if without is self._front.without:
            return x.opening + lines
        _, mark, query = request.target.partition(b"?")
        opening: bytes = handling.opening(request, x.path, x.path + mark + query, without)
        return opening + lines

    def begun(self, x: Exchange) -> None:
        if self._body is not None and isinstance(x.upstream, Upstream):
            self._conn.start()

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
        return head.body == CHUNKED and (not x.request.minor or bool(x.handling.pipeline.response_data))

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        x.response = head
        if self._goes_on(x, head) and x.request.minor and x.handling.plain:
            opening = head.decision
            if opening is None:
                opening = head.decision = head.forward()
            x.begun = True
            self._conn.write(opening + data)
            if whole:
                self._finish(x, head.status)
            else:
                self._moved(x)
        else:
            self._filter(x, head, data, whole, 0)

    def _filter(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool, at: int) -> None:
        """Ask the filters about an answer, from this one on; then it goes on."""
        answer, at = ask(x.handling.pipeline.response, x, at)
        if answer is None:
            self._respond(x, head, data, whole)
        elif isinstance(answer, Reply | Failure):
            self._replace(x, answer)
        else:
            upstream = x.upstream

            def decided(answer: Answer) -> None:
                if not whole:
                    upstream.conn.release()
                if answer is None:
                    self._filter(x, head, data, whole, at)
                else:
                    self._replace(x, answer)

            if not whole:
                upstream.conn.hold()
            self.wait(answer, decided)

    def _replace(self, x: Exchange, answer: Reply | Failure) -> None:
        if isinstance(answer, Failure):
            self.fail(x, answer)
            return
        if x.upstream is not None:
            x.upstream.cancel()
        self.reply(x, answer)

    def _respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        opening = self._opening(x, head)
        x.begun = True
        self._conn.write(opening)
        self.respond_more(x, data, whole)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        hooks = x.handling.pipeline.response_data
        if hooks and not self._answers_without_body(x):
            try:
                data = self._changed(hooks, x, data, last) if x.request.minor else through(hooks, x, data, last)
            except FilterFailed:
                self.fail(x, FILTER_ERROR)
                return
        if data:
            self._conn.write(data)
        if last:
            assert x.response is not None
            self._finish(x, x.response.status)
        else:
            self._moved(x)

    @staticmethod
    def _answers_without_body(x: Exchange) -> bool:
        assert x.response is not None
        return x.response.body == NO_BODY

    def _goes_on(self, x: Exchange, head: ResponseHead) -> bool:
        """Whether another request may follow on this connection."""
        return (
            x.request.keep_alive
            and self._body is None
            and head.body != UNTIL_CLOSE
            and not self._leaving
        )

    def _opening(self, x: Exchange, head: ResponseHead) -> bytes:
        without, lines = x.handling.response
        _, changes = x.changed()
        if changes is not None:
            without, lines = without | changes.without, lines + changes.lines
        goes_on = self._goes_on(x, head)
        rewritten = bool(x.handling.pipeline.response_data) and head.body != NO_BODY
        if rewritten or (head.body == CHUNKED and not x.request.minor):
            without |= FRAMES
            if rewritten and x.request.minor:
                lines += CHUNKS
            else:
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
        if not request.keep_alive or self._body is not None:
            self._leaving = True
        lines = self._site.dates.line()
        if self._leaving:
            lines += CLOSE
        elif not request.minor:
            lines += KEEP_ALIVE
        self._conn.write(reply.render(lines, with_body=request.method != b"HEAD"))
        self._finish(x, reply.status)

    def fail(self, x: Exchange, failure: Failure) -> None:
        x.failure = failure
        self._cancel(x)
        if failure is failures.NO_CONNECT:
            # Whoever asks for a tunnel may send at once what is for its far end, and is no request.
            self._leaving = True
        if x.begun:
            # What was cut must not look whole.
            self._x = None
            self._count(x, x.response.status if x.response is not None else failure.status)
            self._abort("reset")
            return
        for hook in x.handling.pipeline.failure:
            reply = hook(x, failure)
            if reply is not None:
                self.reply(x, reply)
                return
        self.reply(x, of_failure(failure.status, failure.reason))

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

    def _count(self, x: Exchange, status: int) -> None:
        """It is over, whatever became of it."""
        x.status = status
        x.seconds = seconds = self._site.now() - x.started
        failure = x.failure
        stats = x.stats or self._service.unrouted
        stats.count(status, failure.flag if failure is not None else "", seconds)
        for hook in x.handling.pipeline.done:
            hook(x)

    def _finish(self, x: Exchange, status: int) -> None:
        """The answer is whole."""
        site = self._site
        if x.begun:
            x.failure = None  # of an attempt before the one that went well
        self._count(x, status)
        self._x = None
        if self._held is not None:
            # Who wrote the answer has done so.  No other is begun before the client has taken it.
            self._held.release()
            self.hold()
        if self._body is not None or self._leaving or not x.request.keep_alive:
            self._end(x)
        else:
            deadline = site.now() + self._service.idle
            if deadline > self._too_old:
                deadline = self._too_old
            self.deadline = deadline
            if deadline < site.deadlines.due:
                site.deadlines.expect(deadline)
            if self._pending and self._held is None:
                # Not at once: a thousand requests in one segment are others' time too.
                self._site.loop.call_soon(self._next)

    def _next(self) -> None:
        """What waited has its turn, unless the connection has ended meanwhile."""
        data, self._pending = self._pending, b""
        if data:
            self._conn.start()
            self._run(data)

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
            self._site.loop.call_soon(self._next)

    # Time

    def _moved(self, x: Exchange) -> None:
        patience = x.handling.patience
        self.deadline = min(self._site.now() + patience.idle, x.started + patience.total)

    def _expire_at(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline < self._site.deadlines.due:
            self._site.deadlines.expect(deadline)

    def expired(self) -> None:
        x = self._x
        if x is not None:
            self.deadline = inf
            if self._site.now() >= x.started + x.handling.patience.total:
                self.fail(x, failures.REQUEST_TIMEOUT)
            else:
                self.fail(x, failures.BODY_TIMEOUT if self._body is not None else failures.IDLE_TIMEOUT)
        elif self._awaiting:
            self._say_last(failures.HEAD_TIMEOUT)
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
        self._expire_at(self._site.now() + LINGER)
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
            self._x = None
            x.failure = failure
            self._cancel(x)
            self._count(x, x.response.status if x.response is not None else failure.status)
            self._abort(reason)

    def _cancel(self, x: Exchange) -> None:
        """Nobody waits for an answer any more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        upstream, x.upstream = x.upstream, None
        if upstream is not None:
            upstream.cancel()

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
        self._site.deadlines.forget(self)
        self._service.state.closed(self, reason)

    # Another protocol

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Upstream) -> None:
        self._x = None
        x.response = head
        self._count(x, head.status)
        conn = self._conn
        conn.write(head.forward())
        self.account()
        service = self._service
        self._site.deadlines.forget(self)
        service.state.connections.discard(self)
        Tunnel(service, conn, upstream, x.handling.patience.idle).begin(self._pending, data)
