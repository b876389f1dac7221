"""What others write is read as they meant it, and they read what is written here: amqtt (3.1.1) and paho (both)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from benchmarks.harness import OURS, Plan
from benchmarks.micro import mqtt
from meshproxy.wire.mqtt import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V5,
    V311,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Frames,
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
    decode,
    encode,
)


def read(level: int, data: bytes) -> Packet:
    whole, [(start, body, end)] = Frames(1 << 20).feed(data)
    return decode(level, whole, start, body, end)


class Nowhere:
    """A socket as far as one is needed to send nothing."""

    def close(self) -> None: ...


class Paho:
    """A client of paho that is connected to nothing: what it would send is looked at."""

    def __init__(self, level: int, **more: Any) -> None:
        self.mqtt: Any = pytest.importorskip("paho.mqtt.client")
        version = self.mqtt.CallbackAPIVersion.VERSION2
        self.client: Any = self.mqtt.Client(version, "boat", protocol=level, **more)
        self.level = level
        self.sent: list[bytes] = []
        self.client._packet_queue = self._queue
        self.client._sock = Nowhere()

    def _queue(self, command: int, packet: bytes, *rest: Any) -> int:
        self.sent.append(bytes(packet))
        return 0

    def wrote(self, method: str, *args: Any, **named: Any) -> Packet:
        getattr(self.client, f"_send_{method}")(*args, **named)
        return read(self.level, self.sent.pop())

    def properties(self, kind: str, **values: Any) -> Any:
        module: Any = pytest.importorskip("paho.mqtt.properties")
        types: Any = pytest.importorskip("paho.mqtt.packettypes")
        made = module.Properties(getattr(types.PacketTypes, kind))
        for name, value in values.items():
            setattr(made, name, value)
        return made


def test_paho_connects_with_3_1_1() -> None:
    paho = Paho(V311, clean_session=False)
    paho.client.username_pw_set("ann", "sesame")
    paho.client.will_set("gone/boat", b"x", 1, True)
    will = Will(b"gone/boat", b"x", 1, True)
    assert paho.wrote("connect", 60) == Connect(V311, "boat", False, 60, "ann", b"sesame", will)


def test_paho_connects_with_5() -> None:
    paho = Paho(V5)
    late = paho.properties("WILLMESSAGE", WillDelayInterval=5, UserProperty=[("a", "b"), ("a", "c")])
    paho.client.will_set("gone/boat", b"x", 2, False, late)
    paho.client._clean_start = False
    paho.client._connect_properties = paho.properties(
        "CONNECT", SessionExpiryInterval=60, ReceiveMaximum=5, TopicAliasMaximum=3, AuthenticationMethod="m"
    )
    packet = paho.wrote("connect", 60)
    P = Property
    assert packet == Connect(
        V5,
        "boat",
        False,
        60,
        will=Will(
            b"gone/boat", b"x", 2, False, {P.WILL_DELAY_INTERVAL: 5, P.USER_PROPERTY: ((b"a", b"b"), (b"a", b"c"))}
        ),
        properties={
            P.SESSION_EXPIRY_INTERVAL: 60,
            P.RECEIVE_MAXIMUM: 5,
            P.TOPIC_ALIAS_MAXIMUM: 3,
            P.AUTHENTICATION_METHOD: b"m",
        },
    )


@pytest.mark.parametrize("level", [V311, V5])
def test_paho_sends_messages_and_acknowledges(level: int) -> None:
    paho = Paho(level)
    assert paho.wrote("publish", 7, b"a/b", b"hi", 2, True, True) == Publish(b"a/b", b"hi", 2, True, True, 7)
    assert paho.wrote("publish", 0, b"a/b", b"") == Publish(b"a/b", b"")
    for name, kind in (("puback", PUBACK), ("pubrec", PUBREC), ("pubrel", PUBREL), ("pubcomp", PUBCOMP)):
        assert paho.wrote(name, 9) == Ack(kind, 9)
    assert paho.wrote("pingreq") == Ping()
    assert paho.wrote("pingresp") == Pong()
    assert paho.wrote("disconnect") == Disconnect()


def test_paho_sends_messages_with_properties() -> None:
    paho = Paho(V5)
    said = paho.properties(
        "PUBLISH",
        TopicAlias=4,
        MessageExpiryInterval=60,
        ContentType="text",
        ResponseTopic="r",
        CorrelationData=b"\0",
        PayloadFormatIndicator=1,
    )
    P = Property
    assert paho.wrote("publish", 7, b"", b"hi", 1, properties=said) == Publish(
        b"",
        b"hi",
        1,
        id=7,
        properties={
            P.TOPIC_ALIAS: 4,
            P.MESSAGE_EXPIRY_INTERVAL: 60,
            P.CONTENT_TYPE: b"text",
            P.RESPONSE_TOPIC: b"r",
            P.CORRELATION_DATA: b"\0",
            P.PAYLOAD_FORMAT_INDICATOR: 1,
        },
    )


def test_paho_subscribes_with_3_1_1() -> None:
    paho = Paho(V311)
    assert paho.wrote("subscribe", False, [(b"a/+", 1), (b"#", 0)]) == Subscribe(
        1, (Subscription(b"a/+", 1), Subscription(b"#"))
    )
    assert paho.wrote("unsubscribe", False, [b"a/+", b"#"]) == Unsubscribe(2, (b"a/+", b"#"))


def test_paho_subscribes_with_5() -> None:
    paho = Paho(V5)
    options: Any = pytest.importorskip("paho.mqtt.subscribeoptions")
    asked = options.SubscribeOptions(2, True, True, 1)
    said = paho.properties("SUBSCRIBE", SubscriptionIdentifier=300)
    assert paho.wrote("subscribe", False, [(b"a/+", asked)], said) == Subscribe(
        1, (Subscription(b"a/+", 2, True, True, 1),), {Property.SUBSCRIPTION_IDENTIFIER: (300,)}
    )
    said = paho.properties("UNSUBSCRIBE", UserProperty=("k", "v"))
    assert paho.wrote("unsubscribe", False, [b"a/+"], said) == Unsubscribe(
        2, (b"a/+",), {Property.USER_PROPERTY: ((b"k", b"v"),)}
    )


def test_paho_goes_with_a_reason() -> None:
    paho = Paho(V5)
    codes: Any = pytest.importorskip("paho.mqtt.reasoncodes")
    types: Any = pytest.importorskip("paho.mqtt.packettypes")
    reason = codes.ReasonCode(types.PacketTypes.DISCONNECT, identifier=4)
    said = paho.properties("DISCONNECT", SessionExpiryInterval=9)
    assert paho.wrote("disconnect", reason, said) == Disconnect(4, {Property.SESSION_EXPIRY_INTERVAL: 9})


def driven(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class Amqtt:
    def __init__(self) -> None:
        self.adapters: Any = pytest.importorskip("amqtt.adapters")

    def module(self, name: str) -> Any:
        return pytest.importorskip(f"amqtt.mqtt.{name}")

    def read(self, data: bytes) -> Any:
        stream = self.adapters.BufferReader(data)
        header = driven(self.module("packet").MQTTFixedHeader.from_stream(stream))
        kind = pytest.importorskip("amqtt.mqtt").packet_class(header)
        return driven(kind.from_stream(stream, fixed_header=header))


BOTH: list[Packet] = [
    Connect(V311, "boat", False, 60, "ann", b"sesame", Will(b"gone/boat", b"x", 1, True)),
    Connect(V311, "boat"),
    Connack(True, 0),
    Connack(False, 5),
    Publish(b"a/b", b"hi"),
    Publish(b"a/b", b"", retain=True),
    Publish("é".encode(), b"hi", 1, False, True, 7),
    Publish(b"a/b", bytes(300), 2, True, False, 65535),
    Ack(PUBACK, 1),
    Ack(PUBREC, 256),
    Ack(PUBREL, 3),
    Ack(PUBCOMP, 65535),
    Subscribe(5, (Subscription(b"a/+", 1), Subscription(b"b/#", 2))),
    Suback(5, (0, 1, 2, 0x80)),
    Unsubscribe(6, (b"a", b"#")),
    Unsuback(6),
    Ping(),
    Pong(),
    Disconnect(),
]


@pytest.mark.parametrize("packet", BOTH, ids=lambda packet: type(packet).__name__)
def test_amqtt_reads_what_is_written_and_writes_the_same(packet: Packet) -> None:
    data = encode(packet, V311)
    theirs = Amqtt().read(data)
    assert bytes(theirs.to_bytes()) == data


def test_amqtt_reads_the_same_fields() -> None:
    amqtt = Amqtt()
    message = amqtt.read(encode(Publish("a/é".encode(), b"hi", 1, True, True, 7), V311))
    assert (message.topic_name, message.data, message.qos, message.packet_id) == ("a/é", b"hi", 1, 7)
    assert (message.retain_flag, message.dup_flag) == (True, True)
    asked = amqtt.read(encode(Subscribe(5, (Subscription(b"a/+", 1), Subscription(b"b", 2))), V311))
    assert (asked.variable_header.packet_id, asked.payload.topics) == (5, [("a/+", 1), ("b", 2)])


def test_what_amqtt_builds_is_read() -> None:
    amqtt = Amqtt()
    message = amqtt.module("publish").PublishPacket.build("a/b", b"hi", 7, True, 2, True)
    assert read(V311, bytes(message.to_bytes())) == Publish(b"a/b", b"hi", 2, True, True, 7)
    asked = amqtt.module("subscribe").SubscribePacket.build([("a/+", 1), ("#", 0)], 9)
    assert read(V311, bytes(asked.to_bytes())) == Subscribe(9, (Subscription(b"a/+", 1), Subscription(b"#")))
    let_go = amqtt.module("unsubscribe").UnsubscribePacket.build(["a/+"], 9)
    assert read(V311, bytes(let_go.to_bytes())) == Unsubscribe(9, (b"a/+",))
    granted = amqtt.module("suback").SubackPacket.build(9, [1, 0x80])
    assert read(V311, bytes(granted.to_bytes())) == Suback(9, (1, 0x80))
    taken = amqtt.module("connack").ConnackPacket.build(1, 0)
    assert read(V311, bytes(taken.to_bytes())) == Connack(True, 0)


def test_the_benchmark_measures_both() -> None:
    pytest.importorskip("amqtt")
    results = mqtt.run(Plan(rounds=1, seconds=0.01))
    assert [set(result.samples) >= {OURS, "amqtt"} for result in results] == [True, True, False, False, True]
    assert all(0 < result.samples[OURS][0] < 1000 for result in results)
