"""What a broker sends to a client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from math import inf
from typing import Any

from meshproxy.core.mqtt.requests import Received
from meshproxy.relay.mqtt.passing import pass_on, renamed
from meshproxy.relay.mqtt.talk import Talk
from meshproxy.wire.mqtt import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Ack,
    Auth,
    Code,
    Disconnect,
    Malformed,
    Packet,
    Pong,
    Publish,
    Suback,
    Unsuback,
    decode,
    encode,
)

FAILED = 0x80
MOST_WAITING = 64
"""Messages for a client that has enough to acknowledge; then its broker is not read."""
_PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 0x30, 0x40, 0x50, 0x62, 0x70
_PINGRESP = 0xD0


class Down(Talk):
    __slots__ = ()

    def hear(self, data: bytes) -> None:
        """Of a broker that speaks the client's version."""
        if self.due < inf:
            self.due = self.service.now() + self.service.bounds.answer
        try:
            buffer, cuts = self.frames_up.feed(data)
        except Malformed:
            self.broker_broken()
            return
        if not cuts:
            return
        reverse = self.manners.reverse
        deliveries, requests = self.deliveries, self.requests
        boundless = self.largest == inf
        changed: list[bytes] = []
        begin = cuts[0][0]
        end = begin
        for start, body, end in cuts:
            first = buffer[start]
            kind = first & 0xF0
            if kind == _PUBLISH:
                if reverse is None:
                    if not first & 6:
                        self.messages_out += 1
                        continue
                    if end - body > 4 and first & 6 != 6:
                        mark = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                        if mark + 2 <= end:
                            number = buffer[mark] << 8 | buffer[mark + 1]
                            if number and deliveries.sent(number, first >> 1 & 3) == number:
                                self.messages_out += 1
                                continue
                elif end - body > 2 and not first & 6 and boundless:
                    mark = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                    topic = reverse[buffer[body + 2 : mark]] if mark <= end else None
                    if topic is not None:
                        changed += buffer[begin:start], renamed(first, topic, buffer[mark:end])
                        begin = end
                        self.messages_out += 1
                        continue
            elif kind in (_PUBACK, _PUBCOMP):
                if end - body >= 2:
                    requests.answered(buffer[body] << 8 | buffer[body + 1])
                    continue
            elif kind == _PINGRESP:
                self.pinged = False
                continue
            elif body + 2 == end:
                number = buffer[body] << 8 | buffer[body + 1]
                if first == _PUBREC and number and not requests.unsettled:
                    requests.received(number)
                    continue
                if first == _PUBREL and not self.hidden and deliveries.released(number) == number:
                    continue
            pass_on(self.conn, changed, buffer, begin, start)
            begin = end
            self._hear_closely(buffer, start, body, end)
            if self.over or self.line is None:
                return
        pass_on(self.conn, changed, buffer, begin, end)
        if self.stopped:
            self.answered()

    def hear_each(self, data: bytes) -> None:
        """Where not all is `plain`."""
        if self.due < inf:
            self.due = self.service.now() + self.service.bounds.answer
        try:
            buffer, cuts = self.frames_up.feed(data)
        except Malformed:
            self.broker_broken()
            return
        for start, body, end in cuts:
            self._hear_closely(buffer, start, body, end)
            if self.over or self.line is None:
                return
            if self.slow and buffer[start] & 0xF6 != _PUBLISH:
                self.owed += end - start
        if self.slow and self.line is not None and self.owed > self.service.bounds.packet:
            self.line.conn.hold()
        if self.stopped:
            self.answered()

    def _hear_closely(self, buffer: bytes, start: int, body: int, end: int) -> None:
        try:
            packet = decode(self.level_up, buffer, start, body, end)
        except Malformed:
            self.broker_broken()
            return
        handler = _HANDLERS.get(packet.kind)
        if handler is None:
            self.broker_broken()
        else:
            handler(self, packet)

    def pass_down(self, packet: Packet) -> None:
        carried = packet if self.bridge is None else self.bridge.to_client(packet)
        if carried is not None:
            self.tell(carried)

    def _deliver(self, packet: Publish) -> None:
        if self.manners.reverse is not None:
            topic = self.manners.reverse[packet.topic]
            if topic is None:
                self._keep_from_client(packet, "outside")
                return
            packet.topic = topic
        if self.largest < inf and len(encode(packet, self.client.level)) > self.largest:
            self._keep_from_client(packet, "oversized")
            return
        if not packet.qos:
            if self.slow:
                self.service.stats.dropped["slow"] += 1
                return
        else:
            if self.deliveries.open >= self.room and not self.deliveries.has(packet.id):
                self._wait(packet)
                return
            packet.id = self.deliveries.sent(packet.id, packet.qos)
        self.messages_out += 1
        self.pass_down(packet)

    def _keep_from_client(self, packet: Publish, word: str) -> None:
        """It is outside of what the client can see, or larger than it takes: for the broker it is delivered."""
        self.service.stats.dropped[word] += 1
        if packet.qos:
            self.ask(Ack(PUBACK if packet.qos == 1 else PUBREC, packet.id))
            if packet.qos == 2:
                self.hidden[packet.id] = None

    def _wait(self, packet: Publish) -> None:
        if self.queue is None:
            self.queue = []
        self.queue.append(packet)
        if len(self.queue) >= MOST_WAITING and self.line is not None:
            self.line.conn.stop()

    def settled(self) -> None:
        """The client has acknowledged something."""
        while self.queue and self.deliveries.open < self.room:
            packet = self.queue.pop(0)
            packet.id = self.deliveries.sent(packet.id, packet.qos)
            self.messages_out += 1
            self.pass_down(packet)
        if not self.queue and self.line is not None:
            self.line.conn.start()

    def ease(self) -> None:
        """Something is over for which everything had to be looked at."""
        if self.line is not None and self.plain:
            self.line.conn.read_to(self.hear)

    def _acknowledged(self, packet: Ack) -> None:
        if packet.kind == PUBREL:
            self._released(packet)
            return
        number = packet.id
        refused = packet.code >= FAILED
        if packet.kind != PUBREC:
            self.requests.answered(number)
        elif refused:
            known = self.requests.is_known(number)
            owed = self.requests.answered(number)
            if known:
                # What the client has been told before cannot be taken back.
                self.service.stats.dropped["refused"] += 1
                if owed is not None:
                    self.tell(Ack(PUBCOMP, number))
                return
        else:
            received = self.requests.received(number)
            if received is Received.RELEASE:
                assert self.line is not None
                self.line.conn.write(self.requests.kept[number])
            if received is not Received.TELL:
                return
        self.pass_down(packet)

    def _released(self, packet: Ack) -> None:
        if packet.id in self.hidden:
            del self.hidden[packet.id]
            self.ask(Ack(PUBCOMP, packet.id))
            return
        packet.id = self.deliveries.released(packet.id)
        self.pass_down(packet)

    def _subscribed(self, packet: Suback) -> None:
        if self.subscriptions.is_replayed(packet.id):
            if any(code >= FAILED for code in packet.codes):
                # The client believes that it has them.
                self.finish("subscriptions", Code.UNSPECIFIED_ERROR)
            return
        self.requests.answered(packet.id)
        packet.codes = self.subscriptions.answered(packet.id, packet.codes)
        self.pass_down(packet)

    def _unsubscribed(self, packet: Unsuback) -> None:
        self.requests.answered(packet.id)
        self.pass_down(packet)

    def _pong(self, packet: Pong) -> None:
        self.pinged = False
        self.pass_down(packet)

    def _auth(self, packet: Auth) -> None:
        self.pass_down(packet)

    def _disconnected(self, packet: Disconnect) -> None:
        self.broker_leaves(packet)

    # For what stands on this ground

    @abstractmethod
    def broker_broken(self) -> None:
        """It does not speak MQTT, or not now."""

    @abstractmethod
    def broker_leaves(self, packet: Disconnect) -> None:
        """It has said so, and why."""

    @abstractmethod
    def answered(self) -> None:
        """The broker has answered something while the client is not read."""

    @abstractmethod
    def finish(self, reason: str, code: Code | None = None) -> None: ...


_HANDLERS: dict[int, Callable[[Any, Any], None]] = {
    Publish.kind: Down._deliver,
    PUBACK: Down._acknowledged,
    PUBREC: Down._acknowledged,
    PUBREL: Down._acknowledged,
    PUBCOMP: Down._acknowledged,
    Suback.kind: Down._subscribed,
    Unsuback.kind: Down._unsubscribed,
    Pong.kind: Down._pong,
    Auth.kind: Down._auth,
    Disconnect.kind: Down._disconnected,
}
