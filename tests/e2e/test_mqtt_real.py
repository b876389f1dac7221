"""Real clients and real brokers of MQTT with the relay between them: paho, mosquitto's commands, amqtt."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client")

from meshproxy.wire.mqtt import V5, V311
from tests.e2e.conftest import Running, Start, poll, starting
from tests.e2e.mqtt_clients import Address, Paho, Sub, pub
from tests.e2e.mqtt_tools import QOS, VERSIONS, free_port, mosquitto, relayed
from tests.mosquitto import Mosquitto
from tests.pki import Pki

WIDE = {"limits": {"packet": "4MiB"}}
LARGE = bytes(range(256)) * 4096 * 2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With a listener that has nothing to say, and one that has."""
    config = relayed(broker, policy=WIDE)
    (listener,) = config["listeners"]
    plain = {key: value for key, value in listener.items() if key != "mqtt"}
    with starting(tmp_path_factory.mktemp("proxy")) as start:
        yield start({**config, "listeners": [{**plain, "name": "plain", "listen": "127.0.0.2:0"}, listener]})


def accepts(address: Address) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


@pytest.fixture
def inside(proxy: Running) -> Address:
    return proxy.address("plain")


@VERSIONS
@QOS
def test_what_paho_publishes_comes_to_paho(inside: Address, level: int, qos: int) -> None:
    with Paho(inside, level=level) as subscriber, Paho(inside, level=level) as publisher:
        assert subscriber.subscribe(f"paho/{level}/#", qos) == qos
        for number in range(20):
            publisher.publish(f"paho/{level}/{qos}", b"%d" % number, qos)
        assert subscriber.payloads(20) == [b"%d" % number for number in range(20)]
        assert {message.qos for message in subscriber.messages} == {qos}
        assert {message.topic for message in subscriber.messages} == {f"paho/{level}/{qos}"}


@VERSIONS
@QOS
def test_what_mosquitto_pub_says_comes_to_mosquitto_sub(inside: Address, level: int, qos: int) -> None:
    topic = f"commands/{level}/{qos}"
    pub(inside, f"{topic}/first", "kept", "-r", level=level, qos=qos)
    with Sub(inside, f"{topic}/#", level=level, qos=qos) as sub:
        # what is retained comes when it is subscribed
        assert sub.line() == f"{topic}/first {qos} 1 kept"
        pub(inside, f"{topic}/second", "new", level=level, qos=qos)
        assert sub.line() == f"{topic}/second {qos} 0 new"


def test_the_versions_hear_each_other(inside: Address) -> None:
    with Paho(inside, level=V311) as old, Paho(inside, level=V5) as new:
        for client in (old, new):
            client.subscribe("versions")
        old.publish("versions", b"from 3.1.1", 2)
        new.publish("versions", b"from 5", 2)
        for client in (old, new):
            assert client.payloads(2) == [b"from 3.1.1", b"from 5"]


@QOS
def test_a_client_of_amqtt(inside: Address, qos: int) -> None:
    client = pytest.importorskip("amqtt.client")

    async def scenario() -> None:
        publisher, subscriber = client.MQTTClient("amqtt-1"), client.MQTTClient("amqtt-2")
        for each in (publisher, subscriber):
            await each.connect("mqtt://{}:{}/".format(*inside))
        await subscriber.subscribe([(f"amqtt/{qos}/+", qos)])
        for number in range(5):
            await publisher.publish(f"amqtt/{qos}/topic", b"%d" % number, qos)
        for number in range(5):
            message = await subscriber.deliver_message(10)
            assert (message.topic, bytes(message.data), message.qos) == (f"amqtt/{qos}/topic", b"%d" % number, qos)
        for each in (publisher, subscriber):
            await each.disconnect()

    asyncio.run(scenario())


def test_amqtt_as_the_broker(start: Start) -> None:
    """It runs beside the proxy, and speaks 3.1.1."""
    pytest.importorskip("amqtt.broker")
    broker = ("127.0.0.1", free_port())
    where = "{}:{}".format(*broker)
    proxy = start({**relayed(where), "broker": {"listen": where}})
    poll(lambda: accepts(broker), "the broker answers")
    with Paho(proxy.address(), level=V311) as subscriber, Paho(proxy.address(), level=V311) as publisher:
        subscriber.subscribe("small/+")
        for qos in range(3):
            publisher.publish("small/site", b"hello", qos)
        assert subscriber.payloads(3) == [b"hello"] * 3


@VERSIONS
def test_what_is_retained_comes_to_who_comes_later(inside: Address, level: int) -> None:
    topic = f"retained/{level}"
    with Paho(inside, level=level) as client:
        client.publish(topic, b"state", retain=True)
    with Paho(inside, level=level) as client:
        client.subscribe(topic)
        assert (client.message().payload, client.message().retain) == (b"state", True)
        client.publish(topic, b"", retain=True)
    with Paho(inside, level=level) as client:
        client.subscribe(topic)
        client.publish(topic, b"live")
        assert client.payloads(1) == [b"live"]


@VERSIONS
def test_a_will_comes_when_a_client_is_killed(inside: Address, level: int) -> None:
    topic = f"wills/{level}"
    will = ("--will-topic", topic, "--will-payload", "gone", "--will-qos", "1")
    with Paho(inside, level=level) as watcher:
        watcher.subscribe(topic)
        watcher.publish(f"{topic}/ready", b"ready", retain=True)
        with Sub(inside, f"{topic}/ready", *will, level=level) as doomed:
            assert doomed.line().endswith("ready")
            doomed.process.send_signal(signal.SIGKILL)
        assert watcher.message().payload == b"gone"


@VERSIONS
def test_no_will_comes_after_a_disconnect(inside: Address, level: int) -> None:
    topic = f"wills/{level}/none"
    with Paho(inside, level=level) as watcher:
        watcher.subscribe(topic)
        with Paho(inside, level=level, will=(topic, "gone")) as client:
            client.publish(topic, b"alive")
        watcher.publish(topic, b"last")
        assert watcher.payloads(2) == [b"alive", b"last"]


@VERSIONS
def test_who_shares_a_subscription_shares_the_work(inside: Address, level: int) -> None:
    with Paho(inside, level=level) as one, Paho(inside, level=level) as two, Paho(inside, level=level) as publisher:
        for each in (one, two):
            assert each.subscribe(f"$share/group/jobs/{level}/#", 1) == 1
        for number in range(20):
            publisher.publish(f"jobs/{level}/a", b"%d" % number)
        poll(lambda: len(one.messages) + len(two.messages) >= 20, "all jobs")
        done = sorted(int(message.payload) for message in (*one.messages, *two.messages))
        assert done == [*range(20)]
        assert one.messages
        assert two.messages


def test_a_session_is_there_when_its_client_comes_back(inside: Address) -> None:
    with Paho(inside, "sleeper", clean=False) as sleeper:
        sleeper.subscribe("night/#", 1)
    with Paho(inside) as publisher:
        publisher.publish("night/1", b"slept through")
    with Paho(inside, "sleeper", clean=False) as sleeper:
        assert sleeper.message().payload == b"slept through"


def test_properties_of_5_come_with_the_message(inside: Address) -> None:
    said: dict[str, Any] = {
        "PayloadFormatIndicator": 1,
        "MessageExpiryInterval": 60,
        "ContentType": "text/plain",
        "ResponseTopic": "answers/here",
        "CorrelationData": b"\x00\x01\xff",
        "UserProperty": [("a", "1"), ("a", "2"), ("b", "ü")],
    }
    with Paho(inside) as subscriber, Paho(inside) as publisher:
        subscriber.subscribe("questions/#")
        publisher.publish("questions/one", b"?", 1, **said)
        came = subscriber.message().properties
        assert came is not None
        got = {name: getattr(came, name) for name in said}
        assert got.pop("MessageExpiryInterval") <= said.pop("MessageExpiryInterval")
        assert got == said


@VERSIONS
@QOS
def test_a_large_payload(proxy: Running, level: int, qos: int) -> None:
    inside = proxy.address()
    with Paho(inside, level=level) as subscriber, Paho(inside, level=level) as publisher:
        subscriber.subscribe("large", qos)
        publisher.publish("large", LARGE, qos)
        assert subscriber.message().payload == LARGE


def test_tls_with_a_certificate_that_is_the_user_name(start: Start, broker: Mosquitto, pki: Pki) -> None:
    ca = pki.ca()
    server, press, thief = ca.issue("shop/server", ips=["127.0.0.1"]), ca.issue("shop/press"), ca.issue("shop/thief")
    policy = {
        "authenticate": [{"certificate": "identity"}],
        "authorize": [
            {"identities": ["shop/press"], "publish": ["plant/#"], "subscribe": ["plant/#"]},
            {"identities": ["shop/thief"], "subscribe": ["plant/public/#"]},
        ],
    }
    tls = {"certificate": str(server.certificate), "key": str(server.key), "client_ca": str(ca.root)}
    address = start(relayed(broker, policy=policy, tls=tls)).address()

    def client(pair: Any, level: int = V5) -> Paho:
        return Paho(address, level=level, tls=(str(ca.root), str(pair.certificate), str(pair.key)))

    with client(press) as one, client(press, V311) as old, client(thief) as other:
        assert one.subscribe("plant/#", 1) == 1
        assert old.subscribe("plant/#", 1) == 1
        assert other.subscribe("plant/#", 1) == 0x87
        other.publish("plant/1", b"forged", 0)
        one.publish("plant/1", b"true", 1)
        for each in (one, old):
            assert each.payloads(1) == [b"true"]
        assert not other.messages


def test_by_websocket(start: Start, broker: Mosquitto) -> None:
    """On the same listener as plain MQTT."""
    inside = start(relayed(broker, policy={"websocket": {"paths": ["/mqtt"]}})).address()
    for level in (V311, V5):
        with Paho(inside, level=level, transport="websockets") as page, Paho(inside, level=level) as device:
            for each in (page, device):
                each.subscribe("page/#")
            for qos in range(3):
                page.publish(f"page/{qos}", b"from the page", qos)
                device.publish(f"page/{qos}", LARGE[:200_000], qos)
            for each in (page, device):
                assert sorted(each.payloads(6), key=len) == [b"from the page"] * 3 + [LARGE[:200_000]] * 3


def test_who_may_not_is_told_so_and_others_go_on(start: Start, broker: Mosquitto) -> None:
    policy = {"authorize": [{"clients": ["press-*"], "publish": ["plant/%c/#"], "subscribe": ["plant/#"]}]}
    inside = start(relayed(broker, policy=policy)).address()
    with Paho(inside, "press-1") as press, Paho(inside, "thief") as thief:
        assert press.subscribe("plant/#", 1) == 1
        assert press.subscribe("#", 1) == 0x87
        assert thief.subscribe("plant/#", 1) == 0x87
        thief.publish("plant/press-1/a", b"forged", 1)
        press.publish("plant/press-2/a", b"forged", 1)
        press.publish("plant/press-1/a", b"true", 1)
        assert press.payloads(1) == [b"true"]
