"""Floods of HTTP/2 against a listener: each is cut off within a thousand frames, others are served meanwhile, little is
kept for whoever floods, and whoever does the same in measure is not cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any

import pytest

from meshproxy.net.conn import LARGE_READ
from meshproxy.relay.http.multiplexed import Multiplexed
from tests.relay.conversation import answered, config, head_of
from tests.relay.raw_h2 import (
    ACK,
    ACKNOWLEDGED,
    CANCEL,
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    START,
    WINDOW_UPDATE,
    Raw,
    data,
    frame,
    headers,
    literal,
    number,
    request,
    settings,
)

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
Flood = Callable[[], Iterator[bytes]]

MOST_FRAMES = 1000
AT_ONCE = 20
"""Frames, or what belongs to a stream, in one segment."""
MOST_KEPT = 512 * 1024
"""Bytes that a connection holds for whoever floods, at most."""

GET = request()
POST = request(method="POST")
RESET = number(CANCEL)
NOTHING = number(0) + b"\0"
SAID = {"match": {"path": {"exact": "/said"}}, "reply": {"status": 200, "body": "hi"}}
RULES = [SAID, {"cluster": "up"}]
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def each(made: Callable[[int], bytes]) -> Flood:
    """For one stream after the other."""
    return lambda: map(made, count(1, 2))


def again(*frames: bytes, first: bytes = b"") -> Flood:
    def flood() -> Iterator[bytes]:
        yield first
        while True:
            yield b"".join(frames)

    return flood


OPEN = headers(1, POST, END_HEADERS)
BEGUN = headers(1, GET[:9], 0)
CRUMBS = GET + literal("cookie", "a=b", 0x40) + b"\xbe" * 10_000
BOMB = GET + literal("a", "b" * 4000, 0x40) + b"\xbe" * 100

FLOODS: dict[str, tuple[str, Flood]] = {
    "rapid reset": ("reset_flood", each(lambda n: headers(n, GET) + frame(RST_STREAM, 0, n, RESET))),
    "rapid reset of bodies": (
        "reset_flood",
        each(lambda n: headers(n, POST, END_HEADERS) + data(n, b"hello", 0) + frame(RST_STREAM, 0, n, RESET)),
    ),
    "made you reset: an increment of nothing": (
        "fault_flood", each(lambda n: headers(n, GET) + frame(WINDOW_UPDATE, 0, n, number(0))),
    ),
    "made you reset: a window that is too large": (
        "fault_flood", each(lambda n: headers(n, GET) + frame(WINDOW_UPDATE, 0, n, number(2**31 - 1))),
    ),
    "made you reset: DATA after the end": ("fault_flood", each(lambda n: headers(n, GET) + data(n, b"hello"))),
    "made you reset: HEADERS after the end": ("fault_flood", each(lambda n: headers(n, GET) * 2)),
    "made you reset: PRIORITY of 4 bytes": (
        "fault_flood", each(lambda n: headers(n, GET) + frame(PRIORITY, 0, n, bytes(4))),
    ),
    "made you reset: a body that is too long": (
        "fault_flood",
        each(lambda n: headers(n, request(("content-length", "1"), method="POST"), END_HEADERS) + data(n, b"hello")),
    ),
    "requests that are none": ("fault_flood", each(lambda n: headers(n, request(("A", "b"))))),
    "names of no length": ("fault_flood", each(lambda n: headers(n, request(("", ""))))),
    "heads of nothing": ("fault_flood", each(lambda n: headers(n, b""))),
    "cookies that unfold": ("fault_flood", each(lambda n: headers(n, CRUMBS))),
    "heads that unfold": ("fault_flood", each(lambda n: headers(n, BOMB))),
    "RST_STREAM of what is over": (
        "late_flood", again(frame(RST_STREAM, 0, 1, RESET), first=OPEN + frame(RST_STREAM, 0, 1, RESET)),
    ),
    "DATA for what is over": ("fault_flood", again(data(1, b"hello", 0), first=OPEN + frame(RST_STREAM, 0, 1, RESET))),
    "streams above the limit": ("refused_flood", each(lambda n: headers(n, request(path="/held")))),
    "CONTINUATION": ("continuation_flood", again(frame(CONTINUATION, 0, 1, b"\x82"), first=BEGUN)),
    "CONTINUATION of 16 KiB": ("continuation_flood", again(frame(CONTINUATION, 0, 1, b"\x82" * 16384), first=BEGUN)),
    "CONTINUATION of nothing": ("continuation_flood", again(frame(CONTINUATION, 0, 1), first=BEGUN)),
    "PING": ("ping_flood", again(frame(PING, 0, 0, bytes(8)))),
    "answers to no PING": ("ping_flood", again(frame(PING, ACK, 0, bytes(8)))),
    "SETTINGS": ("settings_flood", again(settings())),
    "a table that flaps": ("settings_flood", again(settings((1, 0)), settings((1, 4096)))),
    "windows that flap": ("settings_flood", again(settings((4, 0)), settings((4, 65535)), first=OPEN)),
    "acknowledgements": ("settings_flood", again(ACKNOWLEDGED)),
    "a thousand settings": ("settings_flood", again(settings(*[(4, 65535)] * 1000))),
    "PRIORITY": ("priority_flood", again(frame(PRIORITY, 0, 1, NOTHING))),
    "PRIORITY of many": ("priority_flood", each(lambda n: frame(PRIORITY, 0, n, NOTHING))),
    "PRIORITY_UPDATE": ("priority_flood", again(frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=1"))),
    "DATA of nothing": ("empty_flood", again(data(1, b"", 0), first=OPEN)),
    "DATA of padding": ("empty_flood", again(data(1, b"\xff" + bytes(255), PADDED), first=OPEN)),
    "DATA of one byte": ("dribble_flood", again(data(1, b"x", 0), first=OPEN)),
    "WINDOW_UPDATE": ("window_flood", again(frame(WINDOW_UPDATE, 0, 0, number(1)))),
    "WINDOW_UPDATE of a stream": ("window_flood", again(frame(WINDOW_UPDATE, 0, 1, number(1)), first=OPEN)),
    "unknown frames": ("unknown_flood", again(frame(0x55, 0xFF, 1, b"hello"))),
    "GOAWAY": ("unknown_flood", again(frame(GOAWAY, 0, 0, bytes(8)))),
}  # fmt: skip


def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Multiplexed]:
    """Those that begin from now on."""
    found: list[Multiplexed] = []
    begin = Multiplexed.begin

    def remember(session: Multiplexed, data: bytes) -> None:
        found.append(session)
        begin(session, data)

    monkeypatch.setattr(Multiplexed, "begin", remember)
    return found


def kept(session: Multiplexed) -> int:
    """Bytes that a connection holds for its client, or of it."""
    engine = session.engine
    size = sum(map(len, engine.out)) + sum(map(len, session.conn._backlog or ()))
    size += len(engine._rest) + engine._fragmented + engine._decoder.table.size
    for record in engine.streams.values():
        size += sum(map(len, record.kept or ())) + len(getattr(record.user, "_early", b""))
    return size


def pending(session: Multiplexed) -> bool:
    """Whether the kernel has something that was not read."""
    with contextlib.suppress(OSError):
        return bool(session.conn.sock.recv(1, socket.MSG_PEEK))
    return False


def frames_in(said: bytes) -> int:
    found, at = 0, 0
    while at < len(said):
        at += 9 + int.from_bytes(said[at : at + 3], "big")
        found += 1
    return found


class Silent:
    """An endpoint that takes what comes and says nothing."""

    def __init__(self, up: Any) -> None:
        self.accepted: list[Any] = []
        self._task = asyncio.ensure_future(self._accept(up))

    async def _accept(self, up: Any) -> None:
        while True:
            self.accepted.append(await up.accept())


async def is_served(w: Any) -> None:
    other = Raw(await w.connect())
    await other.send(START + headers(1, request(path="/said")))
    await other.until(lambda: other[1].over)
    assert (other[1].status, other[1].body) == (200, b"hi")
    other.peer.close()


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_off(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    word, flood = FLOODS[name]

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=RULES))
        Silent(up)
        found = sessions(monkeypatch)
        client = Raw(await w.connect())
        client.peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await client.send(START + ACKNOWLEDGED)
        await w.until(lambda: found)
        (session,) = found
        reading = asyncio.ensure_future(client.until(lambda: False))
        made, sent = flood(), 0
        while not session.engine.over and sent < 2 * MOST_FRAMES:
            said = b"".join(next(made) for _ in range(AT_ONCE))
            await client.send(said)
            sent += frames_in(said)
            await w.until(lambda: session.engine.over or not pending(session))
            assert kept(session) <= MOST_KEPT
            if sent % (5 * AT_ONCE) == 0:
                await is_served(w)
        assert sent <= MOST_FRAMES
        await reading
        assert client.goaway == ENHANCE_YOUR_CALM
        assert w.stats.listeners["in"].http2[word] == 1
        await is_served(w)
        client.peer.close()
        await w.until(lambda: w.stats.listeners["in"].connections_active == 0)
        await w.until(lambda: w.stats.clusters["up"].connections_active == 0)

    run(scenario())


def test_a_body_that_turns_out_wrong_costs_as_much_as_a_head(run: Run, world: World, upstream: Upstream) -> None:
    """Made you reset, where the endpoint has been asked already."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        silent = Silent(up)
        client = await connected(w)
        wrong = request(("content-length", "1"), method="POST")
        for stream in range(1, 1000, 2):
            await client.send(headers(stream, wrong, END_HEADERS))
            await w.until(lambda stream=stream: len(silent.accepted) > stream >> 1)
            await client.send(data(stream, b"hello"))
            await client.until(lambda stream=stream: client[stream].over)  # type: ignore[misc]
            if client.goaway is not None:
                break
        await client.until(lambda: client.gone)
        assert client.goaway == ENHANCE_YOUR_CALM
        assert len(silent.accepted) <= 101
        assert w.stats.listeners["in"].malformed == {"bad_length": 101}
        assert answered(w) == {"400 DPE": 101}

    run(scenario())


def test_answers_that_nobody_reads_do_not_pile_up(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=RULES))
        found = sessions(monkeypatch)
        client = await connected(w)
        await w.until(lambda: found)
        (session,) = found
        stream = 1
        while not session.engine.over and stream < 200_000:
            asked = request(path="/said", method="HEAD")
            said = b"".join(headers(n, asked) for n in range(stream, stream + 100, 2))
            stream += 100
            await client.send(said)
            await w.until(lambda: session.engine.over or not pending(session))
            assert kept(session) <= MOST_KEPT
        assert session.engine.over
        assert w.stats.listeners["in"].http2["unread_flood"] == 1
        await is_served(w)

    run(scenario())


@pytest.mark.parametrize("window", [0, 1, 65535, 2**31 - 1])
def test_who_takes_none_of_a_hundred_answers_has_a_read_of_each_kept(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(9_000_000)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=RULES))
        found = sessions(monkeypatch)
        client = Raw(await w.connect())
        await client.send(PREFACE + settings((4, window)) + frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1 - 65535)))
        await client.send(b"".join(headers(stream, request()) for stream in range(1, 200, 2)))

        async def give(server: Any) -> None:
            await head_of(server)
            with contextlib.suppress(OSError):
                await server.send(answer)

        giving = [asyncio.ensure_future(give(await up.accept())) for _ in range(100)]
        (session,) = found
        most = 0
        for turn in range(600):
            await asyncio.sleep(0.001 if turn % 4 == 0 else 0)
            if turn > 300 and turn % 10 == 0 and window > 1:
                await client.peer.recv(1 << 16)
            most = max(most, kept(session))
        assert most <= 100 * LARGE_READ + MOST_KEPT
        await is_served(w)
        client.peer.close()
        await asyncio.gather(*giving)
        await w.until(lambda: w.stats.clusters["up"].connections_active == 0)

    run(scenario())


def test_a_negative_window_waits_and_goes_on(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = Raw(await w.connect())
        await client.send(PREFACE + settings((4, 100)) + headers(1, GET))
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200)
        await client.until(lambda: len(client[1].body) == 100)
        await client.send(settings((4, 0)) + frame(WINDOW_UPDATE, 0, 1, number(100)))
        await client.answers()
        assert (len(client[1].body), client[1].over) == (100, False)
        await client.send(frame(WINDOW_UPDATE, 0, 1, number(100)))
        await client.until(lambda: client[1].over)
        assert (client[1].body, client[1].reset) == (b"x" * 200, None)

    run(scenario())


# Honest neighbours


async def connected(w: Any) -> Raw:
    client = Raw(await w.connect())
    client.peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await client.send(START + ACKNOWLEDGED)
    return client


def test_ten_thousand_requests(run: Run, world: World, upstream: Upstream) -> None:
    """Of which each brings a field for the table that none has had before, and windows, and old Firefox's priority."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=RULES))
        client = await connected(w)
        await client.send(b"".join(frame(PRIORITY, 0, stream, NOTHING) for stream in (3, 5, 7, 9, 11, 13)))
        said = request(path="/said")
        for first in range(15, 20_015, 100):
            streams = range(first, first + 100, 2)
            await client.send(
                b"".join(
                    headers(n, said + literal("a", str(n), 0x40))
                    + frame(PRIORITY, 0, n, NOTHING)
                    + frame(WINDOW_UPDATE, 0, 0, number(2))
                    for n in streams
                )
            )
            await client.until(lambda last=streams[-1]: client[last].over)  # type: ignore[misc]
        assert client.goaway is None
        assert answered(w) == {"200": 10_000}
        assert not w.stats.listeners["in"].http2

    run(scenario())


def test_a_thousand_messages_each_way(run: Run, world: World, upstream: Upstream) -> None:
    """As gRPC has them: windows for each, and a PING."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await connected(w)
        await client.send(headers(1, POST, END_HEADERS))
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for turn in range(1, 1001):
            await server.send(b"5\r\nhello\r\n")
            await client.until(lambda turn=turn: len(client[1].body) == 5 * turn)  # type: ignore[misc]
            await client.send(
                data(1, b"\0\0\0\0\0", 0)
                + frame(WINDOW_UPDATE, 0, 0, number(5))
                + frame(WINDOW_UPDATE, 0, 1, number(5))
                + frame(PING, 0, 0, bytes(8))
            )
            await server.recv_exactly(len(b"5\r\nhello\r\n"))
        assert client.goaway is None
        assert not w.stats.listeners["in"].http2

    run(scenario())


def test_who_cancels_when_an_answer_has_begun(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await connected(w)
        for stream in range(1, 1001, 2):
            await client.send(headers(stream, GET))
            server = await up.accept()
            await server.recv()
            await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
            await client.until(lambda stream=stream: client[stream].body)  # type: ignore[misc]
            await client.send(frame(RST_STREAM, 0, stream, RESET))
            server.close()
        await client.answers()
        assert client.goaway is None
        assert not w.stats.listeners["in"].http2
        await w.until(lambda: w.stats.clusters["up"].connections_active == 0)

    run(scenario())
