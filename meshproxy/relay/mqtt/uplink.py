"""A session of our own with a cluster of brokers: connected as long as there is a broker, whichever it is.

    uplink = Uplink(UplinkService(clock, cluster, UplinkTerms(), UplinkStats(), log), "site-7", hear)
    uplink.start()
    uplink.subscribe(Subscription(b"commands/#", 1), done)
    uplink.publish(Message(b"state", b"on", 1), done)       # done(0), when a broker has acknowledged it

A broker that is lost is followed by another one at once, and by the next ones after growing pauses, for ever.  What was
not acknowledged is sent again, what was subscribed to is subscribed to again; `outgoing.py`, `incoming.py` and
`subscribed.py` say what becomes of it when the session has lived on, and when it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import random

from meshproxy.cluster.cluster import CONNECT_FAILED, CONNECT_TIMEOUT, Cluster, Lease
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.limit import Stock
from meshproxy.core.mqtt.message import Message
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import UplinkStats
from meshproxy.relay.mqtt.ids import Ids
from meshproxy.relay.mqtt.incoming import Hear, Incoming
from meshproxy.relay.mqtt.leaving import leave
from meshproxy.relay.mqtt.outgoing import Done, Outgoing
from meshproxy.relay.mqtt.subscribed import Subscribed
from meshproxy.relay.mqtt.way import Way
from meshproxy.wire.mqtt import (
    PINGREQ_BYTES,
    PUBREL,
    V5,
    Ack,
    Code,
    Connack,
    Connect,
    Disconnect,
    Frames,
    Malformed,
    Packet,
    Pong,
    Properties,
    Property,
    Publish,
    Suback,
    Subscription,
    Unsuback,
    Will,
    decode,
    encode,
)

DIAL_ATTEMPTS = 3
"""Endpoints tried one after the other, before a pause."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds; also for how long a connection has to last, so that the next one is made without a pause."""
LOG_EVERY = 10.0
FOR_EVER = 0xFFFF_FFFF
"""As a session expiry."""


@dataclass(frozen=True, slots=True)
class UplinkTerms:
    """What is said to brokers, and what bounds it."""

    level: int = V5
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    keep_alive: int = 60
    """Seconds."""
    clean: bool = True
    """Begin with an empty session.  In 3.1.1 each connection is one of its own then."""
    session_expiry: int = 300
    """Seconds for which a broker of 5.0 keeps a session without a connection."""
    will: Will | None = None
    answered_within: float = 5.0
    """Seconds that a broker may take to let us in."""
    most_in_flight: int = 32
    """Messages of QoS 1 and 2 that we have sent, and that are not acknowledged."""
    most_waiting: int = 1024
    """Messages behind these."""
    most_bytes: int = 8 << 20
    """Of all that is not acknowledged."""
    most_heard: int = 32
    """Messages of QoS 1 and 2 that we have heard and not acknowledged."""
    most_packet: int = 1 << 20


@dataclass(slots=True)
class UplinkService:
    """What an uplink, or several, have need of."""

    clock: Clock
    cluster: Cluster
    """That of the generation in force: it may be replaced at any time."""
    terms: UplinkTerms
    stats: UplinkStats
    log: Log
    chance: Callable[[], float] = random
    """From 0 to 1, so that not all come back at once."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom a broker is wanted for."""

    client_id: str
    client: str | None = None


def _nobody(up: bool) -> None:
    """Cares."""


class _Room:
    """Hears that the broker takes no more, and that it takes more again."""

    __slots__ = ("_uplink",)

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink

    def hold(self) -> None:
        self._uplink.filled(True)

    def release(self) -> None:
        self._uplink.filled(False)


class Uplink:
    __slots__ = (
        "_asking", "_conn", "_dial", "_dialled_at", "_failures", "_frames", "_going", "_held", "_incoming", "_lease",
        "_outgoing", "_pinged", "_received", "_sent", "_service", "_subscribed", "_terms", "_timer", "_tried", "_turn",
        "_unit", "_up_at", "_used", "_way", "client_id", "on_change", "up",
    )  # fmt: skip

    def __init__(self, service: UplinkService, client_id: str, hear: Hear) -> None:
        self._service = service
        self._terms = terms = service.terms
        self.client_id = client_id
        self.up = False
        self.on_change: Callable[[bool], None] = _nobody
        ids = Ids()
        self._outgoing = Outgoing(ids, service.stats, terms.most_waiting, terms.most_bytes)
        self._incoming = Incoming(hear, service.stats, terms.most_heard)
        self._subscribed = Subscribed(ids, service.stats)
        self._asking = Asking(client_id)

        # Of the way to a broker
        self._going = False
        self._turn = 0
        """What is asked for in another turn is not wanted any more."""
        self._failures = 0
        """In a row."""
        self._tried: tuple[Endpoint, ...] = ()
        self._unit: Stock | None = None
        self._lease: Lease | None = None
        self._dial: Dialling | None = None
        self._dialled_at = 0.0
        self._timer: Timer | None = None

        # Of a connection
        self._conn: Conn | None = None
        self._frames = Frames(terms.most_packet)
        self._way: Way | None = None
        self._up_at = 0.0
        self._used = False
        """There was a session before."""
        self._held = False
        self._pinged = False
        self._received = self._sent = 0
        """At the last beat."""

    # For whoever uses it

    @property
    def full(self) -> bool:
        return self._outgoing.full

    @property
    def crowded(self) -> bool:
        """It will be soon: who may be left out should be."""
        return self._outgoing.crowded

    @property
    def waiters(self) -> set[Callable[[], None]]:
        return self._outgoing.waiters

    def publish(self, message: Message, done: Done) -> None:
        self._outgoing.publish(message, done)

    def subscribe(self, subscription: Subscription, done: Done, identifier: int = 0) -> None:
        """Remembered, unless the first broker that is asked refuses it; `done` hears of that one."""
        self._subscribed.subscribe(subscription, done, identifier)

    def unsubscribe(self, filter: bytes) -> None:
        self._subscribed.unsubscribe(filter)

    def hold(self) -> None:
        """Read no more of what the broker says, acknowledgements included, until `release`."""
        self._held = True
        if self.up and self._conn is not None:
            self._conn.hold()

    def release(self) -> None:
        self._held = False
        if self.up and self._conn is not None:
            self._conn.release()

    def start(self) -> None:
        if not self._going:
            self._going = True
            self._begin()

    def stop(self, *, forget: bool = False) -> None:
        """Whoever waits for an acknowledgement is told that there will be none.

        `forget`: the broker need not keep the session, as far as it is in touch.
        """
        self._going = False
        self._turn += 1
        conn, was_up = self._conn, self.up
        if conn is not None and was_up:
            self._conn = None  # it is not lost
            self._say_farewell(conn, forget)
        self._let_go(conn)
        self._give_back()
        self._outgoing.close()
        if was_up:
            self.on_change(False)

    def _say_farewell(self, conn: Conn, forget: bool) -> None:
        way = self._way
        properties: Properties = {}
        assert way is not None
        way.uncork()
        if forget:
            # What a broker of 3.1.1 keeps for ever is at least empty.
            self._subscribed.leave_all()
            properties = {Property.SESSION_EXPIRY_INTERVAL: 0}
        way.write(encode(Disconnect(0, properties if way.level == V5 else {}), way.level))
        leave(self._service.clock, conn)

    # The way to a broker

    def _begin(self) -> None:
        self._timer = None
        limit = self._service.cluster.limit
        if limit.take():
            self._unit = limit
            self._try_next()
        else:
            limit.ask(partial(self._enter, limit, self._turn))

    def _enter(self, limit: Stock, turn: int, granted: bool) -> None:
        if turn != self._turn:
            if granted:
                limit.give()
        elif granted:
            self._unit = limit
            self._try_next()
        else:
            self._service.cluster.stats.overflow_total += 1
            self._rest("limit")

    def _try_next(self) -> None:
        service = self._service
        lease = service.cluster.pick(self, self._tried, self._asking)
        if isinstance(lease, Failure):
            self._rest(lease.reason)
            return
        self._lease = lease
        self._dialled_at = service.clock.now()
        dial = lease.cluster.dial(lease.endpoint.address, self._dialled)
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
        else:
            self._dialled(outcome)

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        lease, service = self._lease, self._service
        assert lease is not None
        if isinstance(outcome, OSError):
            lease.failed(outcome)
            self._failed("connect", str(outcome.strerror or outcome))
            return
        lease.opened()
        lease.cluster.stats.connect_seconds.observe(service.clock.now() - self._dialled_at)
        self._conn = conn = outcome
        self._frames = Frames(self._terms.most_packet)
        self._timer = service.clock.after(self._terms.answered_within, self._unanswered)
        conn.handler = self
        conn.fed_by = _Room(self)
        conn.read_to(self._take)
        conn.write(encode(self._greeting(), self._terms.level))
        conn.start()

    def _greeting(self) -> Connect:
        terms = self._terms
        properties: Properties = {}
        # What is there of an earlier life is not wanted; later it is our own.
        clean = terms.clean and not self._used
        if terms.level == V5:
            properties = {
                Property.SESSION_EXPIRY_INTERVAL: terms.session_expiry,
                Property.RECEIVE_MAXIMUM: terms.most_heard,
                Property.MAXIMUM_PACKET_SIZE: terms.most_packet,
            }
        else:
            clean = terms.clean
        return Connect(
            terms.level, self.client_id, clean, terms.keep_alive, terms.user, terms.password, terms.will, properties
        )

    def _unanswered(self) -> None:
        self._timer = None
        self._refused("timeout", "no CONNACK", timed_out=True)

    def _refused(self, word: str, why: str, *, timed_out: bool = False) -> None:
        """There is a connection, and it is of no use."""
        lease = self._lease
        assert lease is not None
        if lease.cluster.heed is not None:
            lease.cluster.heed(lease.endpoint, CONNECT_TIMEOUT if timed_out else CONNECT_FAILED, 0, 0.0)
        self._failed(word, why)

    def _failed(self, word: str, why: str) -> None:
        """With this endpoint, before it has let us in."""
        assert self._lease is not None
        self._tried += (self._lease.endpoint,)
        self._count(word, why)
        self._let_go(self._conn)
        if len(self._tried) < DIAL_ATTEMPTS:
            self._try_next()
        else:
            self._rest(word)

    def _rest(self, word: str) -> None:
        """Nobody is there; later there may be."""
        self._give_back()
        self._tried = ()
        pause = min(FIRST_PAUSE * 2.0 ** min(max(self._failures - 1, 0), 10), LONGEST_PAUSE)
        self._failures += 1
        self._service.log.limited(
            f"mqtt-waits {self.client_id}", LOG_EVERY, "warning", "mqtt-waits",
            cluster=self._service.cluster.name, client_id=self.client_id, reason=word,
        )  # fmt: skip
        self._timer = self._service.clock.after(pause * (1 + self._service.chance()) / 2, self._begin)

    def _count(self, word: str, why: str) -> None:
        service, lease = self._service, self._lease
        assert lease is not None
        service.stats.lost[word] += 1
        service.log.limited(
            f"mqtt-lost {self.client_id}", LOG_EVERY, "warning", "mqtt-lost", cluster=service.cluster.name,
            endpoint=lease.endpoint.name, client_id=self.client_id, reason=word, error=why,
        )  # fmt: skip

    # A connection

    def _take(self, data: bytes) -> None:
        conn, level, way = self._conn, self._terms.level, self._way
        fault: Malformed | None = None
        code = 0
        try:
            data, cuts = self._frames.feed(data)
        except Malformed as malformed:
            fault = malformed
            data, cuts = malformed.before
        if way is not None:
            way.cork()
        for start, body, end in cuts:
            try:
                packet = decode(level, data, start, body, end)
            except Malformed as malformed:
                fault = malformed
                break
            code = self._hear(packet)
            if self._conn is not conn:
                return
            if code:
                break
        if way is not None:
            way.uncork()
        if code:
            self._cut("protocol", Code(code).name, code)
        elif fault is not None:
            self._cut(fault.word.value, str(fault), fault.code)
        elif self._incoming.stuffed:
            assert conn is not None
            conn.stop()

    def _hear(self, packet: Packet) -> int:
        """A code for what the broker must not do, if that is what it does."""
        if not self.up:
            return self._answered(packet) if isinstance(packet, Connack) else Code.PROTOCOL_ERROR
        if isinstance(packet, Publish):
            return self._incoming.publish(packet)
        if isinstance(packet, Ack):
            if packet.kind == PUBREL:
                return self._incoming.release(packet)
            self._outgoing.acked(packet)
            return Code.SUCCESS
        if isinstance(packet, Suback | Unsuback):
            return self._subscribed.answered(packet)
        if isinstance(packet, Pong):
            return Code.SUCCESS
        if isinstance(packet, Disconnect) and self._terms.level == V5:
            taken_over = packet.code == Code.SESSION_TAKEN_OVER
            if taken_over:
                # Somebody has our name: two who come back at once would never be at peace.
                self._up_at = self._service.clock.now()
                self._failures = 10
            self._lose("taken_over" if taken_over else "disconnect", f"code {packet.code:#04x}")
            return Code.SUCCESS
        return Code.PROTOCOL_ERROR

    def _answered(self, said: Connack) -> int:
        service, lease, conn = self._service, self._lease, self._conn
        assert lease is not None
        assert conn is not None
        if said.code:
            self._refused("refused", f"CONNACK {said.code:#04x}")
            return Code.SUCCESS
        terms = self._terms
        if said.present and terms.clean and not (self._used and terms.level == V5):
            return Code.PROTOCOL_ERROR
        if lease.cluster.heed is not None:
            lease.cluster.heed(lease.endpoint, None, 0, service.clock.now() - self._dialled_at)
        self._way = way = Way(conn, terms.level, said, terms.most_in_flight)
        strange = said.present and not self._used
        if self._used:
            service.stats.returns_total += 1
        self._used = self.up = True
        self._up_at = service.clock.now()
        self._tried = ()
        service.stats.up += 1
        self._watch(said.properties.get(Property.SERVER_KEEP_ALIVE, terms.keep_alive))
        if self._held:
            conn.hold()
        way.cork()
        self._subscribed.up(way, present=said.present)
        self._incoming.up(way, present=said.present)
        self._outgoing.up(way, present=said.present, strange=strange)
        if self._way is way:
            way.uncork()
            self.on_change(True)
        return Code.SUCCESS

    def filled(self, full: bool) -> None:
        """Whether the connection takes no more."""
        if self._way is not None:
            self._way.full = full
            if not full:
                self._outgoing.room()

    # Whether it is alive

    def _watch(self, keep_alive: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pinged = False
        self._received = self._sent = -1
        if keep_alive:
            self._beat(keep_alive / 2)

    def _beat(self, every: float) -> None:
        conn = self._conn
        assert conn is not None
        silent = conn.received == self._received
        if silent and self._pinged and not self._held:
            self._timer = None
            self._lose("silent", "no answer to PINGREQ")
            return
        self._pinged = silent or conn.sent == self._sent
        if self._pinged and not conn.full:
            conn.write(PINGREQ_BYTES)
        self._received, self._sent = conn.received, conn.sent
        self._timer = self._service.clock.after(every, partial(self._beat, every))

    # Its end

    def on_end(self, conn: Conn) -> None:
        self._lose("ended", "the broker has ended it")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._lose("ended" if error is None else "reset", "" if error is None else str(error.strerror or error))

    def drain(self) -> None:
        """The endpoint is to be left."""
        if self.up:
            assert self._conn is not None
            self._conn.write(encode(Disconnect(), self._terms.level))
            self._lose("drain", "the endpoint is to be left")
        else:
            self._failed("drain", "the endpoint is to be left")

    def _cut(self, word: str, why: str, code: int) -> None:
        """The broker has broken the protocol."""
        if self.up and self._terms.level == V5:
            assert self._conn is not None
            self._conn.write(encode(Disconnect(code), V5))
        self._lose(word, why)

    def _lose(self, word: str, why: str) -> None:
        if not self.up:
            if self._lease is not None:
                self._refused(word, why)
            return
        assert self._lease is not None
        if self._service.clock.now() - self._up_at >= LONGEST_PAUSE:
            self._failures = 0
        self._tried = (self._lease.endpoint,)
        self._count(word, why)
        self._let_go(self._conn)
        self._give_back()
        turn = self._turn
        self.on_change(False)
        if turn == self._turn and self._going:
            if self._failures:
                self._rest(word)
            else:
                self._failures = 1
                self._begin()

    def _let_go(self, conn: Conn | None) -> None:
        """Of a connection, or of the attempt to make one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        lease, self._lease = self._lease, None
        if lease is not None:
            if conn is not None:
                lease.moved(conn.sent, conn.received)
            lease.done()
        if self._conn is not None:
            self._conn.close()
            self._conn = None
        if self.up:
            self.up = False
            self._way = None
            self._service.stats.up -= 1
            self._subscribed.down()
            self._incoming.down()
            self._outgoing.down()

    def _give_back(self) -> None:
        if self._unit is not None:
            self._unit.give()
            self._unit = None
