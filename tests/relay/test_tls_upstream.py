"""Endpoints that speak TLS, held in the hands of a test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.conftest import FakeClock, Upstream, World
from tests.pki import Ca, Pair
from tests.relay.conversation import IDENTITY, answered, ended
from tests.relay.tls_peers import TlsPeer, server, showing

Run = Callable[[Coroutine[Any, Any, None]], None]
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def http(ca: Ca, *endpoints: Any, tls: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    said = {"ca": ca.root.read_text(), "sni": "books.shop", **(tls or {})}
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": list(endpoints), "tls": said, **cluster}},
    }


def tcp(ca: Ca, *endpoints: Any, **cluster: Any) -> dict[str, Any]:
    said = http(ca, *endpoints, **cluster)
    del said["routes"]
    said["listeners"] = [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}]
    return said


def handshakes(w: World) -> dict[str, int]:
    return dict(w.stats.clusters["up"].handshakes)


async def reached(up: Upstream, context: ssl.SSLContext) -> TlsPeer:
    peer = server(await up.accept(), context)
    await peer.shake()
    return peer


async def serves(peer: TlsPeer, answer: bytes = OK) -> None:
    assert IDENTITY.sub(b"", await peer.recv()) == GET
    await peer.send(answer)


def test_one_connection_carries_many_requests_and_another_resumes_its_session(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address))
        asking, context = await w.connect(), showing(books)
        await asking.send(GET)
        peer = await reached(up, context)
        assert peer.ssl.selected_alpn_protocol() is None
        await serves(peer)
        assert await asking.recv() == OK
        await asking.send(GET)
        await serves(peer, LAST)
        assert (await asking.recv()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await peer.recv() == b"", "it says that it ends"
        await asking.send(GET)
        again = await reached(up, context)
        assert again.ssl.session_reused
        await serves(again)
        assert await asking.recv() == OK
        assert handshakes(w) == {"full": 1, "resumed": 1}

    run(scenario())


def test_sessions_are_not_resumed_where_that_is_not_wanted(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address, tls={"resume": False}))
        asking, context = await w.connect(), showing(books)
        for _ in range(2):
            await asking.send(GET)
            await serves(await reached(up, context), LAST)
            assert (await asking.recv()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert handshakes(w) == {"full": 2}

    run(scenario())


def test_what_is_asked_for(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    own = ca.issue("shop/web", roles=["client"])
    asked: list[Any] = []

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        shown = {"certificate": own.certificate.read_text(), "key": own.key.read_text()}
        await w.apply(http(ca, up.address, tls={**shown, "alpn": ["http/1.1", "x"]}))
        context = showing(books, ca, alpn=["x", "http/1.1"])
        context.sni_callback = lambda _, name, __: asked.append(name)
        asking = await w.connect()
        await asking.send(GET)
        peer = await reached(up, context)
        assert asked == ["books.shop"]
        assert peer.ssl.selected_alpn_protocol() == "x"
        seen = peer.ssl.getpeercert()
        assert seen is not None
        assert seen["subjectAltName"] == (("URI", "spiffe://cluster.local/ns/shop/sa/web"),)
        await serves(peer)
        assert await asking.recv() == OK

    run(scenario())


def test_the_name_of_an_endpoint_is_asked_for_and_its_identity_demanded(run: Run, clock: FakeClock, ca: Ca) -> None:
    asked: list[Any] = []

    async def scenario() -> None:
        w, one, other = World(clock), Upstream(), Upstream()
        endpoints = [
            {"address": f"localhost:{one.address.rpartition(':')[2]}"},
            {"address": other.address, "identity": "shop/toys"},
        ]
        await w.apply(http(ca, *endpoints, tls={"sni": None}))
        asking = await w.connect()
        for up, pair in ((one, ca.issue(dns=["localhost"])), (other, ca.issue("shop/toys"))):
            context = showing(pair)
            context.sni_callback = lambda _, name, __: asked.append(name)
            await asking.send(GET)
            await serves(await reached(up, context), LAST)
            assert (await asking.recv()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert asked == ["localhost", None]

    run(scenario())


def test_who_proves_to_be_somebody_else_gets_nothing_and_another_is_tried(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, bad, good = World(clock), Upstream(), Upstream()
        await w.apply(http(ca, bad.address, good.address, tls={"names": ["shop/books"]}))
        asking = await w.connect()
        await asking.send(GET)
        thief = server(await bad.accept(), showing(ca.issue("shop/thief", dns=["books.shop"])))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await thief.shake()
            await thief.recv()
        await serves(await reached(good, showing(books)))
        assert await asking.recv() == OK
        assert handshakes(w) == {"wrong_name": 1, "full": 1}
        assert w.stats.clusters["up"].connect_failures_total == 1

    run(scenario())


def test_connecting_and_shaking_hands_have_one_timeout(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address, connect_timeout="3s"))
        asking = await w.connect()
        await asking.send(GET)
        silent = await up.accept()
        assert (await silent.recv())[:1] == b"\x16"
        clock.advance(2.9)
        assert not handshakes(w)
        clock.advance(0.2)
        assert (await asking.recv()).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert handshakes(w) == {"timeout": 1}
        await ended(silent)

    run(scenario())


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "plain"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "alert"),
        (b"", "closed"),
    ],
)
def test_what_does_not_speak_tls(run: Run, clock: FakeClock, ca: Ca, said: bytes, word: str) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address))
        asking = await w.connect()
        await asking.send(GET)
        peer = await up.accept()
        await peer.recv()
        if said:
            await peer.send(said)
        peer.end()
        assert (await asking.recv()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert handshakes(w) == {word: 1}

    run(scenario())


def test_who_leaves_in_the_middle_of_a_handshake_ends_it(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address))
        asking = await w.connect()
        await asking.send(GET)
        peer = await up.accept()
        await peer.recv()
        asking.close()
        assert not await ended(peer)
        await w.until(lambda: not w.stats.clusters["up"].connections_active)
        assert answered(w)
        assert not handshakes(w)

    run(scenario())


@pytest.mark.parametrize("how", ["length", "chunks", "until the end"])
def test_an_answer_that_is_cut_is_not_taken_for_a_whole_one(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, how: str
) -> None:
    begun = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "until the end": b"HTTP/1.1 200 OK\r\n\r\nhalf",
    }[how]

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address))
        asking = await w.connect()
        await asking.send(GET)
        peer = await reached(up, showing(books))
        await serves(peer, begun)
        got = b""
        while b"half" not in got:
            got += await asking.recv()
        peer.peer.close()
        assert not await ended(asking)

    run(scenario())


def test_an_answer_until_the_end_is_whole_if_the_end_is_said(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(ca, up.address))
        asking = await w.connect()
        await asking.send(GET)
        peer = await reached(up, showing(books))
        await serves(peer, b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await peer.end()
        assert (await asking.recv_all()).endswith(b"\r\n\r\nall of it")

    run(scenario())


def test_who_speaks_first_is_heard(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    """What an endpoint says with the last word of the handshake reaches the client."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(ca, up.address))
        asking = await w.connect()
        peer = server(await up.accept(), showing(books))
        while not peer.step():
            await peer.flush()
            await peer.hear()
        await peer.peer.send(peer.said() + peer.say(b"220 welcome\r\n"))
        assert await asking.recv() == b"220 welcome\r\n"
        await asking.send(b"HELO\r\n")
        assert await peer.recv() == b"HELO\r\n"
        asking.end()
        assert await peer.recv() == b""
        await peer.send(b"221 bye\r\n")
        await peer.end()
        assert await asking.recv_all() == b"221 bye\r\n"
        await w.until(lambda: w.closed() == {"done": 1})

    run(scenario())


def test_checks_speak_it_too(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    foreign = ca.issue(dns=["toys.shop"])

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        said = http(ca, up.address, health={"path": "/ready", "unhealthy_after": 1, "healthy_after": 1})

        async def checked(context: ssl.SSLContext) -> None:
            peer = server(await up.accept(), context)
            try:
                await peer.shake()
                assert (await peer.recv()).startswith(b"GET /ready HTTP/1.1\r\n")
                await peer.send(LAST)
            except (ssl.SSLError, EOFError, ConnectionError):
                return

        applying = asyncio.ensure_future(w.apply(said))
        await checked(showing(books))
        await applying
        checks = w.fleet.fitness.checks
        (key,) = checks.known
        assert checks.known[key]
        looking = asyncio.ensure_future(checked(showing(foreign)))
        while checks.known[key]:
            clock.advance(0.5)
            await asyncio.sleep(0.005)
        await looking
        assert not checks.known[key]

    run(scenario())
