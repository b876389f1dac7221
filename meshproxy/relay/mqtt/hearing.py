"""What a client in a house hears: messages with ids and a window of its own, and answers, in their order.

    seat.deliver(parcel, qos, retain, ids)      # at once, or when the client takes it; or never, and then it is counted

What does not go at once waits, as far as there is room.  Who asks much and takes nothing is not heard any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshproxy.net.conn import NOBODY, Feeder
from meshproxy.relay.mqtt.backlog import Backlog, Waiting
from meshproxy.relay.mqtt.parcel import EXPIRY, Parcel
from meshproxy.wire.mqtt import PUBREL, Ack, Code, encode

if TYPE_CHECKING:
    from meshproxy.relay.mqtt.house import House

MOST_IDS = 65_535
MOST_ANSWERS = 64
"""Answers that may wait for a client before it is not heard any more."""

STOPPED, HELD = 1, 2
"""Why nothing is given to the client."""
OUTLETS, UNANSWERED, UNREAD = 1, 2, 4
"""Why nothing is taken from it."""

_SENT_1, _SENT_2, _RELEASED = 1, 2, 3
"""How far one to the client is: what it has to say next is PUBACK, PUBREC, PUBCOMP."""

MOST_BYTES = 1 << 28
WAITING_BYTES = 64
"""What a message costs that waits, beside its topic and payload, which many seats may share."""


class Violation(Exception):
    """The client may not say this, or not now."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class Hearing(ABC):
    __slots__ = (
        "_backlog", "_brakes", "_busy", "_closed", "_house", "_largest", "_last_id", "_left", "_out", "_paused",
        "_sending", "_take", "_window", "fed_by", "flowing", "full", "level", "received",
    )  # fmt: skip

    def __init__(self, house: House, level: int) -> None:
        self._house = house
        self.level = level
        self.received = 0
        self._take: Callable[[bytes], None] = NOBODY
        self._out: list[bytes] = []
        self._busy = False
        """Something that it wrote is being answered."""
        self._paused = STOPPED
        self.flowing = False
        """Whether a message may go to it past everything else."""
        self._window = house.measure.in_flight
        self._largest = MOST_BYTES
        self._last_id = 0
        self._sending: dict[int, int] = {}
        self._backlog: Backlog | None = None

        # Why it is not heard, and by whom it is read
        self._brakes = 0
        self.full = False
        self.fed_by: Feeder | None = None

        # How far it is over: for the house, and for whoever serves the client
        self._left = False
        self._closed = False

    def read_to(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def start(self) -> None:
        self._resume(STOPPED)

    def stop(self) -> None:
        self._pause(STOPPED)

    def hold(self) -> None:
        """The client is slow: what is for it waits here."""
        self._pause(HELD)

    def release(self) -> None:
        self._resume(HELD)

    def deliver(self, parcel: Parcel, qos: int, retain: bool, ids: tuple[int, ...] = ()) -> None:
        """A message for the client; `qos` is the one of the delivery."""
        if self.flowing and (not qos or len(self._sending) < self._window):
            head, tail = parcel.around(self.level, qos, retain, ids)
            self._send(qos, head, tail)
        elif not self._left:
            self._keep(parcel, qos, retain, ids)

    def pass_by(self, packet: bytes) -> None:
        """The whole packet of a message of QoS 0, while it is `flowing`."""
        size = len(packet)
        if size > self._largest:
            self._house.tally.oversized += 1
            return
        self._house.tally.delivered += 1
        self.received += size
        take = self._take
        take(packet)

    @property
    def eager(self) -> bool:
        """Whether it would take a message at once."""
        return self.flowing and len(self._sending) < self._window

    def _send(self, qos: int, head: bytes, tail: bytes) -> None:
        size = len(head) + len(tail) + (2 if qos else 0)
        tally = self._house.tally
        if size > self._largest:
            tally.oversized += 1
            return
        tally.delivered += 1
        if qos:
            sending = self._sending
            number = self._last_id % MOST_IDS + 1
            while number in sending:
                number = number % MOST_IDS + 1
            self._last_id = number
            sending[number] = qos
            head = b"".join((head, number.to_bytes(2, "big"), tail))
        if self._busy:
            self._out.append(head)
        else:
            self.received += size
            take = self._take
            take(head)

    def _keep(self, parcel: Parcel, qos: int, retain: bool, ids: tuple[int, ...]) -> None:
        house = self._house
        tally = house.tally
        backlog = self._backlog
        if backlog is None:
            backlog = self._backlog = Backlog(house.measure.queued, house.measure.queue)
        message = parcel.message
        size = len(message.topic) + len(message.payload) + WAITING_BYTES
        expiry = message.properties.get(EXPIRY)
        until = None if expiry is None else house.now() + expiry
        self.flowing = False
        kept = backlog.add(Waiting(parcel, qos, retain, ids, size, until))
        lost = backlog.dropped + (not kept)
        if lost:
            backlog.dropped = 0
            tally.overflowed += lost
            if not house.measure.patient:
                tally.disconnected += 1
                self._end_with(Code.QUOTA_EXCEEDED)

    def _drain(self) -> None:
        """As much of what waits as may go."""
        backlog = self._backlog
        if backlog is not None and not self._paused:
            house = self._house
            sending, window = self._sending, self._window
            while (waiting := backlog.first) is not None:
                qos = waiting.qos
                if self._paused or self._left or (qos and len(sending) >= window):
                    return
                backlog.pop()
                parcel, retain, ids, until = waiting.parcel, waiting.retain, waiting.ids, waiting.until
                if until is None:
                    head, tail = parcel.around(self.level, qos, retain, ids)
                elif (seconds := until - house.now()) > 0:
                    head, tail = parcel.remaining(self.level, qos, retain, ids, seconds)
                else:
                    house.tally.expired += 1
                    continue
                self._send(qos, head, tail)
            self._backlog = None
        self.flowing = not (self._paused or self._busy or self._left)

    def _pause(self, reason: int) -> None:
        self._paused |= reason
        self.flowing = False

    def _resume(self, reason: int) -> None:
        if self._paused & reason:
            self._paused &= ~reason
            self._flush()

    def _say(self, packet: bytes) -> None:
        """An answer: before every message that comes later."""
        self._out.append(packet)
        if not self._busy:
            self._flush()
        if self._paused and len(self._out) >= MOST_ANSWERS:
            self._brake(UNREAD)

    def _flush(self) -> None:
        """Give the client what is for it, unless something that it wrote is still being answered."""
        if self._paused or self._busy or self._closed:
            return
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.received += len(data)
            take = self._take
            take(data)
            if self._brakes & UNREAD:
                self._loosen(UNREAD)
        if not self._left:
            self._drain()

    # What it says to that

    def _puback(self, packet: Ack) -> None:
        self._acknowledged(packet.id, _SENT_1)

    def _pubrec(self, packet: Ack) -> None:
        number = packet.id
        if packet.code >= Code.UNSPECIFIED_ERROR:
            self._acknowledged(number, _SENT_2)
            return
        stage = self._sending.get(number)
        code = Code.SUCCESS
        if stage is None:
            code = Code.PACKET_ID_NOT_FOUND
        elif stage == _SENT_1:
            raise Violation(Code.PROTOCOL_ERROR)
        else:
            self._sending[number] = _RELEASED
        self._say(encode(Ack(PUBREL, number, code), self.level))

    def _pubcomp(self, packet: Ack) -> None:
        self._acknowledged(packet.id, _RELEASED)

    def _acknowledged(self, number: int, expected: int) -> None:
        stage = self._sending.get(number)
        if stage is None:
            return
        if stage != expected:
            raise Violation(Code.PROTOCOL_ERROR)
        del self._sending[number]
        self._drain()

    # Whether it is heard

    def _brake(self, reason: int) -> None:
        self._brakes |= reason
        if not self.full:
            self.full = True
            if self.fed_by is not None:
                self.fed_by.hold()

    def _loosen(self, reason: int) -> None:
        self._brakes &= ~reason
        if self.full and not self._brakes:
            self.full = False
            if self.fed_by is not None:
                self.fed_by.release()

    # The end

    @abstractmethod
    def _end_with(self, code: Code) -> None: ...
