"""One client's place in a house of ours: what a broker's connection would be to whoever serves the client.

    seat = house.seat(client)
    seat.handler = session                       # hears on_end and on_lost, as of a `Conn`
    seat.read_to(take); seat.start()
    seat.write(connect); seat.write(publish)     # take(connack), and take(puback) when the house has got rid of it

The answers to what is written are taken before `write` returns where they are known by then; an end is told later.
Nothing is sent twice: a message that a client has not acknowledged goes with its connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from meshproxy.core.mqtt.message import Message
from meshproxy.core.mqtt.topic import matches
from meshproxy.net.conn import NOBODY
from meshproxy.relay.mqtt.echoes import Echoes
from meshproxy.relay.mqtt.hearing import MOST_BYTES, MOST_IDS, OUTLETS, UNANSWERED, Hearing, Violation
from meshproxy.relay.mqtt.parcel import IDENTIFIERS
from meshproxy.wire.mqtt import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP_BYTES,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    V5,
    Ack,
    Code,
    Connack,
    Connect,
    Cut,
    Disconnect,
    Frames,
    Malformed,
    Packet,
    Properties,
    Property,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from meshproxy.wire.mqtt.codes import CODES

if TYPE_CHECKING:
    from meshproxy.relay.mqtt.house import House, Outlet

_PENDING_1, _PENDING_2, _RECEIVED = 1, 2, 3
"""How far a message from the client is: two kinds that the outlet has, and one that waits for PUBREL."""

HOPELESS = frozenset((Code.NOT_AUTHORIZED, Code.TOPIC_NAME_INVALID, Code.PAYLOAD_FORMAT_INVALID))
"""Where a message was refused for good, one who speaks 3.1.1 is told that it was taken: it would only send it again."""


class Seat(Hearing):
    __slots__ = (
        "_conn_end", "_frames", "_full_outlets", "_parked", "_receiving", "_told_end", "_unanswered", "_will",
        "echoes", "filters", "handler", "id", "sent",
    )  # fmt: skip

    def __init__(self, house: House, id: str, level: int = 0) -> None:
        """With a level it is open already; else the first that is written has to be a CONNECT."""
        super().__init__(house, level)
        self.id = id
        self.handler: Any = NOBODY

        # From the client
        self.sent = 0
        self._frames = Frames(house.measure.packet)
        self._full_outlets: list[Outlet] = []
        self._parked: list[tuple[bytes, list[Cut], Malformed | None]] = []
        """What it has said since it had to wait for one of these."""
        self._unanswered = 0
        self._receiving: dict[int, int] = {}
        self._will: Will | None = None

        # The house's
        self.filters: dict[bytes, Any] = {}
        """What it has subscribed to, and where."""
        self.echoes: dict[bytes, Echoes] = {}
        """And what of that it has published itself."""

        # The end
        self._conn_end = False
        self._told_end = False

    # As a connection

    @property
    def closed(self) -> bool:
        return self._closed

    def write(self, data: bytes) -> None:
        if self._left:
            return
        self.sent += len(data)
        fault = None
        try:
            data, cuts = self._frames.feed(data)
        except Malformed as malformed:
            fault = malformed
            data, cuts = malformed.before
        if self._parked:
            self._parked.append((data, cuts, fault))
        else:
            self._hear(data, cuts, fault)

    def end(self) -> None:
        """The client says no more; without a DISCONNECT before it, its will is published."""
        if not self._closed:
            self._conn_end = True
            self._leave()
            self._tell_end()

    def close(self) -> None:
        if not self._closed:
            self._leave()
            self._closed = True
            self._take = NOBODY
            self.handler = NOBODY
            self.fed_by = None
            self._out.clear()

    def abort(self) -> None:
        self.close()

    # What the client says

    def _hear(self, data: bytes, cuts: list[Cut], fault: Malformed | None) -> None:
        self._busy = True
        self.flowing = False
        try:
            self._go_through(data, cuts, fault)
        except (Malformed, Violation) as wrong:
            self._end_with(wrong.code)
        self._busy = False
        self._flush()

    def _go_through(self, data: bytes, cuts: list[Cut], fault: Malformed | None) -> None:
        level = self.level
        for start, body, end in cuts:
            kind = data[start] >> 4
            if (kind == CONNECT) == bool(level):
                raise Violation(Code.PROTOCOL_ERROR)
            hear = _HEARD_BY.get(kind)
            if hear is None:
                raise Violation(Code.PROTOCOL_ERROR)
            if hear(self, decode(level, data, start, body, end)):
                # In its order, with all that comes behind it.
                rest = [cut for cut in cuts if cut[0] >= start]
                self._parked.insert(0, (data, rest, fault))
                return
            if self._left:
                return
            level = self.level
        if fault is not None:
            raise fault

    def _connect(self, packet: Connect) -> None:
        measure = self._house.measure
        said = packet.properties
        self.level = packet.level
        if Property.AUTHENTICATION_METHOD in said:
            self._say(encode(Connack(False, Code.BAD_AUTHENTICATION_METHOD), self.level))
            self._leave()
            self._house.soon(self._tell_end)
            return
        told: Properties = {
            int(Property.RECEIVE_MAXIMUM): measure.in_flight,
            int(Property.MAXIMUM_PACKET_SIZE): measure.packet,
        }
        if packet.client_id:
            self.id = packet.client_id
        else:
            told[Property.ASSIGNED_CLIENT_IDENTIFIER] = self.id.encode()
        if said.get(Property.SESSION_EXPIRY_INTERVAL):
            told[Property.SESSION_EXPIRY_INTERVAL] = 0
        self._window = min(said.get(Property.RECEIVE_MAXIMUM, MOST_IDS), measure.in_flight)
        self._largest = said.get(Property.MAXIMUM_PACKET_SIZE, MOST_BYTES)
        self._will = packet.will
        self._say(encode(Connack(False, Code.SUCCESS, told), self.level))
        self._house.came(self)

    def _publish(self, packet: Publish) -> bool:
        """Whether it has to wait."""
        properties, number, qos = packet.properties, packet.id, packet.qos
        if properties:
            if Property.TOPIC_ALIAS in properties:
                raise Violation(Code.TOPIC_ALIAS_INVALID)
            if IDENTIFIERS in properties:
                raise Violation(Code.PROTOCOL_ERROR)
        receiving = self._receiving
        stage = receiving.get(number)
        if stage is not None:
            # It is here already, and is not published twice.
            if (stage == _PENDING_1) != (qos == 1):
                raise Violation(Code.PROTOCOL_ERROR)
            if stage == _RECEIVED:
                self._say(encode(Ack(PUBREC, number), self.level))
            return False
        topic = packet.topic
        outlet = self._house.outlet(topic)
        if outlet.full:
            self._wait_for(outlet)
            return True
        done: Callable[[int], None] = _ignore
        if qos:
            if self.level == V5 and len(receiving) >= self._house.measure.in_flight:
                raise Violation(Code.RECEIVE_MAXIMUM_EXCEEDED)
            receiving[number] = qos
            self._asked()
            done = partial(self._published, number)
        message = Message(topic, packet.payload, qos, packet.retain, properties, self.id)
        for filter, echoes in self.echoes.items():
            if matches(filter, topic):
                echoes.expect(message)
        outlet.publish(message, done)
        if outlet.full and not self._left:
            self._wait_for(outlet)
        return False

    def _wait_for(self, outlet: Outlet) -> None:
        if outlet not in self._full_outlets:
            self._full_outlets.append(outlet)
            outlet.waiters.add(self._relieved)
            self._brake(OUTLETS)

    def _relieved(self) -> None:
        """One of them is not full any more, or was not for a moment."""
        waiting = [outlet for outlet in self._full_outlets if outlet.full]
        self._full_outlets = waiting
        for outlet in waiting:
            outlet.waiters.add(self._relieved)
        while self._parked and not self._full_outlets:
            data, cuts, fault = self._parked.pop(0)
            self._hear(data, cuts, fault)
        if not self._full_outlets:
            self._loosen(OUTLETS)

    def _published(self, number: int, code: int) -> None:
        """Whoever has taken it says so, or that it was refused."""
        if self._left:
            return
        receiving = self._receiving
        qos = receiving[number]
        if code == Code.SERVER_SHUTTING_DOWN:
            # Whoever would take it is gone for good: a reload has put another one in its place.
            self._end_with(Code.SERVER_SHUTTING_DOWN)
            return
        if code not in CODES[PUBACK]:
            code = Code.IMPLEMENTATION_ERROR
        if code >= Code.UNSPECIFIED_ERROR and self.level != V5:
            if code not in HOPELESS:
                # There is no other way to say no.
                self._end_with(Code.UNSPECIFIED_ERROR)
                return
            code = Code.SUCCESS
        if qos == 2 and code < Code.UNSPECIFIED_ERROR:
            receiving[number] = _RECEIVED
        else:
            del receiving[number]
        self._say(encode(Ack(PUBREC if qos == 2 else PUBACK, number, code), self.level))
        self._answered()

    def _pubrel(self, packet: Ack) -> None:
        number = packet.id
        stage = self._receiving.get(number)
        code = Code.SUCCESS
        if stage is None:
            code = Code.PACKET_ID_NOT_FOUND
        elif stage != _RECEIVED:
            raise Violation(Code.PROTOCOL_ERROR)
        else:
            del self._receiving[number]
        self._say(encode(Ack(PUBCOMP, number, code), self.level))

    def _subscribe(self, packet: Subscribe) -> None:
        house = self._house
        most = house.measure.subscriptions
        numbers = packet.properties.get(IDENTIFIERS)
        answer = _Answer(self, packet.id, len(packet.subscriptions))
        self._asked()
        for place, subscription in enumerate(packet.subscriptions):
            done = partial(answer.granted, place)
            if len(self.filters) >= most and subscription.filter not in self.filters:
                done(Code.QUOTA_EXCEEDED)
            else:
                house.subscribe(self, subscription, numbers[0] if numbers else 0, done)

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        codes = tuple([self._house.unsubscribe(self, filter) for filter in packet.filters])
        self._say(encode(Unsuback(packet.id, codes), self.level))

    def _pingreq(self, packet: Packet) -> None:
        self._say(PINGRESP_BYTES)

    def _disconnect(self, packet: Disconnect) -> None:
        if packet.code != Code.DISCONNECT_WITH_WILL:
            self._will = None
        self._leave()
        self._house.soon(self._tell_end)

    # What it is asked to wait for

    def _asked(self) -> None:
        """Something whose answer is not known yet."""
        self._unanswered += 1
        if self._unanswered >= self._house.measure.in_flight:
            self._brake(UNANSWERED)

    def _answered(self) -> None:
        self._unanswered -= 1
        if self._unanswered < self._house.measure.in_flight:
            self._loosen(UNANSWERED)

    # The end

    def take_over(self) -> None:
        """Somebody else has come with its name."""
        self._house.tally.taken_over += 1
        self._end_with(Code.SESSION_TAKEN_OVER)

    def drop(self, filter: bytes) -> None:
        """It has not subscribed to this after all."""
        self.filters.pop(filter, None)
        self.echoes.pop(filter, None)

    def retire(self) -> None:
        """The house is being left."""
        self._end_with(Code.SERVER_SHUTTING_DOWN)

    def _end_with(self, code: Code) -> None:
        if self._left:
            return
        if self.level == V5:
            self._say(encode(Disconnect(code), V5))
        self._leave()
        self._house.soon(self._tell_end)

    def _leave(self) -> None:
        """It is over for the house."""
        if self._left:
            return
        self._left = True
        self.flowing = False
        for outlet in self._full_outlets:
            outlet.waiters.discard(self._relieved)
        self._full_outlets = []
        self._backlog = None
        will, self._will = self._will, None
        if will is not None and not self._has_said_farewell():
            properties = {name: said for name, said in will.properties.items() if name != Property.WILL_DELAY_INTERVAL}
            message = Message(will.topic, will.payload, will.qos, will.retain, properties, self.id)
            self._house.outlet(will.topic).publish(message, _ignore)
        self._parked.clear()
        self._house.left(self)

    def _has_said_farewell(self) -> bool:
        """Behind what has to wait."""
        return any(
            data[start] >> 4 == DISCONNECT and (end == body or data[body] != Code.DISCONNECT_WITH_WILL)
            for data, cuts, _ in self._parked
            for start, body, end in cuts
        )

    def _tell_end(self) -> None:
        if self._closed:
            return
        if self._paused:
            # An end would stand behind what is not taken.
            self._told_end = True
            self.handler.on_lost(self, ConnectionAbortedError("the house has ended it"))
            return
        if not self._told_end:
            self._told_end = True
            self.handler.on_end(self)
        if self._conn_end and not self._closed:
            self.handler.on_lost(self, None)


class _Answer:
    """To one SUBSCRIBE, as its parts become known."""

    __slots__ = ("_codes", "_left", "_number", "_seat")

    def __init__(self, seat: Seat, number: int, parts: int) -> None:
        self._seat = seat
        self._number = number
        self._codes = [0] * parts
        self._left = parts

    def granted(self, place: int, code: int) -> None:
        seat = self._seat
        if seat._left:
            return
        if code >= Code.UNSPECIFIED_ERROR:
            seat._house.tally.refuse(code)
            if seat.level != V5:
                code = Code.UNSPECIFIED_ERROR
        self._codes[place] = code
        self._left -= 1
        if not self._left:
            seat._say(encode(Suback(self._number, tuple(self._codes)), seat.level))
            seat._answered()


def _ignore(code: int) -> None:
    """Nobody waits for the answer."""


_HEARD_BY: dict[int, Callable[[Seat, Any], bool | None]] = {
    CONNECT: Seat._connect,
    PUBLISH: Seat._publish,
    PUBACK: Seat._puback,
    PUBREC: Seat._pubrec,
    PUBREL: Seat._pubrel,
    PUBCOMP: Seat._pubcomp,
    SUBSCRIBE: Seat._subscribe,
    UNSUBSCRIBE: Seat._unsubscribe,
    PINGREQ: Seat._pingreq,
    DISCONNECT: Seat._disconnect,
}
