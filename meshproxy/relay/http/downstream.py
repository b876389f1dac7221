"""A client's requests answered in HTTP/1.1, each before the next is looked at."""

from __future__ import annotations

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR, FilterFailed, through
from meshproxy.core.reply import Reply
from meshproxy.net.conn import Conn
from meshproxy.relay.http.attempts import CHUNKS, CRLF, FRAMES
from meshproxy.relay.http.incoming import CLOSE, Incoming
from meshproxy.relay.http.tunnel import ConnectionTunnel
from meshproxy.relay.http.upstream import Switching
from meshproxy.wire.h1 import CHUNKED, NO_BODY, UNTIL_CLOSE, ResponseHead

CHUNKED_FIELD = frozenset((b"transfer-encoding",))
KEEP_ALIVE = b"Connection: keep-alive\r\n"


class Downstream(Incoming):
    __slots__ = ()

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
            clock = self._site.now
            x.answered = now = clock()
            x.begun = True
            self._conn.write(opening + data)
            if whole:
                # What `_finish` does, where no filter is to be told
                if head.body < 0:
                    x.passed = len(data)
                tell = x.tell
                tell(x, head.status, "", now - x.started)
                if x.traced:
                    handling.tracer.over(x, head.status, "", now - x.started)
                if x.units:
                    self._give_back(x)
                self._over(now)
            else:
                x.passed = len(data)
                self._moved(x)
        else:
            x.answered = self._site.now()
            self._filter(x, head, data, whole, 0)

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
            x.passed += len(data)
            self._conn.write(opening + data)
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
        )

    def _opening(self, x: Exchange, head: ResponseHead) -> bytes:
        without, lines = self._edits(x)
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
        return head.forward(without=without, added=lines, last=x.handling.response.last)

    def _say(self, x: Exchange, reply: Reply) -> None:
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
        with_body = request.method != b"HEAD"
        x.passed = len(reply.body) if with_body else 0
        self._conn.write(reply.render(lines, with_body=with_body))
        self._finish(x, reply.status)

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

    # Another protocol

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        self._x = None
        x.response = head
        x.answered = now = self._site.now()
        self._count(x, head.status, now)
        self.account()
        service = self._service
        self._site.deadlines.forget(self)
        service.state.connections.discard(self)
        # Written by the tunnel, which then is who waits if the client does not take it.
        tunnel = ConnectionTunnel(service, self._conn, upstream, x, len(data))
        tunnel.begin(self._pending, head.forward() + data)
