"""A connection of HTTP/2 to an endpoint: it carries many exchanges at a time, each as a stream.

    endpoint.idle.pop().carry(asker, x, data)      it puts itself back for as long as it takes more

It stands in the endpoint's pool while something is under way on it, too.  What is asked of it in one turn of the loop
leaves together.  It takes nothing new once it has carried as much as was said, is old, or the endpoint says that it
goes: then it ends with its last stream.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from meshproxy.cluster.cluster import Cluster, Many
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import Exchange
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.net.flushing import Flushing
from meshproxy.relay.http.carried import Carried
from meshproxy.relay.http.failures import UPSTREAM_LOST, UPSTREAM_MALFORMED
from meshproxy.relay.http.offered import Offered, refusal
from meshproxy.relay.http.site import Site
from meshproxy.relay.http.upstream import Asker
from meshproxy.wire.h1 import Malformed
from meshproxy.wire.h2 import Block, Code, Engine, Fault, Role, StreamFault


class Awaiting(Protocol):
    """Who waits until the endpoint has said how many streams it takes."""

    def settled(self, link: Link) -> None: ...

    def gone(self) -> None: ...


class Link(Flushing):
    """Satisfies `wire.h2.Hearer`, and is a connection of its endpoint."""

    __slots__ = (
        "_asked", "_awaiting", "_beat", "_cluster", "_doom", "_feeding", "_heard", "_lease", "_leaving", "_most_idle",
        "_of_endpoint", "_pooled", "_refuses", "_stats", "_too_old", "_unit", "_uses", "carries", "deadline",
        "endpoint", "faulty", "headed", "many", "out", "reads", "settled_once", "site",
    )  # fmt: skip

    def __init__(
        self, site: Site, cluster: Cluster, many: Many, endpoint: Endpoint, conn: Conn, unit: Stock
    ) -> None:
        super().__init__(site.loop, conn)
        self.site = site
        self.many = many
        self.endpoint = endpoint
        self._cluster = cluster
        self._unit = unit
        self._lease = cluster.lease(endpoint, self)
        self._lease.opened()
        self._stats, self._of_endpoint = cluster.stats, endpoint.stats
        self._awaiting: Awaiting | None = None
        self.settled_once = False
        """The endpoint has said how many streams it takes."""
        self._pooled = False
        self._refuses = False
        """It has refused a stream, and none has been answered since."""
        self._leaving = False
        """It takes nothing new, and ends with its last stream."""
        self._doom: Failure | None = None
        """What is about to become of all streams."""
        self._uses = 0
        self.carries = 0
        """Exchanges under way."""
        self.out = 0
        """The last stream of which something has been sent."""
        self.reads = 0
        self.headed: list[Carried] = []
        """Whose answer has begun in what is being read."""
        self.faulty = False
        """Whether a stream about to be reset is so for what the endpoint has sent."""
        self._feeding = False
        now = site.now()
        reuse = cluster.reuse
        self._most_idle = reuse.most_idle
        self._too_old = now + reuse.lifetime
        self._heard = now
        """When something came last, or when it began to be used, or to wait."""
        self._asked = False
        """Whether it is there."""
        self._beat = min(reuse.idle, many.ping)
        self.deadline = min(now + self._beat, self._too_old)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        self.engine = Engine(Role.CLIENT, self, many.limits, site.now)
        site.upstreams.add(self)
        site.deadlines.watch(self, self._beat)
        self.flush_soon()
        conn.start()

    # For who asks

    def carry(self, asker: Asker, x: Exchange, data: bytes) -> None:
        """Send a request, or its beginning.  Whoever calls this has taken it out of the pool."""
        self._pooled = False
        if not self.carries:
            clock = self.site.now
            self._heard = clock()
        upgrade = x.request.upgrade is not None
        if upgrade and (failure := refusal(self, x.request)) is not None:
            self._offer()
            asker.lost(x, failure, unheard=False)
            return
        self._uses += 1
        self.carries += 1
        stats = self._stats
        stats.streams_total += 1
        stats.streams_active += 1
        self._of_endpoint.streams_active += 1
        (Offered if upgrade else Carried)(self, asker, x).begin(data)
        if not self._flushing:
            self.flush_soon()
        if self._uses >= x.cluster.reuse.requests:
            self.leave()
        else:
            self._offer()

    @property
    def fresh(self) -> bool:
        """Whether nothing has been asked on it yet."""
        return not self._uses

    def tell(self, who: Awaiting) -> None:
        self._awaiting = who

    @property
    def takes(self) -> bool:
        return (
            self.settled_once
            and not (self._leaving or self._refuses or self.endpoint.retired)
            and self.engine.room > 0
        )

    def _offer(self) -> None:
        if not self._pooled and self.takes:
            self._pooled = True
            self.endpoint.idle.append(self)

    def withdraw(self) -> None:
        if self._pooled:
            self._pooled = False
            self.endpoint.idle.remove(self)

    # For what is carried

    def left(self) -> None:
        """One of its streams is over."""
        self.carries -= 1
        self._stats.streams_active -= 1
        self._of_endpoint.streams_active -= 1
        if not self._pooled:
            self._offer()
        if self.carries:
            return
        if self._leaving or self.endpoint.retired or len(self.endpoint.idle) > self._most_idle:
            self.leave()

    def answered(self) -> None:
        self._refuses = False

    def refused(self) -> None:
        """One stream; while others go on, it gets no more, and if there are none, it is of no use."""
        if self.carries > 1:
            self._refuses = True
            self.withdraw()
        else:
            self.leave()

    def rested(self) -> None:
        """Nothing has come of what was awaited, and perhaps nothing is awaited any more."""
        if not self.carries:
            self._heard = self.site.now()

    def flush(self) -> None:
        if self.engine.out:
            self.out = self._uses * 2 - 1
        super().flush()

    # What comes

    def _take(self, data: bytes) -> None:
        clock = self.site.now
        self._heard = clock()
        self.reads += 1
        self.faulty = False
        self._feeding = True
        self.engine.feed(data)
        if self.headed:
            headed, self.headed = self.headed, []
            for carried in headed:
                carried.show()
        self._feeding = False
        if self.conn.closed:
            self.engine.close()
        elif self._doom is not None:
            self._fail(self._doom)
        elif self.engine.out:
            self.flush()

    def opened(self, stream: int, block: Block, last: bool) -> Carried:
        raise StreamFault(Code.PROTOCOL_ERROR, "pushed")

    def settled(self) -> None:
        self.settled_once = True
        if self.engine.room <= 0:
            self.withdraw()
        awaiting, self._awaiting = self._awaiting, None
        if awaiting is not None:
            awaiting.settled(self)
        self._offer()

    def went(self, last: int, code: int) -> None:
        if code != Code.NO_ERROR:
            self._doom = UPSTREAM_LOST
        self.leave()

    def counted(self, word: str) -> None:
        self.faulty = True
        self._stats.http2[word] += 1

    def malformed(self, fault: Malformed) -> None:
        self._stats.malformed[fault.reason.value] += 1

    def broken(self, fault: Fault) -> None:
        self._doom = UPSTREAM_MALFORMED

    def pong(self) -> None:
        """It is there: it has been heard."""

    # The endpoint takes no more, or more

    def hold(self) -> None:
        self.engine.block()

    def release(self) -> None:
        self.engine.unblock()
        self.flush()

    # For the pool, and for reloads

    @property
    def waits(self) -> bool:
        """Nobody uses it now."""
        return not self.carries

    def waits_under(self, limit: Stock) -> bool:
        """Whether it could give this limit a unit back at once."""
        return not self.carries and self._unit is limit

    def close(self) -> None:
        """Nobody is to be sent there any more."""
        self.leave()
        if not self.carries:
            self._end()

    def leave(self) -> None:
        """It ends with its last stream."""
        self._leaving = True
        self.withdraw()
        if not self.carries:
            self.site.loop.call_soon(self._end_if_over)

    def _end_if_over(self) -> None:
        if not self.carries and not self.conn.closed:
            self._end()

    def drain(self) -> None:
        """Its endpoint is gone, and so is the time that was given."""
        self._fail(UPSTREAM_LOST)

    def account(self) -> None:
        """Add what has moved since the last time to the counters."""
        conn = self.conn
        self._lease.moved(conn.sent, conn.received)
        conn.sent = conn.received = 0

    # Time

    def expired(self) -> None:
        now = self.site.now()
        if now >= self._too_old:
            self._too_old = inf
            self.leave()
        if self.carries:
            due = self._heard + self.many.ping
            if now < due:
                self._asked = False
            elif self._asked:
                self._fail(UPSTREAM_LOST)
                return
            else:
                self._asked = True
                self.engine.ping()
                self.flush()
                due = now + self.many.ping
        else:
            due = self._heard + self._cluster.reuse.idle
            if now >= due:
                self._end()
                return
        self.deadline = min(due, now + self._beat, self._too_old)

    # How it ends

    def on_end(self, conn: Conn) -> None:
        self._fail(UPSTREAM_LOST)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._fail(UPSTREAM_LOST)

    def _fail(self, failure: Failure) -> None:
        """And all that is under way with it."""
        users = [record.user for record in self.engine.streams.values()]
        self._end(abort=not self.engine.over)
        for user in users:
            if isinstance(user, Carried):
                user.end(failure)
            elif user is not None:
                user.reset(Code.CANCEL)

    def _end(self, *, abort: bool = False) -> None:
        if self.conn.closed:
            return
        self._leaving = True
        self.withdraw()
        if abort:
            self.conn.abort()
        else:
            if not self.engine.over:
                self.engine.goaway()
            self.flush()
            self.conn.close()
        if not self._feeding:
            self.engine.close()
        self.account()
        self.site.deadlines.forget(self)
        self.site.upstreams.discard(self)
        self._lease.done()
        self._unit.give()
        awaiting, self._awaiting = self._awaiting, None
        if awaiting is not None:
            awaiting.gone()
