"""A client keeps its connection when its broker is lost: what becomes of all that was under way, packet by packet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
    Code,
    Connack,
    Connect,
    Disconnect,
    Frames,
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
from tests.conftest import Run
from tests.conftest import World as TheWorld
from tests.relay.mqtt.scripted import WITHIN, Talk

ONE_LOOP = True
"""What is shown here is the same on both."""

VERSIONS = pytest.mark.parametrize("level", [V311, V5], ids=["3.1.1", "5"])
World = Callable[[], TheWorld]
Brokers = Callable[..., Any]
EXPIRY = {Property.SESSION_EXPIRY_INTERVAL: 300}


def config(*brokers: Any, **policy: Any) -> dict[str, Any]:
    """The first is wanted most."""
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "mqtt", "mqtt": "plant", "cluster": "up"}],
        "mqtt": {"plant": {"failover": {"within": "30s"}, **policy}},
        "clusters": {
            "up": {
                "endpoints": [{"address": each.address, "priority": level} for level, each in enumerate(brokers)],
                "balance": "round_robin",
            }
        },
    }


class Site:
    """One client, and brokers that a test holds in its hands."""

    def __init__(self, w: TheWorld, level: int) -> None:
        self.w, self.level = w, level

    @property
    def stats(self) -> Any:
        return self.w.stats.listeners["in"].mqtt["plant"]

    async def enter(self, broker: Any, said: Connack | None = None, **connect: Any) -> tuple[Talk, Talk]:
        client = Talk(await self.w.connect(), self.level)
        said_of: dict[str, Any] = {"client_id": "boat", "clean": False, "keep_alive": 0} | connect
        await client.say(Connect(self.level, **said_of))
        line = await self.meet(broker, said)
        self.connack = await client.next()
        assert isinstance(self.connack, Connack)
        return client, line

    async def greet(self, broker: Any) -> Talk:
        async with asyncio.timeout(WITHIN):
            line = Talk(await broker.accept(), self.level)
        self.greeting = await line.next()
        assert isinstance(self.greeting, Connect)
        return line

    async def meet(self, broker: Any, said: Connack | None = None) -> Talk:
        line = await self.greet(broker)
        await line.say(said or Connack(False, 0))
        return line

    async def lost(self, line: Talk, broker: Any = None) -> None:
        """The broker dies; nobody answers at its address if it is given."""
        before = sum(self.stats.lost.values())
        if broker is not None:
            broker.close()
        line.client.reset()
        await self.w.until(lambda: sum(self.stats.lost.values()) > before)


Make = Callable[..., Any]


@pytest.fixture
def site(world: World, level: int) -> Make:
    async def make(*brokers: Any, **policy: Any) -> Site:
        w = world()
        await w.apply(config(*brokers, **policy))
        return Site(w, level)

    return make


@pytest.fixture
def brokers(upstream: Brokers) -> Callable[[], tuple[Any, Any]]:
    return lambda: (upstream(), upstream())


def again(broker: Any) -> Any:
    """At the same address."""
    host, _, port = broker.address.rpartition(":")
    return type(broker)(address=(host, int(port)))


def out(number: int, qos: int, payload: bytes = b"x", **more: Any) -> Publish:
    return Publish(b"t", payload, qos, id=number, **more)


async def said(talk: Talk, *packets: Packet) -> None:
    """These come next."""
    for packet in packets:
        got = await talk.next()
        assert got == packet


async def exactly(talk: Talk, *packets: Packet) -> None:
    """These, and nothing else."""
    await said(talk, *packets)
    assert await talk.silent()


async def left(line: Talk) -> None:
    """In good order."""
    await said(line, Disconnect())
    assert await line.ended()


# What the client has published


@VERSIONS
def test_what_was_not_acknowledged_goes_to_the_next_broker(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await client.say(out(7, 1), out(8, 2))
        await said(line, out(7, 1), out(8, 2))
        await s.lost(line, one)
        line = await s.meet(two)
        await exactly(line, out(7, 1, dup=True), out(8, 2, dup=True))
        await line.say(Ack(PUBACK, 7), Ack(PUBREC, 8))
        await exactly(client, Ack(PUBACK, 7), Ack(PUBREC, 8))
        await client.say(Ack(PUBREL, 8))
        await said(line, Ack(PUBREL, 8))
        await client.say(Ping())
        await said(line, Ping())
        await line.say(Ack(PUBCOMP, 8), Pong())
        await said(client, Ack(PUBCOMP, 8), Pong())
        s.w.clock.advance(10)
        await s.lost(line)
        await exactly(await s.meet(two))
        assert await client.silent()
        assert s.stats.lost["reset"] == 2
        assert (s.stats.moved_total, s.stats.in_doubt_total) == (2, 0)

    run(scenario())


@VERSIONS
@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("when", ["away", "before", "after"])
def test_a_client_that_has_its_pubrec_does_not_get_a_second(
    run: Run, site: Make, brokers: Any, present: bool, when: str
) -> None:
    """Wherever it says PUBREL: without a broker, before or after the next one has the message."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await client.say(out(8, 2))
        await line.next()
        await line.say(Ack(PUBREC, 8))
        await said(client, Ack(PUBREC, 8))
        await s.lost(line, one)
        line = await s.greet(two)
        if when == "away":
            await client.say(Ack(PUBREL, 8), Ping())
            await said(client, Pong())
        await line.say(Connack(present, 0))
        await said(line, out(8, 2, dup=True))
        if when == "before":
            await client.say(Ack(PUBREL, 8))
            assert await line.silent()
        await line.say(Ack(PUBREC, 8))
        if when == "after":
            assert await client.silent()
            await client.say(Ack(PUBREL, 8))
        await exactly(line, Ack(PUBREL, 8))
        await line.say(Ack(PUBCOMP, 8))
        await exactly(client, Ack(PUBCOMP, 8))

    run(scenario())


@pytest.mark.parametrize("level", [V5])
@pytest.mark.parametrize("away", [True, False])
def test_a_refusal_that_comes_too_late(run: Run, site: Make, brokers: Any, away: bool) -> None:
    """The client was told that the message had arrived."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await client.say(out(8, 2))
        await line.next()
        await line.say(Ack(PUBREC, 8))
        await client.next()
        await s.lost(line, one)
        line = await s.meet(two)
        await line.next()
        if away:
            await client.say(Ack(PUBREL, 8))
            assert await line.silent()
        await line.say(Ack(PUBREC, 8, Code.QUOTA_EXCEEDED))
        if not away:
            assert await client.silent()
            await client.say(Ack(PUBREL, 8))
            await said(line, Ack(PUBREL, 8))
            await line.say(Ack(PUBCOMP, 8, Code.PACKET_ID_NOT_FOUND))
        assert (await client.next()).kind == PUBCOMP
        assert s.stats.dropped["refused"] == 1

    run(scenario())


@VERSIONS
def test_what_was_released_is_the_dead_brokers_own(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await client.say(out(8, 2))
        await line.next()
        await line.say(Ack(PUBREC, 8))
        await client.next()
        await client.say(Ack(PUBREL, 8))
        await line.next()
        await s.lost(line, one)
        assert await client.silent()
        await exactly(await s.meet(two))
        await exactly(client, Ack(PUBCOMP, 8))
        assert s.stats.in_doubt_total == 1

    run(scenario())


@VERSIONS
def test_a_broker_that_is_back_with_the_session_goes_on(run: Run, site: Make, upstream: Brokers) -> None:
    """By the ids of before, in both directions; nothing is subscribed again."""

    async def scenario() -> None:
        s = await site(one := upstream())
        client, line = await s.enter(one)
        await client.say(Subscribe(1, (Subscription(b"#", 2),)), out(7, 2), out(8, 2), out(9, 1))
        await line.some(4)
        await line.say(Suback(1, (2,)), Ack(PUBREC, 7), out(7, 2, b"down"), out(9, 2, b"too"))
        await client.some(4)
        await client.say(Ack(PUBREL, 7), Ack(PUBREC, 7))
        await line.some(2)
        await s.lost(line)
        line = await s.meet(one, Connack(True, 0))
        await exactly(line, Ack(PUBREL, 7), out(8, 2, dup=True), out(9, 1, dup=True))
        await line.say(Ack(PUBCOMP, 7), Ack(PUBREC, 8), Ack(PUBREL, 7), out(9, 2, b"too", dup=True))
        await exactly(client, Ack(PUBCOMP, 7), Ack(PUBREC, 8), Ack(PUBREL, 7), out(9, 2, b"too", dup=True))
        await client.say(Ack(PUBCOMP, 7), Ack(PUBREC, 9))
        await exactly(line, Ack(PUBCOMP, 7), Ack(PUBREC, 9))
        assert s.stats.in_doubt_total == 0

    run(scenario())


@VERSIONS
def test_a_session_that_another_broker_has_is_perhaps_another(run: Run, site: Make, brokers: Any) -> None:
    """All that was not released is sent, all is subscribed, and what was released is asked for but in doubt."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await client.say(Subscribe(1, (Subscription(b"a", 2),)), out(7, 2), out(8, 2))
        await line.some(3)
        await line.say(Suback(1, (2,)), Ack(PUBREC, 7), Ack(PUBREC, 8), out(5, 2))
        await client.some(4)
        await client.say(Ack(PUBREL, 7), Ack(PUBREC, 5))
        await line.some(2)
        await s.lost(line, one)
        line = await s.meet(two, Connack(True, 0))
        assert isinstance(await line.next(), Subscribe)
        await exactly(line, Ack(PUBREL, 7), out(8, 2, dup=True))
        await exactly(client, Ack(PUBREL, 5))
        await line.say(Ack(PUBCOMP, 7))
        await exactly(client, Ack(PUBCOMP, 7))
        assert s.stats.in_doubt_total == 1

    run(scenario())


@VERSIONS
@pytest.mark.parametrize("direction", ["up", "down", "neither"])
def test_a_session_of_long_ago_is_not_gone_on_with(run: Run, site: Make, brokers: Any, direction: str) -> None:
    """A broker that comes back after another one has had the session knows ids by what they meant then."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        will = Will(b"w", b"", 0, False, {})
        client, line = await s.enter(one, will=will, properties=EXPIRY if s.level == V5 else {})
        if direction == "up":
            await client.say(out(8, 2))
            await line.next()
        elif direction == "down":
            await line.say(out(8, 2))
            await client.next()
        else:
            await client.say(out(8, 1))
            await line.next()
        await s.lost(line, one)
        line = await s.meet(two)
        if direction == "down":
            await client.say(Ack(PUBREC, 8))
            await said(client, Ack(PUBREL, 8))
            await client.say(Ack(PUBCOMP, 8))
        else:
            await line.next()
            await line.say(Ack(PUBREC if direction == "up" else PUBACK, 8))
            await client.next()
        one = again(one)
        s.w.clock.advance(10)
        await s.lost(line, two)
        if direction != "neither":
            old = await s.meet(one, Connack(True, 0))
            await left(old)
            clearing = await s.greet(one)
            assert s.greeting.clean
            assert s.greeting.will is None
            assert not s.greeting.properties
            await clearing.say(Connack(False, 0))
            await left(clearing)
            s.w.clock.advance(10)
            line = await s.meet(one)
        else:
            line = await s.meet(one, Connack(True, 0))
        assert not s.greeting.clean
        assert s.greeting.will is not None
        await exactly(line, *([out(8, 2, dup=True)] if direction == "up" else []))

    run(scenario())


@pytest.mark.parametrize("level", [V5])
def test_a_client_that_begins_anew_does_so_once(run: Run, site: Make, brokers: Any) -> None:
    """Its broker is not asked to forget what it holds; another one, which has a session of long ago, is."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        _, line = await s.enter(one, clean=True, properties=EXPIRY)
        assert s.greeting.clean
        await s.lost(line)
        line = await s.meet(one, Connack(True, 0))
        assert not s.greeting.clean
        assert s.greeting.properties == EXPIRY
        await s.w.until(lambda: s.stats.moved_total)
        s.w.clock.advance(10)
        await s.lost(line, one)
        await left(await s.meet(two, Connack(True, 0)))
        await left(await s.meet(two))
        assert s.greeting.clean
        assert not s.greeting.properties
        s.w.clock.advance(10)
        await s.meet(two)
        assert not s.greeting.clean

    run(scenario())


# What it gets


@VERSIONS
def test_what_was_delivered_is_brought_to_its_end(run: Run, site: Make, brokers: Any) -> None:
    """And what the next broker calls the same has another id on the way."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await line.say(*(out(number, qos) for number, qos in ((1, 1), (2, 2), (3, 2), (4, 2))))
        await client.some(4)
        await client.say(Ack(PUBREC, 3), Ack(PUBREC, 4))
        await line.some(2)
        await line.say(Ack(PUBREL, 4))
        await client.next()
        await s.lost(line, one)
        line = await s.greet(two)
        assert await client.silent()
        await line.say(Connack(False, 0), *(out(number, 2, b"new") for number in (1, 2, 3, 4, 5)))
        await said(client, Ack(PUBREL, 3), *(out(number, 2, b"new") for number in (65535, 65534, 65533, 65532, 5)))
        await client.say(Ack(PUBACK, 1), Ack(PUBREC, 2), Ack(PUBCOMP, 3), Ack(PUBCOMP, 4))
        await exactly(client, Ack(PUBREL, 2))
        await client.say(Ack(PUBCOMP, 2))
        assert await line.silent()
        await client.say(*(Ack(PUBREC, number) for number in (65532, 65535)))
        await exactly(line, Ack(PUBREC, 4), Ack(PUBREC, 1))
        await line.say(Ack(PUBREL, 4), Ack(PUBREL, 1), out(2, 1, b"more"))
        await exactly(client, Ack(PUBREL, 65532), Ack(PUBREL, 65535), out(65534, 1, b"more"))
        await client.say(Ack(PUBCOMP, 65532))
        await exactly(line, Ack(PUBCOMP, 4))
        await line.say(out(4, 1, b"more"))
        await exactly(client, out(4, 1, b"more"))

    run(scenario())


@pytest.mark.parametrize("level", [V5])
def test_a_client_is_not_sent_more_than_it_has_said(run: Run, site: Make, brokers: Any) -> None:
    """The next broker does not know of what the client has not acknowledged to the one before."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one, properties={Property.RECEIVE_MAXIMUM: 2})
        await line.say(out(1, 1), out(2, 2))
        await client.some(2)
        await s.lost(line, one)
        line = await s.meet(two)
        await line.say(out(3, 1), out(4, 1))
        assert await client.silent()
        await client.say(Ack(PUBACK, 1))
        await exactly(client, out(3, 1))
        await client.say(Ack(PUBREC, 2))
        await exactly(client, Ack(PUBREL, 2))
        await client.say(Ack(PUBCOMP, 2))
        await exactly(client, out(4, 1))
        await client.say(Ack(PUBACK, 3), Ack(PUBACK, 4))
        await exactly(line, Ack(PUBACK, 3), Ack(PUBACK, 4))

    run(scenario())


@pytest.mark.parametrize("level", [V5])
def test_what_comes_again_takes_no_more_room(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one, properties={Property.RECEIVE_MAXIMUM: 2})
        await line.say(out(1, 1))
        await client.next()
        await s.lost(line, one)
        line = await s.meet(two)
        await line.say(out(3, 2))
        await said(client, out(3, 2))
        s.w.clock.advance(10)
        await s.lost(line)
        line = await s.meet(two, Connack(True, 0))
        await line.say(out(3, 2, dup=True), out(4, 1))
        await exactly(client, out(3, 2, dup=True))
        await client.say(Ack(PUBACK, 1))
        await exactly(client, out(4, 1))

    run(scenario())


@VERSIONS
def test_what_the_dead_broker_had_begun_to_say_is_forgotten(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        whole = encode(out(0, 0, b"y" * 200), s.level)
        await line.client.send(whole + whole[:100])
        await said(client, out(0, 0, b"y" * 200))
        await s.lost(line, one)
        line = await s.meet(two)
        await line.say(out(0, 0, b"new"))
        await exactly(client, out(0, 0, b"new"))

    run(scenario())


# What it has subscribed


@VERSIONS
def test_what_is_subscribed_is_subscribed_again(run: Run, site: Make, brokers: Any) -> None:
    """Retained messages are not asked for again, where that can be said; what was left is left."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        five = s.level == V5
        client, line = await s.enter(one)
        numbered: Properties = {Property.SUBSCRIPTION_IDENTIFIER: (9,)} if five else {}
        await client.say(
            Subscribe(1, (Subscription(b"a", 1), Subscription(b"gone", 1), Subscription(b"not", 0))),
            Subscribe(2, (Subscription(b"b", 2, no_local=five),), numbered),
            Subscribe(3, (Subscription(b"left", 2),)),
            Unsubscribe(4, (b"gone", b"left")),
        )
        await line.some(4)
        await line.say(Suback(1, (1, 1, 0x80)), Suback(2, (0,)), Suback(3, (2,)))
        await line.say(Unsuback(4, (0, 0) if five else ()))
        await client.some(4)
        await client.say(Subscribe(5, (Subscription(b"c", 1),)))
        await line.next()
        await s.lost(line, one)
        line = await s.meet(two)
        never = 2 if five else 0
        first, second = Subscription(b"a", 1, False, False, never), Subscription(b"b", 2, five, False, never)
        if five:
            await said(line, Subscribe(65535, (first,)), Subscribe(65534, (second,), numbered))
            await line.say(Suback(65535, (1,)), Suback(65534, (2,)))
        else:
            await said(line, Subscribe(65535, (first, second)))
            await line.say(Suback(65535, (1, 2)))
        await exactly(line, Subscribe(5, (Subscription(b"c", 1),)))
        await line.say(Suback(5, (1,)))
        await exactly(client, Suback(5, (1,)))

    run(scenario())


@VERSIONS
def test_a_broker_that_does_not_grant_what_the_client_has(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await client.say(Subscribe(1, (Subscription(b"a", 1),)))
        await line.next()
        await line.say(Suback(1, (1,)))
        await client.next()
        await s.lost(line, one)
        line = await s.meet(two)
        asked = await line.next()
        await line.say(Suback(asked.id, (0x80,)))
        await told_and_ended(s, client, Code.UNSPECIFIED_ERROR)
        assert s.stats.ended["subscriptions"] == 1

    run(scenario())


@VERSIONS
def test_a_broker_that_dies_before_it_has_all_subscriptions(run: Run, site: Make, upstream: Brokers) -> None:
    """It is back with the session, in which they may be or not."""

    async def scenario() -> None:
        s = await site(one := upstream())
        client, line = await s.enter(one)
        await client.say(Subscribe(1, (Subscription(b"a", 1),)))
        await line.next()
        await line.say(Suback(1, (1,)))
        await client.next()
        for present in (False, True, True):
            s.w.clock.advance(10)
            await s.lost(line)
            line = await s.meet(one, Connack(present, 0))
            asked = await line.next()
            assert [each.filter for each in asked.subscriptions] == [b"a"]
        await line.say(Suback(asked.id, (1,)))
        assert await client.silent()
        s.w.clock.advance(10)
        await s.lost(line)
        await exactly(await s.meet(one, Connack(True, 0)))

    run(scenario())


# Without a broker


@VERSIONS
def test_what_is_done_while_there_is_no_broker(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two, limits={"in_flight": 3})
        client, line = await s.enter(one)
        await line.say(out(1, 1), out(2, 2))
        await client.some(2)
        await client.say(Ping())
        await line.next()
        await s.lost(line, one)
        await said(client, Pong())
        line = await s.greet(two)
        await client.say(out(0, 0), Ack(PUBACK, 1), Ack(PUBREC, 2), Subscribe(9, (Subscription(b"a", 1),)), Ping())
        await exactly(client, Pong())
        assert s.stats.dropped["away"] == 1
        await client.say(out(7, 1), out(8, 2))
        if s.level == V311:
            assert await client.silent()
            await client.say(Ping())
            assert await client.silent()
        await line.say(Connack(False, 0))
        await said(line, Subscribe(9, (Subscription(b"a", 1),)), out(7, 1, dup=True), out(8, 2, dup=True))
        await line.say(Suback(9, (1,)), Ack(PUBACK, 7))
        await said(client, Ack(PUBREL, 2), Suback(9, (1,)), Ack(PUBACK, 7))
        if s.level == V311:
            await said(line, Ping())
        assert await line.silent()

    run(scenario())


@pytest.mark.parametrize("level", [V311])
@pytest.mark.parametrize("lost", [False, True])
def test_a_client_that_has_to_say_more_is_read(run: Run, site: Make, brokers: Any, lost: bool) -> None:
    """However many of its messages are under way: it is the one that is waited for."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two, limits={"in_flight": 2})
        client, line = await s.enter(one)
        await client.say(out(1, 2), out(2, 2))
        await said(line, out(1, 2), out(2, 2))
        await client.say(out(3, 2))
        assert await line.silent()
        await line.say(Ack(PUBREC, 1), Ack(PUBREC, 2))
        await client.some(2)
        await said(line, out(3, 2))
        await line.say(Ack(PUBREC, 3))
        await client.next()
        await client.say(Ack(PUBREL, 1))
        await exactly(line, Ack(PUBREL, 1))
        if lost:
            await s.lost(line, one)
            line = await s.greet(two)
            await client.say(Ack(PUBREL, 2), Ping())
            await said(client, Pong())
            await line.say(Connack(False, 0))
            await said(client, Ack(PUBCOMP, 1))
        else:
            await line.say(Ack(PUBCOMP, 1))
            await said(client, Ack(PUBCOMP, 1))
            await client.say(Ack(PUBREL, 2))
            await said(line, Ack(PUBREL, 2))

    run(scenario())


@pytest.mark.parametrize("level", [V311])
def test_a_client_that_never_ends_what_it_begins(run: Run, site: Make, upstream: Brokers) -> None:
    async def scenario() -> None:
        s = await site(one := upstream(), limits={"in_flight": 2})
        client, line = await s.enter(one)
        for number in range(1, 33):
            await client.say(out(number, 2))
            await line.next()
            await line.say(Ack(PUBREC, number))
            await client.next()
        assert not s.stats.ended["in_flight"]
        await client.say(out(33, 2))
        await s.w.until(lambda: s.stats.ended["in_flight"])

    run(scenario())


async def told_and_ended(s: Site, client: Talk, code: int) -> None:
    if s.level == V5:
        await said(client, Disconnect(code))
    assert await client.ended()
    assert s.stats.sessions_active == 0


@VERSIONS
def test_there_is_no_other_in_time(run: Run, site: Make, brokers: Any) -> None:
    """However long it takes to find that out."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await s.lost(line, one)
        silent = await s.greet(two)
        for _ in range(5):
            s.w.clock.advance(5.9)
            await asyncio.sleep(0.01)
        await client.say(Ping())
        await said(client, Pong())
        s.w.clock.advance(0.6)
        await told_and_ended(s, client, Code.SERVER_BUSY)
        assert s.stats.ended["broker"] == 1
        assert await silent.ended()
        assert s.w.stats.clusters["up"].connections_active == 0

    run(scenario())


@VERSIONS
def test_brokers_that_refuse_are_asked_again_in_time(run: Run, site: Make, upstream: Brokers) -> None:
    async def scenario() -> None:
        s = await site(one := upstream())
        client, line = await s.enter(one)
        await s.lost(line)
        for _ in range(3):
            line = await s.meet(one, Connack(False, Code.NOT_AUTHORIZED if s.level == V5 else 5))
            assert await line.ended()
            s.w.clock.advance(2)
        line = await s.meet(one)
        await client.say(out(7, 1))
        await said(line, out(7, 1))
        await line.say(Ack(PUBACK, 7))
        await said(client, Ack(PUBACK, 7))
        s.w.clock.advance(60)
        await client.say(Ping())
        await said(line, Ping())

    run(scenario())


@VERSIONS
def test_a_client_that_leaves_meanwhile(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await s.lost(line, one)
        line = await s.greet(two)
        await client.say(Disconnect())
        assert await client.ended()
        assert await line.ended()
        assert s.stats.ended["disconnect"] == 1
        s.w.clock.advance(60)
        assert s.w.stats.clusters["up"].connections_active == 0

    run(scenario())


# Brokers that mean it


@VERSIONS
@pytest.mark.parametrize("reset", [False, True])
def test_a_session_that_ends_where_it_was_moved_to(run: Run, site: Make, brokers: Any, reset: bool) -> None:
    """So soon that it is meant: its client is somewhere else."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await s.lost(line, one)
        line = await s.meet(two)
        await client.say(Ping())
        await said(line, Ping())
        s.w.clock.advance(1.9)
        line.client.reset() if reset else line.close()
        await told_and_ended(s, client, Code.SERVER_BUSY)
        assert s.stats.ended["taken_over"] == 1

    run(scenario())


@VERSIONS
def test_a_session_that_ends_later_is_moved_again(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        await s.lost(line, one)
        line = await s.meet(two)
        await client.say(Ping())
        await said(line, Ping())
        s.w.clock.advance(2)
        line.close()
        await s.meet(two)
        assert s.stats.lost["closed"] == 1

    run(scenario())


@pytest.mark.parametrize("level", [V5])
def test_a_broker_that_says_why(run: Run, site: Make, upstream: Brokers) -> None:
    async def scenario() -> None:
        s = await site(one := upstream())
        client, line = await s.enter(one)
        await line.say(Disconnect(Code.SERVER_SHUTTING_DOWN))
        line = await s.meet(one)
        await client.say(out(7, 1))
        await said(line, out(7, 1))
        # It does so at once, again and again: there is a pause, and nobody is ended.
        await line.say(Disconnect(Code.SERVER_SHUTTING_DOWN))
        await s.w.until(lambda: s.stats.lost["leaves"] == 2)
        assert s.w.stats.clusters["up"].connections_total == 2
        s.w.clock.advance(0.2)
        line = await s.meet(one)
        await said(line, out(7, 1, dup=True))
        await line.say(Disconnect(Code.SESSION_TAKEN_OVER))
        await told_and_ended(s, client, Code.SESSION_TAKEN_OVER)

    run(scenario())


@VERSIONS
def test_a_broker_that_does_not_speak_mqtt_any_more(run: Run, site: Make, brokers: Any) -> None:
    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, two)
        client, line = await s.enter(one)
        one.close()
        await line.client.send(b"\x00\x00")
        line = await s.meet(two)
        await client.say(out(7, 1))
        await said(line, out(7, 1))
        assert s.stats.lost["protocol"] == 1

    run(scenario())


@VERSIONS
def test_where_nothing_is_said_of_it_a_client_ends_with_its_broker(
    run: Run, world: World, upstream: Brokers, level: int
) -> None:
    async def scenario() -> None:
        w, one = world(), upstream()
        said_of = config(one)
        del said_of["mqtt"]["plant"]["failover"]
        await w.apply(said_of)
        s = Site(w, level)
        client, line = await s.enter(one)
        line.client.reset()
        await told_and_ended(s, client, Code.SERVER_BUSY)

    run(scenario())


# Other configurations


@VERSIONS
def test_an_endpoint_that_is_taken_away_gives_its_sessions_to_others(run: Run, site: Make, brokers: Any) -> None:
    """In good order: the will is not sent.  The others may be ones that were not there before."""

    async def scenario() -> None:
        one, two = brokers()
        s = await site(one, limits={"answer": "1d"})
        client, line = await s.enter(one, will=Will(b"w", b"", 0, False, {}))
        await client.say(Subscribe(1, (Subscription(b"a", 1),)), out(7, 1))
        await line.some(2)
        await line.say(Suback(1, (1,)))
        await client.next()
        await s.w.apply(config(two))
        while not s.stats.lost["drain"]:
            s.w.clock.advance(1)
        await left(line)
        line = await s.meet(two)
        assert s.greeting.will is not None
        assert [type(each) for each in await line.some(2)] == [Subscribe, Publish]
        await client.say(out(8, 1))
        await said(line, out(8, 1))
        assert s.stats.lost["drain"] == 1
        assert s.stats.ended["drain"] == 0

    run(scenario())


# With a store


class Store:
    """Takes what it is given, and answers when it is told to."""

    def __init__(self) -> None:
        self.empty = True
        self.got: list[Packet] = []

    def seat(self, client: Any) -> Any:
        self.level = client.level
        return self

    handler: Any = None
    fed_by: Any = None

    def read_to(self, take: Any) -> None:
        self._take = take

    def answer(self, *packets: Packet) -> None:
        self._take(b"".join(encode(packet, self.level) for packet in packets))

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        data, cuts = Frames(1 << 20).feed(data)
        self.got += [decode(self.level, data, *cut) for cut in cuts]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    real = plan._way
    monkeypatch.setattr(plan, "_way", lambda *args: replace(real(*args), store=made))
    return made


@VERSIONS
def test_what_was_not_answered_is_stored(run: Run, site: Make, upstream: Brokers, store: Store) -> None:
    """Whoever has its PUBREC does not get another, and what it says meanwhile is not lost."""

    async def scenario() -> None:
        s = await site(one := upstream(), limits={"in_flight": 4})
        client, line = await s.enter(one)
        await client.say(out(6, 1), out(7, 2), out(8, 2))
        await client.say(Subscribe(9, (Subscription(b"a", 1),)), Unsubscribe(10, (b"b",)))
        await line.some(5)
        await line.say(Ack(PUBREC, 8))
        await said(client, Ack(PUBREC, 8))
        await s.lost(line, one)
        await exactly(client, Suback(9, (1,)), Unsuback(10, (0,) if s.level == V5 else ()))
        assert store.got == [out(6, 1), out(7, 2), out(8, 2)]
        store.answer(Ack(PUBACK, 6), Ack(PUBREC, 7))
        await exactly(client, Ack(PUBACK, 6), Ack(PUBREC, 7))
        await client.say(Ack(PUBREL, 8), Ack(PUBREL, 7), Ping())
        await said(client, Pong())
        assert store.got[3:] == [Ack(PUBREL, 7)]
        store.answer(Ack(PUBREC, 8))
        assert store.got[4:] == [Ack(PUBREL, 8)]
        store.answer(Ack(PUBCOMP, 7), Ack(PUBCOMP, 8))
        await exactly(client, Ack(PUBCOMP, 7), Ack(PUBCOMP, 8))

    run(scenario())


@pytest.mark.parametrize("level", [V5])
def test_the_store_refuses_what_the_client_was_promised(run: Run, site: Make, upstream: Brokers, store: Store) -> None:
    async def scenario() -> None:
        s = await site(one := upstream())
        client, line = await s.enter(one)
        await client.say(out(7, 2), out(8, 2))
        await line.some(2)
        await line.say(Ack(PUBREC, 7), Ack(PUBREC, 8))
        await client.some(2)
        await s.lost(line, one)
        await client.say(Ack(PUBREL, 7), Ping())
        await said(client, Pong())
        store.answer(Ack(PUBREC, 7, Code.QUOTA_EXCEEDED), Ack(PUBREC, 8, Code.QUOTA_EXCEEDED))
        await exactly(client, Ack(PUBCOMP, 7))
        await client.say(Ack(PUBREL, 8))
        await exactly(client, Ack(PUBCOMP, 8))

    run(scenario())


@VERSIONS
@pytest.mark.parametrize("present", [True, False])
def test_what_is_released_waits_for_the_broker_that_has_it(
    run: Run, site: Make, upstream: Brokers, store: Store, present: bool
) -> None:
    """Who says in its place that it is over could be killed before it is."""

    async def scenario() -> None:
        s = await site(one := upstream())
        client, line = await s.enter(one)
        await client.say(out(8, 2))
        await line.next()
        await line.say(Ack(PUBREC, 8))
        await client.next()
        await client.say(Ack(PUBREL, 8))
        await line.next()
        await s.lost(line)
        await client.say(out(9, 2, b"new"), Ping())
        await exactly(client, Pong())
        line = await s.meet(one, Connack(present, 0))
        if present:
            await said(line, Ack(PUBREL, 8))
            await line.say(Ack(PUBCOMP, 8))
        await exactly(client, Ack(PUBCOMP, 8))
        assert s.stats.in_doubt_total == (not present)
        assert [each.payload for each in store.got if isinstance(each, Publish)] == [b"new"]

    run(scenario())
