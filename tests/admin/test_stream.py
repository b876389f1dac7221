"""Answers that go on: who reads them, who does not, who leaves, and how they end."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshproxy.admin import stream
from meshproxy.admin.http import Limits, Request, Response, Server
from meshproxy.admin.live import NUMBERS, Ticker, second_of, told_to
from meshproxy.admin.stream import HEARTBEAT, MOST_BYTES, Feed, Stream
from meshproxy.observe.log import Log

ONE_LOOP = True

Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
PLAIN = b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_PLAIN = b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Source:
    """Has a stream for everybody, and knows who takes part."""

    def __init__(self) -> None:
        self.feeds: list[Feed] = []
        self.begun = 0

    def admit(self, request: Request) -> Response | None:
        return Response(401, b"who are you?\n") if request.path == "/denied" else None

    async def answer(self, request: Request) -> Response | Stream:
        return Stream(self.begin) if request.path != "/plain" else Response(body=b"{}")

    def begin(self, feed: Feed) -> Callable[[], None]:
        self.begun += 1
        self.feeds.append(feed)
        return lambda: self.feeds.remove(feed)


class Reader:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readline() == b"\r\n"
        return data

    async def rest(self) -> bytes:
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b"(reset)"


class Stage:
    def __init__(self, server: Server, site: Source, address: tuple[str, int]) -> None:
        self.server, self.site, self.address = server, site, address
        self.writers: list[asyncio.StreamWriter] = []

    async def ask(self, head: bytes = GET, *, buffer: int = 65536) -> Reader:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        reader, writer = await asyncio.open_connection(sock=sock, limit=buffer)
        self.writers.append(writer)
        writer.write(head)
        return Reader(reader, writer)

    async def feed(self, number: int = 0) -> Feed:
        await until(lambda: len(self.site.feeds) > number)
        return self.site.feeds[number]

    async def nobody_reads(self) -> None:
        await until(lambda: not self.site.feeds)


@asynccontextmanager
async def stage(limits: Limits = Limits()) -> AsyncIterator[Stage]:  # noqa: B008
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    site, lines = Source(), list[str]()
    server = Server(site, Log(lines.append), limits)
    server.listen([sock])
    it = Stage(server, site, sock.getsockname())
    try:
        yield it
        assert lines == []
    finally:
        await server.close(grace=0)
        for writer in it.writers:
            writer.transport.abort()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def test_events_arrive_as_they_happen_and_then_it_ends(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask()
            head = await reader.head()
            assert b"200" in head.splitlines()[0]
            for field in (b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked", b"no-store"):
                assert field in head
            feed = await it.feed()
            feed.tell("exchange", b'{"a":1}')
            assert await reader.chunk() == b'event: exchange\ndata: {"a":1}\n\n'
            feed.tell("exchange", b"2")
            feed.tell("exchange", b"3")
            assert await reader.chunk() == b"event: exchange\ndata: 2\n\nevent: exchange\ndata: 3\n\n"
            feed.tell("exchange", b"4")
            feed.end()
            assert not feed.tell("exchange", b"5")
            assert await reader.rest() == b"19\r\nevent: exchange\ndata: 4\n\n\r\n0\r\n\r\n"
            await it.nobody_reads()

    run(conversation())


def test_a_reader_of_http_1_0_gets_no_chunks(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask(b"GET /x HTTP/1.0\r\n\r\n")
            (await it.feed()).tell("exchange", b"1")
            (await it.feed()).end()
            assert (await reader.rest()).endswith(b"\r\n\r\nevent: exchange\ndata: 1\n\n")

    run(conversation())


def test_head_begins_nothing(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask(GET.replace(b"GET", b"HEAD"))
            answer = await reader.rest()
            assert (b"text/event-stream" in answer, answer.endswith(b"\r\n\r\n")) == (True, True)
            assert it.site.begun == 0

    run(conversation())


def test_who_is_denied_begins_nothing(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask(LAST_PLAIN.replace(b"/plain", b"/denied"))
            assert b" 401 " in await reader.rest()
            assert it.site.begun == 0

    run(conversation())


def test_silence_is_broken_by_a_comment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.01)

    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask()
            await reader.head()
            assert [await reader.chunk(), await reader.chunk()] == [HEARTBEAT, HEARTBEAT]

    run(conversation())


@pytest.mark.parametrize("way", ["eof", "reset"])
def test_a_reader_that_leaves_is_told_nothing_more(run: Run, way: str) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask()
            feed = await it.feed()
            if way == "eof":
                reader.writer.write_eof()
            else:
                reader.writer.transport.abort()
            await it.nobody_reads()
            assert not feed.tell("exchange", b"1")
            await until(lambda: it.server.connections == 0)

    run(conversation())


def test_what_a_reader_says_meanwhile_is_not_heard(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask(GET + GET + b"x" * 100_000)
            feed = await it.feed()
            feed.tell("exchange", b"1")
            feed.end()
            assert (await reader.rest()).count(b"HTTP/1.1") == 1
            assert it.site.begun == 1

    run(conversation())


def test_who_is_slow_loses_events_and_is_told_how_many(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader = await it.ask(buffer=4096)
            feed = await it.feed()
            piece = b"x" * 10_000
            told = sum(feed.tell("exchange", piece) for _ in range(MOST_BYTES // len(piece) + 50))
            feed.end()
            heard = await reader.rest()
            assert heard.count(b"event: exchange") == told
            assert told < MOST_BYTES // len(piece) + 50
            (lost,) = re.findall(rb'event: lost\ndata: \{"count":(\d+)\}', heard)
            assert int(lost) == MOST_BYTES // len(piece) + 50 - told

    run(conversation())


def test_who_takes_nothing_is_cut(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(stream_seconds=0.05)) as it:
            await it.ask(buffer=4096)
            feed = await it.feed()
            while feed in it.site.feeds:
                feed.tell("exchange", b"x" * 60_000)
                await asyncio.sleep(0.001)
            await until(lambda: it.server.connections == 0)

    run(conversation())


def test_one_too_many_is_refused_until_another_leaves(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(streams=2)) as it:
            first = await it.ask()
            await it.ask()
            await it.feed(1)
            third = await it.ask(GET + LAST_PLAIN)
            answer = await third.rest()
            assert b" 503 " in answer
            assert b"there are 2 streams already" in answer
            assert b" 200 " in answer, "what is no stream is answered, on the same connection too"
            first.writer.close()
            await until(lambda: len(it.site.feeds) == 1)
            await it.ask()
            await it.feed(1)

    run(conversation())


def test_a_stream_makes_no_way_for_a_new_connection(run: Run) -> None:
    async def conversation() -> None:
        async with stage(Limits(connections=2)) as it:
            await it.ask()
            await it.feed()
            await it.ask(b"")
            await until(lambda: it.server.connections == 2)
            assert b" 200 " in await (await it.ask(LAST_PLAIN)).rest()
            assert len(it.site.feeds) == 1

    run(conversation())


def test_streams_end_whole_when_the_server_closes(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            reader, late = await it.ask(), await it.ask(PLAIN)
            (await it.feed()).tell("exchange", b"1")
            await late.head()
            it.server.stop_listening()
            assert (await reader.rest()).endswith(b"event: exchange\ndata: 1\n\n\r\n0\r\n\r\n")
            late.writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert b" 503 " in await late.rest()

    run(conversation())


# What is told


class NearlyASecond:
    """Each second begins in a moment."""

    def wall(self) -> float:
        return 1_700_000_000.095

    def now(self) -> float:
        return 0.0

    def after(self, seconds: float, action: Callable[[], None]) -> Any:
        raise AssertionError("nobody asks")


def test_seconds_are_asked_for_once_for_all_and_only_while_somebody_watches(run: Run) -> None:
    asked: list[int] = []

    async def second() -> dict[str, Any]:
        asked.append(1)
        return {"time": len(asked)}

    async def conversation() -> None:
        ticker = Ticker(second, NearlyASecond())
        one, other = Feed(), Feed()
        leave = ticker.watch(one), ticker.watch(other)
        assert await one.take() == await other.take() == b'event: second\ndata: {"time":1}\n\n'
        leave[0]()
        await other.take()
        leave[1]()
        await until(lambda: ticker._runs is None)
        count = len(asked)
        again = Feed()
        ticker.watch(again)
        await again.take()
        assert len(asked) == count + 1

    run(conversation())


def test_if_a_second_cannot_be_had_the_stream_ends_and_may_be_asked_for_again(run: Run) -> None:
    async def second() -> dict[str, Any]:
        raise OSError("no room")

    async def conversation() -> None:
        ticker, feed = Ticker(second, NearlyASecond()), Feed()
        ticker.watch(feed)
        runs: Any = ticker._runs
        assert await feed.take() == b""
        assert ticker._runs is None
        with pytest.raises(OSError, match="no room"):
            await runs

    run(conversation())


def test_the_last_second_of_a_window() -> None:
    def numbers(last: int) -> dict[str, Any]:
        return {**{name: [0, last] for name in NUMBERS}, "summary": {"rate": 1.0}}

    window = {
        "window_seconds": 2, "end": 1_700_000_000, "workers": 2, "total": numbers(3),
        "listeners": {"web": numbers(2)}, "clusters": {"books": numbers(1)}, "routes": {},
    }  # fmt: skip
    assert second_of(window) == {
        "time": 1_700_000_000,
        "total": dict.fromkeys(NUMBERS, 3),
        "listeners": {"web": dict.fromkeys(NUMBERS, 2)},
        "clusters": {"books": dict.fromkeys(NUMBERS, 1)},
        "routes": {},
    }


def test_a_tap_ends_when_it_has_shown_as_many_as_were_asked_for(run: Run) -> None:
    async def conversation() -> None:
        feed = Feed()
        told = told_to(feed, 3)
        told([b"1", b"2"], 4)
        assert await feed.take() == b'event: exchange\ndata: 1\n\nevent: exchange\ndata: 2\n\n' + (
            b'event: lost\ndata: {"count":4}\n\n'
        )
        told([b"3", b"4"], 1)
        told([b"5"], 1)
        assert [await feed.take(), await feed.take()] == [b"event: exchange\ndata: 3\n\n", b""]

    run(conversation())
