"""From what is in a packet to its bytes.

    encode(Publish(b"a", b"hi", qos=1, id=9), V311)     # b"\\x32\\x07\\x00\\x01a\\x00\\x09hi"

What is written is what this proxy has read or made, so it is not proven again; what 3.1.1 has no place for is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.wire.mqtt.codes import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBLISH,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    V5,
)
from meshproxy.wire.mqtt.fields import binary, number, short
from meshproxy.wire.mqtt.packets import (
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Pong,
    Properties,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from meshproxy.wire.mqtt.properties import block

PINGREQ_BYTES = bytes((PINGREQ << 4, 0))
PINGRESP_BYTES = bytes((PINGRESP << 4, 0))


def encode(packet: Packet, level: int) -> bytes:
    return _BY_TYPE[type(packet)](packet, level)


def publish(
    topic: bytes, payload: bytes, qos: int, retain: bool, dup: bool, id: int, properties: Properties, level: int
) -> bytes:
    """As `encode` of a Publish, without one."""
    middle = id.to_bytes(2, "big") if qos else b""
    if level == V5:
        middle += block(properties) if properties else b"\0"
    size = len(topic)
    head = bytes((PUBLISH << 4 | dup << 3 | qos << 1 | retain,)) + number(2 + size + len(middle) + len(payload))
    return b"".join((head, size.to_bytes(2, "big"), topic, middle, payload))


def _publish(packet: Publish, level: int) -> bytes:
    return publish(
        packet.topic,
        packet.payload,
        packet.qos,
        packet.retain,
        packet.dup,
        packet.id,
        packet.properties,
        level,
    )


def _ack(packet: Ack, level: int) -> bytes:
    kind, code = packet.kind, packet.code
    first = kind << 4 | (2 if kind == PUBREL else 0)
    said = _outcome(code, packet.properties) if level == V5 else b""
    return _packet(first, short(packet.id) + said)


def _outcome(code: int, properties: Properties) -> bytes:
    """The last fields of a packet, which are left out from the end where they say nothing."""
    if properties:
        return bytes((code,)) + block(properties)
    return bytes((code,)) if code else b""


def _connect(packet: Connect, level: int) -> bytes:
    will = packet.will
    flags = packet.clean << 1
    payload = [binary(packet.client_id.encode())]
    if will:
        flags |= 4 | will.qos << 3 | will.retain << 5
        payload.append(_will(will, level))
    if packet.user is not None:
        flags |= 0x80
        payload.append(binary(packet.user.encode()))
    if packet.password is not None:
        flags |= 0x40
        payload.append(binary(packet.password))
    opening = b"\0\4MQTT" + bytes((level, flags)) + short(packet.keep_alive)
    return _packet(CONNECT << 4, opening + _properties(packet.properties, level) + b"".join(payload))


def _will(will: Will, level: int) -> bytes:
    return _properties(will.properties, level) + binary(will.topic) + binary(will.payload)


def _connack(packet: Connack, level: int) -> bytes:
    return _packet(CONNACK << 4, bytes((packet.present, packet.code)) + _properties(packet.properties, level))


def _subscribe(packet: Subscribe, level: int) -> bytes:
    parts = [short(packet.id), _properties(packet.properties, level)]
    for asked in packet.subscriptions:
        options = asked.qos
        if level == V5:
            options |= asked.no_local << 2 | asked.as_published << 3 | asked.retain_handling << 4
        parts += binary(asked.filter), bytes((options,))
    return _packet(SUBSCRIBE << 4 | 2, b"".join(parts))


def _suback(packet: Suback, level: int) -> bytes:
    return _packet(SUBACK << 4, short(packet.id) + _properties(packet.properties, level) + bytes(packet.codes))


def _unsubscribe(packet: Unsubscribe, level: int) -> bytes:
    filters = b"".join([binary(filter) for filter in packet.filters])
    return _packet(UNSUBSCRIBE << 4 | 2, short(packet.id) + _properties(packet.properties, level) + filters)


def _unsuback(packet: Unsuback, level: int) -> bytes:
    codes = bytes(packet.codes) if level == V5 else b""
    return _packet(UNSUBACK << 4, short(packet.id) + _properties(packet.properties, level) + codes)


def _ping(_packet: Ping, _level: int) -> bytes:
    return PINGREQ_BYTES


def _pong(_packet: Pong, _level: int) -> bytes:
    return PINGRESP_BYTES


def _disconnect(packet: Disconnect, level: int) -> bytes:
    return _packet(DISCONNECT << 4, _outcome(packet.code, packet.properties) if level == V5 else b"")


def _auth(packet: Auth, level: int) -> bytes:
    if level != V5:
        raise ValueError("3.1.1 has no AUTH")
    code, properties = packet.code, packet.properties
    return _packet(AUTH << 4, bytes((code,)) + block(properties) if code or properties else b"")


def _properties(properties: Properties, level: int) -> bytes:
    return block(properties) if level == V5 else b""


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + number(len(body)) + body


_BY_TYPE: dict[type[Any], Callable[[Any, int], bytes]] = {
    Connect: _connect,
    Connack: _connack,
    Publish: _publish,
    Ack: _ack,
    Subscribe: _subscribe,
    Suback: _suback,
    Unsubscribe: _unsubscribe,
    Unsuback: _unsuback,
    Ping: _ping,
    Pong: _pong,
    Disconnect: _disconnect,
    Auth: _auth,
}
