"""A client's connection of HTTP/2: what it reads becomes streams, and what these write leaves together.

    read -> frames -> streams opened, fed, reset -> those that are new begin -> written once
    an endpoint has answered -> frames -> written when the loop turns next, with all others'

How it ends: with nothing to do it is told so and closed.  Where it has no future, the client is told to open nothing
more, what is on its way is still taken, and the connection goes with its last stream.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from meshproxy.core.reply import of_failure
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.net.flushing import Flushing
from meshproxy.relay.http import failures
from meshproxy.relay.http.extended import Extended
from meshproxy.relay.http.stream import Stream
from meshproxy.relay.http.tunnel import StreamTunnel
from meshproxy.relay.origin import Origin
from meshproxy.relay.refused import REFUSED, Refused
from meshproxy.wire import h2
from meshproxy.wire.h1 import Malformed
from meshproxy.wire.h2 import Block, Code, Fault, StreamFault, response_block

if TYPE_CHECKING:
    from meshproxy.relay.http.service import Engines, HttpService

LINGER = 2.0
"""Seconds for which a client may go on sending what nobody reads any more, so that it reads what was said last."""
MOST_LINGERING = 1 << 20
"""Bytes of that."""
BAD_REQUEST = 400


class Multiplexed(Flushing):
    """Satisfies `wire.h2.Hearer`, and is a connection of its listener."""

    __slots__ = (
        "_entry", "_fresh", "_leaving", "_lingered", "_parts_at", "_streams", "_too_old", "deadline", "front", "origin",
        "said", "service", "site", "tunnels",
    )  # fmt: skip

    def __init__(self, service: HttpService, engines: Engines, conn: Conn, origin: Origin) -> None:
        super().__init__(service.site.loop, conn)
        self.site = service.site
        self.origin = origin
        self._streams: set[Stream] = set()
        self._fresh: list[Stream] = []
        """Opened by what is being read."""
        self.tunnels: set[StreamTunnel] = set()
        """What some of its streams have become."""
        self._leaving = False
        self._parts_at = inf
        """Whoever has been told to open nothing more has heard it by then."""
        self._lingered = -1
        """Bytes that came after the end; less than none while it lasts."""
        now = self.site.now()
        self._too_old = now + service.lifetime
        self.deadline = now + service.head
        self._take_service(service)
        self.engine = engines(self, self.site.now)

    def _take_service(self, service: HttpService) -> None:
        self.service = service
        self._entry = service.state.entry
        self.front = service.front_for(self.origin)
        self.said = service.said_of(self.origin)
        self.site.deadlines.watch(self, service.shortest)

    def begin(self, data: bytes) -> None:
        """With what has been read already."""
        conn = self.conn
        self.service.state.connections.add(self)
        conn.handler = conn.fed_by = self
        conn.read_to(self._take)
        if data:
            self._take(data)
        if not conn.closed:
            conn.start()

    # What comes

    def _take(self, data: bytes) -> None:
        self.engine.feed(data)
        if self.engine.over:
            # Who breaks the connection in one breath with what is asked has asked nobody.
            self._fresh = []
            self._linger("error")
            return
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            for stream in fresh:
                stream.go()
        self.flush()

    def opened(self, stream: int, block: Block, last: bool) -> Stream | Refused:
        if self._entry is not self.service.state.entry:
            self._renew()
            block.meaning = None
        requests = self.front.requests
        assert requests is not None
        try:
            head = requests.head(block, last)
        except Malformed as fault:
            self.malformed(fault)
            if fault.status != BAD_REQUEST:
                return self._refuse(stream, fault, last)
            raise StreamFault(Code.PROTOCOL_ERROR, h2.Reason.MALFORMED) from None
        kind = Stream if head.upgrade is None and head.method != b"CONNECT" else Extended
        opened = kind(self, stream, head, last)
        self._streams.add(opened)
        self._fresh.append(opened)
        if opened.deadline < self.deadline:
            self.expect(opened.deadline)
        return opened

    def _refuse(self, stream: int, fault: Malformed, last: bool) -> Refused:
        """It is a request, but more than is taken, or something else than is had: its client is told what."""
        failure = Failure(fault.reason.value, fault.status, "DPE")
        self.service.unread(self.origin, failure)
        reply, engine = of_failure(failure.status, failure.reason), self.engine
        engine.answer(stream, response_block(reply.opening + self.site.dates.line()), reply.body)
        if not last:
            engine.reset(stream, Code.NO_ERROR)
        return REFUSED

    def malformed(self, fault: Malformed) -> None:
        self.service.state.stats.malformed[fault.reason.value] += 1

    def counted(self, word: str) -> None:
        self.service.state.stats.http2[word] += 1

    def went(self, last: int, code: int) -> None:
        """The client opens no more; what it has asked for is answered."""
        self.leave()

    def settled(self) -> None:
        """Nothing of ours depends on it."""

    def broken(self, fault: Fault) -> None:
        """The last word is on its way out."""

    def _renew(self) -> None:
        """The configuration has changed: what is asked next belongs to the new one, if that still wants it."""
        origin = self.origin
        entry = self.service.state.entry
        chosen = entry.choose(origin) if entry is not None else None
        service = chosen.behind(origin) if chosen is not None else None
        if service is None or type(service) is not type(self.service) or service.engines is None:
            self.leave()
            raise StreamFault(Code.REFUSED_STREAM, h2.Reason.STREAM_REFUSED)
        self._take_service(service)
        # What was decided by the old one is decided again
        self.engine.forget_meanings()

    # What goes

    def hold(self) -> None:
        self.engine.block()

    def release(self) -> None:
        self.engine.unblock()
        self.flush()
        if self._lingered >= 0:
            self._expire_at(self.site.now() + LINGER)

    # Time

    def expect(self, deadline: float) -> None:
        """One of its streams may expire then."""
        if deadline < self.deadline:
            self._expire_at(deadline)

    def _expire_at(self, deadline: float) -> None:
        self.deadline = deadline
        self.site.deadlines.expect(deadline)

    def left(self, stream: Stream) -> None:
        """It is over."""
        self._streams.discard(stream)
        self._rest()

    def turned(self, stream: Stream) -> None:
        """It goes on as a tunnel."""
        self._streams.discard(stream)

    def parted(self, tunnel: StreamTunnel) -> None:
        """One is over, and perhaps not all of them."""
        if tunnel in self.tunnels:
            self.tunnels.discard(tunnel)
            self._rest()

    @property
    def _busy(self) -> bool:
        return bool(self._streams or self.tunnels)

    def _rest(self) -> None:
        if self._busy:
            return
        now = self.site.now()
        self.deadline = min(now + self.service.idle, self._too_old)
        if self._leaving or now >= self._too_old:
            self.site.loop.call_soon(self._part)

    def expired(self) -> None:
        now = self.site.now()
        if self._lingered >= 0:
            self._abort("done" if self.engine.over else "idle")
            return
        for stream in [stream for stream in self._streams if stream.deadline <= now]:
            stream.expired()
        if now >= self._parts_at:
            self._part()
        if self._streams:
            if now >= self._too_old:
                self.leave()
            self._expire_at(min(self._parts_at, *[stream.deadline for stream in self._streams]))
        elif self.tunnels:
            # How long these may be silent is for them to say.
            if now >= self._too_old:
                self.leave()
            self._expire_at(min(self._parts_at, self._too_old if now < self._too_old else inf))
        elif self.deadline <= now:
            if self.conn.paced:
                self._expire_at(now + self.service.idle)
            else:
                self._linger("idle")

    # The end

    def leave(self) -> None:
        """There is no future here: what is under way is finished."""
        if self._leaving or self._lingered >= 0:
            return
        self._leaving = True
        # What it has opened before it hears of this is still answered: that is all there when it has answered a ping.
        self.engine.goaway(final=False)
        self.engine.ping()
        self.flush_soon()
        self._parts_at = self.site.now() + LINGER
        self._expire_at(min(self.deadline, self._parts_at))

    def pong(self) -> None:
        if self._leaving:
            self._part()

    def _part(self) -> None:
        """Nothing new is taken from here on."""
        if self._lingered >= 0 or self.conn.closed:
            return
        self._parts_at = inf
        self.engine.goaway()
        self.flush_soon()
        if not self._busy:
            self._linger("drain")

    def _linger(self, reason: str) -> None:
        """Say that no more comes.  To close while the client still sends would reset what it has not yet read."""
        if self._lingered >= 0:
            return
        self._lingered = 0
        self._end_streams(failures.CLIENT_GONE)
        if not self.engine.over:
            self.engine.goaway()
        self.flush()
        self.conn.read_to(self._discard)
        self.conn.end()
        self._expire_at(self.site.now() + (self.service.idle if self.conn.full else LINGER))

    def _discard(self, data: bytes) -> None:
        self._lingered += len(data)
        if self._lingered > MOST_LINGERING:
            self._abort("done")

    def _end_streams(self, failure: Failure) -> None:
        streams, self._streams = self._streams, set()
        for stream in streams:
            stream.end(failure)
        tunnels, self.tunnels = self.tunnels, set()
        for tunnel in tunnels:
            tunnel.drain()

    def on_end(self, conn: Conn) -> None:
        if self._lingered < 0:
            self._gone("done" if not self._busy else "reset", failures.CLIENT_GONE)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._gone("done" if error is None else "reset", failures.CLIENT_GONE)

    def _gone(self, reason: str, failure: Failure) -> None:
        if self._busy:
            self._end_streams(failure)
            self._abort(reason)
        else:
            self._close(reason)

    def drain(self) -> None:
        self._gone("drain", failures.DRAINED)

    def account(self) -> None:
        stats, conn = self.service.state.stats, self.conn
        stats.bytes_received_total += conn.received
        stats.bytes_sent_total += conn.sent
        conn.received = conn.sent = 0
        for tunnel in self.tunnels:
            tunnel.account()

    def _close(self, reason: str) -> None:
        self.conn.close()
        self._closed(reason)

    def _abort(self, reason: str) -> None:
        self.conn.abort()
        self._closed(reason)

    def _closed(self, reason: str) -> None:
        self.account()
        self.deadline = inf
        self.site.deadlines.forget(self)
        self.service.state.closed(self, reason)
        self.engine.close()
