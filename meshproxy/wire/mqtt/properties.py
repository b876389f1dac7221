"""The properties of 5.0: what each is called, which packets have it, how its value is read and written.

    properties_at(b"\\x05\\x11\\x00\\x00\\x00\\x3c", 0, 6, CONNECT)    # {Property.SESSION_EXPIRY_INTERVAL: 60}, 6
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from meshproxy.wire.mqtt.codes import (
    AUTH,
    CODES,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    WILL,
    Code,
)
from meshproxy.wire.mqtt.faults import Fault, Malformed
from meshproxy.wire.mqtt.fields import binary, binary_at, cut_short, number, number_at, short, short_at, text_at
from meshproxy.wire.mqtt.packets import Properties
from meshproxy.wire.mqtt.topics import check_topic


class Property(IntEnum):
    """MQTT 5.0, 2.2.2.2."""

    PAYLOAD_FORMAT_INDICATOR = 0x01
    MESSAGE_EXPIRY_INTERVAL = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY_INTERVAL = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY_INTERVAL = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


NOTHING: Properties = {}
"""Shared by all packets that have none."""

_USER = int(Property.USER_PROPERTY)
_LISTS = (_USER, int(Property.SUBSCRIPTION_IDENTIFIER))
"""What may be there more than once; the second only in a PUBLISH."""
MOST_EACH = 4096
"""How often: so many take some 10 ms, and nobody else is heard meanwhile."""


def properties_at(data: bytes, at: int, end: int, packet_type: int) -> tuple[Properties, int]:
    """And where what follows them begins."""
    size, at = number_at(data, at, end)
    if not size:
        return NOTHING, at
    stop = at + size
    if stop > end:
        raise cut_short()
    found: Properties = {}
    here = 1 << packet_type
    while at < stop:
        name = data[at]
        known = _READERS.get(name)
        if known is None:
            raise Malformed(Fault.UNKNOWN_PROPERTY, f"property {name:#04x}")
        read, where = known
        if not where & here:
            raise Malformed(Fault.FOREIGN_PROPERTY, f"property {name:#04x}, which such a packet does not have")
        value, at = read(data, at + 1, stop)
        if name in _LISTS:
            if name not in found:
                found[name] = [value]
            elif len(found[name]) == MOST_EACH:
                raise Malformed(Fault.TOO_LARGE, f"property {name:#04x} too often", Code.QUOTA_EXCEEDED)
            elif name == _USER or packet_type == PUBLISH:
                found[name].append(value)
            else:
                raise _repeated(name)
        elif name in found:
            raise _repeated(name)
        else:
            found[name] = value
    for name in _LISTS:
        if name in found:
            found[name] = tuple(found[name])
    return found, stop


def block(properties: Properties) -> bytes:
    """As they stand in a packet, their length in front."""
    if not properties:
        return b"\0"
    written = b"".join([_WRITERS[name](value) for name, value in properties.items()])
    return number(len(written)) + written


def _repeated(name: int) -> Malformed:
    return Malformed(Fault.REPEATED_PROPERTY, f"property {name:#04x} twice", Code.PROTOCOL_ERROR)


def _bad_value(value: int, code: Code = Code.PROTOCOL_ERROR) -> Malformed:
    return Malformed(Fault.BAD_VALUE, f"a property of {value}", code)


# Readers: of bytes, a place in them, and where the properties end; the value, and where the next property begins


def _switch(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at >= end:
        raise cut_short()
    value = data[at]
    if value > 1:
        raise _bad_value(value)
    return value, at + 1


def _two_bytes(data: bytes, at: int, end: int) -> tuple[int, int]:
    return short_at(data, at, end), at + 2


def _four_bytes(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end:
        raise cut_short()
    return int.from_bytes(data[at : at + 4], "big"), at + 4


def _positive_two(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = short_at(data, at, end)
    if not value:
        raise _bad_value(value)
    return value, at + 2


def _positive_four(data: bytes, at: int, end: int) -> tuple[int, int]:
    found = value, _ = _four_bytes(data, at, end)
    if not value:
        raise _bad_value(value)
    return found


def _alias(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = short_at(data, at, end)
    if not value:
        raise _bad_value(value, Code.TOPIC_ALIAS_INVALID)
    return value, at + 2


def _subscription(data: bytes, at: int, end: int) -> tuple[int, int]:
    found = value, _ = number_at(data, at, end)
    if not value:
        raise _bad_value(value)
    return found


def _topic(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    found = topic, _ = text_at(data, at, end)
    check_topic(topic)
    return found


def _pair(data: bytes, at: int, end: int) -> tuple[tuple[bytes, bytes], int]:
    name, at = text_at(data, at, end)
    value, at = text_at(data, at, end)
    return (name, value), at


Reader = Callable[[bytes, int, int], tuple[Any, int]]
Writer = Callable[[Any], bytes]

_READERS: dict[int, tuple[Reader, int]] = {}
_WRITERS: dict[int, Writer] = {}


def _define(name: Property, read: Reader, write: Callable[[Any], bytes], *where: int) -> None:
    _READERS[int(name)] = read, sum(1 << place for place in where)
    before = bytes((name,))
    _WRITERS[int(name)] = lambda value: before + write(value)


def _each(name: Property, write: Writer) -> None:
    before = bytes((name,))

    def written(values: Iterable[Any]) -> bytes:
        return b"".join([before + write(value) for value in values])

    _WRITERS[int(name)] = written


def _byte(value: int) -> bytes:
    return bytes((value,))


def _four(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _two_strings(pair: tuple[bytes, bytes]) -> bytes:
    return binary(pair[0]) + binary(pair[1])


_ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK)
_P = Property
_define(_P.PAYLOAD_FORMAT_INDICATOR, _switch, _byte, PUBLISH, WILL)
_define(_P.MESSAGE_EXPIRY_INTERVAL, _four_bytes, _four, PUBLISH, WILL)
_define(_P.CONTENT_TYPE, text_at, binary, PUBLISH, WILL)
_define(_P.RESPONSE_TOPIC, _topic, binary, PUBLISH, WILL)
_define(_P.CORRELATION_DATA, binary_at, binary, PUBLISH, WILL)
_define(_P.SUBSCRIPTION_IDENTIFIER, _subscription, number, PUBLISH, SUBSCRIBE)
_define(_P.SESSION_EXPIRY_INTERVAL, _four_bytes, _four, CONNECT, CONNACK, DISCONNECT)
_define(_P.ASSIGNED_CLIENT_IDENTIFIER, text_at, binary, CONNACK)
_define(_P.SERVER_KEEP_ALIVE, _two_bytes, short, CONNACK)
_define(_P.AUTHENTICATION_METHOD, text_at, binary, CONNECT, CONNACK, AUTH)
_define(_P.AUTHENTICATION_DATA, binary_at, binary, CONNECT, CONNACK, AUTH)
_define(_P.REQUEST_PROBLEM_INFORMATION, _switch, _byte, CONNECT)
_define(_P.WILL_DELAY_INTERVAL, _four_bytes, _four, WILL)
_define(_P.REQUEST_RESPONSE_INFORMATION, _switch, _byte, CONNECT)
_define(_P.RESPONSE_INFORMATION, text_at, binary, CONNACK)
_define(_P.SERVER_REFERENCE, text_at, binary, CONNACK, DISCONNECT)
_define(_P.REASON_STRING, text_at, binary, CONNACK, *_ACKS, DISCONNECT, AUTH)
_define(_P.RECEIVE_MAXIMUM, _positive_two, short, CONNECT, CONNACK)
_define(_P.TOPIC_ALIAS_MAXIMUM, _two_bytes, short, CONNECT, CONNACK)
_define(_P.TOPIC_ALIAS, _alias, short, PUBLISH)
_define(_P.MAXIMUM_QOS, _switch, _byte, CONNACK)
_define(_P.RETAIN_AVAILABLE, _switch, _byte, CONNACK)
_define(_P.USER_PROPERTY, _pair, _two_strings, *CODES, CONNECT, PUBLISH, WILL, SUBSCRIBE, UNSUBSCRIBE)
_define(_P.MAXIMUM_PACKET_SIZE, _positive_four, _four, CONNECT, CONNACK)
_define(_P.WILDCARD_SUBSCRIPTION_AVAILABLE, _switch, _byte, CONNACK)
_define(_P.SUBSCRIPTION_IDENTIFIER_AVAILABLE, _switch, _byte, CONNACK)
_define(_P.SHARED_SUBSCRIPTION_AVAILABLE, _switch, _byte, CONNACK)
_each(_P.USER_PROPERTY, _two_strings)
_each(_P.SUBSCRIPTION_IDENTIFIER, number)
