"""A message for many: what is written to each of them is made once for all who get the same.

    parcel = Parcel(message)
    parcel.packet(V311, False)                       # QoS 0: the packet, the same for all
    head, tail = parcel.around(V5, 1, False, ())     # QoS 1 and 2: what stands around the packet id
"""

from __future__ import annotations

from meshproxy.core.mqtt.message import Message
from meshproxy.wire.mqtt import V5, Properties, Property, publish

EXPIRY, IDENTIFIERS = int(Property.MESSAGE_EXPIRY_INTERVAL), int(Property.SUBSCRIPTION_IDENTIFIER)

ANY_ID = 1
"""Stands where the id of the receiver will."""


class Parcel:
    __slots__ = ("_around", "_packets", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._packets: dict[int, bytes] = {}
        self._around: dict[tuple[int, int, bool, tuple[int, ...]], tuple[bytes, bytes]] = {}

    def packet(self, level: int, retain: bool) -> bytes:
        """With QoS 0, for who has given no identifier to the subscription."""
        key = -level if retain else level
        packet = self._packets.get(key)
        if packet is None:
            message = self.message
            packet = publish(message.topic, message.payload, 0, retain, False, 0, message.properties, level)
            self._packets[key] = packet
        return packet

    def around(self, level: int, qos: int, retain: bool, ids: tuple[int, ...]) -> tuple[bytes, bytes]:
        """The packet up to the packet id, and what follows that; of QoS 0, all is in the first."""
        key = level, qos, retain, ids
        pieces = self._around.get(key)
        if pieces is None:
            message = self.message
            pieces = self._around[key] = around(message, level, qos, retain, properties_of(message, ids))
        return pieces

    def remaining(
        self, level: int, qos: int, retain: bool, ids: tuple[int, ...], seconds: float
    ) -> tuple[bytes, bytes]:
        """The same, of a message that has waited, and will be of no use any more in so many seconds."""
        properties = {**properties_of(self.message, ids), EXPIRY: max(int(seconds), 1)}
        return around(self.message, level, qos, retain, properties)


def properties_of(message: Message, ids: tuple[int, ...]) -> Properties:
    return {**message.properties, IDENTIFIERS: ids} if ids else message.properties


def around(message: Message, level: int, qos: int, retain: bool, properties: Properties) -> tuple[bytes, bytes]:
    topic = message.topic
    packet = publish(topic, message.payload, qos, retain, False, ANY_ID, properties if level == V5 else {}, level)
    if not qos:
        return packet, b""
    at = 1
    while packet[at] & 0x80:
        at += 1
    at += 3 + len(topic)
    return packet[:at], packet[at + 2 :]
