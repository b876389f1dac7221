"""A bridge between two real brokers: what goes over it, what is never lost, how it changes with the configuration."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshproxy.core.mqtt.message import Message
from meshproxy.observe.metrics.mqtt import BridgeStats
from meshproxy.relay.live import Guests
from meshproxy.relay.mqtt.bridge import BridgeState, Crossing, Direction
from meshproxy.wire.mqtt import V5, Property
from tests.mosquitto import Mosquitto
from tests.relay.mqtt.scripted import Side
from tests.relay.mqtt.test_uplink_real import heard, hurried, subscribed

ONE_LOOP = True

Run = Callable[[Coroutine[Any, Any, None]], None]
Brokers = tuple[Mosquitto, Mosquitto]
both = pytest.mark.parametrize("version", ["3.1.1", "5"])


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    found = tuple(Mosquitto(tmp_path / name, "persistence true") for name in ("near", "far"))
    yield found  # type: ignore[misc]
    for each in found:
        each.close()


async def bridged(w: Any, brokers: Brokers, version: str = "5", bridges: list[Any] | None = None, **bridge: Any) -> Any:
    """The state of the bridge `site`, when it is up on both sides."""
    mqtt = {"version": version}
    clusters = {
        name: {"endpoints": [broker.address], "mqtt": mqtt}
        for name, broker in zip(("near", "far"), brokers, strict=True)
    }
    said = [{"name": "site", "local": "near", "remote": "far", **bridge}] if bridges is None else bridges
    await w.apply({"bridges": said, "clusters": clusters})
    if not said:
        return None
    (span,) = w.worker.current.bridges
    await w.until(lambda: span.live._bridge.local.up and span.live._bridge.remote.up)
    return span.live


async def ends(w: Any) -> tuple[Side, Side]:
    """A client at each broker."""
    near, far = Side(w, "at-near", cluster="near", version=V5), Side(w, "at-far", cluster="far", version=V5)
    for s in (near, far):
        await subscribed(w, s, "#", 2)
    return near, far


async def known(w: Any, *marks: tuple[Side, str, Side, str]) -> None:
    """Its subscriptions are in force."""
    for source, topic, target, there in marks:
        while there not in heard(target):
            source.publish(topic, 0)
            await asyncio.sleep(0.005)
        source.publish(topic, 0, b"last")
        await w.until(lambda target=target: target.heard[-1].payload == b"last")
    await asyncio.sleep(0.02)
    for s in {id(each): each for mark in marks for each in (mark[0], mark[2])}.values():
        s.heard.clear()
        s.done.clear()


@both
def test_topics_go_where_they_are_to_go(run: Run, brokers: Brokers, version: str) -> None:
    async def scenario() -> None:
        w = hurried()
        await bridged(
            w, brokers, version,
            push=[{"filter": "out/#", "prefix": "site-7/", "qos": 2}, {"filter": "low/+", "qos": 0}],
            pull=[{"filter": "site-7/commands/#", "strip": "site-7/"}],
        )  # fmt: skip
        near, far = await ends(w)
        await known(w, (near, "out/m", far, "site-7/out/m"), (far, "site-7/commands/m", near, "commands/m"))
        near.publish("out/a", 2)
        near.publish("low/a", 2)
        near.publish("other/a", 2)
        far.publish("site-7/commands/b/c", 2)
        far.publish("commands/b", 2)
        await w.until(lambda: len(far.heard) == 4 and len(near.heard) == 4)
        await asyncio.sleep(0.05)
        assert Counter((m.topic, m.qos) for m in far.heard) == Counter(
            [(b"site-7/out/a", 2), (b"low/a", 0), (b"site-7/commands/b/c", 2), (b"commands/b", 2)]
        )
        assert Counter((m.topic, m.qos) for m in near.heard) == Counter(
            [(b"out/a", 2), (b"low/a", 2), (b"other/a", 2), (b"commands/b/c", 1)]
        )

    run(scenario())


def test_the_same_topics_both_ways_do_not_go_in_a_circle(run: Run, brokers: Brokers) -> None:
    async def scenario() -> None:
        w = hurried()
        state = await bridged(w, brokers, push=["t/#"], pull=["t/#"])
        near, far = await ends(w)
        await known(w, (near, "t/m", far, "t/m"))
        passed = dict(state.stats.passed)
        near.publish("t/near", 1)
        far.publish("t/far", 1)
        await w.until(lambda: len(near.heard) == 2 and len(far.heard) == 2)
        await asyncio.sleep(0.05)
        assert sorted(heard(near)) == sorted(heard(far)) == ["t/far", "t/near"]
        assert state.stats.passed == {"push": passed["push"] + 1, "pull": passed["pull"] + 1}

    run(scenario())


def test_what_is_retained_and_what_five_says_goes_over_too(run: Run, brokers: Brokers) -> None:
    async def scenario() -> None:
        w = hurried()
        await bridged(w, brokers, push=["kept/#", {"filter": "passing/#", "retain": False}])
        near, far = await ends(w)
        await known(w, (near, "kept/m", far, "kept/m"))
        near.publish("kept/a", 1, retain=True, properties={Property.CONTENT_TYPE: b"text"})
        near.publish("passing/a", 1, retain=True)
        await w.until(lambda: len(far.heard) == 2)
        assert far.heard[0].properties == {Property.CONTENT_TYPE: b"text"}
        late = Side(w, "late", cluster="far")
        await subscribed(w, late, "#", 1)
        await w.until(lambda: late.heard)
        assert [(m.topic, m.retain) for m in late.heard] == [(b"kept/a", True)]

    run(scenario())


@both
@pytest.mark.parametrize("which", [0, 1])
def test_nothing_acknowledged_is_lost_when_a_broker_is_stopped(
    run: Run, brokers: Brokers, version: str, which: int
) -> None:
    async def scenario() -> None:
        w = hurried()
        await bridged(w, brokers, version, push=[{"filter": "t/#", "qos": 2}])
        near, far = Side(w, "at-near", cluster="near", clean=False), Side(w, "at-far", cluster="far", clean=False)
        near.uplink.start()
        await subscribed(w, far, "t/#", 2)
        await known(w, (near, "t/m", far, "t/m"))
        topics = [f"t/{number}" for number in range(200)]
        for at in (0, 100):
            for number, topic in enumerate(topics[at : at + 100]):
                near.publish(topic, 1 + number % 2)
            await w.until(lambda at=at: len(far.heard) > at + 20)
            await asyncio.to_thread(brokers[which].stop)
            await asyncio.to_thread(brokers[which].start)
            await w.until(lambda at=at: len(set(heard(far))) == at + 100)
        assert {code for _, code in near.done} == {0}
        counted = Counter(heard(far))
        assert [topic for number, topic in enumerate(topics) if number % 2 and counted[topic] != 1] == []

    run(scenario())


def test_a_reload_leaves_it_alone_changes_it_or_ends_it(run: Run, brokers: Brokers) -> None:
    async def scenario() -> None:
        w = hurried()
        state = await bridged(w, brokers, push=["a/#"])
        near, far = await ends(w)
        await known(w, (near, "a/m", far, "a/m"))
        bridge = state._bridge
        assert await bridged(w, brokers, push=["a/#"], session="1h") is state
        assert state._bridge is bridge
        assert bridge.local._service.cluster is w.worker.current.groups["near"].cluster
        assert await bridged(w, brokers, push=["b/#"]) is state
        assert state._bridge is not bridge
        await known(w, (near, "b/m", far, "b/m"))
        near.publish("a/x", 1)
        near.publish("b/x", 1)
        await w.until(lambda: "b/x" in heard(far))
        await asyncio.sleep(0.05)
        assert heard(far) == ["b/x"], "the old subscription is gone from the session that goes on"
        assert state.stats.dropped == {"push": 0, "pull": 0}
        await bridged(w, brokers, bridges=[])
        assert w.stats.bridges == {}
        await w.until(lambda: "client meshproxy-site disconnected" in brokers[0].log.read_text().lower())

    run(scenario())


def test_a_configuration_that_is_refused_begins_no_bridge(run: Run, brokers: Brokers) -> None:
    async def scenario() -> None:
        w = hurried()
        await bridged(w, brokers, bridges=[])
        claims = w.worker._table.begin()
        claims.claim(("bridge", "x"), lambda: BridgeState("x", w.stats.bridges, w.clock, None))  # type: ignore[arg-type]
        claims.abort()
        assert w.stats.bridges == {}

    run(scenario())


def test_of_several_workers_one_has_it(run: Run, brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        w = hurried()
        monkeypatch.setattr(Guests, "number", 1)
        clusters = {name: {"endpoints": [broker.address]} for name, broker in zip(("a", "b"), brokers, strict=True)}
        await w.apply({"bridges": [{"name": "x", "local": "a", "remote": "b", "push": ["t"]}], "clusters": clusters})
        assert w.worker.current.bridges == ()
        assert w.stats.bridges == {}

    run(scenario())


def test_the_end_of_the_process_leaves_its_place_at_the_brokers(run: Run, brokers: Brokers) -> None:
    async def scenario() -> None:
        w = hurried()
        await bridged(w, brokers, push=["t/#"])
        near, far = await ends(w)
        await known(w, (near, "t/m", far, "t/m"))
        await w.worker.drain(0)
        near.publish("t/meanwhile", 1)
        await w.until(lambda: near.done)
        after = hurried()
        await bridged(after, brokers, push=["t/#"])
        await w.until(lambda: heard(far) == ["t/meanwhile"])

    run(scenario())


@pytest.mark.parametrize(
    ("filter", "topic", "expected"),
    [
        (b"a/+", b"a/b", True), (b"a/+", b"a/b/c", False), (b"a/#", b"a", True), (b"a/#", b"a/b/c", True),
        (b"#", b"a/b", True), (b"#", b"$SYS/a", False), (b"+/a", b"$SYS/a", False), (b"$SYS/#", b"$SYS/a", True),
        (b"a.b", b"axb", False), (b"a/#", b"ab", False), (b"+", b"a\n", True), (b"a/+/c", b"a//c", True),
    ],
)  # fmt: skip
def test_a_filter_matches(filter: bytes, topic: bytes, expected: bool) -> None:
    assert bool(Crossing(filter, 1, b"", b"", True).matcher()(topic)) is expected


class Target:
    """The other side, which acknowledges when the test says so."""

    crowded = False

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def publish(self, message: Message, done: Any) -> None:
        self.asked.append((message, done))


def test_what_the_other_side_has_not_acknowledged_is_not_acknowledged() -> None:
    stats, target, told = BridgeStats(), Target(), list[str]()
    direction = Direction((Crossing(b"#", 2, b"", b"", True),), "push", stats)
    direction.target = target  # type: ignore[assignment]
    for topic in (b"taken", b"refused", b"late"):
        direction.hear(Message(topic, b"", 2), False, (), partial(told.append, topic.decode()))
    (_, taken), (_, refused), (_, late) = target.asked
    assert told == []
    taken(0)
    refused(0x87)
    assert told == ["taken", "refused"], "what is refused would be refused for ever"
    direction.end()
    late(0x88)
    assert told == ["taken", "refused"], "whoever comes next is to hear it again"
    assert (stats.passed["push"], stats.dropped["push"]) == (1, 1)


def test_qos_0_is_dropped_where_it_would_crowd_out_the_rest() -> None:
    stats, target, told = BridgeStats(), Target(), list[int]()
    target.crowded = True
    direction = Direction((Crossing(b"#", 2, b"", b"", True),), "push", stats)
    direction.target = target  # type: ignore[assignment]
    direction.hear(Message(b"a", b"", 0), False, (), lambda: told.append(0))
    direction.hear(Message(b"b", b"", 1), False, (), lambda: told.append(1))
    assert (len(target.asked), told, stats.dropped["push"]) == (1, [0], 1)


def test_a_topic_that_would_be_too_long_or_empty_goes_nowhere() -> None:
    stats, told = BridgeStats(), []
    direction = Direction((Crossing(b"a/#", 1, b"x" * 9 + b"/", b"a/", True),), "push", stats)
    for topic in (b"a/" + b"y" * 65530, b"a"):
        direction.hear(Message(topic, b"", 1), False, (), lambda: told.append(1))
    assert stats.dropped["push"] == len(told) == 2
