"""A broker that acknowledges everything, and does with it what it was told to: to see that the accounts tell.

    async with Doctored(lose(every=7)) as broker:
        connect(broker.address)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count, cycle
from typing import Self, cast

from meshproxy.wire.mqtt import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V311,
    Ack,
    Connack,
    Connect,
    Frames,
    Packet,
    Publish,
    Suback,
    Subscribe,
    decode,
    encode,
)

Change = Callable[[Publish], list[Publish]]
"""What goes on in the place of a message."""


def faithful(message: Publish) -> list[Publish]:
    return [message]


def lose(every: int) -> Change:
    numbers = count(1)
    return lambda message: [] if next(numbers) % every == 0 else [message]


def double(every: int) -> Change:
    numbers = count(1)
    return lambda message: [message] * (2 if next(numbers) % every == 0 else 1)


def swap(every: int) -> Change:
    """One is kept until the next on its topic is through."""
    numbers = count(1)
    kept: dict[bytes, Publish] = {}

    def change(message: Publish) -> list[Publish]:
        earlier = kept.pop(message.topic, None)
        if earlier is not None:
            return [message, earlier]
        if next(numbers) % every == 0:
            kept[message.topic] = message
            return []
        return [message]

    return change


def spoil(every: int) -> Change:
    numbers = count(1)
    return lambda message: [replace(message, payload=b"x" + message.payload) if next(numbers) % every == 0 else message]


class Doctored:
    def __init__(self, change: Change) -> None:
        self.change = change
        self.subscribed: dict[Peer, int] = {}
        self.peers: set[Peer] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", 0)
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *ignored: object) -> None:
        self._server.close()
        for peer in self.peers:
            peer.transport.abort()

    def publish(self, message: Publish) -> None:
        for each in self.change(message):
            for peer, qos in self.subscribed.items():
                peer.deliver(each, min(qos, each.qos))


class Peer(asyncio.Protocol):
    def __init__(self, broker: Doctored) -> None:
        self._broker = broker
        self._frames = Frames(1 << 20)
        self._level = V311
        self._ids = cycle(range(1, 65536))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._broker.peers.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._broker.peers.discard(self)
        self._broker.subscribed.pop(self, None)

    def data_received(self, data: bytes) -> None:
        data, cuts = self._frames.feed(data)
        for cut in cuts:
            self._take(decode(self._level, data, *cut))

    def _take(self, packet: Packet) -> None:
        match packet:
            case Connect(level=level):
                self._level = level
                self._send(Connack(False, 0))
            case Subscribe(id=id, subscriptions=(first,)):
                self._broker.subscribed[self] = first.qos
                self._send(Suback(id, (first.qos,)))
            case Publish(qos=qos, id=id):
                self._broker.publish(packet)
                if qos:
                    self._send(Ack(PUBACK if qos == 1 else PUBREC, id))
            case Ack(kind=kind, id=id) if kind == PUBREC:
                self._send(Ack(PUBREL, id))
            case Ack(kind=kind, id=id) if kind == PUBREL:
                self._send(Ack(PUBCOMP, id))

    def deliver(self, message: Publish, qos: int) -> None:
        self._send(Publish(message.topic, message.payload, qos, id=next(self._ids) if qos else 0))

    def _send(self, packet: Packet) -> None:
        self.transport.write(encode(packet, self._level))
