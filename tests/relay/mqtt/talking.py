"""A client and a broker with the relay between them: each says what a test tells it to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from meshproxy.wire.mqtt import V5, Connack, Connect, Packet, Publish, Subscribe, Subscription, encode
from tests.relay.conversation import WITHIN
from tests.relay.mqtt.scripted import Talk

T = TypeVar("T")
World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def relayed(*upstreams: Any, **policy: Any) -> dict[str, Any]:
    """A listener of MQTT whose sessions go to these brokers, by this policy."""
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "mqtt", "cluster": "up", "mqtt": "here"}],
        "mqtt": {"here": policy},
        "clusters": {"up": {"endpoints": [each.address for each in upstreams]}},
    }


class Peer(Talk):
    """One of the two, which hears packets or the bytes that they were."""

    async def send(self, data: bytes) -> None:
        await self.client.send(data)

    async def hear(self, kind: type[T]) -> T:
        """What comes next is of this kind."""
        packet = await self.next()
        assert isinstance(packet, kind)
        return packet

    async def heard(self, *packets: Packet) -> None:
        """These come next."""
        for packet in packets:
            assert await self.next() == packet

    async def heard_bytes(self, words: bytes) -> None:
        assert not self._packets
        assert not self._frames.waiting
        async with asyncio.timeout(WITHIN):
            got = await self.client.recv_exactly(len(words))
        assert got == words

    async def rest(self) -> bytes:
        """Whatever comes before the end."""
        async with asyncio.timeout(WITHIN):
            return bytes(await self.client.recv_all())


async def dialled(w: Any, level: int) -> Peer:
    return Peer(await w.connect(), level)


async def accepted(up: Any, level: int) -> Peer:
    async with asyncio.timeout(WITHIN):
        return Peer(await up.accept(), level)


async def meet(
    w: Any, up: Any, level: int = V5, said: Connect | None = None, answer: Connack | None = None, up_level: int = 0
) -> tuple[Peer, Peer]:
    """A client that was let in, and its broker."""
    client = await dialled(w, level)
    await client.say(said or Connect(level, "boat-7"))
    broker = await accepted(up, up_level or level)
    await broker.hear(Connect)
    await broker.say(answer or Connack(False, 0))
    await client.hear(Connack)
    return client, broker


def message(topic: str = "a/b", payload: bytes = b"hi", qos: int = 0, number: int = 0, **more: Any) -> Publish:
    return Publish(topic.encode(), payload, qos, id=number, **more)


def asking(number: int, *filters: str, qos: int = 1) -> Subscribe:
    return Subscribe(number, tuple(Subscription(each.encode(), qos) for each in filters))


def words(level: int, *packets: Packet) -> bytes:
    return b"".join(encode(packet, level) for packet in packets)


def counters(w: Any) -> Any:
    """Of the listener's policy."""
    return w.stats.listeners["in"].mqtt["here"]


def counted(counts: dict[str, int]) -> dict[str, int]:
    return {word: count for word, count in counts.items() if count}


def sessions(w: Any) -> set[Any]:
    """Those that the listener has."""
    (state,) = w.worker._guests.states
    return set(state.connections)


def accounted(w: Any) -> None:
    """What has passed is counted, as it is when somebody looks."""
    for session in sessions(w):
        session.account()
