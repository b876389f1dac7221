"""A tunnel: one session, the connections that carry it now, and its streams as connections.

    tunnel.open(purpose, 1)             # a StreamConn, or None: there is no room for another
    tunnel.talk(purpose, 1)             # a Flow, or None
    tunnel.attach(carrier, hello)       # a connection of it is there

While no connection carries it its streams wait, for as long as that may take; then they fail.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from hmac import compare_digest
from math import inf
from types import MappingProxyType
from typing import Literal
from weakref import WeakSet

from meshproxy.net.clock import Clock, Timer
from meshproxy.net.mux.conn import StreamConn
from meshproxy.net.mux.flow import Flow
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.relay.mux.carries import Carries
from meshproxy.relay.mux.squeezing import Squeezing
from meshproxy.wire.mux.frames import Closed, Fault, Reason
from meshproxy.wire.mux.hello import Hello
from meshproxy.wire.mux.metadata import Purpose, read_purpose
from meshproxy.wire.mux.session import Session
from meshproxy.wire.mux.squeeze import Coding
from meshproxy.wire.mux.terms import Role, Terms

TELLS_WITHIN = 0.02
"""Seconds after which the other end hears of what it need not hear of at once."""
MOST_UNREAD = 1 << 20
"""Bytes of a stream that nobody reads any more, before it is reset."""

MOST_CARRIERS = 32
"""Connections at a time: as many as may be dialled, and as many that are gone, of which that is not known yet."""
LINGERS = 1.0
"""Seconds for which a connection stays that is given up for another, so that what is on its way arrives."""
AWAITED = 5.0
"""Seconds for which a tunnel that has been made is waited for, before it is there for the first time."""
CHANGES_FOR = 1.5
"""So much faster another connection must be to be used instead."""
NOTHING: frozenset[int] = frozenset()
UNCOMPRESSED: Mapping[str, Coding] = MappingProxyType({})

Serve = Callable[[StreamConn, Purpose], None]
"""Takes a stream that the other end has opened."""
ServeFlow = Callable[[Flow], None]
"""Takes a flow; at once, since its first datagram may be there already."""


def refuse_flow(flow: Flow) -> None:
    flow.refuse(Reason.REFUSED)


@dataclass(frozen=True, slots=True)
class Way:
    """What is said of a tunnel at both ends alike, whoever dials."""

    name: str
    role: Role
    terms: Terms
    resume: float
    """Seconds that streams live without a connection."""
    dead: float
    """Seconds of silence after which a connection is given up."""
    mode: Literal["standby", "bonded", "classes"] = "standby"
    """What several connections carry."""


class Tunnel:
    """Live: it outlives its connections, and reloads that say the same of it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        way: Way,
        serve: Serve,
        stats: TunnelStats,
        codings: Mapping[str, Coding] = UNCOMPRESSED,
    ) -> None:
        """`codings` are how streams may be compressed, the best first."""
        self._loop = loop
        self._codings = codings
        self.stats = stats
        self._before = (0, 0)
        """Bytes of the session that are counted."""
        self._clock = clock
        self.way = way
        self._lanes = {each.name: place for place, each in enumerate(way.terms.classes)}
        self.serve = serve
        self.serve_flow: ServeFlow = refuse_flow
        self.session: Session | None = None
        self._squeezing: Squeezing
        """Of the session."""
        self._id = self._secret = ""
        self._streams: dict[int, StreamConn | Flow] = {}
        self._flows: set[int] = set()
        """Those of them that are."""
        self._most_flows = 0
        """That there may be before another one is begun here: of streams half, or sources that somebody has forged
        would leave none to connections."""
        self._fresh: dict[StreamConn | Flow, None] = {}
        """For whom something has come, until all of it is there that came at once."""
        self._unread: dict[int, int] = {}
        """Of streams that are closed here: how much has come since."""
        self.carriers: list[Carries] = []
        self._flush_soon = False
        self._tells: Timer | None = None
        self._ends: Timer | None = None
        self._waits: Timer | None = None
        self._pings = 0
        self.indoors: WeakSet[Tunnel] = WeakSet()
        """By which other workers use this one."""
        self._expected_until = clock.now() + AWAITED
        self.awaited_by: dict[Callable[[], None], None] = {}
        """Who wants to hear when it is there."""
        self.on_change: Callable[[], None] = lambda: None
        """A connection has come or gone."""

    @property
    def streams(self) -> Collection[int]:
        """Those that are not over."""
        return self.session.streams if self.session is not None else ()

    @property
    def coming(self) -> bool:
        """Whether it has never been there, and may still be soon."""
        return self._clock.now() < self._expected_until

    # Streams

    def open(self, purpose: Purpose, klass: int = 0) -> StreamConn | None:
        session = self.session
        if session is None:
            return None
        purpose = self._of_class(purpose, klass)
        if self.way.terms.classes[klass].compress:
            purpose = replace(purpose, coding=self._squeezing.coding())
        number = session.open(bytes(purpose), klass)
        if number is None:
            return None
        conn = self._streams[number] = self._squeezing.opens(number, purpose)
        self.stats.opened["here"] += 1
        return conn

    def talk(self, purpose: Purpose, klass: int = 0) -> Flow | None:
        session = self.session
        # While nothing carries it a stream waits; datagrams do not.
        if session is None or not self.carriers or len(self._flows) >= self._most_flows:
            return None
        number = session.open(bytes(self._of_class(purpose, klass)), klass)
        if number is None:
            return None
        self.stats.opened["here"] += 1
        return self._flow(session, number, purpose)

    def class_named(self, lane: str) -> int:
        """The first, if there is none of that name."""
        return self._lanes.get(lane, 0)

    def _of_class(self, purpose: Purpose, klass: int) -> Purpose:
        classes = self.way.terms.classes
        return replace(purpose, lane=classes[klass].name) if len(classes) > 1 else purpose

    def _flow(self, session: Session, number: int, purpose: Purpose) -> Flow:
        self._flows.add(number)
        flow = self._streams[number] = Flow(session, number, purpose)
        return flow

    def opened(self, stream: int, metadata: bytes) -> None:
        purpose = read_purpose(metadata)
        assert self.session is not None
        self.stats.opened["there"] += 1
        self.session.rank(stream, self.class_named(purpose.lane))
        if purpose.datagrams:
            serve_flow = self.serve_flow
            serve_flow(self._flow(self.session, stream, purpose))
            return
        conn = self._squeezing.opened(stream, purpose)
        if conn is None:
            self.session.reset(stream, Reason.TOO_MANY)
            return
        self._streams[stream] = conn
        # Whoever serves it may write at once, while a frame is being read.
        self._loop.call_soon(self._serve, stream, conn, purpose)

    def _serve(self, stream: int, conn: StreamConn, purpose: Purpose) -> None:
        if self._streams.get(stream) is conn:
            serve = self.serve
            serve(conn, purpose)

    def came(self, stream: int, data: bytes, last: bool) -> None:
        used = self._streams[stream]
        if not used.closed:
            used.came(data, last)
            self._fresh[used] = None
        else:
            self._throw_away(stream, len(data), last)

    def _throw_away(self, stream: int, size: int, last: bool) -> None:
        assert self.session is not None
        unread = self._unread[stream] = self._unread.get(stream, 0) + size
        if unread > MOST_UNREAD and not last:
            self.session.reset(stream, Reason.CANCELLED)
        else:
            self.session.taken(stream, size)

    def reset(self, stream: int, reason: int) -> None:
        self.stats.reset_total += 1
        used = self._streams[stream]
        self.over(stream)
        if not used.closed:
            used.reset(reason)

    def over(self, stream: int) -> None:
        """Whoever uses it, if anybody does, may yet read what has come."""
        self._streams.pop(stream, None)
        self._flows.discard(stream)
        self._unread.pop(stream, None)

    def room(self, stream: int) -> None:
        used = self._streams[stream]
        if not used.closed:
            used.room()

    def datagram(self, flow: int, data: bytes) -> None:
        used = self._streams[flow]
        if isinstance(used, Flow) and not used.closed:
            on_data = used.on_data
            on_data(data)
        elif self.session is not None:
            self.session.datagrams["unknown"] += 1

    # Connections

    def hello(self) -> Hello:
        """What this end says on a new connection."""
        terms = self.way.terms
        return Hello(self.way.name, self._id, self._secret, terms.streams, terms.window, tuple(self._codings))

    def attach(self, carrier: Carries, said: Hello) -> None:
        """What the other end has said: the same session goes on, or another one begins.  Raises Fault."""
        if self.way.role is Role.ACCEPTS:
            if said.session and not self._is_ours(said):
                raise Fault(Reason.EXPIRED, "that session is not here")
            if not said.session:
                self._begin_anew(secrets.token_hex(16), secrets.token_hex(32), said)
            carrier.say(self.hello())
        elif not said.session:
            raise Fault(Reason.OUT_OF_STATE, "no session was given")
        elif not self._is_ours(said):
            self._begin_anew(said.session, said.secret, said)
        assert self.session is not None
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        if len(self.carriers) >= MOST_CARRIERS:
            min(self.carriers, key=lambda each: each.heard_at).lost()
        self.carriers.append(carrier)
        self.stats.attached_total += 1
        carrier.belongs_to(self, self.session.attach())
        self._expected_until = 0.0
        awaited_by, self.awaited_by = self.awaited_by, {}
        for tell in awaited_by:
            self._loop.call_soon(tell)
        self.leaving()

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        """By the other end of a connection that this one has made."""
        self.attach(carrier, hello)

    @property
    def staying(self) -> list[Carries]:
        """Those that nobody is going to close."""
        return [each for each in self.carriers if each.link is not None and not each.link.leaving]

    def leave(self, carrier: Carries) -> None:
        """It carries on until there is another one, and for as long as it lasts."""
        if carrier.link is not None:
            carrier.link.leave()
            self.leaving()

    def leaving(self) -> None:
        """Who has others lets go of such."""
        staying = self.staying
        for carrier in self.carriers if staying else ():
            if carrier not in staying:
                self._clock.after(LINGERS, carrier.close)
        self._share_out()
        self.wake()
        self.on_change()

    def gone(self, carrier: Carries, why: Fault | OSError | None) -> None:
        if carrier not in self.carriers:
            if isinstance(why, Closed) and why.reason is Reason.EXPIRED and not self.carriers:
                self._end(why.reason)  # the other end knows nothing of it any more
            self.on_change()
            return
        self.carriers.remove(carrier)
        assert self.session is not None
        assert carrier.link is not None
        self.stats.lost_total += not carrier.link.leaving
        self.session.detach(carrier.link)
        if isinstance(why, Fault):
            # What one end takes for a fault is one on every connection.
            self._end(why.reason)
        elif not self.carriers and self._streams:
            self._ends = self._clock.after(self.way.resume, lambda: self._end(Reason.EXPIRED))
        self._share_out()
        self._tell()
        self.wake()
        self.on_change()

    def heard(self, carrier: Carries) -> None:
        fresh, self._fresh = self._fresh, {}
        for conn in fresh:
            conn.read_on()
        if self._tells is None:
            self._tells = self._clock.after(TELLS_WITHIN, self._tell)

    def account(self) -> None:
        """What is counted only when somebody looks."""
        stats, session = self.stats, self.session
        stats.links = len(self.carriers)
        stats.streams = len(self.streams)
        stats.kept_bytes = session.kept if session is not None else 0
        if session is not None:
            written, received = self._before
            stats.sent_bytes_total += session.written - written
            stats.received_bytes_total += session.received - received
            self._before = session.written, session.received
            self._account_datagrams(session.datagrams)

    def _account_datagrams(self, counted: Counter[str]) -> None:
        stats = self.stats
        stats.datagrams_sent_total += counted.pop("sent", 0)
        stats.datagrams_received_total += counted.pop("received", 0)
        for reason, count in counted.items():
            stats.datagrams_dropped[reason] += count
        counted.clear()

    def wake(self) -> None:
        if not self._flush_soon:
            self._flush_soon = True
            self._loop.call_soon(self._flush)

    def ping(self) -> None:
        """Now and then: who does not answer is gone."""
        now = self._clock.now()
        for carrier in tuple(self.carriers):
            if now - carrier.heard_at > self.way.dead:
                carrier.lost()
            elif carrier.link is not None:
                self._pings += 1
                carrier.link.ping(self._pings, now)
        self._share_out()
        self.wake()

    def _share_out(self) -> None:
        """What each connection carries; what is on its way on one that carries no more still arrives."""
        links = [carrier.link for carrier in self.staying or self.carriers if carrier.link is not None]
        mode, classes = self.way.mode, range(len(self.way.terms.classes))
        for carrier in self.carriers:
            if carrier.link is not None and carrier.link not in links:
                carrier.link.carries = NOTHING
        if mode == "standby" and links:
            # One that is a little faster is not worth the change.
            best = min(links, key=lambda link: (link.rtt or inf) * (1.0 if link.carries is None else CHANGES_FOR))
            for link in links:
                link.carries = None if link is best else NOTHING
        elif mode == "classes":
            for place, link in enumerate(links):
                link.carries = {each for each in classes if min(each, len(links) - 1) == place}
        else:
            for link in links:
                link.carries = None

    def close(self, reason: Reason = Reason.LEAVING) -> None:
        for carrier in tuple(self.carriers):
            carrier.close(Fault(reason, "it is closed"))
        self._end(reason)

    def _flush(self) -> None:
        self._flush_soon = False
        for carrier in tuple(self.carriers):
            carrier.flush()
        if self.session is not None and self._waits is None:
            wait = self.session.wait()
            if wait is not None:
                self._waits = self._clock.after(wait, self._waited)

    def _waited(self) -> None:
        self._waits = None
        self._flush()

    def _tell(self) -> None:
        if self._tells is not None:
            self._tells.cancel()
            self._tells = None
        if self.session is not None:
            self.session.tell()
            self._flush()

    def _is_ours(self, said: Hello) -> bool:
        return bool(self._id) and said.session == self._id and compare_digest(said.secret, self._secret)

    def _begin_anew(self, session: str, secret: str, said: Hello) -> None:
        self._end(Reason.EXPIRED)
        self._id, self._secret = session, secret
        peer = Terms(streams=said.streams, window=said.window)
        self._most_flows = (said.streams + 1) // 2
        self.session = Session(self.way.role, self.way.terms, self, self._clock.now, peer)
        self._squeezing = Squeezing(self._loop, self.session, self._codings, said.reads, self.stats)

    def _end(self, reason: Reason) -> None:
        """All that was begun has failed."""
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        self.account()
        self._before = (0, 0)
        streams, self._streams = self._streams, {}
        self._flows.clear()
        self._unread.clear()
        self._id = self._secret = ""
        self.session = None
        for carrier in tuple(self.carriers):
            self.carriers.remove(carrier)
            carrier.close()
        for used in streams.values():
            if not used.closed:
                used.reset(reason)
        for within in tuple(self.indoors):
            within.close(reason)
