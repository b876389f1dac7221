"""The numbers of MQTT: kinds of packets, levels of the protocol, reason codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

(
    CONNECT,
    CONNACK,
    PUBLISH,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBSCRIBE,
    SUBACK,
    UNSUBSCRIBE,
    UNSUBACK,
    PINGREQ,
    PINGRESP,
    DISCONNECT,
    AUTH,
) = range(1, 16)

WILL = 0
"""No kind of packet: where a will's properties stand, which has some of its own."""

V311, V5 = 4, 5

LARGEST = 268_435_455
"""The largest number, and so the longest body, that four bytes of seven bits can say."""


class Code(IntEnum):
    """MQTT 5.0, 2.4.  From 0x80 on it is a failure."""

    SUCCESS = 0x00
    """Also a normal disconnection, and a granted QoS of 0."""
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    REAUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_ID_IN_USE = 0x91
    PACKET_ID_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


_PUBLISH_ANSWERS = bytes.fromhex("00 10 80 83 87 90 91 97 99")
_RELEASE_ANSWERS = bytes.fromhex("00 92")

CODES: Mapping[int, frozenset[int]] = {
    CONNACK: frozenset(bytes.fromhex("00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f")),
    PUBACK: frozenset(_PUBLISH_ANSWERS),
    PUBREC: frozenset(_PUBLISH_ANSWERS),
    PUBREL: frozenset(_RELEASE_ANSWERS),
    PUBCOMP: frozenset(_RELEASE_ANSWERS),
    SUBACK: frozenset(bytes.fromhex("00 01 02 80 83 87 8f 91 97 9e a1 a2")),
    UNSUBACK: frozenset(bytes.fromhex("00 11 80 83 87 8f 91")),
    DISCONNECT: frozenset(
        bytes.fromhex("00 04 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2")
    ),
    AUTH: frozenset(bytes.fromhex("00 18 19")),
}
"""By the kind of packet, those that 5.0 has for it."""

CODES_311: Mapping[int, frozenset[int]] = {
    CONNACK: frozenset(range(6)),
    SUBACK: frozenset((0, 1, 2, 0x80)),
}

ACCEPTED, WRONG_VERSION, REJECTED_ID, UNAVAILABLE, BAD_CREDENTIALS, UNAUTHORIZED = range(6)
"""The return codes of a CONNACK of 3.1.1."""

CONNACK_311: Mapping[int, int] = dict.fromkeys(CODES[CONNACK], UNAVAILABLE) | {
    Code.SUCCESS: ACCEPTED,
    Code.UNSUPPORTED_PROTOCOL_VERSION: WRONG_VERSION,
    Code.CLIENT_IDENTIFIER_NOT_VALID: REJECTED_ID,
    Code.BAD_USER_OR_PASSWORD: BAD_CREDENTIALS,
    Code.BAD_AUTHENTICATION_METHOD: BAD_CREDENTIALS,
    Code.NOT_AUTHORIZED: UNAUTHORIZED,
    Code.BANNED: UNAUTHORIZED,
}
"""What is said to a client of 3.1.1 for each code of 5.0."""
