"""CONNECT as a stream of HTTP/2: a tunnel beside others, each with windows of its own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("h2", reason="the h2 library is not installed")

from tests.pki import Ca, Pair
from tests.relay.conversation import ended, heard
from tests.relay.http2 import Speaker, speaking
from tests.relay.test_connect import LOCAL, config, hashed
from tests.relay.test_http2_upgrades import said, say
from tests.relay.test_tls_listener import inline
from tests.relay.tls_peers import client as tls_client
from tests.relay.tls_peers import trusting

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


async def ask(client: Speaker, target: str, *more: tuple[str, str], first: tuple[tuple[str, str], ...] = ()) -> int:
    stream: int = client.h2.get_next_available_stream_id()
    client.h2.send_headers(stream, [(":method", "CONNECT"), *first, (":authority", target), *more])
    await client.flush()
    return stream


async def status(client: Speaker, stream: int) -> str:
    return str(dict((await client.event("ResponseReceived", stream)).headers)[":status"])


def test_tunnels_beside_each_other(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await speaking(w.connect)
        streams, servers = [], []
        for _ in range(3):
            streams.append(await ask(client, up.address, ("sec-websocket-key", "x")))
            servers.append(await up.accept())
            assert await status(client, streams[-1]) == "200"
        for stream, server in zip(streams, servers, strict=True):
            await say(client, stream, b"to %d" % stream)
            await heard(server, b"to %d" % stream)
            await server.send(b"from %d" % stream)
            assert await said(client, stream, len(b"from %d" % stream)) == b"from %d" % stream
        await say(client, streams[0], b"", last=True)
        assert await ended(servers[0])
        servers[0].end()
        await client.event("StreamEnded", streams[0])
        servers[1].reset()
        await client.event("StreamReset", streams[1])
        client.h2.reset_stream(streams[2])
        await client.flush()
        assert not await ended(servers[2])
        await w.until(lambda: w.stats.clusters["direct"].connections_active == 0)

    run(scenario())


def test_what_comes_before_the_answer_waits_for_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await speaking(w.connect)
        stream: int = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", up.address)])
        client.h2.send_data(stream, b"early", end_stream=True)
        await client.flush()
        server = await up.accept()
        await heard(server, b"early")
        assert await ended(server)

    run(scenario())


def test_a_window_holds_the_other_end(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await speaking(w.connect)
        stream = await ask(client, up.address)
        server = await up.accept()
        assert await status(client, stream) == "200"
        await server.send(b"x" * 100_000)
        assert len(await said(client, stream, 65_535, credit=False)) == 65_535
        client.h2.increment_flow_control_window(100_000)
        client.h2.increment_flow_control_window(100_000, stream)
        await client.flush()
        assert len(await said(client, stream, 100_000 - 65_535)) == 100_000 - 65_535

    run(scenario())


def test_who_may_not(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config("db.shop:1", rule={"match": {"hosts": ["127.0.0.1", "db.shop"]}}))
        client = await speaking(w.connect)
        assert await status(client, await ask(client, up.address)) == "403"
        assert await status(client, await ask(client, "127.0.0.2:1")) == "405"
        other = ((":protocol", "connect-udp"), (":scheme", "http"), (":path", "/db.shop"))
        assert await status(client, await ask(client, "db.shop:1", first=other)) == "405"

    run(scenario())


def test_users(run: Run, world: World, upstream: Upstream) -> None:
    """As over HTTP/1: what one stream has said holds for no other one."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL, users=[{"name": "alice", "password": hashed("secret")}]))
        client = await speaking(w.connect)

        def basic(said: str) -> tuple[str, str]:
            return "proxy-authorization", f"Basic {b64encode(said.encode()).decode()}"

        for lines in ([], [basic("alice:wrong")], [basic("bob:secret")], [basic("alice:secret"), basic("bob:x")]):
            stream = await ask(client, up.address, *lines)
            fields = dict((await client.event("ResponseReceived", stream)).headers)
            assert (fields[":status"], "proxy-authenticate" in fields) == ("407", True)
        stream = await ask(client, up.address, basic("alice:secret"))
        server = await up.accept()
        assert await status(client, stream) == "200"
        await say(client, stream, b"hello")
        await heard(server, b"hello")
        assert await status(client, await ask(client, up.address)) == "407"

    run(scenario())


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "CONNECT"), (":authority", "127.0.0.1:1"), (":path", "/")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:1"), (":scheme", "http")],
        [(":method", "CONNECT")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:1"), (":authority", "127.0.0.2:1")],
        [(":method", "CONNECT"), (":authority", "")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:0")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:65536")],
        [(":method", "CONNECT"), (":authority", "alice@127.0.0.1:1")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:1"), ("host", "127.0.0.2:1")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:1"), ("content-length", "1")],
        [(":method", "CONNECT"), (":authority", "127.0.0.1:1"), ("transfer-encoding", "chunked")],
    ],
)
def test_what_is_no_connect(run: Run, world: World, fields: list[tuple[str, str]]) -> None:
    """It gets nowhere."""

    async def scenario() -> None:
        w = world()
        await w.apply(config("127.0.0.0/8:*", "*:*"))
        client = await speaking(w.connect)
        client.h2.config.normalize_outbound_headers = False
        stream: int = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, fields)
        await client.flush()
        answers: list[Any] = []
        while not answers:
            await client.read()
            answers = [each for each in client.events if getattr(each, "stream_id", None) == stream]
        said = dict(answers[0].headers)[":status"] if hasattr(answers[0], "headers") else "reset"
        assert said in ("400", "403", "405", "reset")
        assert w.stats.clusters["direct"].connections_total == 0

    run(scenario())


def test_by_mutual_tls(run: Run, world: World, upstream: Upstream, ca: Ca, books: Pair) -> None:
    """As HBONE has it: who it is says the certificate, and each stream is a connection."""

    async def scenario() -> None:
        w, up = world(), upstream()
        listener = {"tls": {**inline(books), "client_ca": ca.root.read_text()}}
        entries = {"authorize": [{"identities": ["shop/books"]}]}
        await w.apply(config(LOCAL, rule=entries, listener=listener))
        tls = tls_client(await w.connect(), trusting(ca, shown=books, alpn=["h2"]))
        await tls.shake()
        client = Speaker(tls, client=True)
        stream = await ask(client, up.address)
        assert await status(client, stream) == "200"
        server = await up.accept()
        await say(client, stream, b"hello")
        await heard(server, b"hello")
        await w.apply(config(LOCAL, rule={"authorize": [{"identities": ["others.shop"]}]}, listener=listener))
        assert await status(client, await ask(client, up.address)) == "403"
        await server.send(b"still there")
        assert await said(client, stream, 11) == b"still there"

    run(scenario())
