"""Ends that come at a bad moment: what is counted twice or held for ever shows in the gauges.

`>>` is what happens, `<<` what must follow.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.relay.http.downstream import Downstream
from tests.relay.conversation import answered, config, ended, head_of, heard, idle

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ASK = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def readable(peer: Any) -> bool:
    return bool(select.select([peer.sock], [], [], 0)[0])


def gauges(w: Any) -> tuple[int, int]:
    return w.stats.listeners["in"].connections_active, w.stats.clusters["up"].connections_active


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\nhi",
        b"garbage\r\n\r\n",
        AGREE + b"words",
    ],
)
def test_an_answer_that_meets_a_client_just_gone_ends_everything_once(
    run: Run, world: World, upstream: Upstream, answer: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(ASK.replace(b"Connection: ", b"Connection: close, "))
        server = await up.accept()
        await head_of(server)
        server.sock.send(answer)
        client.reset()  # >> both before the loop looks, and the answer first
        await w.until(lambda: gauges(w)[0] == 0)
        server.close()
        await w.until(lambda: gauges(w)[1] == 0)
        assert sum(answered(w).values()) == 1
        assert sum(w.closed().values()) == 1

    run(scenario())


def test_no_more_is_asked_for_a_client_that_does_not_take_its_answers(
    run: Run, world: World, upstream: Upstream
) -> None:
    # As many as fill what the kernel takes, and then large ones
    sizes = [15_000] * 500 + [4_000_000] * 8

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET * len(sizes))
        server = await up.accept()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

        async def give() -> None:
            for size in sizes:
                await head_of(server)
                await server.send(answer % size + bytes(size))

        giving = asyncio.ensure_future(give())
        done, _ = await asyncio.wait([giving], timeout=0.5)
        assert not done
        await w.worker.counted()
        waiting = w.stats.clusters["up"].bytes_received_total - w.stats.listeners["in"].bytes_sent_total
        assert waiting <= 1 << 20
        # >> it reads
        for size in sizes:
            assert await head_of(client) == answer % size
            assert await client.recv_exactly(size) == bytes(size)
        await giving
        await client.send(GET)
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        assert answered(w) == {"200": len(sizes) + 1}
        assert idle(w) == 1

    run(scenario())


def test_a_tunnel_outlives_its_endpoint_as_long_as_it_is_given(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(ASK)
        server = await up.accept()
        await head_of(server)
        await server.send(AGREE)
        await heard(client, AGREE)
        await w.apply({"drain": {"timeout": "9s"}, **config(other.address)})
        await client.send(b"still")
        await heard(server, b"still")
        w.clock.advance(600)
        assert not await ended(server)
        assert not await ended(client)
        assert gauges(w) == (0, 0)
        assert sum(w.closed().values()) == 1

    run(scenario())


@pytest.mark.parametrize("words", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK[:-1]])
def test_a_reset_right_behind_the_last_words_of_an_upstream_is_noticed(
    run: Run, world: World, upstream: Upstream, words: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        server.sock.send(words)
        server.reset()  # >> both before the loop looks, which may tell of only one
        await w.until(lambda: gauges(w)[1] == 0)
        assert sum(answered(w).values()) == 1

    run(scenario())


@pytest.mark.parametrize("request_", [GET, GET * 2, b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_reset_right_behind_a_request_is_noticed(
    run: Run, world: World, upstream: Upstream, request_: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        client.sock.send(request_)
        client.reset()
        await w.until(lambda: sum(w.closed().values()) == 1)
        await w.until(lambda: gauges(w) == (0, 0))
        assert answered(w) == {"499 DC": 1}

    run(scenario())


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
def test_a_last_answer_is_not_cut_for_a_client_that_takes_it_slowly(
    run: Run, world: World, upstream: Upstream, size: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)

        async def give() -> None:
            await server.send(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(size))
            server.close()

        giving = asyncio.ensure_future(give())
        await asyncio.sleep(0.1)
        assert giving.done() is (size == 2_000_000)  # what the kernel takes, or more
        w.clock.advance(5)  # >> it is not waited for any more
        assert await head_of(client) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        assert len(await client.recv_exactly(size)) == size
        await giving
        assert await ended(client)
        assert answered(w) == {"200": 1}

    run(scenario())


def test_a_listener_that_goes_does_not_cut_an_answer_that_is_still_being_taken(
    run: Run, world: World, upstream: Upstream
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n\r\n" + bytes(15000)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        count = 0
        for count in range(1, 1000):
            await head_of(server)
            await server.send(answer)
            await w.until(lambda count=count: answered(w) == {"200": count})
            await client.send(GET)
            await asyncio.sleep(0.002)
            if not readable(server):
                await asyncio.sleep(0.1)
                if not readable(server):
                    break  # it is not asked any more, for the client has not taken the last answer
        gone = config(up.address)
        gone["listeners"][0]["name"] = "other"
        await w.apply(gone)
        w.clock.advance(5)
        for _ in range(count):
            assert await client.recv_exactly(len(answer)) == answer
        assert await ended(client)

    run(scenario())


def narrow(w: Any, client: Any) -> Any:
    """Buffers between us and a client that no head fits into at once.

    Smaller ones for the client would have the kernel wait for a fifth of a second, again and again, until a window is
    worth a segment.
    """
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    (accepted,) = (each for each in w.worker._http.deadlines._watched if isinstance(each, Downstream))
    accepted._conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return accepted._conn


def test_a_tunnel_whose_client_does_not_take_the_answer_at_once_goes_both_ways(
    run: Run, world: World, upstream: Upstream
) -> None:
    # The longest that is read, and more than the kernel takes
    line, fields = AGREE.split(b"\r\n", 1)
    agree = line + b"\r\n" + (b"Link: %b\r\n" % (b"x" * 5000)) * 11 + fields
    words = bytes(200_000)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(ASK)
        server = await up.accept()
        await head_of(server)
        conn = narrow(w, client)
        giving = asyncio.ensure_future(server.send(agree + words))
        await w.until(lambda: conn.full)
        await asyncio.sleep(0.01)
        assert conn.full
        await heard(client, agree + words)
        await giving
        await client.send(b"words")
        await heard(server, b"words")
        await server.send(b"more")
        await heard(client, b"more")

    run(scenario())


def test_a_body_does_not_overtake_the_head_that_a_filter_looks_at(run: Run, world: World, upstream: Upstream) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n" + (b"Link: %b\r\n" % (b"x" * 5000)) * 10 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    ask = {"call": "tests.relay.extensions:Ask", "config": {"when": "response", "seconds": 0.5}, "deadline": "9s"}

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=[{"cluster": "up", "filters": [{"extension": ask}]}]))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        conn = narrow(w, client)
        await server.send(hints * 2 + head)
        await asyncio.sleep(0.1)
        assert conn.full
        await server.send(b"body")
        due = hints * 2 + head + b"body"
        got = await client.recv_exactly(len(due))  # >> there is room again while the filter still looks
        assert got[-80:] == due[-80:]

    run(scenario())
