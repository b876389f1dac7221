"""What an endpoint of HTTP/2 may try, as raw frames: no client takes a cut answer for a whole one, or another's for its
own, none waits for ever, and the endpoint is asked again on another connection if this one broke."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import config
from tests.relay.raw_h2 import (
    ACK,
    ACKNOWLEDGED,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HELLO,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    headers,
    number,
    request,
    settings,
)
from tests.relay.test_http_corpus import understood

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = block((":status", "200"))
OPEN = headers(1, OK, END_HEADERS)
SIZED = headers(1, block((":status", "200"), ("content-length", "5")), END_HEADERS)
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


def answer(*fields: tuple[str, str], status: str = "200") -> bytes:
    return headers(1, block((":status", status), *fields), END_HEADERS) + data(1, b"hello")


def interim(status: str = "103") -> bytes:
    return headers(1, block((":status", status)), END_HEADERS)


BROKEN: list[tuple[str, bytes]] = [
    # heads
    ("no status", headers(1, block(("a", "b")))),
    ("nothing", headers(1, b"")),
    ("two statuses", answer((":status", "200"))),
    ("status 99", answer(status="99")),
    ("status 2000", answer(status="2000")),
    ("status +20", answer(status="+20")),
    ("a line in a status", answer(status="200\r\n\r\n")),
    ("a path", answer((":path", "/"))),
    ("a status behind fields", headers(1, block(("a", "b"), (":status", "200")))),
    ("CR LF in a value", answer(("a", "b\r\nc: d"))),
    ("an answer in a value", answer(("a", "b\r\n\r\n" + POISON.decode()))),
    ("NUL in a value", answer(("a", "b\0"))),
    ("CR LF in a name", answer(("a\r\nb", "c"))),
    ("a capital in a name", answer(("A", "b"))),
    ("an empty name", answer(("", "b"))),
    ("transfer-encoding", answer(("transfer-encoding", "chunked"))),
    ("connection", answer(("connection", "close"))),
    ("upgrade", answer(("upgrade", "websocket"))),
    ("101", interim("101") + POISON),
    ("101 at the end", headers(1, block((":status", "101")))),
    ("an interim answer that ends", headers(1, block((":status", "103")))),
    ("interim answers without end", interim() * 50),
    ("a head of 70 KiB",
     headers(1, OK, 0) + frame(CONTINUATION, 0, 1, block(("a", "b" * 14_000))) * 4
     + frame(CONTINUATION, END_HEADERS, 1, block(("a", "b" * 14_000))) + data(1, b"hello")),
    # lengths
    ("two lengths", answer(("content-length", "5"), ("content-length", "6"))),
    ("a list of lengths", answer(("content-length", "5, 5"))),
    ("-5", answer(("content-length", "-5"))),
    ("a length, and no body", headers(1, block((":status", "200"), ("content-length", "5")))),
    ("204 with a length", answer(("content-length", "5"), status="204")),
    ("204 with a body", answer(status="204")),
    ("304 with a body", answer(status="304")),
    ("more than was said", SIZED + data(1, b"hello!" + POISON)),
    ("less than was said", SIZED + data(1, b"hell")),
    ("less than was said, in two frames", SIZED + data(1, b"hell", 0) + data(1)),
    # the order
    ("DATA before a head", data(1, POISON)),
    ("two heads", OPEN + OPEN + data(1, b"hello")),
    ("trailers that do not end", OPEN + data(1, b"hello", 0) + headers(1, block(("a", "b")), END_HEADERS)),
    ("a length in trailers", OPEN + data(1, b"hello", 0) + headers(1, block(("content-length", "9")))),
    ("a coding in trailers", OPEN + data(1, b"hello", 0) + headers(1, block(("transfer-encoding", "chunked")))),
    ("a status in trailers", OPEN + data(1, b"hello", 0) + headers(1, block((":status", "200")))),
    ("CR LF in trailers", OPEN + data(1, b"hello", 0) + headers(1, block(("a", "b\r\n\r\n" + POISON.decode())))),
    ("a reset before a head", frame(RST_STREAM, 0, 1, number(2))),
    ("a reset in the middle", SIZED + data(1, b"hel", 0) + frame(RST_STREAM, 0, 1, number(0))),
    ("a reset where the end is due", OPEN + data(1, b"hello", 0) + frame(RST_STREAM, 0, 1, number(0))),
    # the connection
    ("an answer for another stream", headers(3, OK)),
    ("an answer for a stream of its own", headers(2, OK)),
    ("an answer for the connection", headers(0, OK)),
    ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + request())),
    ("a push, and what is pushed",
     frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + request()) + headers(2, OK, END_HEADERS) + data(2, POISON)),
    ("ENABLE_PUSH", settings((2, 1))),
    ("a window too large", frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1))),
    ("a window too large for a stream", frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1))),
    ("a frame of 16,385 bytes", OPEN + data(1, bytes(16_385))),
    ("padding of more than the frame", OPEN + data(1, b"\xffhello", PADDED | END_STREAM)),
    ("an index beyond the table", headers(1, OK + b"\xbe")),
    ("a head that is interrupted", headers(1, OK, 0) + frame(PING, 0, 0, bytes(8))),
    ("a head without end", headers(1, OK, 0) + frame(CONTINUATION, 0, 1, b"\x88") * 100),
    ("HTTP/1.1", POISON),
    ("GOAWAY in the middle", SIZED + data(1, b"hel", 0) + frame(GOAWAY, 0, 0, number(1) + number(2))),
    ("GOAWAY of an error", frame(GOAWAY, 0, 0, number(1) + number(1))),
    # floods
    ("PING", frame(PING, 0, 0, bytes(8)) * 1000),
    ("SETTINGS", settings() * 1000),
    ("acknowledgements", frame(4, ACK) * 1000),
    ("GOAWAY", frame(GOAWAY, 0, 0, number(1) + number(0)) * 1000),
    ("RST_STREAM of what is over", frame(RST_STREAM, 0, 1, number(2)) * 1000),
    ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, number(1)) * 1000),
    ("PRIORITY", frame(PRIORITY, 0, 1, bytes(5)) * 1000),
    ("DATA of nothing", OPEN + data(1, b"", 0) * 1000),
    ("DATA of a byte", SIZED + data(1, b"x", 0) * 1000),
    ("unknown frames", frame(0x55, 0, 0, b"x") * 1000),
]  # fmt: skip

FLOODS = {"PING", "SETTINGS", "acknowledgements", "GOAWAY", "WINDOW_UPDATE", "PRIORITY", "DATA of nothing",
          "unknown frames"}  # fmt: skip
BEHIND_A_WHOLE = {"204 with a body": (204, b""), "304 with a body": (304, b""), "more than was said": (200, b"hello")}
"""What comes before the fault is all that is due; where it comes in pieces, it has gone on."""


async def reached(up: Any) -> Any:
    """A connection, on which it has been asked once."""
    server = await up.accept()
    got = b""
    while len(got) < len(PREFACE) or b"\x01\x05\0\0\0\x01" not in got:
        more = await server.recv()
        assert more, got
        got += more
    return server


@pytest.mark.parametrize(("name", "words"), BROKEN, ids=[case[0] for case in BROKEN])
def test_a_broken_answer_is_502_or_cut(run: Run, world: World, upstream: Upstream, name: str, words: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, http={"version": "h2"}))
        stats = w.stats.clusters["up"]
        for pieces in ([words], [words[at : at + 1] for at in range(len(words))] if len(words) < 300 else [words]):
            client = await w.connect()
            await client.send(GET)
            server = await reached(up)
            await server.send(HELLO + ACKNOWLEDGED)
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    await server.send(piece)
                    await asyncio.sleep(0)
            said = await understood(client)
            before = BEHIND_A_WHOLE.get(name) if len(pieces) > 1 else None
            assert said in (None, before) or said[0] == 502, said
            client.close()
            # Another client, on the same connection or on another, gets its own
            connections = stats.connections_total
            client = await w.connect()
            await client.send(GET)
            await w.until(lambda: stats.streams_active == 1)
            if stats.connections_total > connections:
                server.close()
                server = await reached(up)
                await server.send(HELLO + ACKNOWLEDGED)
                stream = 1
            else:
                stream = 3
            await server.send(headers(stream, OK, END_HEADERS) + data(stream, b"own"))
            assert await understood(client) == (200, b"own")
            client.close()
            server.close()
            await w.until(lambda: stats.connections_active == 0)
        if name in FLOODS:
            assert any("flood" in word for word in stats.http2), stats.http2
        assert stats.streams_active == 0

    run(scenario())


@pytest.mark.parametrize(
    "words", [frame(RST_STREAM, 0, 1, number(7)), frame(GOAWAY, 0, 0, number(0) + number(0))], ids=["RST", "GOAWAY"]
)
def test_who_refuses_all_is_not_asked_for_ever(run: Run, world: World, upstream: Upstream, words: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, http={"version": "h2"}))
        client = await w.connect()
        await client.send(GET)

        async def refuse() -> None:
            while True:
                server = await reached(up)
                await server.send(HELLO + ACKNOWLEDGED + words)

        refusing = asyncio.ensure_future(refuse())
        said = await understood(client)
        assert said is not None
        assert said[0] in (502, 503)
        stats = w.stats.clusters["up"]
        assert stats.streams_total == 3
        client.close()
        refusing.cancel()
        await w.until(lambda: stats.connections_active == 0)
        assert stats.streams_active == 0

    run(scenario())


@pytest.mark.parametrize(
    "words",
    [b"", HELLO, settings((3, 0)), settings((4, 0)), HELLO + headers(1, OK, 0), HELLO + OPEN, HELLO + SIZED[:-3]],
    ids=["nothing", "SETTINGS", "no streams", "no window", "half a head", "a head", "half a frame"],
)
def test_who_falls_silent_is_not_waited_for(run: Run, world: World, upstream: Upstream, words: bytes) -> None:
    """By none of those who wait for it, and nothing of them is left."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, http={"version": "h2"}))
        client = await w.connect()
        put = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        await client.send(put if words == settings((4, 0)) else GET)
        server = await up.accept()
        await server.send(words)
        others = [await w.connect() for _ in range(3)]
        for other in others:
            await other.send(GET)
        stats = w.stats.clusters["up"]
        await w.until(lambda: stats.connections_total)
        for _ in range(60):
            await asyncio.sleep(0.002)
            w.clock.advance(10)
        for each in (client, *others):
            said = await understood(each)
            assert said is None or said[0] in (502, 503, 504), said
            each.close()
        await w.until(lambda: stats.connections_active == 0)
        assert stats.streams_active == 0

    run(scenario())
