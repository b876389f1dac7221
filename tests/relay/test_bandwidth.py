"""Conversations that are slowed down: by pausing, in both directions, and cut by nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode
from meshproxy.net.shaped import ShapedConn
from tests.relay.conversation import config, head_of, heard, idle

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

KIB = 1024
RATE = 64 * KIB
MUCH = b"x" * (512 * KIB)


def tcp(upstream: Any, /, **bandwidth: Any) -> dict[str, Any]:
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up",
             "filters": [{"bandwidth": bandwidth}]}
        ],
        "clusters": {"up": {"endpoints": [upstream.address]}},
    }  # fmt: skip


class Reader:
    """Reads for ever, and knows how much it was."""

    def __init__(self, peer: Any) -> None:
        self.size = 0
        self._task = asyncio.ensure_future(self._read(peer))

    async def _read(self, peer: Any) -> None:
        while data := await peer.recv():
            self.size += len(data)


async def quiet(reader: Reader) -> int:
    """What has come when no more comes, on this clock."""
    before, still = -1, 0
    while still < 20:
        await asyncio.sleep(0.001)
        still = still + 1 if reader.size == before else 0
        before = reader.size
    return reader.size


async def speed(w: Any, readers: list[Reader], seconds: int) -> float:
    """Bytes per second."""
    before = sum([await quiet(each) for each in readers])
    for _ in range(seconds * 20):
        w.clock.advance(0.05)
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.002)
    return (sum([await quiet(each) for each in readers]) - before) / seconds


async def fill(peer: Any, data: bytes) -> None:
    await peer.send(data)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_connection_goes_at_its_speed_and_no_faster(
    run: Run, world: World, upstream: Upstream, direction: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(tcp(up, **{direction: "64KiB"}))
        client = await w.connect()
        server = await up.accept()
        slow, fast = (client, server) if direction == "up" else (server, client)
        sending = asyncio.ensure_future(fill(slow, MUCH * 2))
        reader = Reader(fast)
        assert await quiet(reader) <= RATE // 5, "it is slowed down from the first"
        assert 0.9 * RATE <= await speed(w, [reader], 2) <= 1.1 * RATE
        # the other direction is as fast as ever
        back = Reader(slow)
        await fast.send(MUCH)
        await w.until(lambda: back.size == len(MUCH))
        conn = next(iter(w.worker._guests.states)).connections.copy().pop()._down
        assert isinstance(conn, ShapedConn)
        assert sum(map(len, conn._backlog or ())) <= 256 * KIB, "one read at most is kept"
        sending.cancel()

    run(scenario())


@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_connections_of_a_listener_share_its_speed(
    run: Run, world: World, upstream: Upstream, direction: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(tcp(up, per="listener", **{direction: "64KiB"}))
        readers, sending = [], []
        for _ in range(3):
            client = await w.connect()
            server = await up.accept()
            slow, fast = (client, server) if direction == "up" else (server, client)
            sending.append(asyncio.ensure_future(fill(slow, MUCH)))
            readers.append(Reader(fast))
        await speed(w, readers, 1)
        assert 0.85 * RATE <= await speed(w, readers, 2) <= 1.15 * RATE
        assert min(each.size for each in readers) > 0.2 * sum(each.size for each in readers)
        for each in sending:
            each.cancel()

    run(scenario())


def test_what_is_slow_is_neither_cut_nor_idle(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = tcp(up, down="8KiB")
        said["listeners"][0]["timeouts"] = {"idle": "100ms"}
        await w.apply(said)
        client = await w.connect()
        server = await up.accept()
        reader = Reader(client)
        await server.send(b"x" * 50_000)
        server.end()
        client.end()
        for _ in range(10_000):
            if w.closed():
                break
            w.clock.advance(0.05)
            await asyncio.sleep(0.0005)
        assert (reader.size, w.closed()) == (50_000, {"done": 1})

    run(scenario())


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_slow_exchange_is_not_idle_either(run: Run, world: World, upstream: Upstream, way: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        listener = {"timeouts": {"idle": "1s"}, "filters": [{"bandwidth": {way: "8KiB"}}]}
        await w.apply(config(up.address, listener=listener))
        client = await w.connect()
        body = b"x" * 40_000
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        server = await up.accept()
        received = Reader(server)

        async def pass_time(until: Callable[[], bool]) -> None:
            for _ in range(4000):
                if until():
                    return
                w.clock.advance(0.03)
                await asyncio.sleep(0.001)

        await pass_time(lambda: received.size > len(body))
        await server.send(answer(len(body)) + body)
        answered = Reader(client)
        await pass_time(lambda: answered.size >= len(body))
        assert answered.size > len(body), w.closed()

    run(scenario())


def test_a_client_that_leaves_leaves_no_timer(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(tcp(up, down="8KiB", up="8KiB"))
        before = w.clock.pending
        client = await w.connect()
        server = await up.accept()
        await client.send(b"x" * 20_000)
        await server.send(b"x" * 20_000)
        await heard(client, b"x" * 1000)
        await w.until(lambda: w.clock.pending >= before + 2)
        client.reset()
        await w.until(lambda: sum(w.closed().values()) == 1)
        assert w.clock.pending == before

    run(scenario())


def answer(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size


@pytest.mark.parametrize("per", ["route", "request"])
def test_a_rule_slows_its_own_requests_and_no_others(run: Run, world: World, upstream: Upstream, per: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        slow = {"match": {"path": {"prefix": "/slow"}}, "cluster": "up"}
        rules = [{**slow, "filters": [{"bandwidth": {"down": "64KiB", "per": per}}]}, {"cluster": "up"}]
        await w.apply(config(up.address, rules=rules))
        client, other = await w.connect(), await w.connect()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        sending = asyncio.ensure_future(fill(server, answer(256 * KIB) + b"y" * (256 * KIB)))
        await head_of(client)
        reader = Reader(client)
        assert 0.9 * RATE <= await speed(w, [reader], 2) <= 1.1 * RATE
        await other.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        second = await up.accept()
        await head_of(second)
        more = asyncio.ensure_future(fill(second, answer(256 * KIB) + b"y" * (256 * KIB)))
        both = RATE if per == "route" else 2 * RATE
        readers = [reader, Reader(other)]
        await speed(w, readers, 1)
        assert 0.8 * both <= await speed(w, readers, 1) <= 1.2 * both
        for _ in range(2000):
            if sum(each.size for each in readers) >= 512 * KIB:
                break
            w.clock.advance(0.05)
            await asyncio.sleep(0.001)
        await sending
        await more
        for each in readers:
            each._task.cancel()
        await w.until(lambda: idle(w) == 2)
        second.close()
        await w.until(lambda: idle(w) == 1)
        await client.send(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
        await head_of(server)
        await server.send(answer(len(MUCH) // 4) + MUCH[: len(MUCH) // 4])
        await head_of(client)
        await heard(client, MUCH[: len(MUCH) // 4])

    run(scenario())


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        ({"protocol": "udp", "filters": [{"bandwidth": {"up": "1MiB"}}]}, "needs a connection"),
        ({"protocol": "tcp", "filters": [{"bandwidth": {}}]}, "needs `up`, `down` or both"),
    ],
)
def test_what_makes_no_sense_is_refused(listener: Any, words: str) -> None:
    said = {
        "listeners": [{"name": "in", "listen": "127.0.0.1:1", "cluster": "up", **listener}],
        "clusters": {"up": {"endpoints": []}},
    }
    with pytest.raises(Invalid, match=words):
        combine([Document("a", decode(Config, said), frozenset(said), lambda _: 1)])
    for up in (0, 8191, "1025GiB", "fast"):
        with pytest.raises(Invalid):
            decode(Config, {"routes": {"web": [{"cluster": "x", "filters": [{"bandwidth": {"up": up}}]}]}})
