"""A copy of a request for another cluster: its answer is read and forgotten, and the original never hears of it.

    the original is sent ─► when the loop turns next, the copy: own connection, own buffer, own time
                            └► answered, or dropped and counted: slow, timeout, cut, busy, a failure's word

A copy is what the upstream was asked, byte for byte, and one line that says what it is.  It is never tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import random

from meshproxy.cluster.cluster import BREAKER_OPEN, Cluster
from meshproxy.core.exchange import Exchange
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.conn import Feeder
from meshproxy.observe.metrics.answers import MirrorStats
from meshproxy.relay.http.connecting import connect
from meshproxy.relay.http.failures import OVERFLOW, REQUEST_TIMEOUT
from meshproxy.relay.http.site import Site
from meshproxy.relay.http.upstream import Switching
from meshproxy.wire.h1 import ResponseHead
from meshproxy.wire.h1.encode import marked

MOST_READ = 1 << 20
"""Bytes of an answer that are read so that its connection may be used again; of a longer one, it is closed."""


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """Compiled: whom a rule's requests are copied to."""

    site: Site
    cluster: Cluster
    stats: MirrorStats
    line: bytes
    """What is added to the head."""
    share: float
    timeout: float
    buffer: int
    most: int

    def copy(self, x: Exchange, data: bytes) -> Copy | None:
        """Of an exchange that is about to be sent, beginning with this data."""
        if self.share < 1 and random() >= self.share:  # noqa: S311 - a share, not a secret
            return None
        if x.request.upgrade is not None:
            self.stats.dropped["upgrade"] += 1
        elif self.stats.copies_active >= self.most:
            self.stats.dropped["busy"] += 1
        else:
            return Copy(self, x, data)
        return None


def original_over(x: Exchange) -> None:
    """However it went: a copy that has all of the request goes on, and no other."""
    copy = getattr(x, "copy", None)
    if copy is not None and not x.complete:
        copy.drop("cut")


class Copy:
    """Satisfies `upstream.Asker`, and feeds its connection itself."""

    __slots__ = ("_mirror", "_over", "_read", "_size", "_status", "_waiting", "_whole", "_x", "deadline", "feeder")

    def __init__(self, mirror: Mirror, original: Exchange, data: bytes) -> None:
        site = mirror.site
        now = site.now()
        self._mirror = mirror
        self._x = x = Exchange(original.request, original.path, original.origin, original.handling, b"", now)
        x.cluster = mirror.cluster
        x.complete = False
        self._whole = original.complete
        """Whether all of the request is here."""
        self._waiting: list[bytes] | None = [marked(data, mirror.line)]
        """What the connection has not been given: there is none yet, or it is full."""
        self._size = 0
        """Of what waits of the body."""
        self._status = 0
        self._read = 0
        self._over = False
        self.feeder: Feeder = self
        self.deadline = now + mirror.timeout
        mirror.stats.copies_total += 1
        mirror.stats.copies_active += 1
        site.copies.add(self)
        site.deadlines.watch(self, mirror.timeout)
        # The original goes first, whatever it costs to begin this.
        site.loop.call_soon(self._begin)

    def _begin(self) -> None:
        if self._over:
            return
        cluster = self._mirror.cluster
        limit = cluster.requests
        if not cluster.lets_pass():
            self.drop(BREAKER_OPEN.reason)
        elif limit is None:
            self._send_first()
        elif limit.take():
            self._entered(limit, True)
        else:
            limit.ask(partial(self._entered, limit))

    def _entered(self, limit: Stock, granted: bool) -> None:
        if granted:
            self._x.units = (limit,)
        if self._over:
            self._give_back()
        elif granted:
            self._send_first()
        else:
            self._mirror.cluster.stats.overflow_total += 1
            self.drop(OVERFLOW.reason)

    def _give_back(self) -> None:
        units, self._x.units = self._x.units, ()
        for unit in units:
            unit.give()

    def _send_first(self) -> None:
        x, waiting = self._x, self._waiting
        assert waiting is not None
        cluster = x.cluster
        choose = cluster.choose
        endpoint = choose((), x)
        if endpoint is None:
            self.drop(cluster.nobody().reason)
            return
        opening = waiting.pop(0)
        if endpoint.idle:
            endpoint.idle.pop().carry(self, x, opening)
            self.begun(x)
        else:
            connect(self._mirror.site, self, x, endpoint, opening)

    def more(self, data: bytes, last: bool) -> None:
        """The next piece of the body."""
        if self._over:
            return
        self._whole = last
        if self._waiting is None:
            self._send(data)
            return
        self._size += len(data)
        if self._size > self._mirror.buffer:
            self.drop("slow")
        else:
            self._waiting.append(data)

    def _send(self, data: bytes) -> None:
        x = self._x
        x.complete = self._whole
        if data:
            x.upstream.more(data)

    # The connection takes more, or no more

    def hold(self) -> None:
        if self._waiting is None:
            self._waiting = []

    def release(self) -> None:
        waiting, self._waiting, self._size = self._waiting, None, 0
        upstream = self._x.upstream
        if not self._over and waiting is not None and upstream is not None and upstream.carries:
            self._send(b"".join(waiting))

    # What comes back

    def begun(self, x: Exchange) -> None:
        if not x.upstream.full:
            self.release()

    def interim(self, x: Exchange, head: ResponseHead) -> None:
        """It was asked for by who sends the original, and has to wait for that one's."""

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        return False

    def sink(self, x: Exchange) -> None:
        """It is read, and goes nowhere."""

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        self._status = head.status
        self.respond_more(x, data, whole)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        self._read += len(data)
        if last:
            self._mirror.stats.answers[f"{self._status // 100}xx"] += 1
            self._leave()
        elif self._read > MOST_READ:
            self.drop("long_answer")

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        raise AssertionError("no upgrade is copied")

    def lost(self, x: Exchange, failure: Failure, *, unheard: bool) -> None:
        x.upstream = None
        self.drop(failure.reason)

    # How it ends

    def expired(self) -> None:
        self.drop("timeout", REQUEST_TIMEOUT)

    def drain(self) -> None:
        self.drop("drain")

    def drop(self, reason: str, failure: Failure | None = None) -> None:
        """Give it up, if it is not over; the failure is the mirror's."""
        if self._over:
            return
        self._mirror.stats.dropped[reason] += 1
        upstream, self._x.upstream = self._x.upstream, None
        self._leave()
        if upstream is not None:
            upstream.cancel(failure)

    def _leave(self) -> None:
        self._over = True
        self._waiting = None
        self._give_back()
        self._mirror.stats.copies_active -= 1
        self._mirror.site.copies.discard(self)
        self._mirror.site.deadlines.forget(self)
        del self.feeder  # which is itself: a circle
