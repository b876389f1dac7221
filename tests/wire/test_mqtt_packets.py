"""Each packet in both versions: golden bytes are read and written."""

from __future__ import annotations

import pytest

from meshproxy.wire.mqtt import (
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    V5,
    V311,
    WILL,
    Ack,
    Auth,
    Code,
    Connack,
    Connect,
    Disconnect,
    Frames,
    Malformed,
    Packet,
    Ping,
    Pong,
    Property,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    check_filter,
    check_topic,
    decode,
    encode,
    looks_like_connect,
    properties_at,
    publish,
    share_of,
    topic_at,
)
from meshproxy.wire.mqtt.codes import CODES, CONNACK, CONNACK_311

P = Property

OF_311: list[tuple[bytes, Packet]] = [
    (b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4boat", Connect(V311, "boat", True, 60)),
    (b"\x10\x0c\0\4MQTT\4\2\0\0\0\0", Connect(V311, "")),
    (
        b"\x10\x1e\0\4MQTT\4\xf4\0\x0a\0\1c\0\4w/\xc3\xa9\0\2\0\xff\0\1u\0\2\0p",
        Connect(V311, "c", False, 10, "u", b"\0p", Will("w/é".encode(), b"\0\xff", 2, True)),
    ),
    (b"\x10\x10\0\4MQTT\4\x82\0\0\0\1c\0\1u", Connect(V311, "c", user="u")),
    (b"\x20\2\0\0", Connack(False, 0)),
    (b"\x20\2\1\0", Connack(True, 0)),
    (b"\x20\2\0\5", Connack(False, 5)),
    (b"\x30\3\0\1a", Publish(b"a", b"")),
    (b"\x31\6\0\1ahi\0", Publish(b"a", b"hi\0", retain=True)),
    (b"\x32\7\0\1a\0\x09hi", Publish(b"a", b"hi", 1, id=9)),
    (b"\x3d\7\0\1a\xff\xffhi", Publish(b"a", b"hi", 2, True, True, 65535)),
    (b"\x40\2\0\1", Ack(PUBACK, 1)),
    (b"\x50\2\1\0", Ack(PUBREC, 256)),
    (b"\x62\2\0\1", Ack(PUBREL, 1)),
    (b"\x70\2\0\1", Ack(PUBCOMP, 1)),
    (
        b"\x82\x0e\0\5\0\3a/+\1\0\3b/#\2",
        Subscribe(5, (Subscription(b"a/+", 1), Subscription(b"b/#", 2))),
    ),
    (b"\x90\5\0\5\0\1\x80", Suback(5, (0, 1, 0x80))),
    (b"\xa2\x08\0\6\0\1a\0\1#", Unsubscribe(6, (b"a", b"#"))),
    (b"\xb0\2\0\6", Unsuback(6)),
    (b"\xc0\0", Ping()),
    (b"\xd0\0", Pong()),
    (b"\xe0\0", Disconnect()),
]

OF_5: list[tuple[bytes, Packet]] = [
    (b"\x10\x11\0\4MQTT\5\2\0\x3c\0\0\4boat", Connect(V5, "boat", True, 60)),
    (
        b"\x10\x30\0\4MQTT\5\0\0\0\x23\x11\xff\xff\xff\xff\x21\0\x14\x27\0\0\x10\0\x22\0\x0a\x19\1\x17\0"
        b"\x26\0\1k\0\1v\x15\0\1m\x16\0\1\0\0\0",
        Connect(
            V5,
            "",
            False,
            properties={
                P.SESSION_EXPIRY_INTERVAL: 0xFFFFFFFF,
                P.RECEIVE_MAXIMUM: 20,
                P.MAXIMUM_PACKET_SIZE: 4096,
                P.TOPIC_ALIAS_MAXIMUM: 10,
                P.REQUEST_RESPONSE_INFORMATION: 1,
                P.REQUEST_PROBLEM_INFORMATION: 0,
                P.USER_PROPERTY: ((b"k", b"v"),),
                P.AUTHENTICATION_METHOD: b"m",
                P.AUTHENTICATION_DATA: b"\0",
            },
        ),
    ),
    (
        b"\x10\x30\0\4MQTT\5\x4e\0\0\0\0\1c\x18\x18\0\0\0\x0a\1\1\2\0\0\0\x3c\3\0\1t\x08\0\1r\x09\0\1d"
        b"\0\1w\0\1x\0\1p",
        Connect(
            V5,
            "c",
            password=b"p",
            will=Will(
                b"w",
                b"x",
                1,
                properties={
                    P.WILL_DELAY_INTERVAL: 10,
                    P.PAYLOAD_FORMAT_INDICATOR: 1,
                    P.MESSAGE_EXPIRY_INTERVAL: 60,
                    P.CONTENT_TYPE: b"t",
                    P.RESPONSE_TOPIC: b"r",
                    P.CORRELATION_DATA: b"d",
                },
            ),
        ),
    ),
    (b"\x20\3\0\0\0", Connack(False, 0)),
    (
        b"\x20\x2b\1\0\x28\x24\1\x25\0\x28\0\x29\0\x2a\0\x12\0\1i\x13\0\x3c\x1a\0\1r\x1c\0\1s\x1f\0\1w"
        b"\x22\0\1\x21\0\1\x11\0\0\0\0",
        Connack(
            True,
            0,
            {
                P.MAXIMUM_QOS: 1,
                P.RETAIN_AVAILABLE: 0,
                P.WILDCARD_SUBSCRIPTION_AVAILABLE: 0,
                P.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0,
                P.SHARED_SUBSCRIPTION_AVAILABLE: 0,
                P.ASSIGNED_CLIENT_IDENTIFIER: b"i",
                P.SERVER_KEEP_ALIVE: 60,
                P.RESPONSE_INFORMATION: b"r",
                P.SERVER_REFERENCE: b"s",
                P.REASON_STRING: b"w",
                P.TOPIC_ALIAS_MAXIMUM: 1,
                P.RECEIVE_MAXIMUM: 1,
                P.SESSION_EXPIRY_INTERVAL: 0,
            },
        ),
    ),
    (b"\x20\3\0\x9f\0", Connack(False, 0x9F)),
    (b"\x30\4\0\1a\0", Publish(b"a", b"")),
    (b"\x32\x08\0\1a\0\x09\0hi", Publish(b"a", b"hi", 1, id=9)),
    (b"\x30\x08\0\0\3\x23\0\1hi", Publish(b"", b"hi", properties={P.TOPIC_ALIAS: 1})),
    (
        b"\x30\x16\0\1a\x12\x26\0\1k\0\1v\x26\0\1k\0\0\x0b\1\x0b\x80\1",
        Publish(
            b"a",
            b"",
            properties={P.USER_PROPERTY: ((b"k", b"v"), (b"k", b"")), P.SUBSCRIPTION_IDENTIFIER: (1, 128)},
        ),
    ),
    (b"\x40\2\0\1", Ack(PUBACK, 1)),
    (b"\x40\3\0\1\x10", Ack(PUBACK, 1, Code.NO_SUBSCRIBERS)),
    (b"\x50\x08\0\1\x97\4\x1f\0\1x", Ack(PUBREC, 1, Code.QUOTA_EXCEEDED, {P.REASON_STRING: b"x"})),
    (b"\x62\3\0\1\x92", Ack(PUBREL, 1, Code.PACKET_ID_NOT_FOUND)),
    (b"\x70\x0b\0\1\0\7\x26\0\1k\0\1v", Ack(PUBCOMP, 1, 0, {P.USER_PROPERTY: ((b"k", b"v"),)})),
    (
        b"\x82\x19\0\5\3\x0b\x80\1\0\3a/+\x2d\0\x0a$share/g/#\x1a",
        Subscribe(
            5,
            (Subscription(b"a/+", 1, True, True, 2), Subscription(b"$share/g/#", 2, False, True, 1)),
            {P.SUBSCRIPTION_IDENTIFIER: (128,)},
        ),
    ),
    (b"\x90\6\0\5\0\0\2\xa2", Suback(5, (0, 2, 0xA2))),
    (b"\xa2\x06\0\6\0\0\1a", Unsubscribe(6, (b"a",))),
    (b"\xb0\5\0\6\0\0\x11", Unsuback(6, (0, Code.NO_SUBSCRIPTION))),
    (b"\xc0\0", Ping()),
    (b"\xd0\0", Pong()),
    (b"\xe0\0", Disconnect()),
    (b"\xe0\1\4", Disconnect(Code.DISCONNECT_WITH_WILL)),
    (b"\xe0\7\0\5\x11\0\0\0\1", Disconnect(0, {P.SESSION_EXPIRY_INTERVAL: 1})),
    (b"\xf0\0", Auth()),
    (b"\xf0\6\x18\4\x15\0\1m", Auth(Code.CONTINUE_AUTHENTICATION, {P.AUTHENTICATION_METHOD: b"m"})),
]

def named(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else ""


GOLDEN = [(V311, *each) for each in OF_311] + [(V5, *each) for each in OF_5]


@pytest.mark.parametrize(("level", "data", "packet"), GOLDEN, ids=named)
def test_golden_bytes_are_read_and_written(level: int, data: bytes, packet: Packet) -> None:
    whole, cuts = Frames(1000).feed(data)
    assert cuts == [(0, 2, len(data))]
    assert decode(level, whole, *cuts[0]) == packet
    assert encode(packet, level) == data


def test_there_are_golden_bytes_of_each_kind() -> None:
    assert {packet.kind for _, packet in OF_311} == set(range(1, 15))
    assert {packet.kind for _, packet in OF_5} == set(range(1, 16))


@pytest.mark.parametrize(
    ("data", "packet"),
    [
        # said at length, though it could be left out
        (b"\x40\3\0\1\0", Ack(PUBACK, 1)),
        (b"\x40\4\0\1\0\0", Ack(PUBACK, 1)),
        (b"\x62\4\0\1\0\0", Ack(PUBREL, 1)),
        (b"\xe0\1\0", Disconnect()),
        (b"\xe0\2\x04\0", Disconnect(4)),
    ],
)
def test_what_could_be_left_out_may_be_said(data: bytes, packet: Packet) -> None:
    assert decode(V5, data, 0, 2, len(data)) == packet


def test_a_packet_in_the_midst_of_others() -> None:
    data = b"\xc0\0\x32\7\0\1a\0\x09hi\xc0\0"
    assert decode(V311, data, 2, 4, 11) == Publish(b"a", b"hi", 1, id=9)
    assert topic_at(data, 4, 11) == b"a"


def test_a_message_without_an_object() -> None:
    assert publish(b"a", b"hi", 1, True, True, 9, {P.TOPIC_ALIAS: 3}, V5) == b"\x3b\x0b\0\1a\0\x09\3\x23\0\3hi"
    assert publish(b"a", b"hi", 0, False, False, 0, {P.TOPIC_ALIAS: 3}, V311) == b"\x30\5\0\1ahi"


@pytest.mark.parametrize("size", [120, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_of_one_to_four_bytes(size: int) -> None:
    packet = Publish(b"a", bytes(size - 3))
    data, [(start, body, end)] = Frames(1 << 22).feed(encode(packet, V311))
    assert end - body == size
    assert decode(V311, data, start, body, end) == packet


def test_what_no_packet_can_hold_is_not_written() -> None:
    with pytest.raises(OverflowError):
        encode(Publish(bytes(65_536), b""), V311)
    with pytest.raises(OverflowError):
        encode(Publish(b"a", bytes(268_435_453)), V311)
    with pytest.raises(ValueError, match="no AUTH"):
        encode(Auth(), V311)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Connect(V311, "c", user="u", password=b"secret"))


def test_properties_alone() -> None:
    assert properties_at(b"\5\x11\0\0\0\x3c", 0, 6, CONNECT) == ({P.SESSION_EXPIRY_INTERVAL: 60}, 6)
    assert properties_at(b"x\0y", 1, 3, PUBLISH) == ({}, 2)
    assert properties_at(b"\5\x18\0\0\0\x3c", 0, 6, WILL) == ({P.WILL_DELAY_INTERVAL: 60}, 6)


def test_there_may_be_many_user_properties_and_not_any_number() -> None:
    pair = b"\x26\0\0\0\0"
    properties, _ = properties_at(b"\x80\xa0\x01" + pair * 4096, 0, 3 + 5 * 4096, PUBLISH)
    assert properties == {P.USER_PROPERTY: ((b"", b""),) * 4096}
    with pytest.raises(Malformed):
        properties_at(b"\x85\xa0\x01" + pair * 4097, 0, 3 + 5 * 4097, PUBLISH)


@pytest.mark.parametrize("topic", [b"a", b"/", b"//", b" ", b"$SYS/x", "é/水".encode(), b"\x01", bytes([97]) * 65535])
def test_topics(topic: bytes) -> None:
    check_topic(topic)


@pytest.mark.parametrize("topic", [b"", bytes([97]) * 65536, b"+", b"a/#", b"a\0", b"\xc3"])
def test_what_is_no_topic(topic: bytes) -> None:
    with pytest.raises(Malformed):
        check_topic(topic)


@pytest.mark.parametrize(
    "filter",
    [b"#", b"+", b"/", b"a", b"a/#", b"/#", b"+/#", b"a/+/b", b"//+", b"$SYS/#", b"$share/g/#", b"$share/g//"],
)
def test_filters(filter: bytes) -> None:
    check_filter(filter)


@pytest.mark.parametrize("filter", [b"", b"a#", b"#a", b"a+", b"+a", b"#/", b"$share", b"$share/", b"$share/g"])
def test_what_is_no_filter(filter: bytes) -> None:
    with pytest.raises(Malformed):
        check_filter(filter)


def test_a_long_filter_is_judged_in_linear_time() -> None:
    check_filter(b"+/" * 32_767 + b"+")
    with pytest.raises(Malformed):
        check_filter(b"+/" * 32_766 + b"a+")


def test_shares() -> None:
    assert share_of(b"$share/g/a/b") == (b"g", b"a/b")
    assert share_of(b"a/b") == (b"", b"a/b")
    assert share_of(b"$shared/g/a") == (b"", b"$shared/g/a")


@pytest.mark.parametrize("data", [OF_311[0][0], OF_5[0][0], b"\x10\x0f\0\6MQIsdp\3", b"\x10\xff\xff\x7f\0\4MQTT\5"])
def test_a_connect_is_recognised_as_soon_as_it_is_sure(data: bytes) -> None:
    sure = data.index(b"\0", 1) + 2 + data[data.index(b"\0", 1) + 1]
    for size in range(len(data)):
        assert looks_like_connect(data[:size]) is (True if size >= sure else None)


@pytest.mark.parametrize(
    "data",
    [b"\x16\3\1", b"GET /", b"\x11", b"\x10\x10\0\4mqtt", b"\x10\x80\0", b"\x10\xff\xff\xff\xff", b"\x10\x10\1", b"\0"],
)
def test_what_is_no_connect(data: bytes) -> None:
    assert looks_like_connect(data) is False


def test_each_refusal_can_be_said_in_3_1_1() -> None:
    assert set(CONNACK_311) == CODES[CONNACK]
    assert {code for code, said in CONNACK_311.items() if not said} == {Code.SUCCESS}
    assert set(CONNACK_311.values()) == set(range(6))
