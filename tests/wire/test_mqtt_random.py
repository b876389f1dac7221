"""Whatever is written is read as it was; whatever is not MQTT is Malformed and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.mqtt import (
    AUTH,
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
    V5,
    V311,
    WILL,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Frames,
    Malformed,
    Packet,
    Ping,
    Pong,
    Properties,
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
)
from meshproxy.wire.mqtt.codes import CODES, CODES_311
from tests.examples import examples

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
strings = st.text(letters, max_size=9)
texts = strings.map(str.encode)
topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=12).map(
    str.encode
)
plain_filters = st.builds(
    lambda levels, rest: b"/".join([*levels, *rest]),
    st.lists(st.sampled_from([b"+", b"a", b"", "é".encode()]), min_size=1, max_size=4),
    st.sampled_from([(), (b"#",), (b"z",)]),
).filter(len)
filters = plain_filters | plain_filters.map(lambda filter: b"$share/g/" + filter)
payloads = st.binary(max_size=30)
ids = st.integers(1, 65535)
qos = st.integers(0, 2)

two = st.integers(0, 65535)
four = st.integers(0, 2**32 - 1)
switch = st.integers(0, 1)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=3).map(tuple)
P = Property
VALUES: dict[int, dict[int, st.SearchStrategy[Any]]] = {
    CONNECT: {
        P.SESSION_EXPIRY_INTERVAL: four,
        P.RECEIVE_MAXIMUM: ids,
        P.MAXIMUM_PACKET_SIZE: st.integers(1, 2**32 - 1),
        P.TOPIC_ALIAS_MAXIMUM: two,
        P.REQUEST_PROBLEM_INFORMATION: switch,
        P.REQUEST_RESPONSE_INFORMATION: switch,
        P.AUTHENTICATION_METHOD: texts,
    },
    WILL: {P.WILL_DELAY_INTERVAL: four, P.CONTENT_TYPE: texts, P.RESPONSE_TOPIC: topics},
    CONNACK: {
        P.MAXIMUM_QOS: switch,
        P.RETAIN_AVAILABLE: switch,
        P.SERVER_KEEP_ALIVE: two,
        P.ASSIGNED_CLIENT_IDENTIFIER: texts,
        P.REASON_STRING: texts,
        P.WILDCARD_SUBSCRIPTION_AVAILABLE: switch,
    },
    PUBLISH: {
        P.PAYLOAD_FORMAT_INDICATOR: switch,
        P.MESSAGE_EXPIRY_INTERVAL: four,
        P.CONTENT_TYPE: texts,
        P.RESPONSE_TOPIC: topics,
        P.CORRELATION_DATA: payloads,
        P.TOPIC_ALIAS: ids,
        P.SUBSCRIPTION_IDENTIFIER: st.lists(st.integers(1, 268_435_455), min_size=1, max_size=3).map(tuple),
    },
    PUBACK: {P.REASON_STRING: texts},
    SUBSCRIBE: {P.SUBSCRIPTION_IDENTIFIER: st.tuples(st.integers(1, 268_435_455))},
    UNSUBSCRIBE: {},
    DISCONNECT: {P.SESSION_EXPIRY_INTERVAL: four, P.SERVER_REFERENCE: texts, P.REASON_STRING: texts},
}


def properties(level: int, kind: int) -> st.SearchStrategy[Properties]:
    if level != V5:
        return st.just({})
    return st.fixed_dictionaries({}, optional={**VALUES[kind], P.USER_PROPERTY: pairs})


def connects(level: int) -> st.SearchStrategy[Connect]:
    wills = st.builds(Will, topics, payloads, qos, st.booleans(), properties(level, WILL))
    packets = st.builds(
        Connect,
        st.just(level),
        strings,
        st.booleans(),
        two,
        st.none() | strings,
        st.none() | payloads,
        st.none() | wills,
        properties(level, CONNECT),
    )
    if level == V5:
        return packets
    return packets.filter(
        lambda packet: (packet.user is not None or packet.password is None) and (packet.client_id != "" or packet.clean)
    )


def publishes(level: int) -> st.SearchStrategy[Publish]:
    more = properties(level, PUBLISH)
    once = st.builds(Publish, topics, payloads, st.just(0), st.booleans(), st.just(False), st.just(0), more)
    return once | st.builds(Publish, topics, payloads, st.integers(1, 2), st.booleans(), st.booleans(), ids, more)


def acks(level: int) -> st.SearchStrategy[Ack]:
    if level == V311:
        return st.builds(Ack, st.integers(PUBACK, PUBCOMP), ids)
    return st.one_of(
        [
            st.builds(Ack, st.just(kind), ids, codes(level, kind), properties(level, PUBACK))
            for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)
        ]
    )


def codes(level: int, kind: int) -> st.SearchStrategy[int]:
    return st.sampled_from(sorted((CODES if level == V5 else CODES_311)[kind]))


def several(level: int, kind: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(codes(level, kind), min_size=1, max_size=4).map(tuple)


def subscriptions(level: int) -> st.SearchStrategy[Subscription]:
    if level == V311:
        return st.builds(Subscription, filters, qos)
    shared = st.builds(Subscription, filters, qos, st.just(False), st.booleans(), qos)
    return shared | st.builds(Subscription, plain_filters, qos, st.booleans(), st.booleans(), qos)


def packets(level: int) -> st.SearchStrategy[Packet]:
    plain = properties(level, PUBACK)
    asked = st.lists(subscriptions(level), min_size=1, max_size=4).map(tuple)
    let_go = st.lists(filters, min_size=1, max_size=4).map(tuple)
    both: list[st.SearchStrategy[Packet]] = [
        connects(level),
        codes(level, CONNACK).flatmap(
            lambda code: st.builds(
                Connack, st.just(False) if code else st.booleans(), st.just(code), properties(level, CONNACK)
            )
        ),
        publishes(level),
        acks(level),
        st.builds(Subscribe, ids, asked, properties(level, SUBSCRIBE)),
        st.builds(Suback, ids, several(level, SUBACK), plain),
        st.builds(Unsubscribe, ids, let_go, properties(level, UNSUBSCRIBE)),
        st.builds(Ping),
        st.builds(Pong),
    ]
    if level == V311:
        return st.one_of(*both, st.builds(Unsuback, ids), st.builds(Disconnect))
    method = st.fixed_dictionaries({P.AUTHENTICATION_METHOD: texts}, optional={P.AUTHENTICATION_DATA: payloads})
    return st.one_of(
        *both,
        st.builds(Unsuback, ids, several(level, UNSUBACK), plain),
        st.builds(Disconnect, codes(level, DISCONNECT), properties(level, DISCONNECT)),
        st.builds(Auth, codes(level, AUTH), method),
    )


levels = st.sampled_from([V311, V5])
any_packet = st.one_of([st.tuples(st.just(level), packets(level)) for level in (V311, V5)])


@examples(400)
@given(any_packet)
def test_what_is_written_is_read_as_it_was(written: tuple[int, Packet]) -> None:
    level, packet = written
    data, [(start, body, end)] = Frames(1 << 20).feed(encode(packet, level))
    assert decode(level, data, start, body, end) == packet


@examples(300)
@given(any_packet, st.data())
def test_a_packet_cut_short_or_changed_is_read_or_malformed(written: tuple[int, Packet], data: st.DataObject) -> None:
    level, packet = written
    good = bytearray(encode(packet, level))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    consistent(level, bytes(good[: data.draw(st.integers(2, len(good)))]))


@examples(500)
@given(levels, st.integers(0x10, 0xFF), st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(level: int, first: int, body: bytes) -> None:
    consistent(level, bytes((first, len(body))) + body)


def consistent(level: int, data: bytes) -> None:
    """What is read is what is written of it again, which is never longer."""
    try:
        packet = decode(level, data, 0, 2, len(data))
    except Malformed:
        return
    if isinstance(packet, Connect):
        level = packet.level
    written = encode(packet, level)
    whole, [(start, body, end)] = Frames(1000).feed(written)
    assert decode(level, whole, start, body, end) == packet
    assert end - body <= len(data) - 2


@examples(300)
@given(st.binary(max_size=12) | st.lists(st.sampled_from([b"+", b"#", b"/", b"a", b"$share/", b"\0"])).map(b"".join))
def test_topics_and_filters_are_judged_as_the_standard_says(text: bytes) -> None:
    assert accepted(check_topic, text) == (well_formed(text) and not set(b"+#") & set(text))
    if not text.startswith(b"$share"):
        levels = text.split(b"/")
        alone = all(level in (b"+", b"#") or not set(b"+#") & set(level) for level in levels)
        assert accepted(check_filter, text) == (well_formed(text) and alone and b"#" not in levels[:-1])


def accepted(check: Any, text: bytes) -> bool:
    try:
        check(text)
    except Malformed:
        return False
    return True


def well_formed(text: bytes) -> bool:
    try:
        return bool(text) and "\0" not in text.decode()
    except UnicodeDecodeError:
        return False
