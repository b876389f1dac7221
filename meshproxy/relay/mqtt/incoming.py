"""What a broker publishes to us in a session of our own, until whoever hears it has acknowledged it.

    incoming = Incoming(hear, stats, most=32)
    incoming.publish(packet)        # hear(message, retained, ids, acknowledge)
    acknowledge()                   # then or later: only now the broker is told
    incoming.release(packet)        # PUBREL

Acknowledgements go out in the order in which the messages came.  A message of QoS 2 is heard once, however often the
broker sends it, for as long as the session lives.  What is not acknowledged is the back-pressure: at most `most`
messages are.  What a broker sends beyond that waits here, while acknowledgements are still read: one of 3.1.1 was never
told, and one of 5.0 may forget it when a session is resumed, as mosquitto 2.0.11 does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from meshproxy.core.mqtt.message import Message
from meshproxy.observe.metrics.mqtt import UplinkStats
from meshproxy.relay.mqtt.way import Way
from meshproxy.wire.mqtt import PUBACK, PUBCOMP, PUBREC, Ack, Code, Properties, Property, Publish, encode

MOST_PARKED = 1 << 20
"""Bytes that wait here; then the connection is not read any more."""

Hear = Callable[[Message, bool, tuple[int, ...], Callable[[], None]], None]
"""A message, whether it was a retained one, the identifiers of the subscriptions that it came for, and how to
acknowledge it."""


class Heard:
    __slots__ = ("acknowledged", "here", "id", "qos")

    def __init__(self, id: int, qos: int) -> None:
        self.id = id
        self.qos = qos
        self.here = True
        """It came on this connection."""
        self.acknowledged = False


def _nothing() -> None:
    """QoS 0 is not acknowledged."""


class Incoming:
    __slots__ = (
        "_due", "_hear", "_heard", "_most", "_open", "_parked", "_parked_bytes", "_stats", "_unparking", "_way",
        "stuffed",
    )  # fmt: skip

    def __init__(self, hear: Hear, stats: UplinkStats, most: int) -> None:
        self._hear = hear
        self._stats = stats
        self._most = most
        self._way: Way | None = None
        self._heard: dict[int, Heard] = {}
        """By id: not acknowledged yet, or of QoS 2 and not released."""
        self._due: deque[Heard] = deque()
        """Whose acknowledgement the broker waits for, in order."""
        self._open = 0
        """How many came on this connection and are not over."""
        self._parked: dict[int, Publish] = {}
        self._parked_bytes = 0
        self._unparking = False
        self.stuffed = False
        """So much waits here that nothing more should be read."""

    def up(self, way: Way, *, present: bool) -> None:
        self._way = way
        if not present:
            self._heard.clear()
        for heard in self._heard.values():
            heard.here = False

    def down(self) -> None:
        """What waits here will be sent again, if the session is still there."""
        self._way = None
        self._due.clear()
        self._open = 0
        self._parked.clear()
        self._parked_bytes = 0
        self.stuffed = False

    def publish(self, packet: Publish) -> Code:
        """What is wrong with it, if anything."""
        if Property.TOPIC_ALIAS in packet.properties:
            return Code.TOPIC_ALIAS_INVALID
        if not packet.qos:
            self._tell(packet, _nothing)
            return Code.SUCCESS
        heard = self._heard.get(packet.id)
        if heard is not None and (heard.here or packet.dup or heard.qos == 2):
            return self._repeated(heard, packet)
        if packet.id in self._parked:
            return Code.SUCCESS
        if self._open >= self._most or self._parked:
            self._park(packet)
        else:
            self._take(packet)
        return Code.SUCCESS

    def release(self, packet: Ack) -> Code:
        way = self._way
        assert way is not None
        heard = self._heard.get(packet.id)
        if heard is None:
            way.write(encode(Ack(PUBCOMP, packet.id, Code.PACKET_ID_NOT_FOUND), way.level))
            return Code.SUCCESS
        if heard.qos != 2 or not heard.acknowledged:
            return Code.PROTOCOL_ERROR
        del self._heard[packet.id]
        way.write(encode(Ack(PUBCOMP, packet.id), way.level))
        if heard.here:
            self._open -= 1
            self._unpark()
        return Code.SUCCESS

    def _repeated(self, heard: Heard, packet: Publish) -> Code:
        """It is not heard again."""
        if heard.qos != packet.qos:
            return Code.PACKET_ID_IN_USE
        if not heard.here:
            heard.here = True
            self._open += 1
            self._due.append(heard)
            self._flush()
        elif heard.acknowledged:
            way = self._way
            assert way is not None
            way.write(encode(Ack(PUBREC, heard.id), way.level))
        return Code.SUCCESS

    def _take(self, packet: Publish) -> None:
        heard = self._heard[packet.id] = Heard(packet.id, packet.qos)
        self._open += 1
        self._due.append(heard)
        self._tell(packet, partial(self._acknowledge, heard))

    def _tell(self, packet: Publish, acknowledge: Callable[[], None]) -> None:
        properties: Properties = packet.properties
        ids: tuple[int, ...] = ()
        if Property.SUBSCRIPTION_IDENTIFIER in properties:
            properties = dict(properties)
            ids = properties.pop(Property.SUBSCRIPTION_IDENTIFIER)
        self._stats.received_total += 1
        message = Message(packet.topic, packet.payload, packet.qos, packet.retain, properties)
        hear = self._hear
        hear(message, packet.retain, ids, acknowledge)

    # Acknowledgements

    def _acknowledge(self, heard: Heard) -> None:
        if not heard.acknowledged:
            heard.acknowledged = True
            self._flush()
            self._unpark()

    def _flush(self) -> None:
        way, due = self._way, self._due
        if way is None:
            return
        while due and due[0].acknowledged:
            heard = due.popleft()
            if heard.qos == 1:
                if self._heard.get(heard.id) is heard:
                    del self._heard[heard.id]
                self._open -= 1
                way.write(encode(Ack(PUBACK, heard.id), way.level))
            else:
                way.write(encode(Ack(PUBREC, heard.id), way.level))

    # What waits

    def _park(self, packet: Publish) -> None:
        self._parked[packet.id] = packet
        self._parked_bytes += len(packet.topic) + len(packet.payload)
        self.stuffed = self._parked_bytes >= MOST_PARKED

    def _unpark(self) -> None:
        if self._unparking or not self._parked:
            return
        self._unparking = True
        while self._parked and self._open < self._most:
            packet = self._parked.pop(next(iter(self._parked)))
            self._parked_bytes -= len(packet.topic) + len(packet.payload)
            self._take(packet)
        self._unparking = False
        if self.stuffed and self._parked_bytes < MOST_PARKED:
            self.stuffed = False
            if (way := self._way) is not None:
                way.resume()
