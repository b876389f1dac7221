"""What has ended is freed by counting alone: a reload freezes what there is, and a circle in that is never found."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import config, ended, head_of, heard
from tests.relay.test_http_filters import extended

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"
UPGRADE = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SEND = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def answered(client: Any, server: Any) -> None:
    await server.send(OK)
    await heard(client, OK)


async def streamed(client: Any, server: Any) -> None:
    await client.send(b"llo\r\n0\r\n\r\n")
    await heard(server, b"5\r\nhello\r\n0\r\n\r\n")
    await answered(client, server)


async def poured(client: Any, server: Any) -> None:
    giving = asyncio.ensure_future(server.send(LARGE))
    assert await client.recv_exactly(len(LARGE)) == LARGE
    await giving


async def poured_by_nobody(client: Any, server: Any) -> None:
    await server.send(LARGE[:-100_000])
    await client.recv_exactly(len(LARGE) - 100_000)
    server.reset()
    assert not await ended(client)


async def poured_to_nobody(client: Any, server: Any) -> None:
    await server.send(LARGE[:-100_000])
    await client.recv_exactly(len(LARGE) - 100_000)
    server.sock.send(bytes(5_000))
    client.reset()
    assert not await ended(server)


async def taken(client: Any, server: Any) -> None:
    giving = asyncio.ensure_future(client.send(bytes(1_000_000)))
    await server.recv_exactly(1_000_000)
    await giving
    await answered(client, server)


async def lost(client: Any, server: Any) -> None:
    server.close()
    assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")


async def cut(client: Any, server: Any) -> None:
    await server.send(CUT)
    server.close()
    await heard(client, CUT)
    assert not await ended(client)


async def malformed(client: Any, server: Any) -> None:
    await server.send(b"garbage\r\n\r\n")
    assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")


async def left(client: Any, server: Any) -> None:
    client.reset()
    assert not await ended(server)


async def switched(client: Any, server: Any) -> None:
    await server.send(AGREE)
    await heard(client, AGREE)
    await client.send(b"words")
    await heard(server, b"words")


@pytest.mark.parametrize("filtered", [False, True], ids=["plain", "filtered"])
@pytest.mark.parametrize(
    ("request_", "end"),
    [
        (GET, answered), (PUT, streamed), (GET, lost), (GET, cut), (GET, malformed), (GET, left), (UPGRADE, switched),
        (GET, poured), (GET, poured_to_nobody), (GET, poured_by_nobody), (SEND, taken),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_an_exchange_leaves_nothing_for_the_collector(
    run: Run, world: World, upstream: Upstream, request_: bytes, end: Any, filtered: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        if filtered:
            await w.apply(extended(up.address, call="Ask", config={"when": "response"}))
        else:
            await w.apply(config(up.address))

        async def exchange() -> None:
            client = await w.connect()
            await client.send(request_)
            server = await up.accept()
            await head_of(server)
            await end(client, server)
            client.close()
            server.close()

        assert not await left_by(w, exchange)

    run(scenario())


def test_nor_does_one_that_is_refused_when_its_large_body_has_begun(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Broken", config={"when": "response"}))

        async def exchange() -> None:
            client = await w.connect()
            await client.send(GET)
            server = await up.accept()
            await head_of(server)
            server.sock.send(LARGE[:50_000])
            assert (await head_of(client)).startswith(b"HTTP/1.1 500 ")
            client.close()
            server.close()

        assert not await left_by(w, exchange)

    run(scenario())


def test_nor_does_one_for_which_no_connection_could_be_made(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        up.close()
        await w.apply(config(up.address))

        async def exchange() -> None:
            client = await w.connect()
            await client.send(GET)
            assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
            client.close()

        assert not await left_by(w, exchange)

    run(scenario())


async def left_by(w: Any, exchange: Callable[[], Coroutine[Any, Any, None]]) -> Counter[str]:
    """Objects of ours, by their type, that only the collector found once all connections had ended."""
    gc.collect()
    gc.disable()
    try:
        await exchange()
        listener, cluster = w.stats.listeners["in"], w.stats.clusters["up"]
        await w.until(lambda: (listener.connections_active, cluster.connections_active) == (0, 0))
        await asyncio.sleep(0.01)  # for what the loop still holds of its last turn
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("meshproxy"))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
