"""What is chosen by ALPN, by an endpoint and for a client, and what becomes of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("h2")

from tests.conftest import FakeClock, Upstream, World
from tests.pki import Ca, Pair
from tests.relay.conversation import answered, head_of, idle
from tests.relay.h2_peer import H2Peer
from tests.relay.http2 import Speaker
from tests.relay.test_tls_listener import inline
from tests.relay.tls_peers import TlsPeer, server, showing, trusting
from tests.relay.tls_peers import client as tls_client

Run = Callable[[Coroutine[Any, Any, None]], None]
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def spoken(ca: Ca, version: str, *endpoints: str, **tls: Any) -> dict[str, Any]:
    said = {"ca": ca.root.read_text(), "sni": "books.shop", **tls}
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": list(endpoints), "tls": said, "http": {"version": version}}},
    }


async def shaken(up: Upstream, books: Pair, *alpn: str) -> TlsPeer:
    async with asyncio.timeout(5):
        accepted = await up.accept()
    accepted.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer = server(accepted, showing(books, alpn=[*alpn]))
    await peer.shake()
    return peer


async def clients_of(w: World, count: int) -> list[Any]:
    clients = []
    for _ in range(count):
        client = await w.connect()
        await client.send(GET)
        clients.append(client)
    return clients


@pytest.mark.parametrize("version", ["h2", "auto"])
def test_an_endpoint_that_chooses_h2(run: Run, clock: FakeClock, ca: Ca, books: Pair, version: str) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(spoken(ca, version, up.address))
        clients = await clients_of(w, 3)
        peer = await H2Peer(await shaken(up, books, "h2", "http/1.1")).begin()
        streams = []
        for _ in clients:
            stream, head = await peer.asked()
            assert head[b":scheme"] == b"https"
            streams.append(stream)
        for stream in streams:
            await peer.answer(stream)
        for client in clients:
            assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
        assert w.stats.clusters["up"].connections_total == 1

    run(scenario())


def test_an_endpoint_that_chooses_http1_has_one_exchange_on_each(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(spoken(ca, "auto", up.address))
        clients = await clients_of(w, 3)
        for _ in range(3):
            peer = await shaken(up, books, "http/1.1")
            assert peer.ssl.selected_alpn_protocol() == "http/1.1"
            assert (await peer.recv()).startswith(b"GET / HTTP/1.1\r\n")
            await peer.send(OK)
        for client in clients:
            assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
        assert idle(w) == 3
        assert w.stats.clusters["up"].streams_total == 0

    run(scenario())


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("h2",)])
def test_an_endpoint_that_need_not_choose(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, alpn: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(spoken(ca, "prior", up.address))
        client = (await clients_of(w, 1))[0]
        peer = await H2Peer(await shaken(up, books, *alpn)).begin()
        stream, head = await peer.asked()
        assert head[b":scheme"] == b"https"
        await peer.answer(stream)
        assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")

    run(scenario())


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
def test_an_endpoint_that_does_not_choose_h2_where_it_has_to(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, alpn: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(spoken(ca, "h2", up.address))
        client = (await clients_of(w, 1))[0]
        with suppress(ConnectionError):
            await shaken(up, books, *alpn)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert answered(w) == {"503 UF": 1}
        assert w.stats.clusters["up"].handshakes["not_chosen"] == 1
        assert any("not chosen (h2)" in line for line in w.logged)

    run(scenario())


def test_an_endpoint_that_changes_its_mind(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(spoken(ca, "auto", up.address))
        for alpn in ("http/1.1", "h2", "http/1.1"):
            client = (await clients_of(w, 1))[0]
            peer = await shaken(up, books, alpn)
            if alpn == "h2":
                h2 = await H2Peer(peer).begin()
                await h2.answer((await h2.asked())[0])
                assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
                await h2.goaway(1)
            else:
                await peer.recv()
                await peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
            await w.until(lambda: not idle(w))

    run(scenario())


@pytest.mark.parametrize("alpn", [None, ["h2"]])
def test_a_client_may_begin_with_http2_where_nothing_was_chosen(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, alpn: list[str] | None
) -> None:
    async def scenario() -> None:
        w = World(clock)
        listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", "tls": inline(books)}
        await w.apply({"listeners": [listener], "routes": {"web": [{"reply": {"status": 204}}]}})
        tls = tls_client(await w.connect(), trusting(ca, alpn=alpn))
        await tls.shake()
        assert tls.ssl.selected_alpn_protocol() == (alpn and alpn[0])
        speaker = Speaker(tls, client=True)
        stream = await speaker.ask()
        assert (await speaker.answer(stream))[0] == 204

    run(scenario())
