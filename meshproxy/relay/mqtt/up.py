"""What a client sends to its broker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from math import inf
from typing import Any

from meshproxy.core.mqtt.deliveries import Settled, Stage
from meshproxy.core.mqtt.ruling import Ruling
from meshproxy.relay.mqtt.asides import Asides, House
from meshproxy.relay.mqtt.down import Down
from meshproxy.relay.mqtt.passing import pass_on, renamed
from meshproxy.relay.mqtt.rules import TopicRule
from meshproxy.wire.mqtt import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    V5,
    Ack,
    Auth,
    Code,
    Connect,
    Disconnect,
    Fault,
    Malformed,
    Ping,
    Pong,
    Property,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    decode,
    encode,
)

FAILED = 0x80
MOST_UNFINISHED = 16
"""For each message that may wait for the broker: how many may be unanswered by anybody, where 3.1.1 sets no bound."""
_PUBLISH, _PINGREQ = 0x30, 0xC0
_PUBREC, _PUBREL = 0x50, 0x62
_LAST = frozenset((0x40, 0x70))
"""PUBACK and PUBCOMP: with these a delivery is over."""
_STAGES = {PUBACK: Stage.PUBACK, PUBREC: Stage.PUBREC, PUBCOMP: Stage.PUBCOMP}


class Up(Down):
    __slots__ = ()

    def take(self, data: bytes) -> None:
        """Where there is a broker that speaks the client's version."""
        self._heard_from_client()
        # What is wrong is kept without its traceback, which would hold this frame and so itself.
        wrong = None
        try:
            buffer, cuts = self.frames.feed(data)
        except Malformed as fault:
            (buffer, cuts), wrong = fault.before, fault.with_traceback(None)
        line = self.line
        assert line is not None
        rulings, requests, deliveries = self.manners.rulings, self.requests, self.deliveries
        five = self.client.level == V5
        before = self.messages_in
        changed: list[bytes] = []
        begin = end = at = count = 0
        try:
            for at, body, end in cuts:
                first = buffer[at]
                if first & 0xF0 == _PUBLISH:
                    if end - body > 2:
                        mark = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                        if not first & 0x0E:
                            # QoS 0, by far the most
                            if (mark < end and not buffer[mark]) if five else mark <= end:
                                ruling = rulings[buffer[body + 2 : mark]]
                                if ruling.plain:
                                    count += 1
                                    continue
                                if ruling.allowed and ruling.rule is None:
                                    changed += buffer[begin:at], renamed(first, ruling.topic, buffer[mark:end])
                                    begin = end
                                    count += 1
                                    continue
                        elif first & 0x06 != 0x06 and first & 0x0E != 0x08:
                            after = mark + 2
                            if (after < end and not buffer[after]) if five else after <= end:
                                number = buffer[mark] << 8 | buffer[mark + 1]
                                free = number and number not in requests.kept and number not in self.aside
                                if free and not self.storing:
                                    ruling = rulings[buffer[body + 2 : mark]]
                                    if ruling.plain:
                                        requests.kept[number] = buffer[at:end]
                                        count += 1
                                        continue
                                    if ruling.allowed and ruling.rule is None:
                                        packet = renamed(first, ruling.topic, buffer[mark:end])
                                        requests.kept[number] = packet
                                        changed += buffer[begin:at], packet
                                        begin = end
                                        count += 1
                                        continue
                elif first == _PINGREQ and body == end:
                    self.pinged = True
                    continue
                elif body + 2 == end:
                    number = buffer[body] << 8 | buffer[body + 1]
                    if first == _PUBREL:
                        if number and number not in self.aside and not requests.unsettled:
                            requests.released(number, buffer[at:end])
                            continue
                    elif number in deliveries.stages and not (self.queue or deliveries.translating):
                        if first == _PUBREC:
                            deliveries.received(number)
                            continue
                        if first in _LAST:
                            deliveries.acknowledged(number)
                            continue
                pass_on(line.conn, changed, buffer, begin, at)
                begin = end
                self.messages_in += count
                count = 0
                self._take_closely(buffer, at, body, end)
                if self.over:
                    return
        except Malformed as fault:
            end, wrong = at, fault.with_traceback(None)
        pass_on(line.conn, changed, buffer, begin, end)
        self.messages_in += count
        self._taken(before, len(data), wrong)

    def take_each(self, data: bytes) -> None:
        """Where there is no broker, or one that speaks another version."""
        self._heard_from_client()
        before = self.messages_in
        wrong = None
        try:
            buffer, cuts = self.frames.feed(data)
        except Malformed as fault:
            (buffer, cuts), wrong = fault.before, fault.with_traceback(None)
        try:
            for at, body, end in cuts:
                self._take_closely(buffer, at, body, end)
                if self.over:
                    return
        except Malformed as fault:
            wrong = fault.with_traceback(None)
        self._taken(before, len(data), wrong)

    def _take_closely(self, buffer: bytes, at: int, body: int, end: int) -> None:
        packet = decode(self.client.level, buffer, at, body, end)
        handler = _HANDLERS.get(packet.kind)
        if handler is None:
            raise Malformed(Fault.BAD_TYPE, "what only a server sends", Code.PROTOCOL_ERROR)
        answer = self.bridge.answer(packet) if self.bridge is not None else None
        if answer is None:
            handler(self, packet)
        elif isinstance(answer, Disconnect):
            self.finish("in_flight", Code(answer.code))
        else:
            self.answer(answer)

    def _heard_from_client(self) -> None:
        self.last = now = self.service.now()
        self.deadline = now + self.patience
        if not self.broker_owes:
            self.due = inf

    def _taken(self, before: int, size: int, wrong: Malformed | None) -> None:
        """A read has been looked at; `before`: how many messages there were until then."""
        if wrong is not None:
            self.malformed(wrong)
            return
        if self.due == inf and self.broker_owes and self.line is not None:
            self.due = self.last + self.service.bounds.answer
        if self.due < self.deadline:
            self.deadline = self.due
        if len(self.requests.kept) >= self.window:
            self._crowded()
        pace = self.manners.pace
        if pace is not None:
            wait = pace.spend(self.messages_in - before, size, self.service.now())
            if wait > 0:
                self.rest(wait)

    def _crowded(self) -> None:
        """More would not be kept."""
        published = sum(packet[0] >> 4 in (PUBLISH, PUBREL) for packet in self.requests.kept.values())
        if self.client.level == V5 and published > self.window:
            self.finish("in_flight", Code.RECEIVE_MAXIMUM_EXCEEDED)
        elif len(self.requests.kept) > MOST_UNFINISHED * self.window:
            self.finish("in_flight")
        elif self.requests.waiting >= (2 if self.client.level == V5 else 1) * self.window:
            # Those for which the client has to say more it could not end unless it were read.
            self.stop()

    # Publishing

    def _publish(self, packet: Publish) -> None:
        if self.client.level == V5:
            self._name(packet)
        ruling: Ruling[TopicRule] = self.manners.rulings[packet.topic]
        number = packet.id
        if number and not self._fresh(packet):
            return
        self.messages_in += 1
        rule = ruling.rule
        if not ruling.allowed:
            self._deny(packet)
            return
        packet.topic = ruling.topic
        if rule is not None:
            self._meet(rule, packet)
        house = self._house(packet, rule)
        if house is not None:
            self.put_aside(house, packet)
        elif number or self.line is not None:
            self.ask(packet)
        else:
            self.service.stats.dropped["away"] += 1

    def _meet(self, rule: TopicRule, packet: Publish) -> None:
        rule.stats.messages_total += 1
        rule.stats.bytes_total += len(packet.payload)
        if not rule.retain:
            packet.retain = False
        if rule.copy is not None:
            rule.copy(packet)
        if rule.speed is not None:
            if self.paces is None:
                self.paces = {}
            pace = self.paces.get(rule)
            if pace is None:
                pace = self.paces[rule] = rule.speed.begin()
            wait = pace.spend(1, len(packet.payload), self.service.now())
            if wait > 0:
                self.rest(wait)

    def _name(self, packet: Publish) -> None:
        """Aliases are for one hop: the broker gets topics."""
        if Property.SUBSCRIPTION_IDENTIFIER in packet.properties:
            raise Malformed(Fault.FOREIGN_PROPERTY, "what only a server says of a message", Code.PROTOCOL_ERROR)
        alias = packet.properties.get(Property.TOPIC_ALIAS)
        if alias is None:
            if not packet.topic:
                raise Malformed(Fault.BAD_TOPIC, "neither a topic nor an alias", Code.PROTOCOL_ERROR)
            return
        if alias > self.service.bounds.topic_aliases:
            raise Malformed(Fault.BAD_VALUE, "a topic alias beyond the maximum", Code.TOPIC_ALIAS_INVALID)
        if self.aliases is None:
            self.aliases = {}
        if packet.topic:
            self.aliases[alias] = packet.topic
        elif alias in self.aliases:
            packet.topic = self.aliases[alias]
        else:
            raise Malformed(Fault.BAD_VALUE, "a topic alias that nothing was said of", Code.PROTOCOL_ERROR)
        packet.properties = {key: value for key, value in packet.properties.items() if key != Property.TOPIC_ALIAS}

    def _fresh(self, packet: Publish) -> bool:
        """Whether its id is not in use; the same message once more is nothing new."""
        number = packet.id
        if packet.dup:
            return number not in self.aside and number not in self.requests.kept
        if not self._is_in_use(number):
            return True
        self.answer(Ack(PUBACK if packet.qos == 1 else PUBREC, number, Code.PACKET_ID_IN_USE))
        return False

    def _is_in_use(self, number: int) -> bool:
        """Who cannot be told so has to go."""
        if number not in self.requests.kept and number not in self.aside:
            return False
        if self.client.level != V5:
            raise Malformed(Fault.BAD_ID, "a packet id that is in use", Code.PACKET_ID_IN_USE)
        return True

    def _deny(self, packet: Publish) -> None:
        """To 3.1.1 nothing can be said but that it has arrived, or the end."""
        self.service.stats.denied["publish"] += 1
        if not packet.qos:
            return
        if self.client.level == V5:
            self.answer(Ack(PUBACK if packet.qos == 1 else PUBREC, packet.id, Code.NOT_AUTHORIZED))
        else:
            self.put_aside(self.service.nowhere, packet)

    def is_stored(self, packet: Publish, rule: TopicRule | None) -> bool:
        return bool(packet.qos) and (rule is None or rule.stored) and self.storing

    def _house(self, packet: Publish, rule: TopicRule | None) -> House | None:
        """Who takes it, if not the client's broker."""
        if rule is not None and rule.house is not None:
            return rule.house
        if rule is not None and packet.qos > rule.max_qos and self.way.lowered is not None:
            return self.way.lowered[rule.max_qos]
        return self.way.store if self.is_stored(packet, rule) else None

    def put_aside(self, house: House, packet: Publish, *, known: bool = False) -> None:
        """`known`: the client has its PUBREC already."""
        if not isinstance(self.aside, Asides):
            self.aside = Asides(self.client, self, self._answered_aside, self._untaken)
        self.aside.publish(house, packet.id, encode(packet, self.client.level), known=known)

    def _untaken(self) -> None:
        self.finish("untaken", Code.IMPLEMENTATION_ERROR)

    def _answered_aside(self, answer: bytes) -> None:
        if not self.over:
            self.conn.write(answer)
            self.look_at_room()

    # Acknowledging

    def _acknowledge(self, packet: Ack) -> None:
        if packet.kind == PUBREL:
            self._release(packet)
            return
        given = packet.id
        stage = _STAGES[packet.kind]
        refused = packet.kind == PUBREC and packet.code >= FAILED
        settled = self.deliveries.settle(given, stage, refused=refused)
        if settled is not Settled.OTHER:
            if settled is Settled.RELEASE:
                self.answer(Ack(PUBREL, given))
            elif settled is Settled.OVER:
                self.settled()
                self.ease()
            return
        packet.id = self.deliveries.broker_id(given)
        if stage is Stage.PUBREC and not refused:
            self.deliveries.received(given)
        else:
            self.deliveries.acknowledged(given)
        if self.line is not None:
            self.ask(packet)
        if self.queue:
            self.settled()
            self.ease()

    def _release(self, packet: Ack) -> None:
        number = packet.id
        data = encode(packet, self.level_up)
        if isinstance(self.aside, Asides) and self.aside.released(number, encode(packet, self.client.level)):
            return
        if self.requests.released(number, data) and self.line is not None:
            self.line.conn.write(data)

    # Subscribing

    def _subscribe(self, packet: Subscribe) -> None:
        number = packet.id
        five = self.client.level == V5
        if self._is_in_use(number):
            self.answer(Suback(number, (Code.PACKET_ID_IN_USE,) * len(packet.subscriptions)))
            return
        asked = [self._wanted(each) for each in packet.subscriptions]
        identifier = packet.properties.get(Property.SUBSCRIPTION_IDENTIFIER, (0,))[0]
        full = self.subscriptions.asked(number, asked, identifier, Code.QUOTA_EXCEEDED if five else FAILED)
        self.service.stats.denied["subscriptions"] += full
        wanted = tuple(each for each in asked if not isinstance(each, int))
        if not wanted:
            self.answer(Suback(number, self.subscriptions.answered(number, ())))
            return
        if self.line is None and self.storing:
            # Granted as asked for: there is nobody to ask, and the client is not to wait for an uplink.
            self.answer(Suback(number, self.subscriptions.granted(number)))
            return
        packet.subscriptions = wanted
        self.ask(packet)

    def _wanted(self, said: Subscription) -> Subscription | int:
        manners = self.manners
        filter = manners.subscribe(said.filter)
        if filter is None:
            self.service.stats.denied["subscribe"] += 1
            return Code.NOT_AUTHORIZED if self.client.level == V5 else FAILED
        said.filter = filter
        return said

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        if self._is_in_use(packet.id):
            self.answer(Unsuback(packet.id, (Code.PACKET_ID_IN_USE,) * len(packet.filters)))
            return
        packet.filters = tuple(self.manners.unsubscribe(filter) for filter in packet.filters)
        for filter in packet.filters:
            self.subscriptions.left(filter)
        if self.line is None and self.storing:
            self.answer(self.unsubscribed(packet))
        else:
            self.ask(packet)

    def unsubscribed(self, packet: Unsubscribe) -> Unsuback:
        return Unsuback(packet.id, tuple(0 for _ in packet.filters) if self.client.level == V5 else ())

    # Staying and going

    def _ping(self, packet: Ping) -> None:
        if self.line is None:
            self.answer(Pong())
        else:
            self.pinged = True
            self.ask(packet)

    def _auth(self, packet: Auth) -> None:
        begun = self.service.authenticate is None and Property.AUTHENTICATION_METHOD in self.connect.properties
        if not begun or self.line is None:
            raise Malformed(Fault.BAD_TYPE, "AUTH where nobody has begun it", Code.PROTOCOL_ERROR)
        self.ask(packet)

    def _disconnect(self, packet: Disconnect) -> None:
        if self.line is not None:
            self.ask(packet)
        self.finish("disconnect")

    def _connect(self, packet: Connect) -> None:
        raise Malformed(Fault.BAD_TYPE, "a second CONNECT", Code.PROTOCOL_ERROR)

    # For what stands on this ground

    @property
    @abstractmethod
    def storing(self) -> bool:
        """Whether what is to be acknowledged is stored first."""

    @abstractmethod
    def malformed(self, fault: Malformed) -> None: ...

    @abstractmethod
    def rest(self, seconds: float) -> None:
        """It has been too fast."""


_HANDLERS: dict[int, Callable[[Any, Any], None]] = {
    Connect.kind: Up._connect,
    PUBLISH: Up._publish,
    PUBACK: Up._acknowledge,
    PUBREC: Up._acknowledge,
    PUBREL: Up._acknowledge,
    PUBCOMP: Up._acknowledge,
    Subscribe.kind: Up._subscribe,
    Unsubscribe.kind: Up._unsubscribe,
    Ping.kind: Up._ping,
    Auth.kind: Up._auth,
    Disconnect.kind: Up._disconnect,
}
