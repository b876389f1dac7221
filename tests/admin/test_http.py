"""The admin HTTP server: each request answered, each peer bounded, on both loops."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import pytest

from meshproxy.admin.http import Limits, Request, Response, Server
from meshproxy.observe.log import Log

Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
END = b'"body": 0}'


class Echo:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.answered: list[Request] = []
        self.hold: asyncio.Event | None = None

    def admit(self, request: Request) -> Response | None:
        return Response(403, b"refused\n") if request.path == "/refused" else None

    async def answer(self, request: Request) -> Response:
        self.answered.append(request)
        if self.hold is not None:
            await self.hold.wait()
        if request.path == "/fault":
            raise OSError("disk full")
        said = {"method": request.method, "path": request.path, "query": request.query, "body": len(request.body)}
        return Response(body=json.dumps(said).encode())


class Stage:
    """A server on a loopback port of its own, the site behind it, and what it logged."""

    def __init__(self, server: Server, site: Echo, sock: socket.socket, lines: list[str]) -> None:
        self.server, self.site, self.lines = server, site, lines
        self.address = sock.getsockname()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address)
        return await asyncio.open_connection(*self.address[:2])

    async def say(self, *parts: bytes) -> bytes:
        """All that the server says to these bytes until it closes the connection."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
        heard = await reader.read()
        writer.close()
        return heard


@asynccontextmanager
async def stage(limits: Limits = Limits(), sock: socket.socket | None = None) -> AsyncIterator[Stage]:  # noqa: B008
    if sock is None:
        sock = socket.create_server(("127.0.0.1", 0))
    site, lines = Echo(), list[str]()
    it = Stage(Server(site, Log(lines.append), limits), site, sock, lines)
    sock.setblocking(False)
    it.server.listen([sock])
    try:
        yield it
    finally:
        await it.server.close(grace=0)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> Any:
    return json.loads(answer.rpartition(b"\r\n\r\n")[2])


def post(size: int, *, path: str = "/x", extra: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n{extra}\r\n".encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection without a word; an abort may be seen as a reset."""
    with suppress(ConnectionResetError):
        return await reader.read() == b""
    return True


def test_a_request_and_its_answer(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            heard = await it.say(
                b"GET /a%2Fb?x=1&x=%20&y= HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: close\r\n\r\n"
            )
        assert status(heard) == 200
        assert body(heard) == {"method": "GET", "path": "/a/b", "query": {"x": ["1", " "], "y": [""]}, "body": 0}
        assert it.site.answered[0].headers["x-two"] == "1, 2"
        assert it.site.answered[0].peer_uid is None
        for expected in (b"Cache-Control: no-store", b"X-Content-Type-Options: nosniff", b"Connection: close"):
            assert expected in heard

    run(conversation())


def test_a_connection_is_kept_and_requests_may_be_pipelined(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            heard = await it.say(GET + GET, LAST_GET)
        assert heard.count(b"HTTP/1.1 200 ") == 3

    run(conversation())


def test_a_request_may_come_byte_by_byte(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            whole = post(3) + b"abc"
            assert body(await it.say(*(whole[place : place + 1] for place in range(len(whole)))))["body"] == 3

    run(conversation())


def test_head_is_answered_without_a_body(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            heard = await it.say(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + LAST_GET)
        first, second = heard.split(b"HTTP/1.1 200 ")[1:]
        assert first.endswith(b"\r\n\r\n")
        length = len(second.rpartition(b"\r\n\r\n")[2]) + len("HEAD") - len("GET")
        assert f"Content-Length: {length}\r\n".encode() in first
        assert body(second)["method"] == "GET"

    run(conversation())


def test_http_1_0_is_answered_and_closed(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert status(await it.say(b"GET /x HTTP/1.0\r\n\r\n")) == 200

    run(conversation())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\r\n folded: b\r\nx y: z\r\n\r\n", 400),
        (b"GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        (b"GET /?" + b"a&" * 100 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_a_bad_request_is_told_so_and_harms_nobody(run: Run, head: bytes, expected: int) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert status(await it.say(head)) == expected
            assert it.site.answered == []
            assert status(await it.say(LAST_GET)) == 200
        assert it.lines == []

    run(conversation())


@pytest.mark.parametrize("at_once", [True, False])
def test_an_oversized_head_is_refused(run: Run, at_once: bool) -> None:
    async def conversation() -> None:
        async with stage(Limits(head=1000)) as it:
            head = b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1001 + b"\r\n\r\n"
            parts = [head] if at_once else [head[:900], head[900:]]
            assert status(await it.say(*parts)) == 431
            assert it.site.answered == []

    run(conversation())


def test_a_head_without_end_is_refused_at_its_bound(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert status(await it.say(b"GET /" + b"x" * 40_000)) == 431

    run(conversation())


def test_an_oversized_body_is_refused_before_it_is_sent(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(body=1000)) as it:
            heard = await it.say(post(1001, extra="Expect: 100-continue\r\n"))
        assert heard.startswith(b"HTTP/1.1 413 ")

    run(conversation())


def test_an_oversized_body_of_unknown_length_is_refused_where_it_passes_the_bound(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(body=1000)) as it:
            head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            heard = await it.say(head, *([b"200\r\n" + b"x" * 512 + b"\r\n"] * 4))
            assert status(heard) == 413
            assert it.server.bytes_held == 0

    run(conversation())


def test_a_large_answer_to_a_refused_body_is_heard_though_the_body_was_sent(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert (await it.say(post(300_000, path="/refused") + b"x" * 300_000)).endswith(b"refused\n")
            assert it.site.answered == []

    run(conversation())


def test_bodies_of_all_connections_together_are_bounded(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(bodies=1000)) as it:
            _, first = await it.connect()
            first.write(post(900) + b"x" * 800)
            await until(lambda: it.server.bytes_held == 800)
            assert status(await it.say(post(300) + b"x" * 300)) == 503
            assert it.server.bytes_held == 800
            first.close()
            await until(lambda: it.server.bytes_held == 0)
            assert status(await it.say(post(300) + b"x" * 300)) == 200

    run(conversation())


def test_expect_100_continue(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader, writer = await it.connect()
            writer.write(post(3, extra="Expect: 100-continue\r\n"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"abc")
            heard = await reader.read()
            assert (status(heard), body(heard)["body"]) == (200, 3)
            writer.close()

    run(conversation())


def test_who_is_refused_is_not_asked_to_continue(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert status(await it.say(post(3, path="/refused", extra="Expect: 100-continue\r\n"))) == 403

    run(conversation())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", b""),
        (b"GET /x HT", b"HTTP/1.1 408 "),
        (b"GET /x HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 408 "),
        (post(3) + b"a", b"HTTP/1.1 408 "),
    ],
)
def test_who_stalls_is_cut_off(run: Run, said: bytes, expected: bytes) -> None:
    async def conversation() -> None:
        async with stage(Limits(head_seconds=0.05, body_seconds=0.05, linger_seconds=0.01)) as it:
            heard = await it.say(said)
            assert heard[: len(expected)] == expected
            assert bool(heard) == bool(expected)
            await until(lambda: it.server.connections == 0)

    run(conversation())


def test_the_deadline_of_a_head_is_not_moved_by_each_byte(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(head_seconds=0.1, linger_seconds=0.01)) as it:
            reader, writer = await it.connect()

            async def drip() -> None:
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            assert status(await reader.read()) == 408
            dripping.cancel()
            writer.close()

    run(conversation())


def test_an_idle_connection_is_closed_without_a_word(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(idle_seconds=0.05)) as it:
            heard = await it.say(GET)
            assert heard.count(b"HTTP/1.1 ") == 1
            assert status(heard) == 200

    run(conversation())


def test_a_peer_that_does_not_read_is_let_go(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(send_seconds=0.05)) as it:

            async def flood(request: Request) -> Response:
                return Response(body=b"x" * 16_000_000)

            it.site.answer = flood  # type: ignore[method-assign]
            _, writer = await it.connect()
            writer.write(GET)
            await until(lambda: it.server.connections == 1)
            await until(lambda: it.server.connections == 0)
            writer.close()

    run(conversation())


def test_a_fault_of_the_site_is_a_500_and_a_line_in_the_log(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            heard = await it.say(b"GET /fault HTTP/1.1\r\nHost: a\r\n\r\n" + LAST_GET)
        assert heard.startswith(b"HTTP/1.1 500 ")
        assert b"HTTP/1.1 200 " in heard, "the connection goes on"
        assert b"disk full" not in heard
        assert "admin-failed" in it.lines[0]
        assert "disk full" in it.lines[0]

    run(conversation())


@pytest.mark.parametrize("more", [b"", b"GET /x HTTP/1.1\r\nHost:"], ids=["silent", "in the midst of a head"])
def test_the_oldest_without_a_request_makes_way_when_there_are_too_many(run: Run, more: bytes) -> None:
    async def conversation() -> None:
        async with stage(Limits(connections=2)) as it:
            (first, one), (second, two) = await it.connect(), await it.connect()
            for reader, writer in ((first, one), (second, two)):
                writer.write(GET + more)
                await reader.readuntil(END)
            assert status(await it.say(LAST_GET)) == 200
            assert await is_cut_off(first)
            two.write(GET[len(more) :])
            assert status(await second.readuntil(END)) == 200
            one.close()
            two.close()

    run(conversation())


def test_who_has_an_answer_and_stays_makes_way_too(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(connections=1, linger_seconds=60)) as it:
            reader, writer = await it.connect()
            writer.write(b"nonsense\r\n\r\n")
            assert status(await reader.read()) == 400
            assert status(await it.say(LAST_GET)) == 200
            writer.close()

    run(conversation())


def test_of_many_at_once_the_latest_are_served(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(connections=2)) as it:
            crowd = [await it.connect() for _ in range(10)]
            for _, writer in crowd[-2:]:
                writer.write(LAST_GET)
            assert [status(await reader.read()) for reader, _ in crowd[-2:]] == [200, 200]
            assert all([await is_cut_off(reader) for reader, _ in crowd[:-2]])
            for _, writer in crowd:
                writer.close()

    run(conversation())


def test_a_connection_too_many_is_turned_away_when_none_is_idle(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(connections=1)) as it:
            it.site.hold = asyncio.Event()
            busy = asyncio.create_task(it.say(LAST_GET))
            await until(lambda: len(it.site.answered) == 1)
            reader, writer = await it.connect()
            assert await is_cut_off(reader)
            writer.close()
            it.site.hold.set()
            assert status(await busy) == 200
        assert "admin-full" in it.lines[0]

    run(conversation())



def flood_of_requests(count: int) -> bytes:
    return GET * count + LAST_GET


def flood_of_chunks(count: int) -> bytes:
    return post(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n" * count + b"0\r\n\r\n"


@pytest.mark.parametrize("flood", [flood_of_requests, flood_of_chunks])
def test_the_loop_has_its_turn_between_any_two_pieces_of_a_flood(
    run: Run, monkeypatch: pytest.MonkeyPatch, flood: Callable[[int], bytes]
) -> None:
    turn, work = 0, dict[int, int]()

    class Watched(h11.Connection):
        def next_event(self) -> Any:
            work[turn] = work.get(turn, 0) + 1
            return super().next_event()

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def conversation() -> None:
        async with stage() as it:
            counting = asyncio.create_task(count_turns())
            answers = await asyncio.gather(*(it.say(flood(200)) for _ in range(3)))
            assert {status(answer) for answer in answers} == {200}
            counting.cancel()
        assert sum(work.values()) > 600
        assert max(work.values()) <= 3, "a head and the end of its body, or a piece and what is not there yet"

    monkeypatch.setattr(h11, "Connection", Watched)
    run(conversation())


def test_closing_ends_idle_connections_and_lets_the_answer_finish(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            it.site.hold = asyncio.Event()
            _, idle = await it.connect()
            busy = asyncio.create_task(it.say(LAST_GET))
            await until(lambda: len(it.site.answered) == 1 and it.server.connections == 2)
            closing = asyncio.create_task(it.server.close(grace=5))
            await until(lambda: it.server.connections == 1)
            it.site.hold.set()
            await closing
            assert status(await busy) == 200
            with pytest.raises(ConnectionRefusedError):
                await it.connect()
            idle.close()

    run(conversation())


def test_closing_does_not_wait_for_ever(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            it.site.hold = asyncio.Event()
            _, writer = await it.connect()
            writer.write(GET)
            await until(lambda: len(it.site.answered) == 1)
            await it.server.close(grace=0.01)
            assert it.server.connections == 0
            writer.close()

    run(conversation())


def test_nothing_keeps_a_site_that_is_no_longer_served(run: Run) -> None:
    async def serve_for_a_while() -> weakref.ref[Echo]:
        async with stage() as it:
            await it.say(LAST_GET)
            await it.say(b"nonsense\r\n\r\n")
            _, left_open = await it.connect()
            await until(lambda: it.server.connections == 1)
            left_open.close()
            return weakref.ref(it.site)

    async def conversation() -> None:
        site = await serve_for_a_while()
        await until(lambda: gc.collect() >= 0 and site() is None)

    run(conversation())


def test_ipv6(run: Run) -> None:
    try:
        sock = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 here")

    async def conversation() -> None:
        async with stage(sock=sock) as it:
            assert status(await it.say(LAST_GET)) == 200

    run(conversation())


def test_on_a_unix_socket_the_kernel_says_who_asks(run: Run, tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "admin.sock"))
    sock.listen()

    async def conversation() -> None:
        async with stage(sock=sock) as it:
            assert status(await it.say(LAST_GET)) == 200
            assert it.site.answered[0].peer_uid == os.getuid()

    run(conversation())
