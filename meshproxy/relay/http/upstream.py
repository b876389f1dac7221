"""A connection to an endpoint: it carries one exchange after the other, and waits for the next in the endpoint's pool.

A response belongs to the request that was sent last, or to nobody: bytes that nobody has asked for end the connection,
and one on which anything went wrong is not used again.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from meshproxy.cluster.cluster import Cluster, Lease
from meshproxy.cluster.endpoint import Endpoint, User
from meshproxy.cluster.heed import heard
from meshproxy.core.exchange import Exchange
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.http.failures import UPSTREAM_LOST, UPSTREAM_MALFORMED
from meshproxy.relay.http.site import Site
from meshproxy.relay.joined import Side
from meshproxy.wire.h1 import BodyReader, Malformed, ResponseHead, body_reader


class Switching(Protocol):
    """What carries a request whose endpoint has agreed to go on in another protocol."""

    def surrender(self, user: User) -> Side:
        """What it was goes on as something else.  Who has it closes it, and says so."""

    def moved(self, sent: int, received: int) -> None: ...

    def over(self) -> None: ...


class Asker(Protocol):
    """Who has sent the request, and is told of everything that comes back."""

    feeder: Feeder
    """Who is held while the upstream takes no more."""

    def interim(self, x: Exchange, head: ResponseHead) -> None: ...

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        """The head, and what has come of the body, to which `respond_more` adds unless this is the whole of it."""

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None: ...

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        """The protocol changes, and the connection belongs to the asker."""

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        """Whether it wants a body without chunks."""

    def sink(self, x: Exchange) -> Conn | None:
        """Where a body may go as it is, if nobody here looks at it."""

    def begun(self, x: Exchange) -> None:
        """What there was of the request is on its way, and the rest may follow."""

    def lost(self, x: Exchange, failure: Failure, *, unheard: bool) -> None:
        """`unheard`: not a byte came back on a connection that had been used before, so it may have been closed
        before the request arrived."""


class Upstream:
    __slots__ = (
        "_asked_at",
        "_asker",
        "_begun",
        "_body",
        "_expected",
        "_lease",
        "_reader",
        "_site",
        "_too_old",
        "_unit",
        "_uses",
        "_x",
        "conn",
        "deadline",
        "endpoint",
    )
    carries = True

    def __init__(self, site: Site, cluster: Cluster, endpoint: Endpoint, conn: Conn, unit: Stock) -> None:
        self._site = site
        self.endpoint = endpoint
        self._unit = unit
        self._lease: Lease = cluster.lease(endpoint, self)
        self._lease.opened()
        self._reader = cluster.codec.reader()
        self._body: BodyReader | None = None
        self._begun = False
        """Whether a byte of the response has come, and not the whole of it."""
        self._expected = b"GET"
        """The method whose answer is read; nothing if its reader has to be told anew."""
        self._asker: Asker | None = None
        self._x: Exchange | None = None
        self._asked_at = 0.0
        """If somebody heeds how long it takes."""
        self._uses = 0
        self._too_old = site.now() + cluster.reuse.lifetime
        self.deadline = inf
        self.conn = conn
        conn.handler = self
        conn.read_to(self._take)
        site.upstreams.add(self)
        site.deadlines.watch(self, cluster.reuse.idle)
        conn.start()

    # For who asks

    def carry(self, asker: Asker, x: Exchange, data: bytes) -> None:
        """Send a request, or its beginning."""
        self._asker = asker
        self._x = x
        x.upstream = self
        self._uses += 1
        self.deadline = inf
        if x.cluster.heed is not None:
            self._asked_at = self._site.now()
        request, conn = x.request, self.conn
        conn.fed_by = asker.feeder
        if request.method != self._expected or request.upgrade is not None:
            self._reader.expect(request.method, request.upgrade)
            self._expected = request.method if request.upgrade is None else b""
        conn.write(data)

    @property
    def full(self) -> bool:
        """Whether who asks waits until the endpoint takes more."""
        return self.conn.full

    def more(self, data: bytes) -> None:
        self.conn.write(data)

    def stop(self) -> None:
        """Nobody takes more of the answer until `start`."""
        self.conn.stop()

    def start(self) -> None:
        self.conn.start()

    def cancel(self, failure: Failure | None = None) -> None:
        """Nobody waits for the answer any more, perhaps since the endpoint has failed to give one.

        It must not take half a request for a whole one.
        """
        x = self._x
        if failure is not None and x is not None and x.response is None:
            self._heeded(x, failure, 0)
        self._let_go()
        self._close(abort=True)

    def turn_to(self, asker: Asker, x: Exchange) -> None:
        """Who has been answered goes on as another."""
        if self._x is not None:
            self._asker, self._x = asker, x

    # For whom the protocol has changed

    def surrender(self, user: User) -> Conn:
        self._let_go()
        self._lease.pass_to(user)
        self._site.deadlines.forget(self)
        self._site.upstreams.discard(self)
        self.account()
        return self.conn

    def moved(self, sent: int, received: int) -> None:
        self._lease.moved(sent, received)

    def over(self) -> None:
        self._lease.done()
        self._unit.give()

    @property
    def fresh(self) -> bool:
        """Whether nothing has been asked on it yet."""
        return not self._uses

    # For the pool, and for reloads

    @property
    def waits(self) -> bool:
        """Nobody uses it now."""
        return self._x is None

    def waits_under(self, limit: Stock) -> bool:
        """Whether it could give this limit a unit back at once."""
        return self._x is None and self._unit is limit

    def close(self) -> None:
        """It waits in the pool."""
        self._close()

    def drain(self) -> None:
        """Its endpoint is gone, and so is the time that was given."""
        if self._x is None:
            self._close()
        else:
            self._fail(UPSTREAM_LOST)

    def expired(self) -> None:
        """It has waited for too long: only who waits has a deadline."""
        self._close()

    def account(self) -> None:
        """Add what has moved since the last time to the counters."""
        conn = self.conn
        self._lease.moved(conn.sent, conn.received)
        conn.sent = conn.received = 0

    # What comes back

    def _take(self, data: bytes) -> None:
        x, asker = self._x, self._asker
        if x is None or asker is None:
            self._lease.cluster.stats.unasked_total += 1
            self._close()
            return
        try:
            if self._body is not None:
                self._take_body(x, asker, self._body, data)
                return
            reader = self._reader
            head = reader.feed(data)
            rest = reader.rest
            if head is not None and head.body == len(rest) and head.status >= 200:
                # All of it at once: by far the most
                if x.cluster.heed is not None:
                    self._heeded(x, None, heard(head))
                self._done(x, head.keep_alive)
                asker.respond(x, head, rest, True)
            else:
                self._begun = True
                self._take_head(x, asker, head, rest)
        except Malformed as fault:
            self._malformed(fault)

    def _take_head(self, x: Exchange, asker: Asker, head: ResponseHead | None, rest: bytes) -> None:
        reader = self._reader
        while head is not None and head.interim:
            self._expected = b""
            asker.interim(x, head)
            head, rest = reader.feed(rest) if rest else None, reader.rest
        if head is None:
            return
        self._heeded(x, None, heard(head))
        if head.upgrade is not None:
            asker.switch(x, head, rest, self)
            return
        self._body = body = body_reader(head.body, self._lease.cluster.codec.limits, decode=asker.decodes(x, head))
        passed = body.feed(rest) if rest else b""
        if body.done:
            x.trailers = body.trailers
            self._done(x, head.keep_alive and not body.rest)
            asker.respond(x, head, passed, True)
        else:
            x.response = head
            asker.respond(x, head, passed, False)
            self._pour(body)

    def _take_body(self, x: Exchange, asker: Asker, body: BodyReader, data: bytes) -> None:
        passed = body.feed(data)
        if not body.done:
            asker.respond_more(x, passed, False)
            if passed:
                self._pour(body)
            return
        response = x.response
        x.trailers = body.trailers
        self._done(x, response is not None and response.keep_alive and not body.rest)
        asker.respond_more(x, passed, True)

    def _pour(self, body: BodyReader) -> None:
        """What is left of a body need not come up here, if it is still wanted."""
        x, asker = self._x, self._asker
        if body.left and x is not None and asker is not None:
            sink = asker.sink(x)
            if sink is not None:
                self.conn.pour(body, sink, self._site.pipes)

    def _done(self, x: Exchange, keep: bool) -> None:
        """The response is whole.  This comes before the asker hears of it, who may have the next request at hand."""
        conn, endpoint, clock = self.conn, self.endpoint, self._site.now
        reuse, idle, now = x.cluster.reuse, endpoint.idle, clock()
        self._body = x.upstream = None
        self._begun = False
        if (
            keep
            and x.complete
            and not conn.full
            and self._uses < reuse.requests
            and now < self._too_old
            and len(idle) < reuse.most_idle
            and not endpoint.retired
        ):
            self._x = self._asker = conn.fed_by = None
            idle.append(self)
            self.deadline = now + reuse.idle
        else:
            self._let_go()
            self._close(abort=not x.complete)

    # How it ends

    def on_end(self, conn: Conn) -> None:
        body, x, asker = self._body, self._x, self._asker
        if x is None or asker is None:
            self._close()
            return
        if body is None:
            self._fail(UPSTREAM_LOST)
            return
        try:
            body.end()
        except Malformed as fault:
            self._malformed(fault)
            return
        self._done(x, False)
        asker.respond_more(x, b"", True)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        if self._x is None:
            self._close()
        else:
            self._fail(UPSTREAM_LOST)

    def _malformed(self, fault: Malformed) -> None:
        self._lease.cluster.stats.malformed[fault.reason.value] += 1
        self._begun = True
        self._fail(UPSTREAM_MALFORMED)

    def _fail(self, failure: Failure) -> None:
        x, asker = self._x, self._asker
        assert x is not None
        assert asker is not None
        unheard = not self._begun and self._uses > 1
        if not unheard:
            self._heeded(x, failure, 0)
        self._let_go()
        self._close(abort=True)
        asker.lost(x, failure, unheard=unheard)

    def _heeded(self, x: Exchange, failure: Failure | None, status: int) -> None:
        heed = x.cluster.heed
        if heed is not None:
            heed(self.endpoint, failure, status, self._site.now() - self._asked_at)

    def _let_go(self) -> None:
        """Who asked is not held back by this connection any more."""
        if self.conn.full and self.conn.fed_by is not None:
            self.conn.fed_by.release()
        self.conn.fed_by = None
        self._x = self._asker = self._body = None

    def _close(self, *, abort: bool = False) -> None:
        if self in self.endpoint.idle:
            self.endpoint.idle.remove(self)
        if abort:
            self.conn.abort()
        else:
            self.conn.close()
        self.account()
        self._site.deadlines.forget(self)
        self._site.upstreams.discard(self)
        self.over()
