"""A client's requests answered, each before the next is looked at.

    what was decided of it -> an answer of ours, or an attempt at an endpoint -> the answer passed on -> the next one
"""

from __future__ import annotations

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR, Answer, FilterFailed, ask, through
from meshproxy.core.reply import Reply, of_failure
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.relay.http import failures
from meshproxy.relay.http.attempts import CHUNKS, CRLF, FRAMES, Attempts
from meshproxy.relay.http.incoming import CLOSE
from meshproxy.relay.http.tunnel import Tunnel
from meshproxy.relay.http.upstream import Upstream
from meshproxy.wire.h1 import CHUNKED, NO_BODY, UNTIL_CLOSE, ResponseHead

OF_THE_ENDPOINT = frozenset((failures.REQUEST_TIMEOUT, failures.IDLE_TIMEOUT))
"""Failures of a request that say something of who was asked."""
CHUNKED_FIELD = frozenset((b"transfer-encoding",))
KEEP_ALIVE = b"Connection: keep-alive\r\n"


class Downstream(Attempts):
    __slots__ = ()

    def decide(self, x: Exchange, answer: Reply | Failure) -> None:
        if isinstance(answer, Reply):
            self.reply(x, answer)
        else:
            self.fail(x, answer)

    def begin_anew(self, x: Exchange) -> None:
        if x.units:
            self._give_back(x)
        x.tried = ()
        x.attempts = 0
        self._moved(x)
        self.attempt(x)

    # Answers

    def interim(self, x: Exchange, head: ResponseHead) -> None:
        self._moved(x)
        if x.request.minor:
            self._conn.write(head.forward())

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        return head.body == CHUNKED and (not x.request.minor or bool(x.handling.pipeline.response_data))

    def sink(self, x: Exchange) -> Conn | None:
        handling = x.handling
        return None if handling.pipeline.response_data or handling.holds is not None else self._conn

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        x.response = head
        request, handling = x.request, x.handling
        retry = handling.retry
        if retry is not None and self._answered(x, retry, head, whole):
            return
        if (
            request.keep_alive
            and request.minor
            and handling.answers_plainly
            and x.noted is None
            and self._body is None
            and not self._leaving
            and head.body != UNTIL_CLOSE
        ):
            opening = head.decision
            if opening is None:
                opening = head.decision = head.plain + CRLF
            x.begun = True
            self._conn.write(opening + data)
            if whole:
                # What `_finish` does, where no filter is to be told
                clock = self._site.now
                now = clock()
                stats = x.stats
                stats.count(head.status, "", now - x.started)
                if x.units:
                    self._give_back(x)
                self._over(now)
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
                    upstream.conn.start()
                if answer is None:
                    self._filter(x, head, data, whole, at)
                else:
                    self._replace(x, answer)

            if not whole:
                upstream.conn.stop()
            self.wait(answer, decided)

    def _replace(self, x: Exchange, answer: Reply | Failure) -> None:
        if isinstance(answer, Failure):
            self.fail(x, answer)
            return
        if x.upstream is not None:
            x.upstream.cancel()
        self.reply(x, answer)

    def _respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        holds = x.handling.holds
        if holds is None:
            self._pass_on(x, self._opening(x, head), data, whole)
        elif head.body > holds:
            self.fail(x, failures.ANSWER_TOO_LARGE)
        else:
            x.held = bytearray()
            self._hold_answer(x, data, whole)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        if x.handling.holds is None:
            self._pass_on(x, b"", data, last)
        else:
            self._hold_answer(x, data, last)

    def _hold_answer(self, x: Exchange, data: bytes, last: bool) -> None:
        held = x.held
        held += data
        if len(held) > x.handling.holds:
            self.fail(x, failures.ANSWER_TOO_LARGE)
        elif last:
            assert x.response is not None
            self._pass_on(x, self._opening(x, x.response), bytes(held), True)
        else:
            self._moved(x)

    def _pass_on(self, x: Exchange, opening: bytes, data: bytes, last: bool) -> None:
        hooks = x.handling.pipeline.response_data
        if hooks and not self._answers_without_body(x):
            try:
                data = self._rewritten(hooks, x, data, last) if x.request.minor else through(hooks, x, data, last)
            except FilterFailed:
                self.fail(x, FILTER_ERROR)
                return
        if opening or data:
            x.begun = True
            self._conn.write(opening + data)
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
        edit = x.handling.response
        without, lines = edit.without, edit.lines
        changes = x.response_changes if x.noted is not None else None
        if edit.more is not None:
            lines += edit.more(x)
        if changes is not None:
            without, lines = without | changes.without, lines + changes.lines
        goes_on = self._goes_on(x, head)
        rewritten = bool(x.handling.pipeline.response_data) and head.body != NO_BODY
        if rewritten:
            without |= FRAMES
        if not x.request.minor:
            # It knows no chunks, not even by name
            without |= CHUNKED_FIELD
            goes_on = goes_on and head.body != CHUNKED and not rewritten
        elif rewritten:
            lines += CHUNKS
        if not goes_on:
            self._leaving = True
            lines += CLOSE
        elif not x.request.minor:
            lines += KEEP_ALIVE
        return head.forward(without=without, added=lines, last=edit.last)

    def reply(self, x: Exchange, reply: Reply) -> None:
        """Say something ourselves."""
        request = x.request
        if not request.keep_alive or self._body is not None:
            self._leaving = True
        lines = self._site.dates.line()
        if x.noted is not None:
            lines += x.noted.response.lines
        if self._leaving:
            lines += CLOSE
        elif not request.minor:
            lines += KEEP_ALIVE
        self._conn.write(reply.render(lines, with_body=request.method != b"HEAD"))
        self._finish(x, reply.status)

    def fail(self, x: Exchange, failure: Failure) -> None:
        if x.begun:
            # What was cut must not look whole.
            self._gone("reset", failure)
            return
        x.failure = failure
        self._cancel(x, failure if failure in OF_THE_ENDPOINT else None)
        if failure is failures.NO_CONNECT:
            # Whoever asks for a tunnel may send at once what is for its far end, and is no request.
            self._leaving = True
        fallback = x.handling.fallback
        if fallback is not None and fallback(self, x, failure):
            return
        for hook in x.handling.pipeline.failure:
            reply = hook(x, failure)
            if reply is not None:
                self.reply(x, reply)
                return
        self.reply(x, of_failure(failure.status, failure.reason))

    def _give_up(self, x: Exchange, failure: Failure) -> None:
        x.failure = failure
        self._cancel(x)
        self._count(x, x.response.status if x.response is not None else failure.status, self._site.now())

    def _finish(self, x: Exchange, status: int) -> None:
        """The answer is whole."""
        self._first = b""  # which may be much, and the next request may be far away
        if x.begun:
            x.failure = None  # of an attempt before the one that went well
        now = self._site.now()
        self._count(x, status, now)
        if self._body is not None or self._leaving or not x.request.keep_alive:
            self._end(x)
        else:
            self._over(now)

    def _count(self, x: Exchange, status: int, now: float) -> None:
        """It is over, whatever became of it."""
        x.status = status
        x.seconds = seconds = now - x.started
        failure = x.failure
        stats = x.stats or self._service.unrouted
        flag = failure.flag if failure is not None else ""
        if x.noted is not None and x.noted.flags:
            flag = f"{x.noted.flags},{flag}" if flag else x.noted.flags
        stats.count(status, flag, seconds)
        if x.units:
            self._give_back(x)
        for hook in x.handling.pipeline.done:
            hook(x)

    # Another protocol

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Upstream) -> None:
        self._x = None
        x.response = head
        self._count(x, head.status, self._site.now())
        self.account()
        service = self._service
        self._site.deadlines.forget(self)
        service.state.connections.discard(self)
        # Written by the tunnel, which then is who waits if the client does not take it.
        Tunnel(service, self._conn, upstream, x.handling.patience.idle).begin(self._pending, head.forward() + data)
