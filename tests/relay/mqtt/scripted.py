"""A broker that says what a test tells it to say, and an uplink that talks to it."""

from __future__ import annotations

import asyncio
from typing import Any

from meshproxy.core.mqtt.message import Message
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import UplinkStats
from meshproxy.relay.mqtt.uplink import Uplink, UplinkService, UplinkTerms
from meshproxy.wire.mqtt import V5, V311, Connack, Connect, Frames, Packet, Subscription, decode, encode

WITHIN = 5.0


class Talk:
    """One connection, as the broker has it."""

    def __init__(self, client: Any, level: int) -> None:
        self.client = client
        self.level = level
        self._frames = Frames(1 << 22)
        self._packets: list[Packet] = []

    async def next(self) -> Packet:
        async with asyncio.timeout(WITHIN):
            while not self._packets:
                data = await self.client.recv()
                assert data, "the uplink has ended it"
                data, cuts = self._frames.feed(data)
                self._packets = [decode(self.level, data, *cut) for cut in cuts]
        return self._packets.pop(0)

    async def some(self, number: int) -> list[Packet]:
        return [await self.next() for _ in range(number)]

    async def say(self, *packets: Packet) -> None:
        await self.client.send(b"".join(encode(packet, self.level) for packet in packets))

    async def silent(self) -> bool:
        """Whether nothing more has come, after all that the uplink had to do."""
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.02):
                await self.next()
        except TimeoutError:
            return True
        return False

    async def ended(self) -> bool:
        async with asyncio.timeout(WITHIN):
            try:
                return not await self.client.recv()
            except ConnectionError:
                return True

    def close(self) -> None:
        self.client.close()


class Side:
    """An uplink, and what became of what it was asked for."""

    def __init__(
        self, world: Any, name: str = "me", *, cluster: str = "up", version: int = V5, chance: float = 1.0, **terms: Any
    ) -> None:
        self.level = version
        self.heard: list[Message] = []
        self.asked: list[Any] = []
        """How to acknowledge what was heard and is not acknowledged at once."""
        self.at_once = True
        self.done: list[tuple[str, int]] = []
        self.changes: list[bool] = []
        self.ids: list[tuple[int, ...]] = []
        self.stats = UplinkStats()
        self.service = UplinkService(
            world.clock,
            world.worker.current.groups[cluster].cluster,
            UplinkTerms(level=version, **terms),
            self.stats,
            Log(world.logged.append, clock=world.clock.now),
            lambda: chance,
        )
        self.uplink = Uplink(self.service, name, self._hear)
        self.uplink.on_change = self.changes.append

    def _hear(self, message: Message, retained: bool, ids: tuple[int, ...], acknowledge: Any) -> None:
        self.heard.append(message)
        self.ids.append(ids)
        if self.at_once:
            acknowledge()
        else:
            self.asked.append(acknowledge)

    def publish(self, topic: str, qos: int = 1, payload: bytes = b"x", **more: Any) -> None:
        self.uplink.publish(
            Message(topic.encode(), payload, qos, **more), lambda code: self.done.append((topic, code))
        )

    def subscribe(self, filter: str, qos: int = 1, identifier: int = 0) -> None:
        self.uplink.subscribe(
            Subscription(filter.encode(), qos), lambda code: self.done.append((filter, code)), identifier
        )

    async def meet(self, upstream: Any, said: Connack | None = None) -> Talk:
        """It connects, and is let in."""
        talk = await self.greet(upstream)
        await talk.say(said or Connack(False, 0))
        return talk

    async def greet(self, upstream: Any) -> Talk:
        async with asyncio.timeout(WITHIN):
            talk = Talk(await upstream.accept(), self.level)
        self.greeting = await talk.next()
        assert isinstance(self.greeting, Connect)
        return talk


async def side(world: Any, *upstreams: Any, version: int = V5, **terms: Any) -> Side:
    await world.apply({"clusters": {"up": {"endpoints": [each.address for each in upstreams]}}})
    return Side(world, version=version, **terms)


VERSIONS = (V311, V5)
