"""MQTT within WebSocket: who is let in, what comes through, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from meshproxy import plan
from meshproxy.net.conn import Conn
from meshproxy.relay.mqtt.websocket import Violation, WebSocketConn, WebSocketService
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import Limits, RequestCodec
from meshproxy.wire.websocket import BINARY, CLOSE, PING
from meshproxy.wire.websocket_server import unmasked
from tests.conftest import World as TheWorld
from tests.pki import Ca, Pair
from tests.relay.conversation import ended, head_of, heard
from tests.relay.test_tcp import config
from tests.relay.test_tls_listener import inline
from tests.relay.tls_peers import client, trusting

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n" % ACCEPT
)
CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04boat"
FIELDS = {
    "Host": "broker.shop",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY.decode(),
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}


def request(first: str = "GET /mqtt HTTP/1.1", more: str = "", **fields: str | None) -> bytes:
    said: dict[str, str | None] = {**FIELDS, **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = [first, *(f"{name}: {value}" for name, value in said.items() if value is not None)]
    return ("\r\n".join(lines) + f"\r\n{more}\r\n").encode()


def frame(kind: int, data: bytes = b"", *, final: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    size = len(data)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes(((0x80 if final else 0) | kind,)) + length + mask + unmasked(data, mask)


class Session:
    """Takes what comes, in the place of one of MQTT."""

    def __init__(self, room: Room, conn: Conn, origin: Origin) -> None:
        self.room = room
        self.conn = conn
        self.got = [origin.early] if origin.early else []
        self.events: list[str] = []
        self.left = False
        conn.handler = conn.fed_by = self
        conn.read_to(self.got.append)
        room.state.connections.add(self)
        conn.start()

    @property
    def data(self) -> bytes:
        return b"".join(self.got)

    def over(self) -> None:
        self.room.state.closed(self, "done")

    def on_end(self, conn: Any) -> None:
        assert conn is self.conn
        self.events.append("end")

    def on_lost(self, conn: Any, error: OSError | None) -> None:
        assert conn is self.conn
        self.events.append("lost" if error is None else f"lost {error}" if isinstance(error, Violation) else "failed")
        conn.close() if error is None else conn.abort()
        self.over()

    def hold(self) -> None:
        self.events.append("hold")

    def release(self) -> None:
        self.events.append("release")

    def account(self) -> None:
        """Nothing is counted."""

    def leave(self) -> None:
        self.left = True

    def drain(self) -> None:
        self.conn.close()
        self.over()


class Room:
    """Where clients are served, behind a listener of a real worker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Any, **listener: Any) -> None:
        self.sessions: list[Session] = []
        self.paths, self.origins = frozenset((b"/mqtt",)), frozenset(listener.pop("origins", ()))
        self.listener = listener
        self.state: Any = None
        self.w = TheWorld(clock)
        monkeypatch.setattr(plan, "_tcp_service", self.service)

    async def open(self) -> Room:
        await self.w.apply(config("127.0.0.1:1", listener=self.listener))
        return self

    def service(self, _group: Any, _timeouts: Any, state: Any, rim: Any, _telling: Any) -> WebSocketService:
        self.state = state
        codec = RequestCodec(Limits(head=4096))
        date = partial(bytes, b"Date: today\r\n")
        return WebSocketService(self, state, rim.clock, codec, date, 10.0, self.paths, self.origins)

    def behind(self, origin: Origin) -> None:
        """Nobody asks."""

    def start(self, conn: Conn, origin: Origin) -> None:
        self.sessions.append(Session(self, conn, origin))

    async def session(self, number: int = 1) -> Session:
        await self.w.until(lambda: len(self.sessions) >= number)
        return self.sessions[number - 1]

    async def agreed(self, asks: bytes | None = None, then: bytes = b"") -> tuple[Any, Session]:
        peer = await self.w.connect()
        await peer.send((asks or request()) + then)
        await heard(peer, AGREED)
        return peer, await self.session(len(self.sessions) or 1)


Make = Callable[..., Room]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, clock: Any) -> Make:
    return partial(Room, monkeypatch, clock)


async def got(session: Session, data: bytes) -> None:
    """That, and nothing else, has been taken."""
    async with asyncio.timeout(5):
        await session.room.w.until(lambda: len(session.data) >= len(data))
    assert session.data == data
    session.got.clear()


# The request


def in_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("bitwise", [False, True])
def test_bytes_pass_both_ways(run: Run, room: Make, bitwise: bool) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer = await r.w.connect()
        asked = request() + frame(BINARY, CONNECT)
        for piece in in_bytes(asked) if bitwise else [asked]:
            await peer.send(piece)
            await asyncio.sleep(0)
        await heard(peer, AGREED)
        session = await r.session()
        await got(session, CONNECT)
        session.conn.write(b"\x20\x02\x00\x00")
        await heard(peer, b"\x82\x04\x20\x02\x00\x00")
        session.conn.write(bytes(70_000))
        await heard(peer, b"\x82\x7f" + (70_000).to_bytes(8, "big") + bytes(70_000))
        large = os.urandom(60_000)
        await peer.send(frame(BINARY, large[:20_000], final=False) + frame(PING, b"?") + frame(0, large[20_000:]))
        await got(session, large)
        await heard(peer, b"\x8a\x01?")
        conn = session.conn
        assert isinstance(conn, WebSocketConn)
        assert (conn.received, conn.sent) == (len(asked) + 60_000 + 8 + 7 + 8, len(AGREED) + 6 + 70_010 + 3)
        assert conn.local == r.w.address()

    run(scenario())


@pytest.mark.parametrize("first", [CONNECT, b"\x10", b"\x00", b"\x16\x03\x01"])
def test_who_begins_otherwise_is_handed_on_as_he_is(run: Run, room: Make, first: bytes) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer = await r.w.connect()
        await peer.send(first)
        session = await r.session()
        assert type(session.conn) is Conn
        await peer.send(b"more")
        await got(session, first + b"more")

    run(scenario())


@pytest.mark.parametrize(
    ("asks", "status"),
    [
        (request("GET / HTTP/1.1"), 404),
        (request("GET /mqtt/ HTTP/1.1"), 404),
        (request("GET /%6dqtt HTTP/1.1"), 404),
        (request("POST /mqtt HTTP/1.1"), 405),
        (request("HEAD /mqtt HTTP/1.1"), 405),
        (request(Upgrade=None), 426),
        (request(Upgrade="h2c"), 426),
        (request(Connection="keep-alive"), 426),
        (request(Connection=None), 426),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Sec_WebSocket_Version=None), 426),
        (request("GET /mqtt HTTP/1.0"), 426),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ"), 400),
        (request(more=f"Sec-WebSocket-Key: {KEY.decode()}\r\n"), 400),
        (request(Sec_WebSocket_Protocol=None), 400),
        (request(Sec_WebSocket_Protocol="mqttv3.1"), 400),
        (request(Sec_WebSocket_Protocol="MQTT"), 400),
        (request(Content_Length="1"), 400),
        (request(Transfer_Encoding="chunked"), 400),
        (request(Host=None), 400),
        (request(more="Broken\r\n"), 400),
        (request("GET mqtt HTTP/1.1"), 400),
        (request("GET /mqtt HTTP/2.0"), 505),
        (b"GARBAGE\r\n\r\n", 400),
        (request(X="y" * 5000), 431),
        (request(Origin="https://evil.example"), 403),
        (request(Origin="http://broker.shop:8080"), 403),
        (request(Origin="null"), 403),
        (request(Origin="file://"), 403),
        (request(Origin="https://broker.shop", more="Origin: https://broker.shop\r\n"), 403),
    ],
)
def test_who_is_not_let_in(run: Run, room: Make, asks: bytes, status: int) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer = await r.w.connect()
        await peer.send(asks)
        answer = await head_of(peer)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in answer
        assert (b"\r\nAllow: GET\r\n" in answer) == (status == 405)
        assert (b"\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" in answer) == (status == 426)
        await peer.recv_all()
        peer.close()
        stats = r.w.stats.listeners["in"]
        await r.w.until(lambda: stats.rejected["protocol"] == 1)
        assert not r.sessions
        assert (stats.connections_active, r.w.clock.pending) == (0, 0)

    run(scenario())


@pytest.mark.parametrize(
    ("origin", "allowed", "good"),
    [
        (None, (), True),
        ("http://broker.shop", (), True),
        ("https://broker.shop", (), True),
        ("https://BROKER.shop", (), True),
        ("https://broker.shop:443", (), True),
        ("https://broker.shop:444", (), False),
        ("https://broker.shop.evil.example", (), False),
        ("https://evil.example/broker.shop", (), False),
        ("https://panel.example", (b"https://panel.example",), True),
        ("https://broker.shop", (b"https://panel.example",), False),
        ("http://panel.example", (b"https://panel.example",), False),
        (None, (b"https://panel.example",), True),
        ("null", (b"*",), True),
        ("https://anything", (b"*",), True),
    ],
)
def test_pages_of_which_origin(
    run: Run, room: Make, origin: str | None, allowed: tuple[bytes, ...], good: bool
) -> None:
    async def scenario() -> None:
        r = await room(origins=allowed).open()
        peer = await r.w.connect()
        await peer.send(request(Origin=origin))
        assert (await head_of(peer)).startswith(b"HTTP/1.1 101 " if good else b"HTTP/1.1 403 ")

    run(scenario())


@pytest.mark.parametrize(
    "asks",
    [
        request("GET /mqtt?token=x HTTP/1.1"),
        request("GET http://broker.shop/mqtt HTTP/1.1"),
        request(Upgrade="WebSocket"),
        request(Connection="keep-alive, upgrade"),
        request(Sec_WebSocket_Protocol="mqttv3.1, mqtt"),
        request(Sec_WebSocket_Protocol="mqttv3.1", more="Sec-WebSocket-Protocol: mqtt\r\n"),
        request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
    ],
)
def test_who_is_let_in(run: Run, room: Make, asks: bytes) -> None:
    """No extension is agreed on: the answer is the same for all."""

    async def scenario() -> None:
        r = await room().open()
        _, session = await r.agreed(asks, frame(BINARY, b"x"))
        await got(session, b"x")

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"G", request()[:-1]])
def test_who_does_not_say_it_in_time_is_cut_off(run: Run, room: Make, said: bytes) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer = await r.w.connect()
        await peer.send(said)
        stats = r.w.stats.listeners["in"]
        await r.w.until(lambda: stats.connections_active)
        await asyncio.sleep(0.01)
        r.w.clock.advance(10)
        assert not await ended(peer)
        assert stats.rejected["protocol"] == 1
        assert r.w.clock.pending == 0

    run(scenario())


# What comes then


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (frame(1, b"text"), 1003, "text"),
        (frame(3, b"x"), 1002, "reserved_opcode"),
        (b"\x82\x01x", 1002, "unmasked"),
        (b"\xc2\x81\x01\x02\x03\x04x", 1002, "reserved_bits"),
        (frame(0, b"x"), 1002, "bad_continuation"),
        (frame(PING, b"x", final=False), 1002, "bad_control"),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009, "too_large"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_who_breaks_a_rule_is_told_which(
    run: Run, room: Make, data: bytes, code: int, word: str, early: bool
) -> None:
    async def scenario() -> None:
        r = await room().open()
        stats = r.w.stats.listeners["in"]
        if early:
            # With the request: then nobody is bothered with it.
            peer = await r.w.connect()
            await peer.send(request() + frame(BINARY, b"good") + data)
            await heard(peer, AGREED + b"\x88\x02" + code.to_bytes(2, "big"))
            assert await ended(peer)
            peer.close()
            await r.w.until(lambda: stats.rejected["protocol"] == 1)
            assert not r.sessions
            return
        peer, session = await r.agreed()
        await peer.send(frame(BINARY, b"good") + data)
        await heard(peer, b"\x88\x02" + code.to_bytes(2, "big"))
        await ended(peer)
        assert session.data == b"good"
        assert session.events == [f"lost websocket {word}"]
        assert session.conn.closed
        assert stats.connections_active == 0

    run(scenario())


@pytest.mark.parametrize(("said", "answer"), [(b"", b"\x88\x00"), (b"\x03\xe9bye", b"\x88\x02\x03\xe9")])
def test_a_client_that_closes(run: Run, room: Make, said: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        await peer.send(frame(BINARY, b"last") + frame(CLOSE, said) + frame(BINARY, b"after"))
        await got(session, b"last")
        await r.w.until(lambda: session.events == ["end"])
        await peer.send(frame(BINARY, b"after"))
        await asyncio.sleep(0.01)
        assert session.events == ["end"]
        session.conn.write(b"farewell")
        session.conn.end()
        session.conn.write(b"too late")
        await heard(peer, b"\x82\x08farewell" + answer)
        assert await ended(peer)
        peer.end()
        await r.w.until(lambda: session.events == ["end", "lost"])
        assert session.data == b""

    run(scenario())


def test_a_client_that_ends_without_a_word(run: Run, room: Make) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        await peer.send(frame(BINARY, b"abc")[:-1])
        peer.end()
        await got(session, b"ab")
        await r.w.until(lambda: session.events == ["end"])
        session.conn.end()
        await heard(peer, b"\x88\x02\x03\xe8")
        await r.w.until(lambda: session.events == ["end", "lost"])

    run(scenario())


def test_we_close_and_abort(run: Run, room: Make) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        session.conn.write(b"x")
        session.conn.close()
        await heard(peer, b"\x82\x01x\x88\x02\x03\xe8")
        assert await ended(peer)
        assert session.events == []
        session.conn.write(b"y")
        session.conn.close()
        session.conn.abort()
        peer = await r.w.connect()
        await peer.send(request())
        await heard(peer, AGREED)
        (await r.session(2)).conn.abort()
        assert not await ended(peer)

    run(scenario())


def test_a_client_that_fails(run: Run, room: Make) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        peer.reset()
        await r.w.until(lambda: session.events == ["failed"])
        assert session.conn.closed

    run(scenario())


def test_who_does_not_read_is_waited_for_and_owed_one_pong(run: Run, room: Make) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        sent = 0
        while not session.conn.full:
            session.conn.write(bytes(100_000))
            sent += 100_000
        assert session.events == ["hold"]
        for number in range(100):
            await peer.send(frame(PING, b"%d" % number))
        await peer.send(frame(BINARY, b"x"))
        await got(session, b"x")
        found = b""
        async with asyncio.timeout(5):
            while not found.endswith(b"\x8a\x0299"):
                found += await peer.recv()
        assert found.count(b"\x8a\x02") == 1
        assert len(found) == sent + 10 * (sent // 100_000) + 4
        assert session.events == ["hold", "release"]
        assert not session.conn.full

    run(scenario())


def test_it_is_held_and_stopped_as_any_other(run: Run, room: Make) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        for pause, go_on in ((session.conn.hold, session.conn.release), (session.conn.stop, session.conn.start)):
            pause()
            await peer.send(frame(BINARY, b"waits"))
            await asyncio.sleep(0.01)
            assert not session.got
            go_on()
            await got(session, b"waits")

    run(scenario())


def test_within_tls(run: Run, room: Make, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        r = await room(tls={**inline(books), "drain": True}).open()
        tls = client(await r.w.connect(), trusting(ca))
        await tls.shake()
        for piece in in_bytes(request() + frame(BINARY, CONNECT)):
            await tls.send(piece)
        answer = b""
        while len(answer) < len(AGREED):
            answer += await tls.recv()
        assert answer == AGREED
        session = await r.session()
        await got(session, CONNECT)
        session.conn.write(b"hello")
        assert await tls.recv() == b"\x82\x05hello"
        conn = session.conn
        assert isinstance(conn, WebSocketConn)
        conn.leave()
        assert session.left, "who knows only the connection below reaches the one above"
        conn.drain()
        assert await tls.recv() == b"\x88\x02\x03\xe8"

    run(scenario())


def test_idle_ones_leave_nothing_behind(run: Run, room: Make) -> None:
    async def scenario() -> None:
        r = await room().open()
        peer, session = await r.agreed()
        assert r.w.clock.pending == 0
        assert r.state.connections == {session}
        peer.close()
        await r.w.until(lambda: session.events == ["end"])
        session.conn.close()
        session.over()
        assert not r.state.connections

    run(scenario())
