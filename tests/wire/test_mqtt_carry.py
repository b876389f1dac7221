"""A client of one version and a broker of the other: what each is sent, as bytes of its own version."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshproxy.wire.mqtt import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V5,
    V311,
    Ack,
    Auth,
    Code,
    Connack,
    Connect,
    Disconnect,
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
    decode,
    encode,
)
from meshproxy.wire.mqtt.carry import FOR_EVER, MOST_UNSUBSCRIBES, Bridge
from meshproxy.wire.mqtt.codes import CODES, CONNACK, SUBACK

P = Property
PAGE = (Path(__file__).parents[2] / "docs" / "mqtt-versions.md").read_text()


def down() -> Bridge:
    return Bridge(client=V5, broker=V311)


def up() -> Bridge:
    return Bridge(client=V311, broker=V5)


def as_read(packet: Packet | None, level: int) -> Packet:
    """By who is sent it: so it is well-formed in that version."""
    assert packet is not None
    data = encode(packet, level)
    return decode(level, data, 0, 2, len(data))


@pytest.mark.parametrize(
    ("clean_start", "expiry", "clean"),
    [
        (True, None, True),
        (True, 0, True),
        (True, 60, False),
        (True, FOR_EVER, False),
        (False, None, False),
        (False, 60, False),
        (False, FOR_EVER, False),
    ],
)
def test_a_session_of_5_is_kept_by_a_broker_of_3_1_1(clean_start: bool, expiry: int | None, clean: bool) -> None:
    bridge = down()
    said: Properties = {} if expiry is None else {P.SESSION_EXPIRY_INTERVAL: expiry}
    asked = bridge.connect(Connect(V5, "boat", clean_start, 60, properties=said))
    assert as_read(asked, V311) == Connect(V311, "boat", clean, 60)
    answer = bridge.connack(Connack(not clean, 0))
    told = answer.properties.get(P.SESSION_EXPIRY_INTERVAL)
    assert told == (None if clean or expiry == FOR_EVER else FOR_EVER)
    assert answer.present is not clean


def test_a_will_and_a_password_go_down() -> None:
    will = Will(b"w", b"x", 1, True, {P.WILL_DELAY_INTERVAL: 9, P.CONTENT_TYPE: b"t"})
    asked = down().connect(Connect(V5, "c", password=b"p", will=will))
    assert as_read(asked, V311) == Connect(V311, "c", user="", password=b"p", will=Will(b"w", b"x", 1, True))


def test_who_authenticates_by_a_method_is_refused() -> None:
    packet = Connect(V5, "c", properties={P.AUTHENTICATION_METHOD: b"SCRAM-SHA-1"})
    assert down().refusal(packet) == Code.BAD_AUTHENTICATION_METHOD
    assert down().refusal(Connect(V5, "c")) is None
    assert up().refusal(Connect(V311, "c")) is None


@pytest.mark.parametrize("clean", [True, False])
def test_a_session_of_3_1_1_is_kept_by_a_broker_of_5(clean: bool) -> None:
    will = Will(b"w", b"x", 1, True)
    asked = as_read(up().connect(Connect(V311, "boat", clean, 60, "u", b"p", will)), V5)
    kept: Properties = {} if clean else {P.SESSION_EXPIRY_INTERVAL: FOR_EVER}
    assert asked == Connect(V5, "boat", clean, 60, "u", b"p", will, {P.REQUEST_PROBLEM_INFORMATION: 0} | kept)


@pytest.mark.parametrize(("said", "code"), [(0, 0), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)])
def test_return_codes_become_reasons(said: int, code: int) -> None:
    answer = as_read(down().connack(Connack(False, said), {P.SERVER_KEEP_ALIVE: 5}), V5)
    told: Properties = {} if code else {P.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0, P.SERVER_KEEP_ALIVE: 5}
    assert answer == Connack(False, code, told)


@pytest.mark.parametrize("code", sorted(CODES[CONNACK]))
def test_reasons_become_return_codes(code: int) -> None:
    answer = as_read(up().connack(Connack(not code, code, {P.MAXIMUM_QOS: 1, P.SERVER_KEEP_ALIVE: 5})), V311)
    assert isinstance(answer, Connack)
    assert answer.present is not bool(code)
    assert bool(answer.code) is bool(code)


MESSAGE = Publish(
    b"a",
    b"hi",
    1,
    True,
    False,
    7,
    {P.MESSAGE_EXPIRY_INTERVAL: 9, P.USER_PROPERTY: ((b"k", b"v"),), P.RESPONSE_TOPIC: b"r"},
)
PLAIN = Publish(b"a", b"hi", 1, True, False, 7)


def test_messages_go_both_ways_without_their_properties() -> None:
    assert as_read(down().to_broker(MESSAGE), V311) == PLAIN
    assert as_read(up().to_client(MESSAGE), V311) == PLAIN
    assert as_read(down().to_client(PLAIN), V5) == PLAIN
    assert as_read(up().to_broker(PLAIN), V5) == PLAIN


@pytest.mark.parametrize(
    ("kind", "code"), [(PUBACK, 0x97), (PUBACK, 0x10), (PUBREC, 0x80), (PUBREL, 0x92), (PUBCOMP, 0x92)]
)
def test_acknowledgements_lose_their_codes(kind: int, code: int) -> None:
    said, plain = Ack(kind, 7, code, {P.REASON_STRING: b"x"}), Ack(kind, 7)
    assert as_read(down().to_broker(said), V311) == plain
    assert as_read(up().to_client(said), V311) == plain
    assert as_read(down().to_client(plain), V5) == plain
    assert as_read(up().to_broker(plain), V5) == plain


def test_options_of_subscriptions_are_lost_going_down() -> None:
    asked = Subscribe(3, (Subscription(b"a/#", 1, True, True, 2),))
    assert down().answer(asked) is None
    assert as_read(down().to_broker(asked), V311) == Subscribe(3, (Subscription(b"a/#", 1),))
    assert as_read(up().to_broker(Subscribe(3, (Subscription(b"a", 2),))), V5) == Subscribe(3, (Subscription(b"a", 2),))


def test_a_subscription_with_an_identifier_is_refused() -> None:
    asked = Subscribe(3, (Subscription(b"a"), Subscription(b"b")), {P.SUBSCRIPTION_IDENTIFIER: (9,)})
    assert as_read(down().answer(asked), V5) == Suback(3, (0xA1, 0xA1))


@pytest.mark.parametrize("code", sorted(CODES[SUBACK]))
def test_answers_to_subscriptions(code: int) -> None:
    told = as_read(up().to_client(Suback(3, (code, 0), {P.REASON_STRING: b"x"})), V311)
    assert told == Suback(3, (code if code < 0x80 else 0x80, 0))
    if code in (0, 1, 2, 0x80):
        assert as_read(down().to_client(Suback(3, (code,))), V5) == Suback(3, (code,))


def test_answers_to_unsubscribing_are_made_up_one_for_each_filter() -> None:
    bridge = down()
    for id, filters in ((3, (b"a", b"b", b"c")), (4, (b"d",))):
        asked = Unsubscribe(id, filters, {P.USER_PROPERTY: ((b"k", b"v"),)})
        assert bridge.answer(asked) is None
        assert as_read(bridge.to_broker(asked), V311) == Unsubscribe(id, filters)
    assert as_read(bridge.to_client(Unsuback(4)), V5) == Unsuback(4, (0,))
    assert as_read(bridge.to_client(Unsuback(3)), V5) == Unsuback(3, (0, 0, 0))
    assert bridge.to_client(Unsuback(3)) is None
    assert as_read(up().to_client(Unsuback(4, (0, 0x11))), V311) == Unsuback(4)


def test_who_unsubscribes_faster_than_the_broker_answers_is_ended() -> None:
    bridge = down()
    for id in range(1, MOST_UNSUBSCRIBES + 1):
        asked = Unsubscribe(id, (b"a",))
        assert bridge.answer(asked) is None
        bridge.to_broker(asked)
    assert bridge.answer(Unsubscribe(2000, (b"a",))) == Disconnect(Code.QUOTA_EXCEEDED)
    bridge.to_client(Unsuback(1))
    assert bridge.answer(Unsubscribe(2000, (b"a",))) is None


def test_goodbyes() -> None:
    assert as_read(down().to_broker(Disconnect(0, {P.SESSION_EXPIRY_INTERVAL: 9})), V311) == Disconnect()
    assert down().to_broker(Disconnect(Code.DISCONNECT_WITH_WILL)) is None
    assert down().to_broker(Disconnect(Code.MALFORMED_PACKET)) is None
    assert as_read(up().to_broker(Disconnect()), V5) == Disconnect()
    assert up().to_client(Disconnect(Code.SERVER_SHUTTING_DOWN)) is None


def test_nobody_authenticates_over_a_bridge() -> None:
    assert down().answer(Auth(0x19, {P.AUTHENTICATION_METHOD: b"m"})) == Disconnect(Code.PROTOCOL_ERROR)
    assert up().to_client(Auth(0x18, {P.AUTHENTICATION_METHOD: b"m"})) is None


@pytest.mark.parametrize("bridge", [down(), up()], ids=["down", "up"])
def test_pings_pass(bridge: Bridge) -> None:
    assert bridge.to_broker(Ping()) == Ping()
    assert bridge.to_client(Pong()) == Pong()
    assert bridge.answer(Ping()) is None


def test_the_page_speaks_of_each_property() -> None:
    for name in Property:
        assert name.name.replace("_", " ").lower() in PAGE.lower(), name
