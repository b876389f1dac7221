"""Conversations of clients that speak HTTP/2 with endpoints that speak HTTP/1.1: real sockets, a clock that jumps."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.errors import Invalid
from tests.relay.conversation import answered, config, ended, head_of, heard, idle
from tests.relay.http2 import Speaker, speaking

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def start(world: World, upstream: Upstream, **more: Any) -> tuple[Any, Any, Speaker]:
    w, up = world(), upstream()
    await w.apply(config(up.address, **more))
    return w, up, await speaking(w.connect)


@pytest.mark.parametrize("codec", ["own", "h2"])
def test_a_request_and_its_answer(run: Run, world: World, upstream: Upstream, codec: str) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream, listener={"codec": codec})
        stream = await client.ask("/a?b=c", ("accept", "1"), ("cookie", "a=1"), ("x-two", "2"), ("cookie", "b=2"))
        server = await up.accept()
        first, host, *lines = (await head_of(server)).split(b"\r\n")[:-2]
        assert (first, host) == (b"GET /a?b=c HTTP/1.1", b"Host: x")
        # The library puts cookies behind all else.
        assert sorted(lines) == [b"accept: 1", b"cookie: a=1; b=2", b"x-two: 2"]
        await server.send(b"HTTP/1.1 299 Fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi")
        status, fields, body, trailers = await client.answer(stream)
        assert (status, fields["content-length"], body, trailers) == (299, "2", b"hi", [])
        assert "connection" not in fields
        assert answered(w) == {"299": 1}
        assert w.stats.listeners["in"].connections_total == 1

    run(scenario())


def test_many_at_once_are_answered_in_any_order(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream)
        streams = [await client.ask(f"/{number}") for number in range(5)]
        servers = {}
        for _ in streams:
            server = await up.accept()
            path = (await head_of(server)).split()[1].decode()
            servers[path] = server
        for number in reversed(range(5)):
            text = f"answer {number}".encode()
            await servers[f"/{number}"].send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            assert (await client.answer(streams[number]))[2] == text
        assert answered(w) == {"200": 5}
        assert idle(w) == 5

    run(scenario())


def test_a_body_of_known_length(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        _, up, client = await start(world, upstream)
        stream = await client.ask("/", ("content-length", "10"), method="POST", body=b"hello", last=False)
        server = await up.accept()
        head = await head_of(server)
        assert head == b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n"
        await heard(server, b"hello")
        client.h2.send_data(stream, b"world", end_stream=True)
        await client.flush()
        await heard(server, b"world")
        await server.send(OK)
        assert (await client.answer(stream))[2] == b"hi"

    run(scenario())


@pytest.mark.parametrize("codec", ["own", "h2"])
def test_a_body_of_unknown_length_goes_in_chunks_with_its_trailers(
    run: Run, world: World, upstream: Upstream, codec: str
) -> None:
    async def scenario() -> None:
        _, up, client = await start(world, upstream, listener={"codec": codec})
        stream = await client.ask(method="POST", last=False)
        server = await up.accept()
        assert await head_of(server) == b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.h2.send_data(stream, b"hello")
        await client.flush()
        await heard(server, b"5\r\nhello\r\n")
        client.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
        await client.flush()
        await heard(server, b"0\r\nx-sum: 1\r\n\r\n")
        await server.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"
        )
        status, fields, body, trailers = await client.answer(stream)
        assert (status, body, trailers) == (200, b"abcde", [("a", "b")])
        assert "transfer-encoding" not in fields

    run(scenario())


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_has_no_body(run: Run, world: World, upstream: Upstream, method: str) -> None:
    async def scenario() -> None:
        _, up, client = await start(world, upstream)
        stream = await client.ask(method=method)
        server = await up.accept()
        await head_of(server)
        said = {"HEAD": b"200 OK\r\nContent-Length: 5", "GET": b"204 No Content"}[method]
        await server.send(b"HTTP/1.1 %b\r\n\r\n" % said)
        status, fields, body, _ = await client.answer(stream)
        due = (200, "5", b"") if method == "HEAD" else (204, None, b"")
        assert (status, fields.get("content-length"), body) == due

    run(scenario())


def test_interim_answers_come_first(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        _, up, client = await start(world, upstream)
        stream = await client.ask("/", ("expect", "100-continue"), method="POST", last=False)
        server = await up.accept()
        assert b"expect: 100-continue\r\n" in await head_of(server)
        await server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert dict((await client.event("InformationalResponseReceived", stream)).headers)[":status"] == "100"
        client.h2.send_data(stream, b"x", end_stream=True)
        await client.flush()
        await heard(server, b"1\r\nx\r\n0\r\n\r\n")
        await server.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        hints = dict((await client.event("InformationalResponseReceived", stream)).headers)
        assert hints == {":status": "103", "link": "</a>"}
        assert (await client.answer(stream))[0] == 200

    run(scenario())


def test_what_the_proxy_says_itself(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        rules = [{"match": {"path": {"exact": "/said"}}, "reply": {"status": 418, "body": "short"}}]
        w, _, client = await start(world, upstream, rules=rules)
        said, none = await client.ask("/said"), await client.ask("/none")
        head = await client.ask("/said", method="HEAD")
        assert (await client.answer(said))[::2] == (418, b"short")
        assert (await client.answer(none))[::2] == (404, b"no route\n")
        status, fields, body, _ = await client.answer(head)
        assert (status, fields["content-length"], body) == (418, "5", b"")
        tunnel = client.h2.get_next_available_stream_id()
        client.h2.send_headers(tunnel, [(":method", "CONNECT"), (":authority", "x:443")])
        await client.flush()
        assert (await client.event("ResponseReceived", tunnel)).headers[0] == (":status", "405")
        assert answered(w) == {"418": 2, "404 NR": 1, "405 NR": 1}

    run(scenario())


def test_who_resets_wants_no_answer(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream)
        stream = await client.ask()
        server = await up.accept()
        await head_of(server)
        client.h2.reset_stream(stream, 8)
        await client.flush()
        assert not await ended(server)
        other = await client.ask()
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        assert (await client.answer(other))[0] == 200
        assert answered(w) == {"200": 1, "499 DC": 1}

    run(scenario())


def test_who_resets_in_one_breath_has_asked_nobody(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, _, client = await start(world, upstream)
        for _ in range(3):
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(
                stream, [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")], end_stream=True
            )
            client.h2.reset_stream(stream, 8)
        client.h2.ping(b"12345678")
        await client.event("PingAckReceived")
        assert w.stats.clusters["up"].connections_total == 0

    run(scenario())


def test_an_endpoint_that_fails_resets_only_its_own(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        _, up, client = await start(world, upstream)
        first, second = await client.ask("/1"), await client.ask("/2")
        servers = {}
        for _ in range(2):
            server = await up.accept()
            servers[(await head_of(server)).split()[1]] = server
        await servers[b"/1"].send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        await client.event("ResponseReceived", first)
        servers[b"/1"].reset()
        await client.event("StreamReset", first)
        await servers[b"/2"].send(OK)
        assert (await client.answer(second))[0] == 200

    run(scenario())


def test_who_takes_nothing_holds_the_endpoint(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        size = 20_000_000
        _, up, client = await start(world, upstream)
        stream = await client.ask()
        server = await up.accept()
        await head_of(server)
        sending = asyncio.ensure_future(
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size))
        )
        await client.event("ResponseReceived", stream)
        got = 0
        while got < 65535:
            got += len((await client.event("DataReceived", stream)).data)
        assert got == 65535
        other = await client.ask("/other")
        assert (await up.accept()) is not None
        assert not sending.done()
        client.h2.acknowledge_received_data(got, stream)
        while got < size:
            event = await client.event("DataReceived", stream)
            got += len(event.data)
            client.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        await client.event("StreamEnded", stream)
        await sending
        assert other != stream

    run(scenario())


def test_an_endpoint_that_takes_nothing_gives_no_window(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        size = 8_000_000
        _, up, client = await start(world, upstream)
        stream = await client.ask("/", ("content-length", str(size)), method="POST", last=False)
        server = await up.accept()
        await head_of(server)
        sent = 0

        async def send_what_may_go() -> None:
            nonlocal sent
            while sent < size and (may := min(client.h2.local_flow_control_window(stream), 16384, size - sent)) > 0:
                client.h2.send_data(stream, bytes(may), end_stream=sent + may == size)
                sent += may
            await client.flush()

        for _ in range(1000):
            await send_what_may_go()
            if client.h2.local_flow_control_window(stream) == 0:
                client.h2.ping(b"12345678")
                await client.event("PingAckReceived")
                if client.h2.local_flow_control_window(stream) == 0:
                    break
        assert sent < size, "no window was ever withheld"

        async def drain() -> int:
            got = 0
            while got < size:
                got += len(await server.recv(1 << 20))
            return got

        draining = asyncio.ensure_future(drain())
        while sent < size:
            if client.h2.local_flow_control_window(stream) == 0:
                await client.read()
            await send_what_may_go()
        assert await draining == size
        await server.send(OK)
        assert (await client.answer(stream))[0] == 200

    run(scenario())


def test_an_answer_before_the_end_of_the_request(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        _, up, client = await start(world, upstream)
        stream = await client.ask(method="POST", last=False)
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.answer(stream))[::2] == (403, b"no")
        assert (await client.event("StreamReset", stream)).error_code == 0

    run(scenario())


@pytest.mark.parametrize("codec", ["own", "h2"])
def test_frames_that_nobody_may_send_end_the_connection(
    run: Run, world: World, upstream: Upstream, codec: str
) -> None:
    async def scenario() -> None:
        w, _, client = await start(world, upstream, listener={"codec": codec})
        await client.peer.send(b"\x00\x00\x04\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02")  # PUSH_PROMISE
        assert (await client.event("ConnectionTerminated")).error_code == 1
        assert await ended(client.peer)
        (word,) = w.stats.listeners["in"].http2
        assert word == {"own": "pushed", "h2": "refused_by_h2"}[codec]

    run(scenario())


def test_who_asks_for_the_library_has_to_have_it(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setitem(sys.modules, "meshproxy.wire.h2.reference", None)
        w, up = world(), upstream()
        with pytest.raises(Invalid) as refused:
            await w.apply(config(up.address, listener={"codec": "h2"}))
        (problem,) = refused.value.problems
        assert problem.path == "listeners.in.codec"
        assert "needs the package h2" in problem.message

    run(scenario())


def test_a_silent_one_is_told_so_and_closed(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, _, client = await start(world, upstream, listener={"timeouts": {"idle": "30s"}})
        client.h2.ping(b"12345678")
        await client.event("PingAckReceived")
        w.clock.advance(31)
        assert (await client.event("ConnectionTerminated")).error_code == 0
        assert await ended(client.peer)

    run(scenario())


def test_half_a_preface_is_waited_for_only_so_long(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"head": "5s"}}))
        client = await w.connect()
        await client.send(b"PRI * HTTP/2")
        await w.until(lambda: [each for each in w.worker.listeners if w.stats.listeners["in"].connections_active])
        for _ in range(10):
            await asyncio.sleep(0)
        w.clock.advance(6)
        assert (await head_of(client)).startswith(b"HTTP/1.1 408 ")

    run(scenario())


def test_what_begins_like_it_and_is_not(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        for at in range(8):
            await client.send(b"PRINT / HTTP/1.1\r\nHost: x\r\n\r\n"[at : at + 1])
            await asyncio.sleep(0)
        await client.send(b"PRINT / HTTP/1.1\r\nHost: x\r\n\r\n"[8:])
        server = await up.accept()
        assert await head_of(server) == b"PRINT / HTTP/1.1\r\nHost: x\r\n\r\n"

    run(scenario())


def test_the_preface_is_one_only_at_the_beginning(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 505 ")

    run(scenario())


def test_a_listener_may_speak_http1_alone(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"http": {"versions": ["h1"]}}))
        client = await w.connect()
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 505 ")

    run(scenario())


def test_after_a_reload_what_is_under_way_ends_and_the_next_is_served_anew(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream)
        stream = await client.ask("/old")
        server = await up.accept()
        await head_of(server)
        await w.apply(config(up.address, rules=[{"reply": {"status": 418}}]))
        assert (await client.answer(await client.ask("/new")))[0] == 418
        await server.send(OK)
        assert (await client.answer(stream))[0] == 200

    run(scenario())


def test_a_listener_that_is_gone_says_goaway_and_finishes(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream)
        stream = await client.ask()
        server = await up.accept()
        await head_of(server)
        empty = config(up.address)
        empty["listeners"] = []
        await w.apply(empty)
        assert (await client.event("ConnectionTerminated")).last_stream_id == 2**31 - 1
        await server.send(OK)
        assert (await client.answer(stream))[0] == 200
        assert (await client.event("ConnectionTerminated")).last_stream_id == stream
        assert await ended(client.peer)

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(":method", "GET"), (":path", "/"), (":authority", "x")], "bad_pseudo_header"),
        ([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x"), ("A", "b")], "capital_in_name"),
        (
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x"), ("connection", "close")],
            "connection_field",
        ),
        (
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x"), ("a", "b\r\nc: d")],
            "control_byte",
        ),
    ],
)
def test_what_is_no_request_is_reset_and_counted(
    run: Run, world: World, upstream: Upstream, fields: list[tuple[str, str]], reason: str
) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream)
        stream = client.h2.get_next_available_stream_id()
        client.h2.config.normalize_outbound_headers = False
        client.h2.send_headers(stream, fields, end_stream=True)
        await client.flush()
        assert (await client.event("StreamReset", stream)).error_code == 1
        assert w.stats.listeners["in"].malformed == {reason: 1}
        good = await client.ask()
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        assert (await client.answer(good))[0] == 200

    run(scenario())


def test_a_body_that_is_not_as_long_as_was_said(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, client = await start(world, upstream)
        stream = await client.ask("/", ("content-length", "5"), method="POST", body=b"hi", last=False)
        server = await up.accept()
        await head_of(server)
        await heard(server, b"hi")
        client.h2.end_stream(stream)
        await client.flush()
        assert (await client.event("StreamReset", stream)).error_code == 1
        assert not await ended(server)
        assert w.stats.listeners["in"].malformed == {"cut_short": 1}

    run(scenario())


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ([("content-length", "11")], 413),
        ([("expect", "200-maybe")], 417),
        ([(f"x-{number}", "") for number in range(101)], 431),
    ],
)
def test_who_asks_for_more_than_is_had_is_told_so(
    run: Run, world: World, upstream: Upstream, more: list[tuple[str, str]], status: int
) -> None:
    async def scenario() -> None:
        w, _, client = await start(world, upstream, listener={"http": {"limits": {"body": 10}}})
        stream = await client.ask("/", *more, method="POST", last=False)
        assert (await client.answer(stream))[0] == status
        assert (await client.event("StreamReset", stream)).error_code == 0
        assert answered(w) == {f"{status} DPE": 1}

    run(scenario())
