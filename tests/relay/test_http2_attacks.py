"""What a client of HTTP/2 may try with the state that a proxy keeps: old rules, old answers, and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import config, ended, head_of, idle
from tests.relay.raw_h2 import (
    CANCEL,
    END_HEADERS,
    NO_ERROR,
    RST_STREAM,
    START,
    WHOLE,
    Raw,
    block,
    data,
    frame,
    headers,
    number,
    request,
)
from tests.relay.test_http_freed import left_by

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = request(method="POST")


async def start(world: World, upstream: Upstream, **more: Any) -> tuple[Any, Any, Raw]:
    w, up = world(), upstream()
    await w.apply(config(up.address, **more))
    client = Raw(await w.connect())
    await client.send(START)
    return w, up, client


async def over(client: Raw, stream: int) -> None:
    await client.until(lambda: client[stream].over)


def test_the_same_block_after_a_reload_is_another_request(run: Run, world: World, upstream: Upstream) -> None:
    """What it meant before is not what it means now."""

    async def scenario() -> None:
        rules = [{"reply": {"status": 204}}]
        w, up, client = await start(world, upstream, rules=rules)
        for stream in (1, 3):
            await client.send(headers(stream, request()))
            await over(client, stream)
            assert client[stream].status == 204
        await w.apply(config(up.address, rules=[{"reply": {"status": 404}}]))
        for stream in (5, 7):
            await client.send(headers(stream, request()))
            await over(client, stream)
            assert client[stream].status == 404

    run(scenario())


def test_trailers_of_an_answer_that_was_given_up_are_not_those_of_the_next(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        rules = [{"cluster": "up", "retry": {"on": ["503"], "attempts": 2, "backoff": "1ms"}}]
        w, up, client = await start(world, upstream, rules=rules)
        await client.send(headers(1, request()))
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Old: 1\r\n\r\n")
        await w.until(lambda: idle(w) == 1)
        w.clock.advance(1)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await over(client, 1)
        assert (client[1].statuses, client[1].body, client.kinds[1]) == ([200], b"hi", 1)

    run(scenario())


def test_who_answers_no_ping_ends_all_the_same(run: Run, world: World, upstream: Upstream) -> None:
    """It opens a stream before the last one ends, for ever."""

    async def scenario() -> None:
        w, up, client = await start(world, upstream, listener={"timeouts": {"lifetime": "60s", "idle": "50s"}})
        await client.send(headers(1, POST, END_HEADERS))
        await head_of(await up.accept())
        stream = 1
        with contextlib.suppress(ConnectionError):
            while stream < 61 and not client.gone:
                w.clock.advance(9)
                await client.send(headers(stream + 2, POST, END_HEADERS) + frame(RST_STREAM, 0, stream, number(CANCEL)))
                stream += 2
                await client.answers()
                if client.goaway is None:
                    await head_of(await up.accept())
        assert stream < 31
        assert client.goaway == NO_ERROR
        await w.until(lambda: w.stats.clusters["up"].connections_active == 0)

    run(scenario())


async def answers_whole(client: Raw, server: Any) -> None:
    await server.send(OK)
    await over(client, 1)


async def answers_in_chunks(client: Raw, server: Any) -> None:
    await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n")
    await over(client, 1)


async def answers_more_than_is_taken(client: Raw, server: Any) -> None:
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
    await client.until(lambda: len(client[1].body) == 65_535)


async def cuts_its_answer(client: Raw, server: Any) -> None:
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
    await client.until(lambda: client[1].body)
    server.close()
    await over(client, 1)
    assert client[1].reset is not None


async def says_nothing(client: Raw, server: Any) -> None:
    """And the client goes."""


async def hears_of_a_wrong_body(client: Raw, server: Any) -> None:
    await client.send(headers(1, block(("host", "y"))))
    await over(client, 1)


async def hears_of_a_reset(client: Raw, server: Any) -> None:
    await client.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    assert not await ended(server)


@pytest.mark.parametrize("flags", [WHOLE, END_HEADERS], ids=["GET", "POST"])
@pytest.mark.parametrize(
    "end",
    [
        answers_whole, answers_in_chunks, answers_more_than_is_taken, cuts_its_answer, says_nothing,
        hears_of_a_wrong_body, hears_of_a_reset,
    ],
)  # fmt: skip
def test_a_stream_leaves_nothing_for_the_collector(
    run: Run, world: World, upstream: Upstream, end: Any, flags: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))

        async def exchange() -> None:
            client = Raw(await w.connect())
            await client.send(START + headers(1, POST if flags == END_HEADERS else request(), flags))
            server = await up.accept()
            await head_of(server)
            await end(client, server)
            client.peer.close()
            server.close()

        assert not await left_by(w, exchange)

    run(scenario())


@pytest.mark.parametrize(
    ("asked", "later"),
    [
        (b"", b""),
        (START, b""),
        (START + headers(1, request()[:20], 0), b""),
        (START + headers(1, POST, END_HEADERS), b""),
        (START + headers(1, POST, END_HEADERS), data(1, b"hello", 0)),
        (START + data(1)[:5], b""),
        (START[:20], b""),
        (START[:-5], b""),
    ],
)
def test_who_falls_silent_is_let_go(
    run: Run, world: World, upstream: Upstream, asked: bytes, later: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"idle": "30s", "head": "10s"}}))
        client = Raw(await w.connect())
        await client.send(asked)
        if headers(1, POST, END_HEADERS) in asked:
            await head_of(await up.accept())
        await client.send(later)
        reading = asyncio.ensure_future(client.until(lambda: False))
        listener = w.stats.listeners["in"]
        await w.until(lambda: listener.connections_total == 1)
        for _ in range(100):
            await asyncio.sleep(0.001)
        for _ in range(20):
            w.clock.advance(10)
            await asyncio.sleep(0.002)
        await w.until(lambda: listener.connections_active == 0)
        await w.until(lambda: w.stats.clusters["up"].connections_active == 0)
        await reading
        assert client.gone

    run(scenario())
