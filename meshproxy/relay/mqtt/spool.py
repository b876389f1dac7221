"""Messages that wait on disk until a broker takes them.

    spool = Spool(journal, clock)
    spool.publish(message, done)               # done(0) once it is on disk and synced: it may be acknowledged then
    forwarder = Forwarder(journal, uplink, clock, expiry=86400, emptied=go_on_directly)
    forwarder.changed(True)                    # the uplink is up: they go out, in the order in which they came

As long as the spool is not `empty`, whoever publishes goes through it, or what is new would overtake what waits.

A message is done when the broker has acknowledged it.  Refused for a reason that passes, it is sent again, with those
after it that were not acknowledged either, until it expires; for any other it is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Protocol

from meshproxy.core.mqtt.message import Message
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.journal import Journal, Ticket
from meshproxy.wire.mqtt import V5, Code, Frames, Malformed, Property, Publish, decode, publish
from meshproxy.wire.mqtt.codes import LARGEST

VERSION = 1
WINDOW = 64
"""Messages that a broker has not acknowledged yet."""
PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until what was refused is sent again; twice as long each time."""
PASSING = frozenset({
    Code.IMPLEMENTATION_ERROR, Code.SERVER_UNAVAILABLE, Code.SERVER_BUSY, Code.SERVER_SHUTTING_DOWN,
    Code.PACKET_ID_IN_USE, Code.RECEIVE_MAXIMUM_EXCEEDED, Code.MESSAGE_RATE_TOO_HIGH, Code.QUOTA_EXCEEDED,
})  # fmt: skip
"""Refused now, perhaps not later."""

Done = Callable[[int], None]

_HEAD = Struct(">BQH")
"""The version, when the message came in milliseconds since 1970, and the length of the publisher's client id; this and
a PUBLISH of 5.0 follow."""


class Outlet(Protocol):
    """Where what waits goes: a session of ours with a broker.  Each publish is answered once."""

    up: bool

    @property
    def full(self) -> bool: ...

    @property
    def waiters(self) -> set[Callable[[], None]]:
        """Called once each when it is not full any more."""

    def publish(self, message: Message, done: Done) -> None: ...


class Spool:
    def __init__(self, journal: Journal, clock: Clock, *, qos0: bool = False) -> None:
        """`qos0`: messages of QoS 0 are kept too."""
        self._journal = journal
        self._clock = clock
        self._qos0 = qos0

    @property
    def full(self) -> bool:
        return self._journal.full

    @property
    def waiters(self) -> set[Callable[[], None]]:
        return self._journal.waiters

    @property
    def empty(self) -> bool:
        return self._journal.empty

    def publish(self, message: Message, done: Done) -> None:
        if not message.qos and not self._qos0:
            self._journal.stats.unfit_total += 1
            done(Code.UNSPECIFIED_ERROR)
            return
        stored = _nothing if not message.qos else partial(_stored, done)
        if not self._journal.append(pack(message, self._clock.wall()), stored):
            done(Code.SERVER_SHUTTING_DOWN if self._journal.closed else Code.QUOTA_EXCEEDED)
        elif not message.qos:
            done(Code.SUCCESS)


def _stored(done: Done, ok: bool) -> None:
    done(Code.SUCCESS if ok else Code.IMPLEMENTATION_ERROR)


def _nothing(ok: bool) -> None:
    pass


class Forwarder:
    def __init__(
        self,
        journal: Journal,
        outlet: Outlet,
        clock: Clock,
        *,
        expiry: float,
        emptied: Callable[[], None],
        window: int = WINDOW,
    ) -> None:
        """`expiry`: seconds that a message may wait; `emptied`: called when nothing waits any more."""
        self._journal = journal
        self._stats = journal.stats
        self._outlet = outlet
        self._clock = clock
        self._expiry = expiry
        self._emptied = emptied
        self._window = window
        self._in_flight = 0
        self._refused = False
        """Something was refused for now: nothing more goes out until all are answered, and then again from there."""
        self._pause = PAUSE
        self._resting: Timer | None = None
        self._pumping = False
        self._said = False
        journal.ready = self._pump

    def changed(self, up: bool) -> None:
        """The link has come or gone."""
        if up:
            self._rested()

    def stop(self) -> None:
        """What is under way may still be answered; what waits stays where it is."""
        self._window = 0
        self._journal.ready = lambda: None
        self._rest_no_more()

    def _pump(self) -> None:
        if self._pumping:
            return  # an answer from inside `publish`
        self._pumping = True
        journal, outlet = self._journal, self._outlet
        while self._in_flight < self._window and not self._refused and self._resting is None and outlet.up:
            if outlet.full:
                outlet.waiters.add(self._pump)
                break
            if (ticket := journal.next()) is None:
                break
            self._send(ticket)
        self._pumping = False
        was, self._said = self._said, journal.empty
        if self._said and not was:
            emptied = self._emptied
            emptied()

    def _send(self, ticket: Ticket) -> None:
        try:
            message, came = unpack(ticket.record)
        except (Malformed, ValueError):
            self._stats.damaged_total += 1
            self._journal.done(ticket)
            return
        age = max(self._clock.wall() - came, 0.0)
        most = message.properties.get(Property.MESSAGE_EXPIRY_INTERVAL)
        if age >= self._expiry or (most is not None and age >= most):
            self._stats.expired_total += 1
            self._journal.done(ticket)
            return
        if most is not None:
            message.properties = {**message.properties, Property.MESSAGE_EXPIRY_INTERVAL: most - int(age)}
        self._in_flight += 1
        self._outlet.publish(message, partial(self._answered, ticket))

    def _answered(self, ticket: Ticket, code: int) -> None:
        self._in_flight -= 1
        if code in PASSING:
            self._refused = True
        else:
            if code < Code.UNSPECIFIED_ERROR:
                self._stats.forwarded_total += 1
                self._pause = PAUSE
            else:
                self._stats.rejected_total += 1
            self._journal.done(ticket)
        if self._refused and not self._in_flight:
            self._refused = False
            self._journal.again()
            if self._window:
                self._resting = self._clock.after(self._pause, self._rested)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._pump()

    def _rested(self) -> None:
        self._rest_no_more()
        self._pump()

    def _rest_no_more(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None


def pack(message: Message, came: float) -> bytes:
    publisher = message.publisher.encode()
    packet = publish(
        message.topic, message.payload, message.qos, message.retain, False, 1 if message.qos else 0,
        message.properties, V5,
    )  # fmt: skip
    return _HEAD.pack(VERSION, int(came * 1000), len(publisher)) + publisher + packet


def unpack(record: bytes) -> tuple[Message, float]:
    """And when it came; Malformed or ValueError: that cannot be said."""
    if len(record) < _HEAD.size:
        raise ValueError("a record that is cut short")
    version, came, length = _HEAD.unpack_from(record)
    if version != VERSION:
        raise ValueError(f"a record of version {version}")
    start = _HEAD.size + length
    data, cuts = Frames(LARGEST).feed(record[start:])
    packet = decode(V5, data, *cuts[0]) if len(cuts) == 1 else None
    if not isinstance(packet, Publish):
        raise ValueError("a record without a message")
    publisher = record[_HEAD.size : start].decode()
    message = Message(packet.topic, packet.payload, packet.qos, packet.retain, packet.properties, publisher)
    return message, came / 1000
