"""Bodies that go on when all of them is there: before that nobody hears of them, and what goes on is what came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.filters.asking import answer
from tests.relay.conversation import answered, config, ended, head_of, heard

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\n"
LENGTH = b"Content-Length: 10\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"3\r\nabc\r\n7;a=b\r\n1234567\r\n0\r\nX-Sum: 9\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def said(*addresses: str, **buffer: int) -> dict[str, Any]:
    return config(*addresses, rules=[{"cluster": "up", "filters": [{"buffer": buffer}]}])


def connections(w: Any) -> list[Any]:
    return [*next(iter(w.worker._guests.states)).connections]


async def read(w: Any, count: int) -> None:
    """So many bytes of clients have been read."""
    stats = w.stats.listeners["in"]
    await w.until(lambda: stats.bytes_received_total + sum(c._conn.received for c in connections(w)) >= count)


async def answered_with(w: Any, count: int) -> None:
    """So many bytes of endpoints have been read."""
    stats, upstreams = w.stats.clusters["up"], w.worker._http.upstreams
    await w.until(lambda: stats.bytes_received_total + sum(u.conn.received for u in upstreams) >= count)


def made(w: Any) -> int:
    return int(w.stats.clusters["up"].connections_total)


# Requests


@pytest.mark.parametrize(("frame", "body"), [(LENGTH, b"0123456789"), (CHUNKED, CHUNKS)])
@pytest.mark.parametrize("step", [1, 4, 1000])
def test_nobody_is_asked_before_a_request_is_whole(
    run: Run, world: World, upstream: Upstream, frame: bytes, body: bytes, step: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, request=100))
        client = await w.connect()
        server = None
        sent = 0
        for number in range(2):
            before = number * len(PUT + frame + body)
            await client.send(PUT + frame)
            for at in range(0, len(body) - 1, step):
                end = min(at + step, len(body) - 1)
                await client.send(body[at:end])
                await read(w, before + len(PUT + frame) + end)
                assert (made(w), sum(u.conn.sent for u in w.worker._http.upstreams)) == (number, sent)
            await client.send(body[-1:])
            server = server or await up.accept()
            assert await head_of(server) == PUT + frame
            await heard(server, body)
            await server.send(OK)
            await heard(client, OK)
            sent = sum(u.conn.sent for u in w.worker._http.upstreams)
        assert answered(w) == {"200": 2}

    run(scenario())


def test_what_is_whole_already_goes_on_and_so_does_the_request_after_it(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, request=10))
        client = await w.connect()
        get = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
        await client.send(PUT + LENGTH + b"01234")
        await client.send(b"56789" + get + PUT + LENGTH + b"abcdefghij")
        server = await up.accept()
        for request in (PUT + LENGTH + b"0123456789", get, PUT + LENGTH + b"abcdefghij"):
            head, end, body = request.partition(b"\r\n\r\n")
            assert await head_of(server) == head + end
            await heard(server, body)
            await server.send(OK)
            await heard(client, OK)

    run(scenario())


@pytest.mark.parametrize(
    ("frame", "pieces"),
    [
        (b"Content-Length: 11\r\n\r\n", [b""]),
        (b"Content-Length: 11\r\n\r\n", [b"01234567890"]),
        (CHUNKED, [b"1\r\na\r\n", b"1\r\nb\r\n"]),
        (CHUNKED, [b"1\r\na\r\n1\r\nb\r\n"]),
        # What frames it counts as well, for it is kept.
        (CHUNKED, [b"1;aaaaaaaaaaaaaaa\r\na\r\n"]),
    ],
)
def test_a_request_that_is_too_large_is_refused(
    run: Run, world: World, upstream: Upstream, frame: bytes, pieces: list[bytes]
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, request=10))
        client = await w.connect()
        await client.send(PUT + frame)
        for number, piece in enumerate(pieces):
            await read(w, len(PUT + frame) + sum(map(len, pieces[:number])))
            await client.send(piece)
        refused = await answer(client)
        assert (refused.status, refused.body) == (413, b"body too large\n")
        assert await ended(client)
        assert made(w) == 0
        assert answered(w) == {"413 DPE": 1}

    run(scenario())


def test_who_waits_to_be_told_to_go_on_is_told_so(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, request=10))
        client = await w.connect()
        await client.send(PUT + b"Expect: 100-continue\r\n" + LENGTH)
        await heard(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        assert made(w) == 0
        await client.send(b"0123456789")
        server = await up.accept()
        assert await head_of(server) == PUT + LENGTH
        await heard(server, b"0123456789")
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_who_leaves_or_is_too_slow_has_asked_nobody(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply({**said(up.address, request=10)})
        gone = await w.connect()
        await gone.send(PUT + LENGTH + b"01234")
        await read(w, len(PUT + LENGTH) + 5)
        gone.close()
        await w.until(lambda: answered(w) == {"499 DC": 1})
        slow = await w.connect()
        await slow.send(PUT + LENGTH + b"01234")
        await read(w, 2 * (len(PUT + LENGTH) + 5))
        w.clock.advance(61)
        assert (await answer(slow)).status == 408
        assert made(w) == 0

    run(scenario())


def test_a_request_that_is_kept_can_be_sent_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        config_ = said(one.address, two.address, request=200_000)
        config_["routes"]["web"][0]["retry"] = {"on": ["reset"], "backoff": 0, "max_body": 1}
        await w.apply(config_)
        client = await w.connect()
        body = b"x" * 150_000
        request = PUT + b"Content-Length: 150000\r\n\r\n"
        await client.send(request)
        await client.send(body)
        first = await one.accept()
        assert await head_of(first) == request
        await heard(first, body)
        first.close()
        second = await two.accept()
        assert await head_of(second) == request
        await heard(second, body)
        await second.send(OK)
        await heard(client, OK)
        assert [each._first for each in connections(w)] == [b""], "it is not kept for as long as the client stays"

    run(scenario())


# Answers

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"0123456789"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS),
    ],
)
@pytest.mark.parametrize("step", [1, 4, 1000])
def test_the_client_hears_nothing_before_an_answer_is_whole(
    run: Run, world: World, upstream: Upstream, head: bytes, body: bytes, step: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, response=100))
        client = await w.connect()
        server = None
        for number in range(2):
            await client.send(GET)
            server = server or await up.accept()
            await head_of(server)
            await server.send(head)
            (connection,) = connections(w)
            for at in range(0, len(body) - 1, step):
                end = min(at + step, len(body) - 1)
                await server.send(body[at:end])
                await answered_with(w, number * len(head + body) + len(head) + end)
                assert connection._conn.sent == number * len(head + body)
            await server.send(body[-1:])
            assert await head_of(client) == head
            await heard(client, body)
        assert answered(w) == {"200": 2}

    run(scenario())


def test_a_large_answer_does_not_go_past_us(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, response=1 << 20))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 20)
        half = bytes(range(256)) * 2048
        await server.send(head + half)
        await answered_with(w, len(head + half))
        (connection,) = connections(w)
        assert connection._conn.sent == 0
        rest = asyncio.create_task(server.send(half))
        await heard(client, head + half + half)
        await rest

    run(scenario())


def test_an_answer_that_breaks_off_is_asked_for_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        config_ = said(one.address, two.address, response=100)
        config_["routes"]["web"][0]["retry"] = {"on": ["gateway"], "backoff": 0}
        await w.apply(config_)
        client = await w.connect()
        await client.send(GET)
        first = await one.accept()
        await head_of(first)
        await first.send(b"HTTP/1.1 201 OK\r\nContent-Length: 10\r\n\r\n0123")
        await answered_with(w, 43)
        first.close()
        second = await two.accept()
        await head_of(second)
        await second.send(OK)
        await heard(client, OK)
        assert answered(w) == {"200": 1}

    run(scenario())


WHOLE = (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890", b"5\r\nabcde\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"],
        [WHOLE[0]],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"1\r\nb\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", WHOLE[1]],
        [b"HTTP/1.1 200 OK\r\n\r\n0123", b"4567890"],
        # What is lost in its middle is no cut answer either.
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123", b""],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", b"ab\r\n"],
    ],
)
def test_instead_of_an_answer_that_is_too_large_or_not_whole_there_is_a_502(
    run: Run, world: World, upstream: Upstream, pieces: list[bytes]
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, response=10))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        for number, piece in enumerate(pieces):
            await answered_with(w, sum(map(len, pieces[:number])))
            if piece:
                await server.send(piece)
            else:
                server.close()
        assert (await answer(client)).status == 502
        # The client's connection goes on; the endpoint's only if all of the answer had come at once.
        await client.send(GET)
        if pieces[-1] not in WHOLE:
            server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_an_answer_until_the_end_has_no_end_before_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, response=10))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\n\r\n0123")
        await answered_with(w, 23)
        await server.send(b"456789")
        server.close()
        assert await head_of(client) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        await heard(client, b"0123456789")
        assert await ended(client)

    run(scenario())


def test_an_answer_without_a_body_has_no_size(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(said(up.address, response=10))
        client = await w.connect()
        await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        large = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        await server.send(large)
        assert await head_of(client) == large

    run(scenario())
