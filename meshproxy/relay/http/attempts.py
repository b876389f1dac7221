"""A request sent to an endpoint, and to another one where that is called for.

    admitted by the cluster -> an endpoint is chosen -> a connection that waits, or a new one -> an answer, or a loss
    lost, or answered in a way that the policy wants no part of -> a pause -> the next attempt
    no answer after `hedge` -> a second attempt beside the first: who answers first is heard

Where nobody can have heard of a request it goes to another endpoint by itself.  Everything else is a policy's to say.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Protocol

from meshproxy.cluster.cluster import BREAKER_OPEN, CONNECT_FAILED, CONNECT_TIMEOUT, Cluster
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.cluster.retry import CALLS, SAFE, Retry, after
from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer
from meshproxy.core.limit import Stock
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.net.clock import Timer
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.http import failures, grpc
from meshproxy.relay.http.connecting import connect
from meshproxy.relay.http.filtered import Waiting
from meshproxy.relay.http.handling import NOTHING
from meshproxy.relay.http.opening import Opening
from meshproxy.relay.http.serving import Serving
from meshproxy.relay.http.upstream import Switching
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import ResponseHead

if TYPE_CHECKING:
    from meshproxy.relay.http.service import HttpService

MOST_DIALS = 3
"""Endpoints that are tried for one exchange where no policy says how many, each within the connect timeout; and how
often it is sent to who does not begin with it."""
FRAMES = frozenset((b"transfer-encoding", b"content-length"))
CHUNKS = b"Transfer-Encoding: chunked\r\n"
CRLF = b"\r\n"


class Cancelled(Protocol):
    def cancel(self) -> None: ...


class Attempts(Serving):
    __slots__ = ("_endpoint", "_hedge", "_try_until", "_waiting")

    def __init__(self, service: HttpService, origin: Origin) -> None:
        super().__init__(service, origin)
        self._waiting: Cancelled | None = None
        """For a filter, or for the time of the next attempt."""
        # Where there is a policy
        self._endpoint: Endpoint | None = None
        """Who was asked last."""
        self._try_until = inf
        self._hedge: Hedge | Timer | None = None

    # Filters

    def wait(self, answer: Awaitable[Answer], then: Callable[[Answer], None]) -> None:
        def decided(answer: Answer) -> None:
            self._waiting = None
            then(answer)

        self._waiting = Waiting(self._site.loop, answer, decided)

    # One attempt

    def attempt(self, x: Exchange) -> None:
        cluster = x.cluster
        if cluster.guarded and not self._admitted(x, cluster):
            return
        choose = cluster.choose
        endpoint = choose(x.tried, x)
        handling = x.handling
        retry = handling.retry
        if retry is not None:
            endpoint = self._try(x, retry, cluster, endpoint)
        if endpoint is None:
            if x.attempts:
                x.attempts -= 1  # it is not sent again after all
            failure = cluster.nobody()
            self.fail(x, x.failure or failure)
            return
        x.endpoint = endpoint
        if handling.timed:
            x.asked = self._site.now()
        if handling.tunnels:
            Opening(self._site, self, x, endpoint, b"").begin()
            return
        data = self._message(x, endpoint)
        if handling.mirror is not None and not x.attempts:
            x.copy = handling.mirror.copy(x, data)
        idle = endpoint.idle
        if idle and not x.attempts:
            idle.pop().carry(self, x, data)
            if self._body is not None:
                self.begun(x)
        else:
            connect(self._site, self, x, endpoint, data)

    def _message(self, x: Exchange, endpoint: Endpoint) -> bytes:
        """The head for an endpoint, and what there is of the body."""
        said = self._said
        if said is None:
            said = self._said = self._service.said_of(self._origin)
        handling = x.handling
        opening = x.opening if x.noted is None and handling.asks_plainly else self._changed_opening(x)
        if handling.tracer is not None:
            opening = handling.tracer.onto(x, opening, endpoint)
        if said.more is not None:
            opening += said.more(x.request)
        if said.before_id and not (said.keeps_id and b"x-request-id" in x.request.shape.positions):
            ids = self._site.ids
            x.drawn = drawn = ids.left.pop() if ids.left else ids.draw()
            opening += said.before_id + drawn
        else:
            opening += said.lines + CRLF
        return opening + self._first if self._first else opening

    def _changed_opening(self, x: Exchange) -> bytes:
        """With what filters have changed."""
        request, handling, without, lines = x.request, x.handling, NOTHING, b""
        changes = x.request_changes if x.noted is not None else None
        if handling.request.more is not None:
            lines = handling.request.more(x)
        if changes is not None:
            without, lines = without | changes.without, lines + changes.lines
        if request.body and handling.pipeline.request_data:
            without, lines = without | FRAMES, lines + CHUNKS
        if not without:
            return x.opening + lines
        _, mark, query = request.target.partition(b"?")
        opening: bytes = handling.opening(request, x.path, x.path + mark + query, without)
        return opening + lines

    # Whether it is admitted

    def _admitted(self, x: Exchange, cluster: Cluster) -> bool:
        """What the cluster's breaker and its limit say, the limit perhaps later."""
        limit = cluster.requests
        if cluster.gate is not None and not cluster.lets_pass():
            x.failure = BREAKER_OPEN
            if cluster.degraded is not None:
                self.reply(x, cluster.degraded)
            else:
                self.fail(x, BREAKER_OPEN)
            return False
        if limit is None or limit in x.units:
            return True
        if limit.take():
            x.units += (limit,)
            return True
        limit.ask(lambda granted: self._entered(x, limit, granted))
        return False

    def _entered(self, x: Exchange, limit: Stock, granted: bool) -> None:
        if self._x is not x:
            if granted:
                limit.give()
        elif granted:
            x.units += (limit,)
            self.attempt(x)
        else:
            x.cluster.stats.overflow_total += 1
            self.fail(x, failures.OVERFLOW)

    @staticmethod
    def _give_back(x: Exchange) -> None:
        for unit in x.units:
            unit.give()
        x.units = ()

    # The next attempt

    def lost(self, x: Exchange, failure: Failure, *, unheard: bool) -> None:
        x.upstream = None
        if x.handling.tracer is not None:
            x.handling.tracer.tried(x, 0, failure.reason)
        if self._body is not None:
            # What comes of it has nobody to go to.
            self._read_no_more()
        if isinstance(self._hedge, Hedge) and self._hedge.asks:
            x.failure = failure  # but there is another attempt
        elif self._goes_on_by_itself(x, failure, unheard):
            self._count_attempt(x)
            x.failure = failure
            self.attempt(x)
        elif self._again(x, failure.reason):
            x.failure = failure
        else:
            self.fail(x, failure)

    def _goes_on_by_itself(self, x: Exchange, failure: Failure, unheard: bool) -> bool:
        """Where nobody has heard of the request, or can have: this adds nothing to what an endpoint has to bear."""
        retry: Retry | None = x.handling.retry
        if failure is CONNECT_FAILED or failure is CONNECT_TIMEOUT:
            if retry is None:
                return len(x.tried) < MOST_DIALS
            return x.attempts + 1 < retry.attempts and len(x.tried) < x.cluster.size
        if failure is failures.STREAM_REFUSED:
            return x.attempts + 1 < (MOST_DIALS if retry is None else retry.attempts) and not x.streamed
        return unheard and not x.attempts and not x.streamed and x.request.method in SAFE

    def _count_attempt(self, x: Exchange) -> None:
        x.attempts += 1
        x.cluster.stats.retries_total += 1
        if b"grpc-timeout" in x.request.shape.positions:
            grpc.hurry(x, self._site.now())

    def _again(self, x: Exchange, why: str | int, asked_for: float = 0.0) -> bool:
        """Ask again in a while, if the policy wants it after such a failure or status."""
        retry: Retry | None = x.handling.retry
        if retry is None or not retry.wants(why) or x.begun or x.streamed:
            return False
        if why not in CALLS and not retry.covers(x.request.method):
            return False
        if x.attempts + 1 >= retry.attempts:
            x.cluster.stats.retries_exhausted_total += 1
            return False
        pause = retry.pause(x.attempts + 1, asked_for)
        if pause is None or not self._spend(x):
            return False
        self._count_attempt(x)
        if self._endpoint is not None and self._endpoint not in x.tried:
            x.tried += (self._endpoint,)
        self._try_until = inf
        self._moved(x)
        site, resume = self._site, partial(self._resume, x)
        self._waiting = site.clock.after(pause, resume) if pause else site.loop.call_soon(resume)
        return True

    def _spend(self, x: Exchange) -> bool:
        """A unit of the budget of the cluster; an exchange that has one keeps it to its end."""
        cluster: Cluster = x.cluster
        if cluster.budget in x.units:
            return True
        if not cluster.budget.take(cluster.live):
            cluster.stats.retries_refused_total += 1
            return False
        x.units += (cluster.budget,)
        return True

    def _resume(self, x: Exchange) -> None:
        self._waiting = None
        self.attempt(x)

    # What a policy adds to an attempt

    def _try(self, x: Exchange, retry: Retry, cluster: Cluster, endpoint: Endpoint | None) -> Endpoint | None:
        """Whom to ask: where all were tried, one of them again."""
        if endpoint is None and x.tried:
            choose = cluster.choose
            endpoint = choose((), x)
        self._endpoint = endpoint
        if retry.per_try < inf:
            self._try_until = self._site.now() + retry.per_try
            if self._try_until < self.deadline:
                self._expire_at(self._try_until)
        request = x.request
        if retry.hedge < inf and self._hedge is None and retry.covers(request.method):
            self._hedge = self._site.clock.after(retry.hedge, lambda: self._begin_hedge(x))
        return endpoint

    def expired(self) -> None:
        x = self._x
        assert x is not None
        now = self._site.now()
        if now < self._try_until or now >= x.started + x.patience.total:
            super().expired()
            return
        self._try_until = inf
        self._moved(x)
        upstream, x.upstream = x.upstream, None
        if upstream is not None:
            upstream.cancel(failures.TRY_TIMEOUT)
        self.lost(x, failures.TRY_TIMEOUT, unheard=False)

    def _answered(self, x: Exchange, retry: Retry, head: ResponseHead, whole: bool) -> bool:
        """Whether an answer that has just begun is not for the client, who waits for another."""
        if self._hedge is not None:
            self._end_hedge()
        self._try_until = inf
        why, asked_for = after(head, whole)
        if not retry.wants(why) or not self._again(x, why, asked_for):
            return False
        if x.handling.tracer is not None:
            x.handling.tracer.tried(x, head.status)
        x.response = None
        x.trailers = ()
        if not whole:
            upstream, x.upstream = x.upstream, None
            upstream.cancel()
        return True

    # Two at a time

    def _begin_hedge(self, x: Exchange) -> None:
        self._hedge = None
        endpoint = self._endpoint
        if x.upstream is None or endpoint is None or not x.complete or x.streamed or x.request.upgrade is not None:
            return
        cluster: Cluster = x.cluster
        choose = cluster.choose
        other = choose((*x.tried, endpoint), x)
        if other is None or not cluster.lets_pass() or not self._spend(x):
            return
        cluster.stats.hedges_total += 1
        hedge = self._hedge = Hedge(self, x)
        hedge.twin.endpoint = other
        connect(self._site, hedge, hedge.twin, other, self._message(x, other))

    def hedge_answered(self, x: Exchange, twin: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        self._hedge = None
        first, x.upstream = x.upstream, twin.upstream
        x.trailers = twin.trailers
        x.endpoint = twin.endpoint
        if first is not None:
            first.cancel()
        if twin.upstream is not None and twin.upstream.carries:
            twin.upstream.turn_to(self, x)
        self.respond(x, head, data, whole)

    def hedge_lost(self, x: Exchange, failure: Failure) -> None:
        self._hedge = None
        if x.upstream is None and self._waiting is None:
            self.lost(x, failure, unheard=False)

    def _end_hedge(self) -> None:
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.cancel()

    def _cancel(self, x: Exchange, failure: Failure | None = None) -> None:
        """Nobody waits for an answer any more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._end_hedge()
        self._try_until = inf
        upstream, x.upstream = x.upstream, None
        if upstream is not None:
            upstream.cancel(failure)

    @abstractmethod
    def reply(self, x: Exchange, reply: Reply) -> None:
        """Say something ourselves."""

    # For who is asked

    @abstractmethod
    def interim(self, x: Exchange, head: ResponseHead) -> None: ...

    @abstractmethod
    def decodes(self, x: Exchange, head: ResponseHead) -> bool: ...

    @abstractmethod
    def sink(self, x: Exchange) -> Conn | None: ...

    @abstractmethod
    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None: ...

    @abstractmethod
    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None: ...

    @abstractmethod
    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None: ...


class Hedge:
    """A second attempt: it asks for a twin of the exchange, and its answer becomes that of the exchange."""

    __slots__ = ("_asked", "_x", "feeder", "twin")

    def __init__(self, asked: Attempts, x: Exchange) -> None:
        self._asked = asked
        self._x = x
        self.feeder: Feeder = asked.feeder
        self.twin = twin = Exchange(x.request, x.path, x.origin, x.handling, x.opening, x.started)
        twin.cluster = x.cluster
        twin.attempts = x.attempts
        twin.trailers = ()

    @property
    def asks(self) -> bool:
        return self.twin.upstream is not None

    def cancel(self) -> None:
        upstream, self.twin.upstream = self.twin.upstream, None
        if upstream is not None:
            upstream.cancel()

    def begun(self, x: Exchange) -> None: ...

    def interim(self, x: Exchange, head: ResponseHead) -> None: ...

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        return self._asked.decodes(self._x, head)

    def sink(self, x: Exchange) -> Conn | None:
        raise AssertionError("whoever has answered belongs to the exchange")

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        self._asked.hedge_answered(self._x, x, head, data, whole)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        raise AssertionError("whoever has answered belongs to the exchange")

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        raise AssertionError("an offer of another protocol is not made twice")

    def lost(self, x: Exchange, failure: Failure, *, unheard: bool) -> None:
        x.upstream = None
        self._asked.hedge_lost(self._x, failure)
