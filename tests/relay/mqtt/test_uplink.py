"""A session of our own with brokers: conversations with one that says what the test wants, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.relay.mqtt.ids import LARGEST, Ids
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
)
from tests.relay.mqtt.scripted import VERSIONS, Side, Talk, side

ONE_LOOP = True

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
both = pytest.mark.parametrize("version", VERSIONS)


async def begun(w: Any, up: Any, said: Connack | None = None, **terms: Any) -> tuple[Side, Talk]:
    s = await side(w, up, **terms)
    s.uplink.start()
    talk = await s.meet(up, said)
    await w.until(lambda: s.uplink.up)
    return s, talk


def topics(packets: list[Any]) -> list[bytes]:
    return [packet.topic for packet in packets]


# The connection


def test_it_says_who_it_is_and_what_it_takes(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        will = Will(b"gone", b"bye", 1, True)
        s, _ = await begun(w, up, user="u", password=b"p", keep_alive=7, will=will, most_heard=3, most_packet=4096)
        assert s.greeting == Connect(
            V5, "me", True, 7, "u", b"p", will,
            {
                Property.SESSION_EXPIRY_INTERVAL: 300,
                Property.RECEIVE_MAXIMUM: 3,
                Property.MAXIMUM_PACKET_SIZE: 4096,
            },
        )  # fmt: skip
        assert s.changes == [True]
        cluster = w.stats.clusters["up"]
        assert (cluster.connections_total, cluster.connections_active) == (1, 1)

    run(scenario())


def test_in_311_it_says_less(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, _ = await begun(w, up, version=V311, clean=False)
        assert s.greeting == Connect(V311, "me", False, 60)

    run(scenario())


@both
def test_the_end_is_said_and_everything_given_back(
    run: Run, world: World, upstream: Upstream, version: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version)
        s.publish("a")
        await talk.next()
        s.uplink.stop()
        assert await talk.next() == Disconnect()
        assert await talk.ended()
        talk.close()
        assert (s.changes, s.done) == ([True, False], [("a", Code.SERVER_SHUTTING_DOWN)])
        await w.until(lambda: w.clock.pending == 0)
        assert w.stats.clusters["up"].connections_active == 0
        assert w.worker.current.groups["up"].cluster.limit.used == 0
        assert s.stats.up == 0

    run(scenario())


def test_who_forgets_leaves_nothing_behind(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        s.subscribe("a/#")
        subscribe: Any = await talk.next()
        await talk.say(Suback(subscribe.id, (1,)))
        await w.until(lambda: s.done)
        s.uplink.stop(forget=True)
        left: Any = await talk.next()
        assert left.filters == (b"a/#",)
        assert await talk.next() == Disconnect(0, {Property.SESSION_EXPIRY_INTERVAL: 0})

    run(scenario())


def test_a_lost_broker_is_followed_by_another_at_once(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        s = await side(w, one, two)
        s.uplink.start()
        talk = await s.meet(one)
        await w.until(lambda: s.uplink.up)
        talk.close()
        await s.meet(two)
        await w.until(lambda: s.uplink.up)
        assert s.changes == [True, False, True]
        assert dict(s.stats.lost) == {"ended": 1}
        assert s.stats.returns_total == 1

    run(scenario())


def test_pauses_grow_to_five_seconds_and_never_end(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up)
        up.close()
        s.uplink.start()
        pauses, before = [], w.clock.now()
        for _ in range(9):
            tries = sum(s.stats.lost.values())
            while sum(s.stats.lost.values()) == tries:
                w.clock.advance(0.01)
            pauses.append(round(w.clock.now() - before, 1))
            before = w.clock.now()
        assert pauses == [0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        s.uplink.stop()
        assert w.clock.pending == 0

    run(scenario())


def test_chance_shortens_a_pause_by_half_at_most(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up, chance=0.0)
        up.close()
        s.uplink.start()
        w.clock.advance(0.049)
        assert s.stats.lost["connect"] == 1
        w.clock.advance(0.002)
        assert s.stats.lost["connect"] == 2

    run(scenario())


def test_who_lets_in_and_drops_is_not_asked_in_a_circle(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        s = await side(w, one, two)
        s.uplink.start()
        (await s.meet(one)).close()
        (await s.meet(two)).close()
        await w.until(lambda: sum(s.stats.lost.values()) == 2)
        assert w.clock.pending == 1, "a pause"
        w.clock.advance(0.1)
        talk = await s.meet(one)
        await w.until(lambda: s.uplink.up)
        w.clock.advance(6.0)
        talk.close()
        await s.meet(two)  # it has lasted, so there is no pause

    run(scenario())


@both
def test_a_broker_that_refuses_is_asked_again_later(
    run: Run, world: World, upstream: Upstream, version: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up, version=version)
        s.uplink.start()
        await (await s.greet(up)).say(Connack(False, 5 if version == V311 else Code.NOT_AUTHORIZED))
        await w.until(lambda: s.stats.lost["refused"])
        assert s.changes == []
        w.clock.advance(0.1)
        await s.meet(up)
        await w.until(lambda: s.uplink.up)

    run(scenario())


def test_a_broker_that_does_not_answer_is_left(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        s = await side(w, one, two)
        s.uplink.start()
        mute = await s.greet(one)
        w.clock.advance(5.0)
        assert await mute.ended()
        await s.meet(two)
        await w.until(lambda: s.uplink.up)
        assert dict(s.stats.lost) == {"timeout": 1}

    run(scenario())


def test_a_name_that_is_taken_over_is_not_fought_for(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        w.clock.advance(10.0)
        await talk.say(Disconnect(Code.SESSION_TAKEN_OVER))
        await w.until(lambda: not s.uplink.up)
        w.clock.advance(4.9)
        assert w.stats.clusters["up"].connections_total == 1
        w.clock.advance(0.2)
        await s.meet(up)

    run(scenario())


def test_silence_is_asked_about_and_then_the_end(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, keep_alive=10)
        w.clock.advance(5.0)
        assert await talk.next() == Ping()
        await talk.say(Pong())
        await w.until(lambda: s.uplink._conn.received > 5)  # type: ignore[union-attr]
        w.clock.advance(5.0)
        assert await talk.next() == Ping()
        assert s.uplink.up
        w.clock.advance(5.0)
        assert not s.uplink.up
        assert dict(s.stats.lost) == {"silent": 1}

    run(scenario())


def test_the_broker_may_want_another_keep_alive(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        _, talk = await begun(w, up, Connack(False, 0, {Property.SERVER_KEEP_ALIVE: 4}), keep_alive=600)
        w.clock.advance(2.0)
        assert await talk.next() == Ping()

    run(scenario())


def test_who_only_hears_pings_all_the_same(run: Run, world: World, upstream: Upstream) -> None:
    """The broker would end what says nothing for too long."""

    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, keep_alive=10)
        for number in range(1, 4):
            await talk.say(Publish(b"t", b"x"))
            await w.until(lambda number=number: len(s.heard) == number)
            w.clock.advance(5.0)
            assert await talk.next() == Ping()
            assert s.uplink.up

    run(scenario())


def test_who_is_held_is_not_taken_for_dead(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, keep_alive=10)
        s.uplink.hold()
        await talk.say(Publish(b"t", b"x"))
        w.clock.advance(30.0)
        await asyncio.sleep(0.01)
        assert s.uplink.up
        assert s.heard == []
        s.uplink.release()
        await w.until(lambda: s.heard)

    run(scenario())


def test_an_endpoint_that_is_to_be_left_is_left(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        s, talk = await begun(w, one)
        await w.apply({"clusters": {"up": {"endpoints": [two.address]}}, "drain": {"timeout": "3s"}})
        s.service.cluster = w.worker.current.groups["up"].cluster
        w.clock.advance(3.1)
        assert await talk.next() == Disconnect()
        await s.meet(two)
        await w.until(lambda: s.uplink.up)

    run(scenario())


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"\x30\x03\x00\x02a", "cut_short"),
        (b"\x00\x00", "bad_type"),
        (b"\x20\x03\x00\x00\x00", "protocol"),
        (b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc", "any"),
        (b"\x62\x02\x00\x07", "protocol"),
        (b"\x32\x09\x00\x01t\x00\x01\x03\x23\x00\x01", "protocol"),
        (b"\x30\xff\xff\xff\x7f", "too_large"),
    ],
    ids=["cut short", "type 0", "second CONNACK", "CONNECT", "early PUBREL", "topic alias", "too large"],
)
def test_a_broker_that_breaks_the_protocol_is_cut(
    run: Run, world: World, upstream: Upstream, said: bytes, word: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        s.at_once = False
        await talk.say(Publish(b"first", b"x", 2, id=7))
        await w.until(lambda: s.heard)
        await talk.client.send(said)
        await w.until(lambda: not s.uplink.up)
        assert isinstance(await talk.next(), Disconnect)
        assert sum(s.stats.lost.values()) == 1
        assert word == "any" or dict(s.stats.lost) == {word: 1}
        assert topics(s.heard) == [b"first"], "what was whole before it"

    run(scenario())


def test_nothing_may_come_before_the_connack(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up)
        s.uplink.start()
        talk = await s.greet(up)
        await talk.say(Publish(b"t", b"x"))
        assert await talk.ended()
        assert (s.heard, dict(s.stats.lost)) == ([], {"protocol": 1})

    run(scenario())


def test_a_session_that_was_not_asked_for_is_refused(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up, clean=True)
        s.uplink.start()
        talk = await s.meet(up, Connack(True, 0))
        assert await talk.ended()
        assert dict(s.stats.lost) == {"protocol": 1}

    run(scenario())


# What we publish


@both
def test_each_qos_is_done_when_it_is(run: Run, world: World, upstream: Upstream, version: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version)
        s.publish("zero", 0)
        assert s.done == [("zero", 0)]
        s.publish("one", 1)
        s.publish("two", 2, retain=True)
        zero, one, two = await talk.some(3)
        assert zero == Publish(b"zero", b"x")
        assert one == Publish(b"one", b"x", 1, id=one.id)  # type: ignore[union-attr]
        assert two == Publish(b"two", b"x", 2, True, id=two.id)  # type: ignore[union-attr]
        assert len(s.done) == 1
        await talk.say(Ack(PUBACK, one.id), Ack(PUBREC, two.id))
        assert await talk.next() == Ack(PUBREL, two.id)
        assert s.done[1:] == [("one", 0)]
        await talk.say(Ack(PUBCOMP, two.id))
        await w.until(lambda: s.done[2:] == [("two", 0)])
        assert (s.stats.published_total, s.stats.acknowledged_total) == (3, 2)

    run(scenario())


def test_what_a_broker_refuses_is_told(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        s.publish("one", 1)
        s.publish("two", 2)
        one, two = await talk.some(2)
        await talk.say(
            Ack(PUBACK, one.id, Code.NOT_AUTHORIZED), Ack(PUBREC, two.id, Code.QUOTA_EXCEEDED)  # type: ignore[union-attr]
        )
        await w.until(lambda: len(s.done) == 2)
        assert s.done == [("one", Code.NOT_AUTHORIZED), ("two", Code.QUOTA_EXCEEDED)]
        assert await talk.silent(), "there is nothing to release"
        assert s.stats.refused_total == 2

    run(scenario())


def test_while_it_is_down_qos_0_is_lost_and_the_rest_waits(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up)
        s.publish("zero", 0)
        s.publish("one", 1)
        assert s.done == [("zero", Code.SERVER_UNAVAILABLE)]
        s.uplink.start()
        talk = await s.meet(up)
        assert topics([await talk.next()]) == [b"one"]

    run(scenario())


@pytest.mark.parametrize(("own", "theirs"), [(2, None), (10, 2)])
def test_no_more_than_a_window_is_under_way(
    run: Run, world: World, upstream: Upstream, own: int, theirs: int | None
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = Connack(False, 0, {Property.RECEIVE_MAXIMUM: theirs} if theirs else {})
        s, talk = await begun(w, up, said, most_in_flight=own)
        for number in range(4):
            s.publish(f"t{number}", 1 + number % 2)
        s.publish("zero", 0)
        first = await talk.some(3)
        assert topics(first) == [b"t0", b"t1", b"zero"]
        assert await talk.silent()
        await talk.say(Ack(PUBREC, first[1].id))  # type: ignore[union-attr]
        await talk.next()
        assert await talk.silent(), "a PUBREC is not the end"
        await talk.say(Ack(PUBACK, first[0].id))  # type: ignore[union-attr]
        assert topics([await talk.next()]) == [b"t2"]
        await talk.say(Ack(PUBCOMP, first[1].id))  # type: ignore[union-attr]
        assert topics([await talk.next()]) == [b"t3"]

    run(scenario())


@pytest.mark.parametrize(("terms", "fits"), [({"most_waiting": 3}, 3), ({"most_bytes": 1000}, 4)])
def test_what_waits_is_bounded_in_number_and_in_bytes(
    run: Run, world: World, upstream: Upstream, terms: dict[str, int], fits: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up, **terms)
        relieved: list[str] = []
        for number in range(fits):
            assert not s.uplink.full
            s.publish(f"t{number}")
        assert s.uplink.full
        s.uplink.waiters.add(lambda: relieved.append("yes"))
        s.publish("too many")
        assert s.done == [("too many", Code.QUOTA_EXCEEDED)]
        s.uplink.start()
        talk = await s.meet(up)
        packets = await talk.some(fits)
        for packet in packets:
            await talk.say(Ack(PUBACK, packet.id))  # type: ignore[union-attr]
        await w.until(lambda: len(s.done) == 1 + fits)
        assert not s.uplink.full
        assert relieved == ["yes"]

    run(scenario())


def test_a_slow_broker_is_not_written_to_without_end(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, most_bytes=8 << 20)
        wrote = 0
        while not s.uplink.full:
            s.publish("big", 0, bytes(100_000))
            wrote += 1
            assert wrote < 1000
        s.publish("big", 0)
        assert s.done[-1] == ("big", Code.QUOTA_EXCEEDED)
        assert len(await talk.some(wrote)) == wrote, "all that was let in arrives"
        assert [code for _, code in s.done].count(0) == wrote

    run(scenario())


def test_what_a_broker_does_not_take_is_not_sent(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        limits: dict[int, Any] = {Property.MAXIMUM_PACKET_SIZE: 50, Property.MAXIMUM_QOS: 1}
        limits[Property.RETAIN_AVAILABLE] = 0
        s, talk = await begun(w, up, Connack(False, 0, limits))
        s.publish("large", 1, bytes(60))
        s.publish("large", 0, bytes(60))
        assert s.done == [("large", Code.PACKET_TOO_LARGE)] * 2
        s.publish("kept", 2, retain=True)
        packet: Any = await talk.next()
        assert (packet.qos, packet.retain) == (1, False), "as much as it can"
        await talk.say(Ack(PUBACK, packet.id))
        await w.until(lambda: s.done[2:] == [("kept", 0)])

    run(scenario())


def test_what_a_broker_cannot_acknowledge_is_not_acknowledged(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, _ = await begun(w, up, Connack(False, 0, {Property.MAXIMUM_QOS: 0}))
        s.publish("t", 1)
        assert s.done == [("t", Code.QOS_NOT_SUPPORTED)]

    run(scenario())


@both
def test_properties_are_of_five(run: Run, world: World, upstream: Upstream, version: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version)
        said: dict[int, Any] = {Property.USER_PROPERTY: ((b"a", b"b"),), Property.MESSAGE_EXPIRY_INTERVAL: 9}
        s.publish("t", 1, properties=said)
        packet: Any = await talk.next()
        assert packet.properties == (said if version == V5 else {})

    run(scenario())


def test_acknowledgements_of_nothing_are_counted(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        s.publish("two", 2)
        packet: Any = await talk.next()
        await talk.say(
            Ack(PUBACK, 99), Ack(PUBREC, 99), Ack(PUBCOMP, 99), Suback(99, (0,)), Unsuback(99, (0,)),
            Ack(PUBACK, packet.id), Ack(PUBCOMP, packet.id),
        )  # fmt: skip
        await w.until(lambda: s.stats.unexpected_total == 7)
        assert s.uplink.up
        assert s.done == []

    run(scenario())


# What was not acknowledged, when it comes back


async def in_the_middle(w: Any, up: Any, **terms: Any) -> tuple[Side, dict[str, Any]]:
    """Lost, when of two QoS 2 one was released, and of two QoS 1 none was acknowledged; one more waits."""
    s, talk = await begun(w, up, most_in_flight=4, **terms)
    for topic, qos in (("a1", 1), ("b2", 2), ("c2", 2), ("d1", 1), ("e1", 1)):
        s.publish(topic, qos)
    sent: dict[str, Any] = {packet.topic.decode(): packet for packet in await talk.some(4)}  # type: ignore[union-attr]
    await talk.say(Ack(PUBREC, sent["b2"].id))
    await talk.next()
    talk.close()
    await w.until(lambda: not s.uplink.up)
    w.clock.advance(0.1)
    return s, sent


@both
def test_in_the_same_session_the_handshakes_go_on(
    run: Run, world: World, upstream: Upstream, version: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, sent = await in_the_middle(w, up, version=version, clean=False)
        talk = await s.meet(up, Connack(True, 0))
        again = await talk.some(4)
        assert again == [
            Publish(b"a1", b"x", 1, dup=True, id=sent["a1"].id),
            Ack(PUBREL, sent["b2"].id),
            Publish(b"c2", b"x", 2, dup=True, id=sent["c2"].id),
            Publish(b"d1", b"x", 1, dup=True, id=sent["d1"].id),
        ]
        # A PUBREL takes nothing of the window of the new connection.
        e1: Any = await talk.next()
        assert (e1.topic, e1.dup) == (b"e1", False)
        assert e1.id not in {packet.id for packet in sent.values()}
        await talk.say(Ack(PUBCOMP, sent["b2"].id, Code.PACKET_ID_NOT_FOUND if version == V5 else 0))
        await w.until(lambda: s.done == [("b2", 0)])
        assert (s.stats.repeated_total, s.stats.in_doubt_total) == (3, 0)

    run(scenario())


@both
def test_in_a_new_session_they_begin_anew_but_for_what_is_in_doubt(
    run: Run, world: World, upstream: Upstream, version: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, _ = await in_the_middle(w, up, version=version, clean=False)
        talk = await s.meet(up, Connack(False, 0))
        again: list[Any] = await talk.some(4)
        assert topics(again) == [b"a1", b"c2", b"d1", b"e1"]
        assert not any(packet.dup for packet in again)
        assert (s.done, s.stats.in_doubt_total) == ([("b2", 0)], 1)

    run(scenario())


def test_a_smaller_window_holds_for_what_is_sent_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, sent = await in_the_middle(w, up, clean=False)
        talk = await s.meet(up, Connack(True, 0, {Property.RECEIVE_MAXIMUM: 1}))
        assert topics([await talk.next()]) == [b"a1"]
        assert await talk.next() == Ack(PUBREL, sent["b2"].id)
        assert await talk.silent()
        await talk.say(Ack(PUBACK, sent["a1"].id))
        assert topics([await talk.next()]) == [b"c2"]

    run(scenario())


def test_an_acknowledgement_before_it_is_sent_again_is_one(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, sent = await in_the_middle(w, up, clean=False)
        talk = await s.meet(up, Connack(True, 0, {Property.RECEIVE_MAXIMUM: 1}))
        await talk.some(2)
        await talk.say(Ack(PUBREC, sent["c2"].id), Ack(PUBCOMP, sent["b2"].id), Ack(PUBACK, sent["d1"].id))
        assert await talk.next() == Ack(PUBREL, sent["c2"].id)
        await w.until(lambda: s.done == [("b2", 0), ("d1", 0)])
        await talk.say(Ack(PUBACK, sent["a1"].id))
        assert topics([await talk.next()]) == [b"e1"]

    run(scenario())


def test_ids_that_a_predecessor_left_are_released_first(run: Run, world: World, upstream: Upstream) -> None:
    """The broker would take a new message for what it has already."""

    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, Connack(True, 0), clean=False)
        s.publish("one", 1)
        s.publish("two", 2)
        one, release, two = await talk.some(3)
        assert topics([one, two]) == [b"one", b"two"]
        assert release == Ack(PUBREL, two.id)  # type: ignore[union-attr]
        await talk.say(Ack(PUBCOMP, two.id, Code.PACKET_ID_NOT_FOUND), Ack(PUBREC, two.id))  # type: ignore[union-attr]
        assert await talk.next() == Ack(PUBREL, two.id)  # type: ignore[union-attr]
        assert s.done == []
        await talk.say(Ack(PUBCOMP, two.id))  # type: ignore[union-attr]
        await w.until(lambda: s.done == [("two", 0)])
        assert s.stats.unexpected_total == 0

    run(scenario())


def test_packet_ids_go_around_what_is_in_use() -> None:
    ids = Ids()
    first = [ids.take() for _ in range(3)]
    for number in (1, 3):
        ids.give(number)
    for _ in range(LARGEST - 3):
        ids.give(ids.take())
    assert first == [1, 2, 3]
    assert not ids.around
    assert [ids.take() for _ in range(3)] == [1, 3, 4]
    assert ids.around


# What we hear


@both
def test_what_is_heard_is_acknowledged_when_it_is_said_and_in_order(
    run: Run, world: World, upstream: Upstream, version: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version)
        s.at_once = False
        await talk.say(
            Publish(b"zero", b"x"), Publish(b"one", b"x", 1, id=5), Publish(b"two", b"x", 2, id=3),
            Publish(b"three", b"x", 1, id=9),
        )  # fmt: skip
        await w.until(lambda: len(s.heard) == 4)
        zero, one, two, three = s.asked
        zero()
        three()
        two()
        assert await talk.silent()
        one()
        one()
        assert await talk.some(3) == [Ack(PUBACK, 5), Ack(PUBREC, 3), Ack(PUBACK, 9)]
        await talk.say(Ack(PUBREL, 3), Ack(PUBREL, 3))
        found = Code.PACKET_ID_NOT_FOUND if version == V5 else 0
        assert await talk.some(2) == [Ack(PUBCOMP, 3), Ack(PUBCOMP, 3, found)]
        assert s.stats.received_total == 4

    run(scenario())


def test_many_acknowledgements_are_one_write(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        await talk.say(*[Publish(b"t", b"x", 1, id=number) for number in range(1, 33)])
        await w.until(lambda: len(s.heard) == 32)
        assert len(await talk.client.recv()) == 32 * 4

    run(scenario())


@both
def test_qos_2_is_heard_once_over_a_return(run: Run, world: World, upstream: Upstream, version: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version, clean=False)
        s.at_once = False
        await talk.say(Publish(b"a", b"x", 2, id=1), Publish(b"b", b"x", 2, id=2), Publish(b"c", b"x", 1, id=3))
        await w.until(lambda: len(s.heard) == 3)
        s.asked[0]()
        await talk.next()
        talk.close()
        await w.until(lambda: not s.uplink.up)
        s.asked[1]()
        w.clock.advance(0.1)
        talk = await s.meet(up, Connack(True, 0))
        assert await talk.silent(), "nothing is acknowledged that was not sent on this connection"
        await talk.say(*[Publish(topic, b"x", qos, dup=True, id=number)
                         for topic, qos, number in ((b"a", 2, 1), (b"b", 2, 2), (b"c", 1, 3))])  # fmt: skip
        assert await talk.some(2) == [Ack(PUBREC, 1), Ack(PUBREC, 2)]
        s.asked[2]()
        assert await talk.next() == Ack(PUBACK, 3)
        await talk.say(Ack(PUBREL, 1))
        assert await talk.next() == Ack(PUBCOMP, 1)
        assert topics(s.heard) == [b"a", b"b", b"c"]
        await talk.say(Publish(b"new", b"x", 2, id=1))
        await w.until(lambda: len(s.heard) == 4)

    run(scenario())


def test_in_a_new_session_ids_mean_something_else(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, clean=False)
        s.at_once = False
        await talk.say(Publish(b"a", b"x", 2, id=1))
        await w.until(lambda: s.heard)
        talk.close()
        await w.until(lambda: not s.uplink.up)
        w.clock.advance(0.1)
        talk = await s.meet(up)
        await talk.say(Publish(b"b", b"x", 2, id=1))
        await w.until(lambda: len(s.heard) == 2)
        s.asked[0]()
        assert await talk.silent(), "it was another one"
        s.asked[1]()
        assert await talk.next() == Ack(PUBREC, 1)

    run(scenario())


@both
def test_what_is_too_much_waits_and_acknowledgements_are_read_meanwhile(
    run: Run, world: World, upstream: Upstream, version: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version, most_heard=2)
        s.at_once = False
        await talk.say(*[Publish(b"t%d" % number, b"x", 1, id=number) for number in (1, 2, 3, 4)])
        s.publish("out", 1)
        out: Any = await talk.next()
        await talk.say(Ack(PUBACK, out.id))
        await w.until(lambda: s.done)
        assert len(s.heard) == 2
        s.asked[0]()
        assert await talk.next() == Ack(PUBACK, 1)
        assert len(s.heard) == 3
        s.asked[1]()
        s.asked[2]()
        s.asked[3]()
        assert topics(s.heard) == [b"t1", b"t2", b"t3", b"t4"]
        assert [ack.id for ack in await talk.some(3)] == [2, 3, 4]  # type: ignore[union-attr]

    run(scenario())


def test_what_waits_is_bounded_too(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=V311, most_heard=1)
        s.at_once = False
        sender = asyncio.ensure_future(
            talk.say(*[Publish(b"t", bytes(500_000), 1, id=number) for number in range(1, 41)])
        )
        await w.until(lambda: s.uplink._incoming.stuffed)
        assert s.uplink._incoming._parked_bytes < 1_600_000
        assert s.uplink._conn is not None
        assert s.uplink._conn._paused
        while len(s.heard) < 40 or s.asked:
            while s.asked:
                s.asked.pop(0)()
            await asyncio.sleep(0)
        await sender
        assert len(await talk.some(40)) == 40

    run(scenario())


# What we subscribe to


@both
def test_subscriptions_are_answered(run: Run, world: World, upstream: Upstream, version: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, version=version)
        s.subscribe("a/#", 2)
        s.subscribe("b")
        first, second = await talk.some(2)
        assert isinstance(first, Subscribe)
        assert isinstance(second, Subscribe)
        assert first.subscriptions == (Subscription(b"a/#", 2),)
        await talk.say(Suback(second.id, (0x80 if version == V311 else Code.NOT_AUTHORIZED,)), Suback(first.id, (1,)))
        await w.until(lambda: len(s.done) == 2)
        assert s.done == [("b", 0x80 if version == V311 else Code.NOT_AUTHORIZED), ("a/#", 1)]
        assert s.stats.unsubscribed_total == 1

    run(scenario())


def test_a_new_session_has_them_all_again_without_what_is_retained(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, clean=False)
        s.subscribe("granted")
        s.subscribe("dropped")
        s.subscribe("refused")
        s.subscribe("numbered", identifier=7)
        packets: list[Any] = await talk.some(4)
        assert packets[3].properties == {Property.SUBSCRIPTION_IDENTIFIER: (7,)}
        await talk.say(*[Suback(packet.id, (code,)) for packet, code in zip(packets, (1, 1, 0x87, 1), strict=True)])
        await w.until(lambda: len(s.done) == 4)
        talk.close()
        await w.until(lambda: not s.uplink.up)
        s.uplink.unsubscribe(b"dropped")
        s.subscribe("late")
        w.clock.advance(0.1)
        talk = await s.meet(up)
        again: list[Any] = await talk.some(3)
        assert [packet.subscriptions for packet in again] == [
            (Subscription(b"granted", 1, retain_handling=2),),
            (Subscription(b"numbered", 1, retain_handling=2),),
            (Subscription(b"late", 1),),
        ]
        assert await talk.silent()

    run(scenario())


def test_the_same_session_has_them_but_for_what_is_unanswered(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up, clean=False)
        s.subscribe("granted")
        s.subscribe("dropped")
        granted, dropped = await talk.some(2)
        await talk.say(Suback(granted.id, (1,)), Suback(dropped.id, (1,)))  # type: ignore[union-attr]
        await w.until(lambda: len(s.done) == 2)
        s.subscribe("unanswered")
        await talk.next()
        talk.close()
        await w.until(lambda: not s.uplink.up)
        s.uplink.unsubscribe(b"dropped")
        w.clock.advance(0.1)
        talk = await s.meet(up, Connack(True, 0))
        left, asked = await talk.some(2)
        assert left == Unsubscribe(left.id, (b"dropped",))  # type: ignore[union-attr]
        assert asked == Subscribe(asked.id, (Subscription(b"unanswered", 1),))  # type: ignore[union-attr]
        await talk.say(Unsuback(left.id, (0,)), Suback(asked.id, (1,)))
        await w.until(lambda: len(s.done) == 3)

    run(scenario())


def test_thousands_are_asked_for_in_portions(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s = await side(w, up)
        for number in range(1000):
            s.subscribe(f"t/{number}")
        s.uplink.start()
        talk = await s.meet(up)
        asked: list[Any] = await talk.some(16)
        assert await talk.silent()
        seen = 0
        while asked:
            packet = asked.pop(0)
            seen += len(packet.subscriptions)
            await talk.say(Suback(packet.id, (1,) * len(packet.subscriptions)))
            if seen + sum(len(each.subscriptions) for each in asked) < 1000:
                asked.append(await talk.next())
        await w.until(lambda: len(s.done) == 1000)

    run(scenario())


def test_ids_of_subscriptions_are_told_and_not_passed_on(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        said: dict[int, Any] = {Property.SUBSCRIPTION_IDENTIFIER: (3, 4), Property.CONTENT_TYPE: b"text"}
        await talk.say(Publish(b"t", b"x", properties=said))
        await w.until(lambda: s.heard)
        assert s.ids == [(3, 4)]
        assert s.heard[0].properties == {Property.CONTENT_TYPE: b"text"}

    run(scenario())


def test_a_suback_of_other_length_is_no_suback(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        s, talk = await begun(w, up)
        s.subscribe("a")
        asked: Any = await talk.next()
        await talk.say(Suback(asked.id, (1, 1)))
        await w.until(lambda: dict(s.stats.lost) == {"protocol": 1})

    run(scenario())
