"""One exchange of a client that speaks HTTP/2: a stream of its connection.

    opened -> what comes of its body at once is kept -> begun, when all that was read has been looked at
    -> answered: a head, pieces of a body, trailers -> over

Whoever resets what it has just asked for, in one breath, has asked nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR, FilterFailed, through
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.http import failures, grpc
from meshproxy.relay.http.answers import Answers
from meshproxy.relay.http.attempts import FRAMES
from meshproxy.relay.http.inlet import Inlet
from meshproxy.relay.http.upstream import Switching
from meshproxy.wire import h2
from meshproxy.wire.h1 import CHUNKED, NO_BODY, Malformed, Reason, RequestHead, ResponseHead
from meshproxy.wire.h2 import Block, Code, FramedBody, StreamFault, response_block, trailer_block
from meshproxy.wire.h2 import trailers as trailers_of

if TYPE_CHECKING:
    from meshproxy.relay.http.multiplexed import Multiplexed


class NoInlet:
    """Of a request without a body."""

    def hold(self) -> None:
        """Nothing comes."""

    def release(self) -> None:
        """Nothing comes."""


NO_INLET = NoInlet()


class Stream(Answers):
    __slots__ = ("_early", "_engine", "_framed", "_held", "_inlet", "_number", "_reading", "_session")

    def __init__(self, session: Multiplexed, number: int, head: RequestHead, last: bool) -> None:
        """`last`: the client has said all."""
        service, origin = session.service, session.origin
        super().__init__(service, origin)
        self._session = session
        self._engine = session.engine
        self._number = number
        self._said = session.said
        self._held: Feeder | None = None
        """Who may not send more of the answer."""
        decision = head.decision
        if decision is None:
            decision = head.decision = session.front.decide(head)
        handling, path, opening = decision
        now = self._site.now()
        self._x = x = Exchange(head, path, origin, handling, opening, now)
        x.trailers = ()
        if b"grpc-timeout" in head.shape.positions:
            x.patience = grpc.bounded(head, handling.patience)
        self.deadline = now + x.patience.first
        if not last:
            self._begin_body(x, head)
        else:
            self.feeder = NO_INLET

    def _begin_body(self, x: Exchange, head: RequestHead) -> None:
        limits = x.handling.limits or self._session.front.codec.limits
        decode = bool(x.handling.pipeline.request_data)
        # Even where it is said that there is none: it may come nevertheless.
        self._body = self._framed = FramedBody(head.body, limits, decode=decode)
        self._early = b""
        """What has come and has nobody to go to yet."""
        self._reading = False
        self.feeder = self._inlet = Inlet(self._session, self._number)
        self._inlet.stop()
        x.complete = head.body == NO_BODY

    def go(self) -> None:
        """All that was read has been looked at."""
        x = self._x
        if x is None:
            return
        if self._body is not None:
            self._first, self._early = self._early, b""
            x.taken = len(self._first)
            if self._body.done:
                self._body = None
                x.complete = True
        x.handling.begin(self, x)

    # From the client

    def headed(self, block: Block, last: bool) -> None:
        raise AssertionError("no stream of a client begins with an answer")

    def refused(self) -> None:
        raise AssertionError("a client's stream is not ours to ask")

    def taken(self, data: bytes, last: bool) -> None:
        self._take(data, () if last else None)

    def trailed(self, block: Block) -> None:
        try:
            trailers = trailers_of(block, self._session.front.codec.limits)
        except Malformed as fault:
            self._refuse(fault)
        else:
            self._take(b"", trailers)

    def _take(self, data: bytes, trailers: Sequence[bytes] | None) -> None:
        """`trailers`: after what was the last of it."""
        x = self._x
        if x is None or self._body is None:
            return  # it was answered before all of it had come
        body = self._framed
        hooks = x.handling.pipeline.request_data if x.request.body != NO_BODY else ()
        try:
            passed = body.feed(data)
            if trailers is not None:
                passed += body.finish(trailers)
            if hooks:
                passed = self._rewritten(hooks, x, passed, body.done)
        except Malformed as fault:
            self._refuse(fault)
        except FilterFailed:
            self.fail(x, FILTER_ERROR)
        else:
            if self._reading:
                self._took(x, body, passed)
            else:
                self._early += passed

    def _read_on(self) -> None:
        x = self._x
        self._reading = True
        self._inlet.start()
        early, self._early = self._early, b""
        if x is not None and (early or self._framed.done):
            self._took(x, self._framed, early)

    def _read_no_more(self) -> None:
        self._reading = False
        self._inlet.stop()

    def _refuse(self, fault: Malformed) -> None:
        x = self._x
        assert x is not None
        self._session.malformed(fault)
        failure = Failure(fault.reason.value, fault.status, "DPE")
        if fault.reason is Reason.BODY_TOO_LARGE and not x.begun:
            self.fail(x, failure)
            return
        self._x = None
        self._give_up(x, failure)
        raise StreamFault(Code.PROTOCOL_ERROR, h2.Reason.MALFORMED)

    def reset(self, code: int) -> None:
        """The client wants no answer any more."""
        x, self._x = self._x, None
        if x is not None:
            self._give_up(x, failures.CLIENT_GONE)
        self._session.left(self)

    # Answers

    def _say_continue(self) -> None:
        self._engine.head(self._number, response_block(b"HTTP/1.1 100 Continue\r\n"), False)
        self._session.flush_soon()

    def interim(self, x: Exchange, head: ResponseHead) -> None:
        self._moved(x)
        self._engine.head(self._number, response_block(head.plain), False)
        self._session.flush_soon()

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        return head.body == CHUNKED

    def sink(self, x: Exchange) -> Conn | None:
        return None

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        x.response = head
        x.answered = self._site.now()
        handling = x.handling
        retry = handling.retry
        if retry is not None and self._answered(x, retry, head, whole):
            return
        if handling.answers_plainly and x.noted is None:
            block = head.block
            if block is None:
                block = head.block = response_block(head.plain)
            self._write(x, block, data, whole)
        else:
            self._filter(x, head, data, whole, 0)

    def _opening(self, x: Exchange, head: ResponseHead) -> bytes:
        without, lines = self._edits(x)
        if x.handling.pipeline.response_data and head.body != NO_BODY:
            without |= FRAMES
        return response_block(head.opening(without=without, last=x.handling.response.last) + lines)

    def _pass_on(self, x: Exchange, opening: bytes, data: bytes, last: bool) -> None:
        hooks = x.handling.pipeline.response_data
        if hooks and not self._answers_without_body(x):
            try:
                data = through(hooks, x, data, last)
            except FilterFailed:
                self.fail(x, FILTER_ERROR)
                return
        self._write(x, opening, data, last)

    def _write(self, x: Exchange, block: bytes, data: bytes, last: bool) -> None:
        """The head, unless it is gone already, and a piece of the body."""
        engine, number = self._engine, self._number
        x.begun = True
        x.passed += len(data)
        trailers = x.trailers if last else ()
        ends = last and not trailers
        if block and ends:
            out = engine.answer(number, block, data)
        else:
            if block:
                engine.head(number, block, False)
            # Of nothing at all it still says whether what was before it is out
            out = engine.data(number, data, ends)
            if trailers:
                engine.trailers(number, trailer_block(trailers))
        self._session.flush_after(data)
        if last:
            assert x.response is not None
            self._finish(x, x.response.status, out)
        else:
            self._moved(x)

    def _say(self, x: Exchange, reply: Reply) -> None:
        lines = self._site.dates.line()
        if x.noted is not None:
            lines += x.noted.response.lines
        body = reply.body if x.request.method != b"HEAD" else b""
        x.passed = len(body)
        out = self._engine.answer(self._number, response_block(reply.opening + lines), body)
        self._session.flush_soon()
        self._finish(x, reply.status, out)

    def _finish(self, x: Exchange, status: int, out: bool) -> None:
        """The answer is whole; `out`: and within what the client takes."""
        if x.begun:
            x.failure = None  # of an attempt before the one that went well
        now = self._site.now()
        self._count(x, status, now)
        self._let_out(x, now, out)

    def _let_out(self, x: Exchange, now: float, out: bool) -> None:
        self._x = None
        self._first = b""
        if self._held is not None:
            # Who wrote the answer has done so.
            self._held.release()
            self._held = None
        if out:
            self._over()
        else:
            self._expire_at(now + x.patience.idle)

    def _over(self) -> None:
        """Nothing is on its way to the client any more."""
        if self._comes_more:
            # The rest of what it sends is for nobody.
            self._engine.reset(self._number, Code.NO_ERROR)
            self._session.flush_soon()
        self._session.left(self)

    @property
    def _comes_more(self) -> bool:
        return self._body is not None

    def _gone(self, reason: str, failure: Failure) -> None:
        x = self._x
        trailers = grpc.ending(x, failure) if x is not None else None
        if x is None or trailers is None:
            self._cut(failure, Code.INTERNAL_ERROR)
            return
        x.trailers = trailers
        out = self._engine.data(self._number, b"", False)
        self._engine.trailers(self._number, trailer_block(trailers))
        self._session.flush_soon()
        self._give_up(x, failure)
        self._let_out(x, self._site.now(), out)

    def _cut(self, failure: Failure, code: Code) -> None:
        """What was cut must not look whole."""
        x, self._x = self._x, None
        self._engine.reset(self._number, code)
        self._session.flush_soon()
        if x is not None:
            self._give_up(x, failure)
        self._session.left(self)

    def end(self, failure: Failure) -> None:
        """Its connection is no more."""
        x, self._x = self._x, None
        if x is not None:
            self._give_up(x, failure)

    # The client takes no more, or more

    def hold(self) -> None:
        x = self._x
        upstream = x.upstream if x is not None else None
        if upstream is not None and upstream.carries:
            self._held = upstream.conn
            self._held.hold()

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()
        if self._x is None:
            self._over()

    # Time

    def _expire_at(self, deadline: float) -> None:
        self.deadline = deadline
        self._session.expect(deadline)

    @property
    def _paced(self) -> bool:
        return self._session.conn.paced

    def expired(self) -> None:
        if self._x is not None:
            super().expired()
        else:
            # The client has not taken the end of its answer.
            self._cut(failures.IDLE_TIMEOUT, Code.CANCEL)

    # For who is asked

    def leave(self) -> None:
        self._session.leave()

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        raise AssertionError("nobody has asked for another protocol")
