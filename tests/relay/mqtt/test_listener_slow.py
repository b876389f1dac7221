"""Clients that do not take what they are sent: what is done with them, and how much is kept for them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from meshproxy.wire.mqtt import (
    PUBACK,
    V5,
    V311,
    Ack,
    Frames,
    Publish,
    Suback,
    decode,
    encode,
)
from tests.conftest import FakeClock
from tests.relay.mqtt.talking import (
    Peer,
    Run,
    Upstream,
    World,
    asking,
    counted,
    counters,
    meet,
    message,
    relayed,
    sessions,
    words,
)

ONE_LOOP = True

MIB = 1 << 20
KERNEL = 32 * MIB
"""More than the kernel keeps for four sockets."""


def kept(w: Any) -> int:
    """Bytes that wait here for the client and for its broker."""
    (session,) = sessions(w)
    conns = [session.conn] + ([session.line.conn] if session.line is not None else [])
    return sum(len(each) for conn in conns for each in conn._backlog or ())


def narrow(w: Any, client: Peer) -> None:
    """Few bytes fit between the relay and the client."""
    (session,) = sessions(w)
    for sock in (session.conn.sock, client.client.sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)


async def told(w: Any, peer: Peer, data: bytes, most: int) -> int:
    """How much of it, said over and over again, it could say before nobody took it."""
    told = 0
    while told < most:
        try:
            told += peer.client.sock.send(data[told % len(data) :])
        except BlockingIOError:
            before = sum(each.conn.received + each.line.conn.received for each in sessions(w))
            for _ in range(3):
                await asyncio.sleep(0.001)
            if not sessions(w) or before == sum(each.conn.received + each.line.conn.received for each in sessions(w)):
                return told
    return told


async def heard_all(peer: Peer, size: int) -> list[Publish]:
    got = await peer.client.recv_exactly(size)
    data, cuts = Frames(1 << 22).feed(got)
    packets = [decode(peer.level, data, *cut) for cut in cuts]
    return [packet for packet in packets if isinstance(packet, Publish)]


def test_the_broker_has_to_wait(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        client, broker = await meet(w, up)
        narrow(w, client)
        data = words(V5, message("a", b"x" * 1000))
        size = await told(w, broker, data, KERNEL)
        assert size < KERNEL
        assert kept(w) < MIB
        (session,) = sessions(w)
        # What the client says still arrives
        await client.say(message("up"))
        await broker.heard(message("up"))
        rest = len(data) - size % len(data)
        ending = asyncio.ensure_future(broker.send(data[-rest:]))
        assert len(await heard_all(client, size + rest)) == (size + rest) // len(data)
        await ending
        assert not session.conn.full
        assert kept(w) == 0
        await broker.say(message("end"))
        await client.heard(message("end"))

    run(scenario())


@pytest.mark.parametrize("level", [V311, V5])
def test_what_it_can_do_without_is_dropped(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"slow": "drop"}))
        client, broker = await meet(w, up, level)
        data = words(level, message("a", b"x" * 1000))
        said = await told(w, broker, data * 30, KERNEL)
        assert said >= KERNEL
        assert kept(w) < MIB
        await broker.send((data * 30)[said % (30 * len(data)) :])
        await broker.say(message("b", b"y", 1, 7), Ack(PUBACK, 5))
        dropped = counters(w).dropped
        await w.until(lambda: dropped["slow"])
        got: list[Any] = []
        while not (got and isinstance(got[-1], Ack)):
            got.append(await client.next())
        assert got[-2:] == [message("b", b"y", 1, 7), Ack(PUBACK, 5)]
        said += 30 * len(data) - said % (30 * len(data))
        assert len(got) - 2 + dropped["slow"] == said // len(data)
        # And from now on nothing is
        before = dropped["slow"]
        await broker.say(message("c"))
        await client.heard(message("c"))
        assert dropped["slow"] == before

    run(scenario())


@pytest.mark.parametrize(
    "data",
    [words(V311, message("a", b"x" * 1000, 1, 7)), words(V311, Suback(9, (0,) * 1000))],
    ids=["QoS 1", "SUBACK"],
)
def test_the_broker_waits_with_what_cannot_be_dropped(
    run: Run, world: World, upstream: Upstream, data: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"slow": "drop", "packet": "64KiB"}))
        client, broker = await meet(w, up, V311)
        narrow(w, client)
        filled = await told(w, broker, data, KERNEL)
        assert filled < KERNEL
        assert kept(w) < MIB
        rest = len(data) - filled % len(data)
        ending = asyncio.ensure_future(broker.send(data[-rest:]))
        await client.client.recv_exactly(filled + rest)
        await ending
        await broker.say(message("c"))
        await client.heard(message("c"))

    run(scenario())


def test_it_may_have_to_hurry(run: Run, world: World, upstream: Upstream, clock: FakeClock) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, limits={"slow": "disconnect"}))
        client, broker = await meet(w, up)
        narrow(w, client)
        data = words(V5, message("a", b"x" * 1000))
        for _ in range(2):
            size = await told(w, broker, data, KERNEL)
            assert size < KERNEL
            assert kept(w) < MIB
            clock.advance(4)
            rest = len(data) - size % len(data)
            ending = asyncio.ensure_future(broker.send(data[-rest:]))
            await client.client.recv_exactly(size + rest)
            await ending
            clock.advance(100)
            assert not counted(counters(w).ended)
        await told(w, broker, data, KERNEL)
        clock.advance(5.1)
        assert counted(counters(w).ended) == {"slow": 1}
        assert counted(counters(w).dropped) == {"slow": 1}
        assert await broker.ended()

    run(scenario())


@pytest.mark.parametrize(
    ("what", "slow"), [("subscribe", "wait"), ("publish", "drop"), ("publish", "disconnect"), ("aside", "wait")]
)
def test_who_does_not_take_answers_is_not_asked_for_more(
    run: Run, world: World, upstream: Upstream, what: str, slow: str
) -> None:
    """Even where the relay itself answers, and no broker can be held."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up, authorize=[{"publish": ["ok"]}], limits={"slow": slow}))
        level = V311 if what == "aside" else V5
        client, broker = await meet(w, up, level)
        packet = asking(1, *["no"] * 500) if what == "subscribe" else message("no", b"", 1, 1)
        narrow(w, client)
        data = encode(packet, level)
        data *= 1 + 50_000 // len(data)
        most = 16 * MIB
        size = await told(w, client, data, most)
        assert size < most
        assert kept(w) < MIB
        # Then it takes them
        rest = len(data) - size % len(data)
        ending = asyncio.ensure_future(client.send(data[-rest:] + encode(message("ok"), level)))
        arriving = asyncio.ensure_future(broker.next())
        while not arriving.done():
            reading = asyncio.ensure_future(client.client.recv())
            await asyncio.wait((reading, arriving), return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
        assert arriving.result() == message("ok")
        await ending

    run(scenario())
