"""A fan-in with uplinks of its own and a broker that is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import UplinkStats
from meshproxy.relay.mqtt.fan_in import FanIn
from meshproxy.relay.mqtt.trunk import Hear
from meshproxy.relay.mqtt.uplink import Uplink, UplinkService, UplinkTerms
from meshproxy.wire.mqtt import PUBREL, V5, V311, Ack, Publish, Suback, Subscription
from tests.mosquitto import Mosquitto
from tests.relay.mqtt.houses import LEVELS, MANNERS, Client, Somebody

ONE_LOOP = True

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
both = pytest.mark.parametrize("level", LEVELS)


class Site:
    def __init__(self, world: Any, level: int) -> None:
        self._world = world
        self.uplinks: list[Uplink] = []
        self._service = UplinkService(
            world.clock,
            world.worker.current.groups["up"].cluster,
            UplinkTerms(level=level),
            UplinkStats(),
            Log(world.logged.append, clock=world.clock.now),
        )
        soon = asyncio.get_running_loop().call_soon
        # What comes over one connection comes in order.
        self.house = FanIn(self._make, 1, level, 100, MANNERS, world.clock, soon)
        self._publisher = self.client("publisher")
        self._published = 0

    def _make(self, number: int, hear: Hear) -> Uplink:
        self.uplinks.append(Uplink(self._service, f"relay-{number}", hear))
        self.uplinks[-1].start()
        return self.uplinks[-1]

    async def up(self) -> None:
        await self._world.until(lambda: all(uplink.up for uplink in self.uplinks))

    def client(self, id: str, level: int = V5) -> Client:
        client = Client(self.house.seat(Somebody(id, level)), level)
        client.connect(None, id)
        return client

    async def subscriber(self, id: str, *filters: bytes | Subscription, qos: int = 0, level: int = V5) -> Client:
        client = self.client(id, level)
        await self._subscribe(client, *filters, qos=qos)
        return client

    async def _subscribe(self, client: Client, *filters: bytes | Subscription, qos: int = 0) -> None:
        client.ask(*filters, qos=qos)
        number = client.asked
        await self._world.until(
            lambda: any(isinstance(each, Suback) and each.id == number for each in client.heard)
        )

    async def publish(self, topic: bytes, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        """And the broker has it."""
        self._published += 1
        client, number = self._publisher, self._published
        client.tell(Publish(topic, payload, qos, retain, id=number))
        await self._world.until(lambda: any(isinstance(each, Ack) and each.id == number for each in client.heard))
        client.take()
        if qos == 2:
            client.tell(Ack(PUBREL, number))

    async def settled(self, *clients: Client) -> list[list[tuple[bytes, bytes, int, bool]]]:
        """What each of them has got of what was published before this."""
        got = []
        for client in clients:
            topic = b"end/" + client.seat.id.encode()
            await self._subscribe(client, Subscription(topic, 0, retain_handling=2))
            await self.publish(topic, b"")
            await self._world.until(lambda client=client, topic=topic: any(
                isinstance(each, Publish) and each.topic == topic for each in client.heard
            ))
            got.append([each for each in client.published if each[0] != topic])
        return got


@asynccontextmanager
async def site(world: Any, tmp_path: Path, level: int) -> AsyncIterator[Site]:
    broker = Mosquitto(tmp_path / "broker")
    try:
        await world.apply({"clusters": {"up": {"endpoints": [broker.address]}}})
        one = Site(world, level)
        await one.up()
        yield one
        one.house.retire(0)
    finally:
        broker.stop()


@both
def test_what_is_retained_is_for_who_has_just_come(run: Run, world: World, tmp_path: Path, level: int) -> None:
    async def scenario() -> None:
        async with site(world(), tmp_path, level) as one:
            for number in range(3):
                await one.publish(b"t/%d" % number, b"kept", retain=True)
            first = await one.subscriber("a", b"t/+", qos=1)
            before = await one.settled(first)
            assert sorted(before[0]) == [(b"t/%d" % number, b"kept", 1, True) for number in range(3)]
            second = await one.subscriber("b", b"t/+", level=V311)
            await one.publish(b"t/1", b"new", retain=True)
            assert await one.settled(first) == [[(b"t/1", b"new", 1, False)]]
            after = (await one.settled(second))[0]
            assert sorted(after[:3]) == [(b"t/%d" % number, b"kept", 0, True) for number in range(3)]
            assert after[3:] == [(b"t/1", b"new", 0, False)]

    run(scenario())


@both
def test_clients_with_overlapping_filters_get_one_copy_each(
    run: Run, world: World, tmp_path: Path, level: int
) -> None:
    async def scenario() -> None:
        async with site(world(), tmp_path, level) as one:
            clients = [
                await one.subscriber("a", b"t/#", qos=2),
                await one.subscriber("b", b"t/+", qos=1),
                await one.subscriber("c", b"t/1"),
                await one.subscriber("d", Subscription(b"+/1", 2, as_published=True)),
            ]
            await one.publish(b"t/1", b"hi", 2, retain=True)
            got = await one.settled(*clients)
            assert [len(mine) for mine in got] == [1] * 4
            if level == V5:
                assert [(mine[0][2], mine[0][3]) for mine in got] == [(2, False), (1, False), (0, False), (2, True)]
            else:
                # It has the QoS of any of the filters, whichever it found first, and 3.1.1 knows no "as published".
                assert not any(retain for mine in got for _, _, _, retain in mine)

    run(scenario())


@both
def test_a_group_of_ours_is_one_member(run: Run, world: World, tmp_path: Path, level: int) -> None:
    async def scenario() -> None:
        async with site(world(), tmp_path, level) as one:
            clients = [await one.subscriber(name, b"$share/g/t", qos=1) for name in "ab"]
            for number in range(4):
                await one.publish(b"t", b"%d" % number)
            got = await one.settled(*clients)
            assert [[each[1] for each in mine] for mine in got] == [[b"0", b"2"], [b"1", b"3"]]

    run(scenario())
