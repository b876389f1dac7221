"""What a client may try so that the relay has no time, no memory or no way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from meshproxy.relay.mqtt.subscriptions import Subscriptions
from meshproxy.wire.mqtt import (
    PUBACK,
    V5,
    V311,
    Ack,
    Code,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Property,
    Publish,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from tests.conftest import FakeClock
from tests.relay.mqtt.talking import (
    Run,
    Upstream,
    World,
    accepted,
    counted,
    counters,
    dialled,
    meet,
    message,
    relayed,
    sessions,
)

ONE_LOOP = True

BOTH = pytest.mark.parametrize("level", [V311, V5], ids=["3.1.1", "5.0"])


def elsewhere(up: Any, other: Any, **limits: Any) -> dict[str, Any]:
    """Some of what clients publish goes to other brokers."""
    config = relayed(up, topics=[{"name": "other", "filters": ["o/#"], "cluster": "other"}], limits=limits)
    config["clusters"]["other"] = {"endpoints": [other.address]}
    return config


def test_filters_that_are_left_are_not_looked_for() -> None:
    """Each cost a look at all that the broker had not answered: two packets took the loop for minutes."""
    subscriptions = Subscriptions(10)
    for number in range(1, 30):
        subscriptions.asked(number, [Subscription(b"%d" % each, 0) for each in range(1000)], 0, 0x97)
    began = process_time()
    for each in range(3000):
        subscriptions.left(b"x%d" % each)
    assert process_time() - began < 1


def test_a_filter_that_is_left_and_asked_for_again() -> None:
    subscriptions = Subscriptions(10)
    twice = [Subscription(b"a", 0), Subscription(b"a", 1), Subscription(b"b", 0)]
    subscriptions.asked(1, [*twice], 0, 0x97)
    subscriptions.left(b"a")
    subscriptions.asked(2, [Subscription(b"a", 2)], 0, 0x97)
    assert subscriptions.answered(1, (0, 1, 0)) == (0, 1, 0)
    assert len(subscriptions) == 1
    subscriptions.answered(2, (2,))
    assert len(subscriptions) == 2
    # And what was left once may be asked for at any time
    subscriptions.left(b"a")
    subscriptions.asked(3, [Subscription(b"a", 2)], 0, 0x97)
    subscriptions.answered(3, (2,))
    assert len(subscriptions) == 2


@pytest.mark.parametrize("number", [4096, 4097])
@pytest.mark.parametrize(
    ("level", "packet"),
    [
        (V311, lambda number: Subscribe(1, (Subscription(b"a", 0),) * number)),
        (V5, lambda number: Subscribe(1, (Subscription(b"a", 0),) * number)),
        (V5, lambda number: Unsubscribe(1, (b"a",) * number)),
        (V5, lambda number: Publish(b"a", b"", properties={Property.USER_PROPERTY: ((b"", b""),) * number})),
    ],
)
def test_a_packet_that_takes_long_to_read(
    run: Run, world: World, upstream: Upstream, level: int, packet: Callable[[int], Packet], number: int
) -> None:
    """A packet of 1 MiB could hold a quarter of a million filters, and took the loop for a second."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"subscriptions": 5000}))
        client, broker = await meet(w, up, level)
        await client.say(packet(number))
        if number <= 4096:
            await broker.heard(packet(number))
            return
        if level == V5:
            await client.heard(Disconnect(Code.QUOTA_EXCEEDED))
        assert await client.ended()
        assert counted(counters(w).malformed) == {"too_large": 1}

    run(scenario())


@pytest.mark.parametrize("waiting", [True, False], ids=["under way", "later"])
@BOTH
def test_where_it_goes_is_gone_with_a_reload(
    run: Run, world: World, upstream: Upstream, level: int, waiting: bool
) -> None:
    """It was kept for ever and never answered; what was under way was answered with a code that no PUBACK has."""

    async def scenario() -> None:
        w, up, two = world(), upstream(), upstream()
        await w.apply(elsewhere(up, two))
        other = await accepted(two, V5)
        await other.hear(Connect)
        await other.say(Connack(False, 0))
        client, _ = await meet(w, up, level)
        if waiting:
            await client.say(message("o/1", qos=1, number=1))
            await other.hear(Publish)
        await w.apply(elsewhere(up, two, packet="2MiB"))
        if not waiting:
            await client.say(message("o/1", qos=1, number=1))
        if level == V5:
            await client.heard(Disconnect(Code.IMPLEMENTATION_ERROR))
        assert await client.ended()
        assert counted(counters(w).ended) == {"untaken": 1}

    run(scenario())


def test_what_others_find_too_large(run: Run, world: World, upstream: Upstream) -> None:
    """There is no such code for a PUBACK: it was an exception."""

    async def scenario() -> None:
        w, up, two = world(), upstream(), upstream()
        await w.apply(elsewhere(up, two))
        other = await accepted(two, V5)
        await other.hear(Connect)
        await other.say(Connack(False, 0, {Property.MAXIMUM_PACKET_SIZE: 100}))
        client, _ = await meet(w, up)
        await client.say(message("o/1", b"x" * 200, 1, 1), message("o/1", qos=1, number=2))
        await client.heard(Ack(PUBACK, 1, Code.IMPLEMENTATION_ERROR))
        assert (await other.hear(Publish)).payload == b"hi"

    run(scenario())


@BOTH
def test_who_waits_for_others_waits_whatever_its_broker_does(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, level: int
) -> None:
    """When its own broker took something again, or was lost, it was read on, and all that was kept; and who was not
    read was taken for silent."""

    async def scenario() -> None:
        w, up, two = world(), upstream(), upstream()
        config = elsewhere(up, two, in_flight=4)
        config["mqtt"]["here"]["failover"] = {"within": "30s"}
        await w.apply(config)
        other = await accepted(two, V5)
        await other.hear(Connect)
        await other.say(Connack(False, 0))
        client, broker = await meet(w, up, level, Connect(level, "boat-7", keep_alive=10))
        await client.say(*[message("o/1", qos=1, number=number) for number in range(1, 5)])
        asked = [await other.hear(Publish) for _ in range(4)]
        (session,) = sessions(w)
        assert session.conn._paused
        session.line.conn.fed_by.hold()
        session.line.conn.fed_by.release()
        broker.close()
        broker = await accepted(up, level)
        await broker.hear(Connect)
        await broker.say(Connack(True, 0))
        await w.until(lambda: session.line is not None)
        await client.say(message("later"))
        assert await broker.silent()
        clock.advance(16)
        assert not counted(counters(w).ended)
        await other.say(Ack(PUBACK, asked[0].id))
        await client.heard(Ack(PUBACK, 1))
        await broker.heard(message("later"))

    run(scenario())


@BOTH
def test_a_will_is_no_way_round_a_rule(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [{"name": "t", "filters": ["t/#"], "retain": False}, {"name": "q", "filters": ["q"], "max_qos": 1}]
        await w.apply(relayed(up, topics=rules))
        # For what is lowered there is a session of the relay's own
        await (await accepted(up, V5)).hear(Connect)
        for topic, qos, retain in ((b"t/1", 2, False), (b"q", 1, True), (b"other", 2, True)):
            client = await dialled(w, level)
            await client.say(Connect(level, "a", will=Will(topic, b"x", 2, True)))
            broker = await accepted(up, level)
            assert (await broker.hear(Connect)).will == Will(topic, b"x", qos, retain)
            await broker.say(Connack(False, 0))

    run(scenario())


@BOTH
def test_what_becomes_longer_by_its_other_name(run: Run, world: World, upstream: Upstream, level: int) -> None:
    """It is no larger than it may be, and ended the session where it went to others than the broker."""

    async def scenario() -> None:
        w, up, two = world(), upstream(), upstream()
        config = elsewhere(up, two, packet="1KiB")
        config["mqtt"]["here"] |= {"sessions": [{"cluster": "up", "prefix": "o/%c/"}]}
        await w.apply(config)
        other = await accepted(two, V5)
        await other.hear(Connect)
        await other.say(Connack(False, 0))
        client, _ = await meet(w, up, level)
        await client.say(message("t", b"x" * 1014, 1, 1))
        packet = await other.hear(Publish)
        assert (packet.topic, len(packet.payload)) == (b"o/boat-7/t", 1014)
        await other.say(Ack(PUBACK, packet.id))
        await client.heard(Ack(PUBACK, 1))

    run(scenario())


@BOTH
def test_a_spool_that_is_closed_by_a_reload(
    run: Run, world: World, upstream: Upstream, tmp_path: Path, level: int
) -> None:
    """It refused all that came, for as long as the session lived."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, spool={"dir": str(tmp_path), "size": "1MiB"}))
        own = await accepted(up, V5)
        await own.hear(Connect)
        await own.say(Connack(False, 0))
        client, broker = await meet(w, up, level)
        await w.apply(relayed(up, spool={"dir": str(tmp_path), "size": "2MiB"}))
        broker.close()
        await client.say(message("a", qos=1, number=1))
        if level == V5:
            await client.heard(Disconnect(Code.IMPLEMENTATION_ERROR))
        assert await client.ended()
        assert counted(counters(w).ended) == {"untaken": 1}

    run(scenario())
