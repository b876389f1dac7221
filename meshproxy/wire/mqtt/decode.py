"""From the bytes of a packet to what is in it: the whole packet is proven, or it is Malformed.

    decode(V311, b"\\x32\\x07\\x00\\x01a\\x00\\x09hi", 0, 2, 9)  # Publish(topic=b"a", payload=b"hi", qos=1, id=9, ...)

What depends on who sends it (a server that subscribes, a Subscription Identifier from a client) or on what was before
is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.wire.mqtt.codes import (
    AUTH,
    CODES,
    CODES_311,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    V5,
    V311,
    WILL,
    Code,
)
from meshproxy.wire.mqtt.faults import Fault, Malformed
from meshproxy.wire.mqtt.fields import binary_at, cut_short, short_at, text_at
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
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from meshproxy.wire.mqtt.properties import NOTHING, Property, properties_at
from meshproxy.wire.mqtt.topics import check_filter, check_topic, checked, share_of

NAME, OLD_NAME = b"MQTT", b"MQIsdp"
"""The second is that of 3.1, which was no standard yet."""

MOST_FILTERS = 4096
"""In one packet: so many take some 10 ms, and nobody else is heard meanwhile."""


def decode(level: int, data: bytes, start: int, body: int, end: int) -> Packet:
    """A packet that `Frames` has cut out.  A CONNECT says its level itself."""
    first = data[start]
    flags = _MESSAGE_FLAGS[first]
    if flags is None:
        return _BY_FIRST_BYTE[first](level, first, data, body, end)
    # A PUBLISH, as nearly all are
    qos = flags[0]
    begin = body + 2
    if begin > end:
        raise cut_short()
    stop = begin + (data[body] << 8 | data[body + 1])
    at = stop + 2 if qos else stop
    if at > end:
        raise cut_short()
    topic = checked[data[begin:stop]]
    number = 0
    if qos:
        number = data[stop] << 8 | data[stop + 1]
        if not number:
            raise _id_0()
    properties = NOTHING
    if level == V5:
        if at < end and not data[at]:
            at += 1
        else:
            properties, at = properties_at(data, at, end, PUBLISH)
        if not topic and Property.TOPIC_ALIAS not in properties:
            raise Malformed(Fault.BAD_TOPIC, "neither a topic nor an alias", Code.PROTOCOL_ERROR)
    elif not topic:
        raise Malformed(Fault.BAD_TOPIC, "no topic", Code.TOPIC_NAME_INVALID)
    packet = _new(Publish)
    packet.topic = topic
    packet.payload = data[at:end]
    packet.qos, packet.retain, packet.dup = flags
    packet.id = number
    packet.properties = properties
    return packet


# To call the class takes CPython 3.11 twice as long as to fill its slots
_new = Publish.__new__


def _ack(level: int, first: int, data: bytes, body: int, end: int) -> Ack:
    kind = first >> 4
    number = _id_at(data, body, end)
    if end == body + 2:
        return Ack(kind, number, 0, NOTHING)
    if level != V5:
        raise _left_over()
    code = _code(data[body + 2], CODES[kind])
    return Ack(kind, number, code, _last_properties(data, body + 3, end, kind) if end > body + 3 else NOTHING)


def _connect(_: int, _first: int, data: bytes, body: int, end: int) -> Connect:
    name, at = binary_at(data, body, end)
    if name == OLD_NAME:
        raise _unknown_version("MQTT 3.1")
    if name != NAME:
        raise Malformed(Fault.NOT_MQTT, "another protocol's name", Code.UNSUPPORTED_PROTOCOL_VERSION)
    if at >= end:
        raise cut_short()
    level = data[at]
    if level != V311 and level != V5:
        raise _unknown_version(f"level {level}")
    keep_alive = short_at(data, at + 2, end)
    flags = data[at + 1]
    if flags & 1:
        raise Malformed(Fault.BAD_FLAGS, "the reserved flag of a CONNECT")
    at += 4
    properties = NOTHING
    if level == V5:
        properties, at = properties_at(data, at, end, CONNECT)
        _check_authentication(properties)
    client_id, at = text_at(data, at, end)
    if not client_id and level == V311 and not flags & 2:
        raise Malformed(
            Fault.BAD_CLIENT_ID, "a session that is kept needs a client id", Code.CLIENT_IDENTIFIER_NOT_VALID
        )
    will = None
    if flags & 4:
        will, at = _will(level, flags, data, at, end)
    elif flags & 0x38:
        raise Malformed(Fault.BAD_WILL, "flags of a will that is not there")
    user, password = None, None
    if flags & 0x80:
        name, at = text_at(data, at, end)
        user = name.decode()
    if flags & 0x40:
        if user is None and level == V311:
            raise Malformed(Fault.BAD_CREDENTIALS, "a password without a user name")
        password, at = binary_at(data, at, end)
    if at != end:
        raise _left_over()
    return Connect(level, client_id.decode(), flags & 2 == 2, keep_alive, user, password, will, properties)


def _will(level: int, flags: int, data: bytes, at: int, end: int) -> tuple[Will, int]:
    qos = flags >> 3 & 3
    if qos == 3:
        raise Malformed(Fault.BAD_QOS, "a will of QoS 3")
    properties = NOTHING
    if level == V5:
        properties, at = properties_at(data, at, end, WILL)
    topic, at = binary_at(data, at, end)
    check_topic(topic)
    payload, at = binary_at(data, at, end)
    return Will(topic, payload, qos, flags & 0x20 == 0x20, properties), at


def _connack(level: int, _first: int, data: bytes, body: int, end: int) -> Connack:
    if body + 2 > end:
        raise cut_short()
    flags = data[body]
    if flags > 1:
        raise Malformed(Fault.BAD_FLAGS, "reserved flags of a CONNACK")
    code = _code(data[body + 1], (CODES if level == V5 else CODES_311)[CONNACK])
    if flags and code:
        raise Malformed(Fault.BAD_SESSION, "a session for who is refused", Code.PROTOCOL_ERROR)
    if level == V5:
        properties = _last_properties(data, body + 2, end, CONNACK)
        _check_authentication(properties)
        return Connack(flags == 1, code, properties)
    if end > body + 2:
        raise _left_over()
    return Connack(flags == 1, code, NOTHING)


def _subscribe(level: int, _first: int, data: bytes, body: int, end: int) -> Subscribe:
    number, properties, at = _opening(level, data, body, end, SUBSCRIBE)
    subscriptions = []
    while at < end:
        filter, at = binary_at(data, at, end)
        check_filter(filter)
        if at >= end:
            raise cut_short()
        subscriptions.append(_subscription(level, filter, data[at]))
        at += 1
        if len(subscriptions) > MOST_FILTERS:
            raise _too_many()
    if not subscriptions:
        raise _nothing_asked()
    return Subscribe(number, tuple(subscriptions), properties)


def _subscription(level: int, filter: bytes, options: int) -> Subscription:
    qos = options & 3
    if qos == 3:
        raise Malformed(Fault.BAD_QOS, "a subscription of QoS 3", Code.PROTOCOL_ERROR)
    if level != V5:
        if options > 2:
            raise Malformed(Fault.BAD_OPTIONS, "reserved bits of a subscription")
        return Subscription(filter, qos)
    if options & 0xC0:
        raise Malformed(Fault.BAD_OPTIONS, "reserved bits of a subscription")
    handling = options >> 4
    if handling == 3:
        raise Malformed(Fault.BAD_OPTIONS, "retain handling 3", Code.PROTOCOL_ERROR)
    if options & 4 and share_of(filter)[0]:
        raise Malformed(Fault.BAD_OPTIONS, "no local, of a shared subscription", Code.PROTOCOL_ERROR)
    return Subscription(filter, qos, options & 4 == 4, options & 8 == 8, handling)


def _suback(level: int, _first: int, data: bytes, body: int, end: int) -> Suback:
    number, properties, at = _opening(level, data, body, end, SUBACK)
    return Suback(number, _codes(data[at:end], (CODES if level == V5 else CODES_311)[SUBACK]), properties)


def _unsubscribe(level: int, _first: int, data: bytes, body: int, end: int) -> Unsubscribe:
    number, properties, at = _opening(level, data, body, end, UNSUBSCRIBE)
    filters = []
    while at < end:
        filter, at = binary_at(data, at, end)
        check_filter(filter)
        filters.append(filter)
        if len(filters) > MOST_FILTERS:
            raise _too_many()
    if not filters:
        raise _nothing_asked()
    return Unsubscribe(number, tuple(filters), properties)


def _unsuback(level: int, _first: int, data: bytes, body: int, end: int) -> Unsuback:
    number, properties, at = _opening(level, data, body, end, UNSUBACK)
    if level == V5:
        return Unsuback(number, _codes(data[at:end], CODES[UNSUBACK]), properties)
    if at < end:
        raise _left_over()
    return Unsuback(number, (), properties)


def _ping(_level: int, _first: int, _data: bytes, body: int, end: int) -> Ping:
    if body < end:
        raise _left_over()
    return Ping()


def _pong(_level: int, _first: int, _data: bytes, body: int, end: int) -> Pong:
    if body < end:
        raise _left_over()
    return Pong()


def _disconnect(level: int, _first: int, data: bytes, body: int, end: int) -> Disconnect:
    if body == end:
        return Disconnect(0, NOTHING)
    if level != V5:
        raise _left_over()
    code = _code(data[body], CODES[DISCONNECT])
    return Disconnect(code, _last_properties(data, body + 1, end, DISCONNECT) if end > body + 1 else NOTHING)


def _auth(level: int, _first: int, data: bytes, body: int, end: int) -> Auth:
    if level != V5:
        raise Malformed(Fault.BAD_TYPE, "a packet of type 15")
    if body == end:
        return Auth(0, NOTHING)
    code = _code(data[body], CODES[AUTH])
    properties = _last_properties(data, body + 1, end, AUTH)
    if Property.AUTHENTICATION_METHOD not in properties:
        raise _no_method()
    return Auth(code, properties)


def _opening(level: int, data: bytes, body: int, end: int, kind: int) -> tuple[int, Properties, int]:
    """Of what has a packet identifier, and then perhaps properties."""
    number = _id_at(data, body, end)
    if level != V5:
        return number, NOTHING, body + 2
    properties, at = properties_at(data, body + 2, end, kind)
    return number, properties, at


def _id_at(data: bytes, at: int, end: int) -> int:
    if at + 2 > end:
        raise cut_short()
    number = data[at] << 8 | data[at + 1]
    if not number:
        raise _id_0()
    return number


def _last_properties(data: bytes, at: int, end: int, kind: int) -> Properties:
    properties, at = properties_at(data, at, end, kind)
    if at != end:
        raise _left_over()
    return properties


def _code(code: int, known: frozenset[int]) -> int:
    if code not in known:
        raise Malformed(Fault.BAD_CODE, f"code {code:#04x}, which such a packet does not have", Code.PROTOCOL_ERROR)
    return code


def _codes(codes: bytes, known: frozenset[int]) -> tuple[int, ...]:
    if not codes:
        raise cut_short()
    return tuple([_code(code, known) for code in codes])


def _check_authentication(properties: Properties) -> None:
    if Property.AUTHENTICATION_DATA in properties and Property.AUTHENTICATION_METHOD not in properties:
        raise _no_method()


def _no_method() -> Malformed:
    return Malformed(Fault.MISSING_PROPERTY, "authentication without its method", Code.PROTOCOL_ERROR)


def _id_0() -> Malformed:
    return Malformed(Fault.BAD_ID, "packet identifier 0", Code.PROTOCOL_ERROR)


def _left_over() -> Malformed:
    return Malformed(Fault.LEFT_OVER, "it goes on behind what it holds")


def _too_many() -> Malformed:
    return Malformed(Fault.TOO_LARGE, f"more than {MOST_FILTERS} filters in one packet", Code.QUOTA_EXCEEDED)


def _nothing_asked() -> Malformed:
    return Malformed(Fault.NOTHING_ASKED, "no topic filter", Code.PROTOCOL_ERROR)


def _unknown_version(text: str) -> Malformed:
    return Malformed(Fault.UNKNOWN_VERSION, text, Code.UNSUPPORTED_PROTOCOL_VERSION)


def _bad_flags(_level: int, first: int, _data: bytes, _body: int, _end: int) -> Packet:
    """Whatever begins like no packet."""
    kind = first >> 4
    if not kind:
        raise Malformed(Fault.BAD_TYPE, "a packet of type 0")
    if kind == PUBLISH and first & 6 == 6:
        raise Malformed(Fault.BAD_QOS, "a message of QoS 3")
    raise Malformed(Fault.BAD_FLAGS, f"{first:#04x} as the first byte")


Decoder = Callable[[int, int, bytes, int, int], Packet]
"""The level, the first byte, then where the body is."""

# Of a PUBLISH: QoS, retain, dup
_MESSAGE_FLAGS: list[tuple[int, bool, bool] | None] = [None] * 256
for _qos in range(3):
    # What is sent once cannot be sent again
    for _dup in (False, True)[: 2 if _qos else 1]:
        for _retain in (False, True):
            _MESSAGE_FLAGS[PUBLISH << 4 | _dup << 3 | _qos << 1 | _retain] = _qos, _retain, _dup

_BY_FIRST_BYTE: list[Decoder] = [_bad_flags] * 256
_BY_FIRST_BYTE[CONNECT << 4] = _connect
_BY_FIRST_BYTE[CONNACK << 4] = _connack
_BY_FIRST_BYTE[PUBACK << 4] = _ack
_BY_FIRST_BYTE[PUBREC << 4] = _ack
_BY_FIRST_BYTE[PUBREL << 4 | 2] = _ack
_BY_FIRST_BYTE[PUBCOMP << 4] = _ack
_BY_FIRST_BYTE[SUBSCRIBE << 4 | 2] = _subscribe
_BY_FIRST_BYTE[SUBACK << 4] = _suback
_BY_FIRST_BYTE[UNSUBSCRIBE << 4 | 2] = _unsubscribe
_BY_FIRST_BYTE[UNSUBACK << 4] = _unsuback
_BY_FIRST_BYTE[PINGREQ << 4] = _ping
_BY_FIRST_BYTE[PINGRESP << 4] = _pong
_BY_FIRST_BYTE[DISCONNECT << 4] = _disconnect
_BY_FIRST_BYTE[AUTH << 4] = _auth
