"""Conversations through an HTTP listener: real sockets, a clock that jumps.

`>>` is what happens, `<<` what must follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import answered, config, ended, head_of, heard, idle

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def exchange(client: Any, server: Any, request: bytes = GET, response: bytes = OK) -> None:
    await client.send(request)
    assert await head_of(server) == request
    await server.send(response)
    await heard(client, response)


def test_a_request_and_its_answer_pass_as_they_are(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        request = b"GET /a?b=c HTTP/1.1\r\nhOST: x:80\r\nAccept: 1\r\nX-Two: 2\r\naccept: 3\r\n\r\n"
        await client.send(request)
        server = await up.accept()
        assert await head_of(server) == request
        answer = b"HTTP/1.1 299 Fine Enough\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi"
        await server.send(answer)
        await heard(client, answer)
        assert answered(w) == {"299": 1}

    run(scenario())


def test_connections_are_used_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await exchange(client, server)
        other = await w.connect()
        await exchange(other, server)
        assert answered(w) == {"200": 3}
        assert idle(w) == 1
        cluster = w.stats.clusters["up"]
        assert (cluster.connections_total, cluster.connections_active) == (1, 1)
        assert w.stats.listeners["in"].connections_total == 2

    run(scenario())


@pytest.mark.parametrize("cut", ["byte by byte", "whole"])
def test_however_it_is_cut(run: Run, world: World, upstream: Upstream, cut: str) -> None:
    request = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"

    async def say(peer: Any, words: bytes) -> None:
        for at in range(len(words)) if cut == "byte by byte" else ():
            await peer.send(words[at : at + 1])
            await asyncio.sleep(0)
        if cut == "whole":
            await peer.send(words)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = None
        for _ in range(2):
            saying = asyncio.ensure_future(say(client, request))
            server = server or await up.accept()
            head, _, body = request.partition(b"\r\n\r\n")
            assert await head_of(server) == head + b"\r\n\r\n"
            await heard(server, body)
            await saying
            saying = asyncio.ensure_future(say(server, answer))
            await heard(client, answer)
            await saying
        assert idle(w) == 1

    run(scenario())


def test_a_conversation_that_h11_reads(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"codec": "h11"}))
        client = await w.connect()
        await client.send(GET + b"PUT /b HTTP/1.1\nHost:x\nX:  a\n  b\nTransfer-Encoding: Chunked\n\n")
        server = await up.accept()
        assert await head_of(server) == GET
        await server.send(OK)
        await heard(client, OK)
        # << in one spelling, on the same connection
        assert await head_of(server) == b"PUT /b HTTP/1.1\r\nHost: x\r\nX: a b\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.send(b"5\r\nhello\r\n0\r\n\r\n")
        await heard(server, b"5\r\nhello\r\n0\r\n\r\n")
        await server.send(OK)
        await heard(client, OK)
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 400 ")
        other = await w.connect()
        await other.send(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        assert (await head_of(other)).startswith(b"HTTP/1.1 400 ")
        assert answered(w) == {"200": 2, "400 DPE": 2}
        assert w.stats.listeners["in"].malformed == {"length_and_coding": 1, "refused_by_h11": 1}

    run(scenario())


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(50)]
        await client.send(b"".join(requests))
        server = await up.accept()
        for n, request in enumerate(requests):
            assert await head_of(server) == request
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % n
            await server.send(answer)
            await heard(client, answer)
        assert answered(w) == {"200": 50}

    run(scenario())


def test_ten_thousand_pipelined_requests_are_answered_by_the_proxy(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config(rules=[{"reply": {"status": 204}}]))
        client = await w.connect()
        sending = asyncio.ensure_future(client.send(GET * 10_000))
        pieces, count, last = [], 0, b""
        while count < 10_000:
            pieces.append(await client.recv(1 << 20))
            assert pieces[-1]
            count += (last + pieces[-1]).count(b"\r\n\r\n")
            last = (last + pieces[-1])[-3:]
        await sending
        got = b"".join(pieces)
        assert got.count(b"HTTP/1.1 204 No Content\r\n") == 10_000
        assert answered(w) == {"204": 10_000}

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /../b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a/..;/b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%c0%ae HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_answered_and_goes_nowhere(
    run: Run, world: World, upstream: Upstream, request_: bytes, status: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(request_)
        head = await head_of(client)
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        assert answered(w) == {f"{status} DPE": 1}
        assert w.stats.clusters["up"].connections_total == 0

    run(scenario())


def test_after_what_is_no_request_the_client_may_still_send_and_reads_the_answer(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"garbage\r\n\r\n" + bytes(100_000))
        await client.send(bytes(100_000))
        answer = await client.recv_all()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close\r\n" in answer
        client.end()
        await w.until(lambda: w.closed() == {"done": 1})

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 11,
    ],
)
def test_an_upstream_that_breaks_the_rules_yields_502_and_is_not_used_again(
    run: Run, world: World, upstream: Upstream, answer: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(answer)
        head = await head_of(client)
        while head.startswith(b"HTTP/1.1 103"):
            head = await head_of(client)
        assert head.startswith(b"HTTP/1.1 502 ")
        await ended(server)
        assert answered(w) == {"502 UPE": 1}
        assert idle(w) == 0

    run(scenario())


def test_bytes_after_an_answer_are_nobodys(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK + OK)
        await heard(client, OK)
        await ended(server)
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await w.until(lambda: w.stats.clusters["up"].unasked_total == 1)
        assert idle(w) == 0

    run(scenario())


def test_what_is_lost_on_a_used_connection_before_an_answer_is_asked_again(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await client.send(GET)
        await head_of(server)
        server.close()  # >> as if it had been closed before the request arrived
        server = await up.accept()
        assert await head_of(server) == GET  # << again, on a new connection
        await server.send(OK)
        await heard(client, OK)
        assert answered(w) == {"200": 2}
        assert w.stats.clusters["up"].retries_total == 1

    run(scenario())


@pytest.mark.parametrize("case", ["unsafe", "new connection", "half an answer", "streamed"])
def test_what_may_have_been_done_is_not_asked_again(
    run: Run, world: World, upstream: Upstream, case: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = None
        if case != "new connection":
            await client.send(GET)
            server = await up.accept()
            await head_of(server)
            await server.send(OK)
            await heard(client, OK)
        method = b"POST" if case == "unsafe" else b"PUT"
        await client.send(method + b" / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        server = server or await up.accept()
        await head_of(server)
        await heard(server, b"ab")
        if case != "unsafe":
            await client.send(b"cd")
            await heard(server, b"cd")
        if case == "half an answer":
            await server.send(b"HTTP/1.1 200")
        await asyncio.sleep(0)
        server.close()
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert answered(w)["502 UC"] == 1
        assert w.stats.clusters["up"].retries_total == 0

    run(scenario())


def test_an_answer_that_is_cut_is_not_a_whole_one(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        for head in (b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\na\r\n"):
            client = await w.connect()
            await client.send(GET)
            server = await up.accept()
            await head_of(server)
            await server.send(b"HTTP/1.1 200 OK\r\n" + head + b"half")
            await heard(client, b"HTTP/1.1 200 OK\r\n" + head + (b"half"))
            server.end()
            assert not await ended(client), "the client sees a reset"
            server.close()
        assert answered(w) == {"200 UPE": 2}

    run(scenario())


def test_an_answer_until_the_end_ends_with_the_connection(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nand so on")
        await heard(client, b"HTTP/1.1 200 OK\r\nServer: old\r\nConnection: close\r\n\r\nand so on")
        await server.send(b", and on")
        await heard(client, b", and on")
        server.end()
        assert await ended(client)
        client.close()
        await w.until(lambda: w.closed() == {"done": 1})
        assert answered(w) == {"200": 1}

    run(scenario())


def test_a_client_of_http_1_0(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        server = await up.accept()
        assert await head_of(server) == GET
        await server.send(OK)
        await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi")
        await client.send(b"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        await heard(client, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcd")
        assert await ended(client)

    run(scenario())


def test_heads_answers_and_interim_ones(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        await server.send(answer)
        await heard(client, answer)
        for answer in (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"):
            await exchange(client, server, GET, answer)
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        await exchange(client, server, GET, early + OK)
        assert answered(w) == {"200": 2, "304": 1, "204": 1}

    run(scenario())


def test_a_client_that_waits_for_a_go_ahead(run: Run, world: World, upstream: Upstream) -> None:
    request = b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(request)
        server = await up.accept()
        assert await head_of(server) == request
        await server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await heard(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.send(b"ab")
        await heard(server, b"ab")
        await server.send(OK)
        await heard(client, OK)
        # An answer instead: the body may come or not, so the connection cannot go on.
        await client.send(request)
        await head_of(server)
        await server.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        await heard(client, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert await ended(client)
        await ended(server)

    run(scenario())


def test_a_client_that_leaves_cancels_what_it_asked_for(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        client.close()
        assert not await ended(server)
        assert answered(w) == {"499 DC": 1}
        cluster = w.stats.clusters["up"]
        await w.until(lambda: cluster.connections_active == 0)
        assert w.stats.listeners["in"].connections_active == 0

    run(scenario())


def test_a_client_that_resets_while_its_first_answer_is_awaited_is_noticed(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        client.reset()
        assert not await ended(server)
        assert answered(w) == {"499 DC": 1}

    run(scenario())


def test_a_client_that_leaves_in_the_middle_of_its_body(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        server = await up.accept()
        await head_of(server)
        await heard(server, b"half")
        client.end()
        assert not await ended(server), "half a request does not look whole"

    run(scenario())


def test_bodies_stream_with_back_pressure(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        size = 30_000_000
        client = await w.connect()
        await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        server = await up.accept()
        await head_of(server)

        async def pour(peer: Any) -> None:
            for _ in range(size // 100_000):
                await peer.send(bytes(100_000))

        async def drink(peer: Any) -> None:
            left = size
            while left:
                left -= len(await peer.recv(200_000))
                if left % 7 == 0:
                    await asyncio.sleep(0.0005)

        await asyncio.gather(pour(client), drink(server))
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await head_of(client)
        await asyncio.gather(pour(server), drink(client))
        await exchange(client, server)
        assert idle(w) == 1

    run(scenario())


def test_memory_for_a_client_that_does_not_read_is_bounded(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await server.send(bytes(1 << 16))
        await w.worker.counted()
        received = w.stats.clusters["up"].bytes_received_total
        written = w.stats.listeners["in"].bytes_sent_total
        assert received - written <= 1 << 20
        # >> silence, until nobody waits for that client any longer
        w.clock.advance(200)
        assert not await ended(server)
        assert answered(w) == {"200 SI": 1}

    run(scenario())


def test_timeouts(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        patience = {"head": "3s", "request": "20s", "idle": "7s"}
        await w.apply(config(up.address, listener={"timeouts": patience}))
        # A head that does not end
        client = await w.connect()
        await client.send(b"GET / HT")
        await w.until(lambda: w.stats.listeners["in"].connections_active == 1)
        await asyncio.sleep(0.01)
        w.clock.advance(3)
        assert (await head_of(client)).startswith(b"HTTP/1.1 408 ")
        # Not a word: nobody has asked, so nobody is answered
        client = await w.connect()
        await w.until(lambda: w.stats.listeners["in"].connections_active == 2)
        w.clock.advance(3)
        assert await ended(client)
        # An upstream that says nothing
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        w.clock.advance(7)
        assert (await head_of(client)).startswith(b"HTTP/1.1 504 ")
        assert not await ended(server)
        # One that says something now and then, for too long
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await head_of(client)
        for _ in range(3):
            w.clock.advance(6)
            await server.send(b"x")
            await heard(client, b"x")
        w.clock.advance(2)
        assert not await ended(client)
        # A body that does not come
        client = await w.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        w.clock.advance(7)
        assert (await head_of(client)).startswith(b"HTTP/1.1 408 ")
        # Nothing more to say
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        w.clock.advance(7)
        assert await ended(client)
        assert answered(w) == {"408 DT": 2, "504 SI": 1, "200 UT": 1, "200": 1}

    run(scenario())


def test_connections_in_the_pool_have_bounds(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        pool = {"max_idle": 1, "idle": "5s", "requests": 2, "lifetime": "60s"}
        await w.apply(config(up.address, pool=pool))
        one, two = await w.connect(), await w.connect()
        await one.send(GET)
        first = await up.accept()
        await head_of(first)
        await two.send(GET)
        second = await up.accept()
        await head_of(second)
        for server, client in ((first, one), (second, two)):
            await server.send(OK)
            await heard(client, OK)
        assert await ended(second), "one waits, and no more"
        await exchange(one, first)
        assert await ended(first), "used twice, and no more"
        await one.send(GET)
        third = await up.accept()
        await head_of(third)
        await third.send(OK)
        await heard(one, OK)
        w.clock.advance(6)
        assert await ended(third), "it has waited for long enough"
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_another_endpoint_is_tried_where_nobody_answers(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, gone = world(), upstream(), upstream()
        gone.close()
        await w.apply(config(gone.address, up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        assert await head_of(server) == GET
        await server.send(OK)
        await heard(client, OK)
        await w.apply(config(gone.address))
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert answered(w) == {"200": 1, "503 UF": 1}

    run(scenario())


def test_no_route_no_endpoint_no_room(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [{"match": {"path": {"prefix": "/a"}}, "cluster": "up"}]
        await w.apply(config(rules=rules))
        client = await w.connect()
        for path, due in ((b"/b", b"404"), (b"/a", b"503")):
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await head_of(client)).startswith(b"HTTP/1.1 " + due)
            await client.recv()
        await w.apply(config(up.address, breaker={"max_connections": 1}))
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        other = await w.connect()
        await other.send(GET)
        assert (await head_of(other)).startswith(b"HTTP/1.1 503 ")
        await server.send(OK)
        await heard(client, OK)
        assert answered(w) == {"404 NR": 1, "503 UH": 1, "503 UO": 1, "200": 1}

    run(scenario())


def test_a_connection_that_waits_makes_room_for_one_that_is_wanted(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        await w.apply(config(one.address, two.address, breaker={"max_connections": 1}))
        client = await w.connect()
        for up in (one, two, one):
            await client.send(GET)
            server = await up.accept()
            await head_of(server)
            await server.send(OK)
            await heard(client, OK)
        assert answered(w) == {"200": 3}
        assert w.stats.clusters["up"].connections_active == 1

    run(scenario())


def test_an_answer_to_a_head_request_of_http_1_0_has_no_chunks_in_it(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"HEAD /a HTTP/1.0\r\nHost: x\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await heard(client, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")

    run(scenario())


def test_the_next_request_belongs_to_the_new_configuration(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await w.apply(config(up.address, rules=[{"reply": {"status": 418}}]))
        await server.send(OK)
        await heard(client, OK)  # << what was under way ends in the world in which it began
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 418 ")

    run(scenario())


def test_a_listener_that_goes_lets_its_connections_finish(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        busy, lazy = await w.connect(), await w.connect()
        await busy.send(GET)
        server = await up.accept()
        await head_of(server)
        await w.until(lambda: w.stats.listeners["in"].connections_active == 2)
        without = config(up.address)
        without["listeners"] = []
        await w.apply(without)
        assert await ended(lazy)
        await server.send(OK)
        await heard(busy, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        assert await ended(busy)

    run(scenario())


def test_a_connection_becomes_a_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    ask = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    agree = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(ask + b"too early")
        server = await up.accept()
        assert await head_of(server) == ask
        await server.send(agree + b"first words")
        await heard(client, agree + b"first words")
        await heard(server, b"too early")
        await client.send(b"question")
        await heard(server, b"question")
        client.end()
        assert await ended(server)
        await server.send(b"answer")
        await heard(client, b"answer")
        server.end()
        assert await ended(client)
        await w.until(lambda: w.closed() == {"done": 1})
        assert answered(w) == {"101": 1}
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_an_upgrade_that_is_refused_is_an_ordinary_answer(run: Run, world: World, upstream: Upstream) -> None:
    ask = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(ask)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await exchange(client, server)

    run(scenario())


def test_rewriting_and_fields(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [
            {
                "match": {"path": {"prefix": "/v1"}},
                "cluster": "up",
                "rewrite": {"prefix": "/", "host": "inner:81"},
                "request_headers": {"remove": ["cookie"], "set": {"X-Set": "2"}, "add": {"X-Add": "3"}},
                "response_headers": {"remove": ["server"], "set": {"Cache-Control": "no-store"}},
            },
            {"match": {"path": {"exact": "/one"}}, "cluster": "up", "rewrite": {"path": "/two"}},
            {"redirect": {"host": "other", "scheme": "https"}},
        ]
        await w.apply(config(up.address, rules=rules))
        client = await w.connect()
        await client.send(b"GET /v1/a?b HTTP/1.1\r\nHost: x\r\nCookie: c\r\nx-set: 1\r\nx-add: 1\r\n\r\n")
        server = await up.accept()
        assert await head_of(server) == (
            b"GET /a?b HTTP/1.1\r\nx-add: 1\r\nHost: inner:81\r\nX-Set: 2\r\nX-Add: 3\r\n\r\n"
        )
        await server.send(b"HTTP/1.1 200 OK\r\nServer: s\r\ncache-control: x\r\nContent-Length: 0\r\n\r\n")
        await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n")
        for path, due in ((b"/v1", b"/"), (b"/v1?q", b"/?q"), (b"/one?q", b"/two?q")):
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await head_of(server)).startswith(b"GET " + due + b" HTTP/1.1\r\n")
            await server.send(OK)
            await client.recv()
        await client.send(b"GET /else?q HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"\r\nLocation: https://other/else?q\r\n" in await head_of(client)

    run(scenario())


def test_fields_with_variables(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rule = {
            "name": "shop",
            "cluster": "up",
            "request_headers": {
                "set": {"X-From": "%{client} by %{listener}/%{route}", "X-To": "%{method} %{host}%{path}"}
            },
            "response_headers": {"add": {"X-Cluster": "<%{cluster}>"}},
        }
        await w.apply(config(up.address, rules=[rule]))
        client = await w.connect()
        server = None
        for path in (b"/a/../b?q", b"/c"):
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x:80\r\nx-to: forged\r\n\r\n")
            server = server or await up.accept()
            head = await head_of(server)
            regular = b"/b" if path.startswith(b"/a") else b"/c"
            assert b"\r\nX-From: 127.0.0.1 by in/shop\r\nX-To: GET x:80" + regular + b"\r\n" in head
            assert b"forged" not in head
            await server.send(OK)
            await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Cluster: <up>\r\n\r\nhi")

    run(scenario())


def test_a_request_of_http_1_0_without_a_host_gets_an_empty_one(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"GET /a HTTP/1.0\r\n\r\n")
        server = await up.accept()
        assert await head_of(server) == b"GET /a HTTP/1.1\r\nHost: \r\n\r\n"

    run(scenario())


@pytest.mark.parametrize("method", [b"OPTIONS", b"TRACE"])
def test_a_request_ends_where_it_may_go_no_further(
    run: Run, world: World, upstream: Upstream, method: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(method + b" /a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 204 " if method == b"OPTIONS" else b"HTTP/1.1 405 ")
        if method == b"TRACE":
            await client.recv()
        await client.send(method + b" /a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 7\r\n\r\n")
        server = await up.accept()
        assert b"\r\nMax-Forwards: 6\r\n" in await head_of(server)

    run(scenario())


def test_a_split_follows_its_weights(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        said = config(rules=[{"split": [{"cluster": "up", "weight": 90}, {"cluster": "other", "weight": 10}]}])
        said["clusters"]["other"] = {"endpoints": []}
        await w.apply(said)
        client = await w.connect()
        for _ in range(1000):
            await client.send(GET)
            await client.recv()
        of_route = w.stats.listeners["in"].answers["web/0"]
        counts = {name: sum(stats.requests.values()) for name, stats in of_route.items()}
        assert sum(counts.values()) == 1000
        assert 50 <= counts["other"] <= 170, "six deviations from 100"

    run(scenario())


def test_who_asked(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        every = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "x-request-id"]
        forged = (
            b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\n"
            b"Forwarded: for=1.1.1.1\r\nX-Request-Id: mine\r\nX-Forwarded-Proto: https\r\n\r\n"
        )

        async def fields(listener: Any) -> dict[bytes, bytes]:
            await w.apply(config(up.address, listener=listener, pool={"max_idle": 0}))
            client = await w.connect()
            await client.send(forged)
            server = await up.accept()
            raw = b""
            while b"\r\n\r\n" not in raw:
                raw += await server.recv()
            await server.send(OK)
            lines = [line.split(b": ", 1) for line in raw[:-4].split(b"\r\n")[1:]]
            assert len({name.lower() for name, _ in lines}) == len(lines), "each is said once"
            return {name.lower(): value for name, value in lines}

        told = await fields({})
        assert told.keys() == {b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"}
        assert (told[b"x-forwarded-for"], told[b"x-forwarded-proto"]) == (b"127.0.0.1", b"http")
        assert len(told[b"x-request-id"]) == 32
        told = await fields({"http": {"forwarded": {"headers": every}}})
        assert told[b"forwarded"] == b"for=127.0.0.1;proto=http;host=x"
        assert (told[b"via"], told[b"x-forwarded-host"]) == (b"1.1 meshproxy", b"x")
        told = await fields({"http": {"forwarded": {"headers": every, "trusted": ["127.0.0.0/8"]}}})
        assert told[b"x-forwarded-for"] == b"1.1.1.1, 127.0.0.1"
        assert told[b"forwarded"] == b"for=1.1.1.1, for=127.0.0.1;proto=http;host=x"
        assert (told[b"x-request-id"], told[b"x-forwarded-proto"]) == (b"mine", b"https")

    run(scenario())
