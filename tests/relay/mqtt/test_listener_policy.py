"""What a policy says of clients and topics, as it is heard on both sides of a listener."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshproxy.plan import mqtt as plan
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
    Ping,
    Pong,
    Property,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.conftest import FakeClock
from tests.relay.mqtt.talking import (
    Run,
    Upstream,
    World,
    accepted,
    accounted,
    asking,
    counted,
    counters,
    dialled,
    meet,
    message,
    relayed,
    sessions,
    words,
)

ONE_LOOP = True

BOTH = pytest.mark.parametrize("level", [V311, V5], ids=["3.1.1", "5.0"])
P = Property


@BOTH
def test_what_may_not_be_published(run: Run, world: World, upstream: Upstream, level: int) -> None:
    """3.1.1 has no word for it: it is acknowledged, and goes nowhere."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, authorize=[{"publish": ["own/%c/#"]}]))
        client, broker = await meet(w, up, level)
        await client.say(
            message("other"),
            message("own/boat-7/a"),
            message("other", qos=1, number=1),
            message("own/boat-7", qos=1, number=2),
            message("own/boat-8/a", qos=2, number=3),
        )
        await broker.heard(message("own/boat-7/a"), message("own/boat-7", qos=1, number=2))
        if level == V5:
            await client.heard(Ack(PUBACK, 1, Code.NOT_AUTHORIZED), Ack(PUBREC, 3, Code.NOT_AUTHORIZED))
        else:
            await client.heard(Ack(PUBACK, 1), Ack(PUBREC, 3))
            await client.say(Ack(PUBREL, 3))
            await client.heard(Ack(PUBCOMP, 3))
        # Their ids are free
        await client.say(message("own/boat-7", qos=1, number=1), message("own/boat-7", qos=1, number=3))
        await broker.heard(message("own/boat-7", qos=1, number=1), message("own/boat-7", qos=1, number=3))
        assert counted(counters(w).denied) == {"publish": 3}
        accounted(w)
        assert counters(w).messages_in_total == 7

    run(scenario())


@BOTH
def test_what_may_not_be_subscribed(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, authorize=[{"subscribe": ["own/%c/#", "news/+"]}]))
        client, broker = await meet(w, up, level)
        no = Code.NOT_AUTHORIZED if level == V5 else 0x80
        await client.say(asking(1, "#", "own/boat-7/a", "news/#", "$share/g/news/+"), asking(2, "own/+/a"))
        await broker.heard(asking(1, "own/boat-7/a", "$share/g/news/+"))
        await client.heard(Suback(2, (no,)))
        await broker.say(Suback(1, (1, 0)))
        await client.heard(Suback(1, (no, 1, no, 0)))
        assert counted(counters(w).denied) == {"subscribe": 3}

    run(scenario())


@BOTH
def test_a_will_that_may_not_be(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, authorize=[{"publish": ["own/%c/#"]}]))
        client = await dialled(w, level)
        await client.say(Connect(level, "a", will=Will(b"own/b", b"x")))
        assert await client.rest() == words(level, Connack(False, Code.NOT_AUTHORIZED if level == V5 else 5))
        assert counted(counters(w).denied) == {"will": 1}
        assert counted(counters(w).refused) == {"will": 1}
        assert not w.stats.clusters["up"].connections_total

    run(scenario())


@BOTH
def test_names_differ_on_both_sides(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(
            relayed(
                up,
                sessions=[{"cluster": "up", "prefix": "tenants/%c/"}],
                rewrite=[{"from": "old/+/#", "to": "new/%1/%2"}],
            )
        )
        client = await dialled(w, level)
        await client.say(Connect(level, "ann", will=Will(b"old/1/gone", b"x", 1)))
        broker = await accepted(up, level)
        await broker.heard(Connect(level, "ann", will=Will(b"tenants/ann/new/1/gone", b"x", 1)))
        await broker.say(Connack(False, 0))
        await client.hear(Connack)
        # Up
        await client.say(message("old/1/a"), message("b", qos=1, number=1), message("old/2/c", qos=2, number=2))
        await broker.heard(
            message("tenants/ann/new/1/a"),
            message("tenants/ann/b", qos=1, number=1),
            message("tenants/ann/new/2/c", qos=2, number=2),
        )
        await broker.say(Ack(PUBACK, 1), Ack(PUBREC, 2))
        await client.heard(Ack(PUBACK, 1), Ack(PUBREC, 2))
        await client.say(Ack(PUBREL, 2))
        await broker.heard(Ack(PUBREL, 2))
        await broker.say(Ack(PUBCOMP, 2))
        await client.heard(Ack(PUBCOMP, 2))
        await client.say(asking(3, "old/+/a", "$share/g/b"), Unsubscribe(4, (b"old/+/a",)))
        await broker.heard(
            asking(3, "tenants/ann/new/+/a", "$share/g/tenants/ann/b"), Unsubscribe(4, (b"tenants/ann/new/+/a",))
        )
        # Down, and what is outside of what the client can see
        await broker.say(
            message("tenants/ann/new/1/a", qos=1, number=7),
            message("tenants/bob/x", qos=2, number=8),
            message("tenants/bob/x", qos=1, number=9),
            message("tenants/bob/x"),
            message("tenants/ann/b"),
        )
        await client.heard(message("old/1/a", qos=1, number=7), message("b"))
        await broker.heard(Ack(PUBREC, 8), Ack(PUBACK, 9))
        await broker.say(Ack(PUBREL, 8))
        await broker.heard(Ack(PUBCOMP, 8))
        await client.say(Ack(PUBACK, 7))
        await broker.heard(Ack(PUBACK, 7))
        assert counted(counters(w).dropped) == {"outside": 3}

    run(scenario())


def test_whose_name_cannot_stand_in_topics_goes_nowhere(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, sessions=[{"cluster": "up", "prefix": "tenants/%c/"}]))
        client = await dialled(w, V5)
        await client.say(Connect(V5, "a/#"))
        assert await client.rest() == words(V5, Connack(False, Code.NOT_AUTHORIZED))
        assert counted(counters(w).refused) == {"no_way": 1}

    run(scenario())


@BOTH
def test_a_message_that_is_longer_under_its_other_name(
    run: Run, world: World, upstream: Upstream, level: int
) -> None:
    """A client of 5.0 has said what it takes at most, in the names that it knows."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, rewrite=[{"from": "a-very-long-name/+", "to": "s/%1"}]))
        said = Connect(level, "a", properties={P.MAXIMUM_PACKET_SIZE: 30} if level == V5 else {})
        client, broker = await meet(w, up, level, said)
        await broker.say(message("s/x", b"123456789", 1, 1), message("s/x", b"123456789"), message("s/x", b"1"))
        if level == V5:
            await broker.heard(Ack(PUBACK, 1))
        else:
            long = "a-very-long-name/x"
            await client.heard(message(long, b"123456789", 1, 1), message(long, b"123456789"))
        await client.heard(message("a-very-long-name/x", b"1"))
        assert counters(w).dropped["oversized"] == (2 if level == V5 else 0)

    run(scenario())


def test_rules_of_topics(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [
            {"name": "state", "filters": ["+/state"], "retain": False},
            {"name": "all", "filters": ["plant/#", "boat/#"]},
        ]
        await w.apply(relayed(up, topics=rules))
        client, broker = await meet(w, up)
        await client.say(
            message("plant/state", b"12345", retain=True),
            message("plant/x", b"123", 1, 1, retain=True),
            message("else", retain=True),
        )
        await broker.heard(
            message("plant/state", b"12345"),
            message("plant/x", b"123", 1, 1, retain=True),
            message("else", retain=True),
        )
        shown = {name: (each.messages_total, each.bytes_total) for name, each in counters(w).topics.items()}
        assert shown == {"state": (1, 5), "all": (1, 3)}

    run(scenario())


RATES: dict[str, dict[str, Any]] = {
    "client": {"rate": {"messages": 10}},
    "bytes": {"rate": {"bytes": "1KiB", "per": "100s"}},
    "prefixed": {"rate": {"messages": 10}, "sessions": [{"cluster": "up", "prefix": "x/"}]},
}


@BOTH
@pytest.mark.parametrize("policy", RATES)
@pytest.mark.parametrize("qos", [0, 1])
def test_who_is_too_fast_is_read_more_slowly(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, level: int, policy: str, qos: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, **RATES[policy]))
        client, broker = await meet(w, up, level)
        before = "x/" if policy == "prefixed" else ""
        for number in range(1, 3):
            await client.say(message("t", b"x", qos, number * qos))
            await broker.heard(message(f"{before}t", b"x", qos, number * qos))
            if qos:
                await broker.say(Ack(PUBACK, number))
                await client.heard(Ack(PUBACK, number))
            await client.say(Ping())
            assert await broker.silent(), "it is not read"
            clock.advance(0.05 if policy != "bytes" else 0.4)
            assert await broker.silent(), "it is not read"
            clock.advance(0.1 if policy != "bytes" else 2)
            await broker.heard(Ping())
            clock.advance(10)

    run(scenario())


def test_clients_go_where_they_belong(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, presses, others = world(), upstream(), upstream()
        config = relayed(
            presses,
            sessions=[
                {"match": {"clients": ["press-*"], "users": ["ann"]}, "cluster": "up"},
                {"match": {"users": ["b*"]}, "cluster": "others"},
            ],
        )
        config["clusters"]["others"] = {"endpoints": [others.address]}
        await w.apply(config)
        for client_id, user, to in (("press-1", "ann", presses), ("press-2", "bob", others), ("x", "bill", others)):
            client = await dialled(w, V5)
            await client.say(Connect(V5, client_id, user=user))
            broker = await accepted(to, V5)
            await broker.heard(Connect(V5, client_id, user=user))
        for said, code in (
            (Connect(V311, "press-1", user="cid"), 5),
            (Connect(V5, "x", user="ann"), Code.NOT_AUTHORIZED),
            (Connect(V5, "x"), Code.NOT_AUTHORIZED),
        ):
            client = await dialled(w, said.level)
            await client.say(said)
            assert await client.rest() == words(said.level, Connack(False, code))
        assert counted(counters(w).refused) == {"no_way": 3}

    run(scenario())


# Between two versions


def bridged(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """All ways are to brokers that speak this."""
    way = plan._way
    monkeypatch.setattr(plan, "_way", lambda *parts: replace(way(*parts), level=level))


def test_a_client_of_5_0_has_a_broker_of_3_1_1(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridged(monkeypatch, V311)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V5)
        await client.say(
            Connect(V5, "", True, 30, None, b"secret", Will(b"w", b"x", 1, True, {P.WILL_DELAY_INTERVAL: 3}))
        )
        broker = await accepted(up, V311)
        asked = await broker.hear(Connect)
        assert asked == Connect(V311, asked.client_id, True, 30, "", b"secret", Will(b"w", b"x", 1, True))
        assert asked.client_id
        await broker.say(Connack(False, 0))
        told = (await client.hear(Connack)).properties
        assert told[P.ASSIGNED_CLIENT_IDENTIFIER] == asked.client_id.encode()
        assert told[P.SUBSCRIPTION_IDENTIFIER_AVAILABLE] == 0

        more: dict[str, Any] = {"properties": {P.CONTENT_TYPE: b"text"}}
        await client.say(message(**more), message(qos=1, number=1, **more), message("é", qos=2, number=2))
        await broker.heard(message(), message(qos=1, number=1), message("é", qos=2, number=2))
        await broker.say(Ack(PUBACK, 1), Ack(PUBREC, 2))
        await client.heard(Ack(PUBACK, 1), Ack(PUBREC, 2))
        await client.say(Ack(PUBREL, 2))
        await broker.heard(Ack(PUBREL, 2))
        await broker.say(Ack(PUBCOMP, 2), message(qos=2, number=9))
        await client.heard(Ack(PUBCOMP, 2), message(qos=2, number=9))
        await client.say(Ack(PUBREC, 9))
        await broker.heard(Ack(PUBREC, 9))

        subscription = Subscription(b"a", 1, True, True, 2)
        await client.say(Subscribe(3, (subscription,)))
        await broker.heard(Subscribe(3, (Subscription(b"a", 1),)))
        await broker.say(Suback(3, (1,)))
        await client.heard(Suback(3, (1,)))
        await client.say(Subscribe(4, (subscription,), {P.SUBSCRIPTION_IDENTIFIER: (5,)}))
        await client.heard(Suback(4, (Code.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,)))
        await client.say(Unsubscribe(5, (b"a", b"b")), Ping())
        await broker.heard(Unsubscribe(5, (b"a", b"b")), Ping())
        await broker.say(Unsuback(5), Pong())
        await client.heard(Unsuback(5, (0, 0)), Pong())
        await client.say(Disconnect(Code.DISCONNECT_WITH_WILL))
        assert await broker.ended()
        assert counted(counters(w).ended) == {"disconnect": 1}

    run(scenario())


def test_a_client_of_3_1_1_has_a_broker_of_5_0(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridged(monkeypatch, V5)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V311)
        await client.say(Connect(V311, "a", False))
        broker = await accepted(up, V5)
        asked = await broker.hear(Connect)
        assert (asked.level, asked.properties[P.SESSION_EXPIRY_INTERVAL]) == (V5, 0xFFFFFFFF)
        await broker.say(Connack(True, 0, {P.RECEIVE_MAXIMUM: 9}))
        await client.heard(Connack(True, 0))
        await client.say(message(qos=1, number=1), message())
        await broker.heard(message(qos=1, number=1), message())
        more: dict[str, Any] = {"properties": {P.SUBSCRIPTION_IDENTIFIER: (1,)}}
        await broker.say(Ack(PUBACK, 1, Code.NO_SUBSCRIBERS), message(qos=1, number=3, **more))
        await client.heard(Ack(PUBACK, 1), message(qos=1, number=3))
        await client.say(Ack(PUBACK, 3), asking(4, "a"), Unsubscribe(5, (b"a",)))
        await broker.heard(Ack(PUBACK, 3), asking(4, "a"), Unsubscribe(5, (b"a",)))
        await broker.say(Suback(4, (Code.QUOTA_EXCEEDED,)), Unsuback(5, (0x11,)))
        await client.heard(Suback(4, (0x80,)), Unsuback(5))
        await broker.say(Disconnect(Code.SERVER_SHUTTING_DOWN))
        assert await client.rest() == b""

    run(scenario())


def test_a_bridge_is_not_for_whom_it_cannot_carry(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridged(monkeypatch, V311)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V5)
        await client.say(Connect(V5, "a", properties={P.AUTHENTICATION_METHOD: b"x"}))
        assert await client.rest() == words(V5, Connack(False, Code.BAD_AUTHENTICATION_METHOD))
        client, broker = await meet(w, up, up_level=V311)
        await client.say(Auth(Code.REAUTHENTICATE, {P.AUTHENTICATION_METHOD: b"x"}))
        assert await client.rest() == words(V5, Disconnect(Code.PROTOCOL_ERROR))
        assert await broker.ended()

    run(scenario())


def test_what_the_broker_does_not_know_the_bridge_keeps_to(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's Receive Maximum and Maximum Packet Size."""
    bridged(monkeypatch, V311)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        said = Connect(V5, "a", properties={P.RECEIVE_MAXIMUM: 2, P.MAXIMUM_PACKET_SIZE: 100})
        client, broker = await meet(w, up, said=said, up_level=V311)
        await broker.say(message("a", b"x" * 200, 1, 100), message("a", b"x" * 200, 2, 101), message("b", b"x" * 200))
        await broker.heard(Ack(PUBACK, 100), Ack(PUBREC, 101))
        await broker.say(Ack(PUBREL, 101))
        await broker.heard(Ack(PUBCOMP, 101))
        some = [message("a", b"%d" % number, 2 if number == 1 else 1, number) for number in range(1, 201)]
        await broker.say(*some)
        await client.heard(*some[:2])
        assert await client.silent()
        (session,) = sessions(w)
        assert len(session.queue) == 198
        await broker.say(Pong())
        assert await client.silent(), "its broker is not read"
        await client.say(Ack(PUBREC, 1))
        await broker.heard(Ack(PUBREC, 1))
        assert await client.silent()
        for number in range(2, 200):
            await client.say(Ack(PUBACK, number))
            await broker.heard(Ack(PUBACK, number))
            await client.heard(some[number])
        await client.heard(Pong())

    run(scenario())


def test_a_broker_that_wants_to_know_is_told_who_the_client_is(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        config = relayed(up)
        config["clusters"]["up"]["proxy_protocol"] = "v1"
        await w.apply(config)
        client = await dialled(w, V5)
        await client.say(Connect(V5, "a"))
        broker = await accepted(up, V5)
        host, port = client.client.sock.getsockname()
        at = w.address()[1]
        await broker.heard_bytes(f"PROXY TCP4 {host} {host} {port} {at}\r\n".encode() + words(V5, Connect(V5, "a")))

    run(scenario())
