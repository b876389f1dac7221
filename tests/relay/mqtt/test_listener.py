"""A session of MQTT through a listener: what is said on one side is heard on the other, as it was said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meshproxy.wire.mqtt import (
    PINGREQ_BYTES,
    PINGRESP_BYTES,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V5,
    V311,
    Ack,
    Code,
    Connack,
    Connect,
    Disconnect,
    Ping,
    Pong,
    Property,
    Suback,
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


@BOTH
def test_a_session_from_its_beginning_to_its_end(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, level)
        said = Connect(level, "boat-7", False, 60, "ann", b"secret", Will(b"gone", b"boat-7", 1, True))
        await client.say(said)
        broker = await accepted(up, level)
        await broker.heard(said)
        await broker.say(Connack(True, 0))
        answer = await client.hear(Connack)
        assert (answer.present, answer.code) == (True, 0)
        stats = counters(w)
        assert (stats.sessions_total, stats.sessions_active) == (1, 1)

        for one, other in ((client, broker), (broker, client)):
            await one.say(message(), message("a/b", b"", retain=True))
            await other.heard(message(), message("a/b", b"", retain=True))
            await one.say(message(qos=1, number=7))
            await other.heard(message(qos=1, number=7))
            await other.say(Ack(PUBACK, 7))
            await one.heard(Ack(PUBACK, 7))
            await one.say(message(qos=2, number=8))
            await other.heard(message(qos=2, number=8))
            for kind in (PUBREC, PUBREL, PUBCOMP):
                to, at = (one, other) if kind == PUBREL else (other, one)
                await to.say(Ack(kind, 8))
                await at.heard(Ack(kind, 8))

        await client.say(asking(9, "a/+", "$share/g/b/#"))
        await broker.heard(asking(9, "a/+", "$share/g/b/#"))
        await broker.say(Suback(9, (1, 0x80)))
        await client.heard(Suback(9, (1, 0x80)))
        await client.say(Unsubscribe(10, (b"a/+",)), Ping())
        await broker.heard(Unsubscribe(10, (b"a/+",)), Ping())
        answers = Unsuback(10, (0,) if level == V5 else ()), Pong()
        await broker.say(*answers)
        await client.heard(*answers)

        await client.say(message(), Disconnect(), message())
        await broker.heard(message(), Disconnect())
        assert await broker.ended()
        assert await client.ended()
        broker.close()
        client.close()
        await w.until(lambda: w.closed() == {"done": 1})
        assert counted(stats.ended) == {"disconnect": 1}
        assert (stats.messages_in_total, stats.messages_out_total, stats.sessions_active) == (5, 4, 0)
        assert not counted(stats.malformed)
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


@BOTH
@pytest.mark.parametrize("mannered", [True, False], ids=["DISCONNECT", "none"])
def test_a_will_is_the_brokers_affair(run: Run, world: World, upstream: Upstream, level: int, mannered: bool) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, level, Connect(level, "a", will=Will(b"gone", b"x")))
        if mannered:
            await client.say(Disconnect())
            await broker.heard(Disconnect())
        else:
            client.client.reset()
        assert await broker.ended()
        assert counted(counters(w).ended) == {"disconnect" if mannered else "reset": 1}

    run(scenario())


def conversation(level: int, before: str = "") -> bytes:
    """Of all that a client may say; each id once, and nothing that is more than the relay has to keep.  `before`: what
    stands before all topics."""
    long = message(before + "long", b"x" * 20_000, 1, 3)
    more: dict[str, Any] = {"properties": {Property.CONTENT_TYPE: b"text", Property.USER_PROPERTY: ((b"a", b"1"),)}}
    return words(
        level,
        message(before + "a/b"),
        message(before + "b", b"", 1, 1),
        message(before + "c", b"c" * 200, 2, 2),
        Ping(),
        long,
        asking(4, before + "a", before + "b/#"),
        Unsubscribe(5, (before.encode() + b"a",)),
        message(before + "d", retain=True, **more),
        Ack(PUBREL, 77),
        message(before + "e", qos=1, number=6, dup=True, **more),
        Ack(PUBACK, 78),
        Ack(PUBREC, 79),
        Ack(PUBCOMP, 80),
        message(before + "a/b"),
    )


@BOTH
@pytest.mark.parametrize("before", ["", "tenants/boat-7/"], ids=["as it is", "prefixed"])
@pytest.mark.parametrize("cut", [1, 7, 1000, 1 << 20])
def test_wherever_the_stream_is_cut_the_broker_gets_the_same_bytes(
    run: Run, world: World, upstream: Upstream, level: int, cut: int, before: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, sessions=[{"cluster": "up", "prefix": "tenants/%c/"}] if before else []))
        client, broker = await meet(w, up, level)
        said = conversation(level)
        if cut < 100:
            # The long one is told in larger pieces, for it would take long.
            at = said.index(b"x" * 20_000)
            pieces = [said[place : place + cut] for place in range(0, at, cut)]
            pieces.append(said[len(b"".join(pieces)) : at + 20_000])
            pieces += [said[place : place + cut] for place in range(at + 20_000, len(said), cut)]
        else:
            pieces = [said[place : place + cut] for place in range(0, len(said), cut)]
        assert b"".join(pieces) == said
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0)
        await broker.heard_bytes(conversation(level, before))

    run(scenario())


def deliveries(level: int, before: str = "") -> bytes:
    """All that a broker may say."""
    return words(
        level,
        message(before + "a/b"),
        message(before + "b", b"", 1, 1),
        message(before + "c", b"c" * 200, 2, 2),
        Pong(),
        Ack(PUBACK, 6),
        message(before + "d", retain=True, properties={Property.SUBSCRIPTION_IDENTIFIER: (3, 4)}),
        Suback(4, (0, 1, 2, 0x80)),
        Unsuback(5, (0,) if level == V5 else ()),
        Ack(PUBREC, 8),
        Ack(PUBREL, 2),
        Ack(PUBCOMP, 8),
        message(before + "a/b"),
    )


@BOTH
@pytest.mark.parametrize("before", ["", "tenants/boat-7/"], ids=["as it is", "prefixed"])
@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_and_so_does_the_client(
    run: Run, world: World, upstream: Upstream, level: int, cut: int, before: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, sessions=[{"cluster": "up", "prefix": "tenants/%c/"}] if before else []))
        client, broker = await meet(w, up, level)
        said = deliveries(level, before)
        for place in range(0, len(said), cut):
            await broker.send(said[place : place + cut])
            await asyncio.sleep(0)
        await client.heard_bytes(deliveries(level))

    run(scenario())


@BOTH
def test_what_is_said_before_the_broker_answers_waits(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, level)
        said = conversation(level)
        await client.send(words(level, Connect(level, "boat-7")) + said[:-3])
        broker = await accepted(up, level)
        await broker.hear(Connect)
        await client.send(said[-3:])
        assert await broker.silent()
        await broker.say(Connack(False, 0), message("early", qos=1, number=1))
        await broker.heard_bytes(said)
        await client.hear(Connack)
        await client.heard(message("early", qos=1, number=1))

    run(scenario())


def test_a_session_may_be_over_before_the_broker_answers(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client = await dialled(w, V311)
        await client.send(words(V311, Connect(V311, "a"), message(), Disconnect()))
        client.client.end()
        broker = await accepted(up, V311)
        await broker.hear(Connect)
        await broker.say(Connack(False, 0))
        await broker.heard(message(), Disconnect())
        assert await broker.ended()
        await client.hear(Connack)
        assert counted(counters(w).ended) == {"disconnect": 1}

    run(scenario())


@BOTH
def test_a_packet_may_be_as_large_as_the_limit(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"packet": "2KiB"}))
        client, broker = await meet(w, up, level)
        over = len(words(level, message("a", b"x" * 1000))) - 1000
        largest, larger = (words(level, message("a", b"x" * (2048 - over + more))) for more in (0, 1))
        assert len(largest) == 2048
        await client.send(largest + words(level, message()) + larger)
        await broker.heard_bytes(largest + words(level, message()))
        assert await broker.ended()
        expected = words(level, Disconnect(Code.PACKET_TOO_LARGE)) if level == V5 else b""
        assert await client.rest() == expected
        stats = counters(w)
        assert counted(stats.malformed) == {"too_large": 1}
        assert counted(stats.ended) == {"malformed": 1}
        assert stats.messages_in_total == 2

    run(scenario())


async def welcomed(
    run_in: tuple[Any, Any], connect: Connect, answer: Connack, **limits: Any
) -> tuple[dict[int, Any], dict[int, Any]]:
    """The properties of the CONNECT at the broker, and of the CONNACK at the client."""
    w, up = run_in
    await w.apply(relayed(up, limits=limits))
    client = await dialled(w, V5)
    await client.say(connect)
    broker = await accepted(up, V5)
    asked = await broker.hear(Connect)
    await broker.say(answer)
    return asked.properties, (await client.hear(Connack)).properties


P = Property


@pytest.mark.parametrize(
    ("broker", "limits", "heard"),
    [
        ({}, {}, {}),
        ({P.RECEIVE_MAXIMUM: 20}, {"in_flight": 10}, {P.RECEIVE_MAXIMUM: 10}),
        ({P.RECEIVE_MAXIMUM: 5}, {"in_flight": 10}, {P.RECEIVE_MAXIMUM: 5}),
        ({P.TOPIC_ALIAS_MAXIMUM: 100}, {"topic_aliases": 3}, {P.TOPIC_ALIAS_MAXIMUM: 3}),
        ({}, {"topic_aliases": 0}, {P.TOPIC_ALIAS_MAXIMUM: 0}),
        ({P.MAXIMUM_PACKET_SIZE: 100}, {}, {P.MAXIMUM_PACKET_SIZE: 100}),
        ({P.MAXIMUM_PACKET_SIZE: 10_000_000}, {"packet": "4KiB"}, {P.MAXIMUM_PACKET_SIZE: 4096}),
        ({P.SERVER_KEEP_ALIVE: 30}, {}, {P.SERVER_KEEP_ALIVE: 30}),
        ({P.SERVER_KEEP_ALIVE: 30}, {"keep_alive": "20s"}, {P.SERVER_KEEP_ALIVE: 20}),
        ({}, {"keep_alive": "20s"}, {P.SERVER_KEEP_ALIVE: 20}),
        ({}, {"keep_alive": "60s"}, {}),
        ({}, {"keep_alive": "500ms"}, {P.SERVER_KEEP_ALIVE: 1}),
        ({P.SERVER_KEEP_ALIVE: 0}, {"keep_alive": "24h"}, {P.SERVER_KEEP_ALIVE: 65_535}),
        ({P.MAXIMUM_QOS: 1, P.REASON_STRING: b"well"}, {}, {P.MAXIMUM_QOS: 1, P.REASON_STRING: b"well"}),
    ],
)
def test_a_client_of_5_0_is_told_the_narrower_bounds(
    run: Run, world: World, upstream: Upstream, broker: Any, limits: Any, heard: Any
) -> None:
    async def scenario() -> None:
        said = Connect(V5, "a", keep_alive=60, properties={P.TOPIC_ALIAS_MAXIMUM: 9, P.RECEIVE_MAXIMUM: 7})
        asked, told = await welcomed((world(), upstream()), said, Connack(False, 0, broker), **limits)
        assert asked == {P.RECEIVE_MAXIMUM: 7}, "aliases are for one hop"
        own = {P.RECEIVE_MAXIMUM: 32, P.TOPIC_ALIAS_MAXIMUM: 16, P.MAXIMUM_PACKET_SIZE: 1 << 20}
        assert told == own | heard

    run(scenario())


def test_what_the_broker_takes_at_most_binds_the_client(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, _ = await meet(w, up, answer=Connack(False, 0, {P.MAXIMUM_PACKET_SIZE: 100}))
        await client.say(message("a", b"x" * 100))
        assert await client.rest() == words(V5, Disconnect(Code.PACKET_TOO_LARGE))

    run(scenario())


@BOTH
def test_a_client_that_is_silent_for_too_long_is_gone(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, level: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up, level, Connect(level, "a", keep_alive=10))
        for _ in range(3):
            clock.advance(14)
            await client.send(PINGREQ_BYTES)
            await broker.heard(Ping())
            await broker.send(PINGRESP_BYTES)
            await client.heard(Pong())
        clock.advance(14.9)
        await asyncio.sleep(0.005)
        assert not counted(counters(w).ended)
        clock.advance(0.2)
        assert await broker.ended()
        assert await client.rest() == (words(V5, Disconnect(Code.KEEP_ALIVE_TIMEOUT)) if level == V5 else b"")
        assert counted(counters(w).ended) == {"keep_alive": 1}
        client.close()
        broker.close()
        await w.until(lambda: w.closed() == {"idle": 1})

    run(scenario())


@pytest.mark.parametrize("answer", [{}, {P.SERVER_KEEP_ALIVE: 0}], ids=["client", "broker"])
def test_one_that_has_not_said_how_long_may_be_silent_for_ever(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, answer: Any
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        said = Connect(V5, "a", keep_alive=30 if answer else 0)
        client, broker = await meet(w, up, said=said, answer=Connack(False, 0, answer))
        clock.advance(10_000)
        await client.say(message())
        await broker.heard(message())

    run(scenario())


def test_aliases_of_a_client_are_for_one_hop(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up)
        user = {P.USER_PROPERTY: ((b"k", b"v"),)}
        await client.say(
            message("a", b"1", properties={P.TOPIC_ALIAS: 16} | user),
            message("", b"2", properties={P.TOPIC_ALIAS: 16}),
            message("b", b"3", properties={P.TOPIC_ALIAS: 16}),
            message("", b"4", qos=1, number=1, properties={P.TOPIC_ALIAS: 16}),
        )
        await broker.heard(
            message("a", b"1", properties=user), message("a", b"2"), message("b", b"3"), message("b", b"4", 1, 1)
        )

    run(scenario())


def test_a_drained_client_of_5_0_is_told_so(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up)
        (session,) = sessions(w)
        session.drain()
        assert await client.rest() == words(V5, Disconnect(Code.SERVER_SHUTTING_DOWN))
        assert await broker.ended()
        client.close()
        broker.close()
        await w.until(lambda: w.closed() == {"drain": 1})

    run(scenario())
