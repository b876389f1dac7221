"""Streams of HTTP/2 that go on as a WebSocket (RFC 8441): of clients, of endpoints, and of both."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from base64 import b64encode
from collections.abc import Callable, Coroutine
from hashlib import sha1
from typing import Any

import pytest

pytest.importorskip("h2")

from h2.events import DataReceived, StreamEnded, StreamReset

from tests.relay.conversation import answered, config, ended, head_of, heard, idle
from tests.relay.h2_peer import H2Peer
from tests.relay.http2 import Speaker, speaking

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CANCEL, NO_ERROR = 8, 0


def accept(key: bytes) -> bytes:
    return b64encode(sha1(key + GUID).digest())


async def offer(client: Speaker, *more: tuple[str, str], protocol: str = "websocket", last: bool = False) -> int:
    """An extended CONNECT."""
    stream: int = client.h2.get_next_available_stream_id()
    first = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", "/chat?a")]
    client.h2.send_headers(stream, [*first, (":authority", "x"), *more], end_stream=last)
    await client.flush()
    return stream


async def offered(server: Any) -> tuple[bytes, bytes]:
    """The head without its key, and the key."""
    head = await head_of(server)
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", head)
    assert found
    return head.replace(found[0], b""), found[1]


def agreeing(key: bytes, *more: bytes) -> bytes:
    return b"".join([
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Sec-WebSocket-Accept: %b\r\n" % accept(key), *[line + b"\r\n" for line in more], b"\r\n",
    ])  # fmt: skip


async def agreed(client: Speaker, stream: int) -> dict[str, str]:
    """The answer to an offer, if it was accepted."""
    fields = dict((await client.event("ResponseReceived", stream)).headers)
    assert fields[":status"] == "200"
    return fields


async def said(client: Speaker, stream: int, size: int, *, credit: bool = True) -> bytes:
    """What comes in DATA."""
    got = b""
    while len(got) < size:
        event = await client.event("DataReceived", stream)
        got += event.data
        if credit and event.flow_controlled_length:
            client.h2.acknowledge_received_data(event.flow_controlled_length, stream)
    await client.flush()
    return got


async def say(client: Speaker, stream: int, data: bytes, *, last: bool = False) -> None:
    client.h2.send_data(stream, data, end_stream=last)
    await client.flush()


async def opened(
    world: World, upstream: Upstream, listener: Any = None, **more: Any
) -> tuple[Any, Speaker, int, Any]:
    """A tunnel from a client's stream to an endpoint, with little room in the kernel."""
    w, up = world(), upstream()
    for room in socket.SO_RCVBUF, socket.SO_SNDBUF:
        up.sock.setsockopt(socket.SOL_SOCKET, room, 65536)
    await w.apply(config(up.address, listener=listener, **more))
    client = await speaking(w.connect)
    stream = await offer(client)
    server = await up.accept()
    _, key = await offered(server)
    await server.send(agreeing(key))
    await agreed(client, stream)
    return w, client, stream, server


def gauges(w: Any) -> tuple[int, int]:
    return w.stats.listeners["in"].connections_active, w.stats.clusters["up"].connections_active


def test_that_it_may_be_offered_is_said(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await speaking(w.connect)
        await client.event("RemoteSettingsChanged")
        assert client.h2.remote_settings.enable_connect_protocol == 1

    run(scenario())


def test_a_stream_becomes_a_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await speaking(w.connect)
        stream = await offer(client, ("sec-websocket-version", "13"), ("sec-websocket-protocol", "a, b"))
        server = await up.accept()
        head, key = await offered(server)
        assert head == (
            b"GET /chat?a HTTP/1.1\r\nHost: x\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: a, b\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        more = b"Sec-WebSocket-Protocol: b", b"Sec-WebSocket-Extensions: permessage-deflate", b"Set-Cookie: a=1"
        await server.send(agreeing(key, *more) + b"first words")
        assert await agreed(client, stream) == {
            ":status": "200",
            "sec-websocket-protocol": "b",
            "sec-websocket-extensions": "permessage-deflate",
            "set-cookie": "a=1",
        }
        assert await said(client, stream, 11) == b"first words"
        await say(client, stream, b"question")
        await heard(server, b"question")
        await say(client, stream, b"", last=True)
        assert await ended(server)
        await server.send(b"answer")
        assert await said(client, stream, 6) == b"answer"
        server.end()
        await client.event("StreamEnded", stream)
        await w.until(lambda: gauges(w) == (1, 0))
        assert answered(w) == {"101": 1}
        # The connection has other streams, before and after.
        other = await client.ask("/other")
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        assert (await client.answer(other))[2] == b"hi"
        client.peer.close()
        await w.until(lambda: w.closed() == {"done": 1})

    run(scenario())


def test_bytes_are_counted_once(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, stream, server = await opened(world, upstream)
        await say(client, stream, b"a" * 1000)
        await heard(server, b"a" * 1000)
        await server.send(b"b" * 3000)
        await said(client, stream, 3000)
        await w.worker.counted()
        of_listener, of_cluster = w.stats.listeners["in"], w.stats.clusters["up"]
        # with heads, frames and windows
        assert 1000 < of_listener.bytes_received_total < 1500
        assert 3000 < of_listener.bytes_sent_total < 3500
        assert 1000 < of_cluster.bytes_sent_total < 1500
        assert 3000 < of_cluster.bytes_received_total < 3500

    run(scenario())


def test_what_comes_early_waits_for_the_change(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await speaking(w.connect)
        stream = await offer(client)
        server = await up.accept()
        _, key = await offered(server)
        await say(client, stream, b"too early", last=True)
        other = await client.ask("/said")  # after which what came before it has been read
        second = await up.accept()
        await head_of(second)
        await second.send(OK)
        await client.answer(other)
        await server.send(agreeing(key))
        await agreed(client, stream)
        await heard(server, b"too early")
        assert await ended(server)
        server.close()
        await client.event("StreamEnded", stream)
        await w.until(lambda: gauges(w)[1] == 1)

    run(scenario())


@pytest.mark.parametrize("status", [b"403 Forbidden", b"426 Upgrade Required", b"302 Found"])
def test_a_refusal_is_an_ordinary_answer(run: Run, world: World, upstream: Upstream, status: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await speaking(w.connect)
        stream = await offer(client)
        server = await up.accept()
        await offered(server)
        await say(client, stream, b"frames for nobody")
        await server.send(b"HTTP/1.1 %b\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nno" % status)
        code, fields, body, _ = await client.answer(stream)
        assert (str(code).encode(), fields["sec-websocket-version"], body) == (status[:3], "13", b"no")
        # The stream is over on both sides, though the client has not ended its own.
        assert (await client.event("StreamReset", stream)).error_code == NO_ERROR
        assert answered(w) == {status[:3].decode(): 1}

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        agreeing(b"another's"),
        agreeing(b"another's").replace(b"websocket", b"h2c"),
    ],
    ids=["200", "200-until-close", "204", "no-accept", "wrong-accept", "other-protocol"],
)
def test_what_does_not_agree_opens_nothing(run: Run, world: World, upstream: Upstream, answer: bytes) -> None:
    """To the client, 200 would say that the protocol has changed (compare CVE-2024-23326)."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await speaking(w.connect)
        stream = await offer(client)
        server = await up.accept()
        await offered(server)
        await server.send(answer)
        assert (await client.answer(stream))[0] == 502
        await client.event("StreamReset", stream)
        assert answered(w) == {"502 UPE": 1}
        assert gauges(w) == (1, idle(w))

    run(scenario())


def test_nothing_of_ours_opens_anything(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=[{"reply": {"status": 200, "body": "fine"}}]))
        client = await speaking(w.connect)
        stream = await offer(client)
        status, _, body, _ = await client.answer(stream)
        assert (status, body) == (502, b"not switched\n")
        assert answered(w) == {"502 UPE": 1}

    run(scenario())


@pytest.mark.parametrize("upgrades", [["chat"], []])
def test_what_is_not_admitted_is_a_tunnel_like_any_other(
    run: Run, world: World, upstream: Upstream, upgrades: list[str]
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"http": {"upgrades": upgrades}}))
        client = await speaking(w.connect)
        stream = await offer(client)
        assert (await client.answer(stream))[0] == 405

    run(scenario())


def test_another_protocol_has_no_key(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"http": {"upgrades": ["chat"]}}))
        client = await speaking(w.connect)
        stream = await offer(client, protocol="chat")
        server = await up.accept()
        head = b"GET /chat?a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
        assert await head_of(server) == head
        await server.send(b"HTTP/1.1 101 Fine\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
        await agreed(client, stream)
        await say(client, stream, b"hello")
        await heard(server, b"hello")

    run(scenario())


def test_a_body_with_the_offer_is_refused(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await speaking(w.connect)
        stream = await offer(client, ("content-length", "5"))
        assert (await client.event("StreamReset", stream)).error_code == 1
        assert w.stats.listeners["in"].malformed["body_not_allowed"] == 1

    run(scenario())


# How it ends


def test_a_reset_of_the_stream_is_a_reset_of_the_endpoint(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, stream, server = await opened(world, upstream)
        client.h2.reset_stream(stream, CANCEL)
        await client.flush()
        assert not await ended(server)
        await w.until(lambda: gauges(w) == (1, 0))

    run(scenario())


def test_a_reset_of_the_endpoint_is_a_reset_of_the_stream(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, stream, server = await opened(world, upstream)
        server.reset()
        assert (await client.event("StreamReset", stream)).error_code == CANCEL
        await w.until(lambda: gauges(w) == (1, 0))

    run(scenario())


def test_trailers_are_a_fault_of_the_stream(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, stream, server = await opened(world, upstream)
        # The library would not say such a thing.
        await client.peer.send(struct.pack("!HBBBI", 0, 1, 1, 0x5, stream) + b"\x88")
        assert (await client.event("StreamReset", stream)).error_code == 1
        assert not await ended(server)
        await w.until(lambda: gauges(w) == (1, 0))

    run(scenario())


@pytest.mark.parametrize("how", ["reset", "end", "broken"])
def test_the_end_of_the_connection_is_a_reset_of_all_tunnels(
    run: Run, world: World, upstream: Upstream, how: str
) -> None:
    async def scenario() -> None:
        w, client, _, server = await opened(world, upstream)
        match how:
            case "reset":
                client.peer.reset()
            case "end":
                client.peer.end()
            case "broken":
                await client.peer.send(b"\xff" * 100)
        assert not await ended(server)
        if how == "broken":
            client.peer.close()
        await w.until(lambda: gauges(w) == (0, 0))

    run(scenario())


def test_a_drain_ends_them_and_a_reload_does_not(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, stream, server = await opened(world, upstream)
        without = config("127.0.0.1:9")
        without["listeners"] = []
        await w.apply(without)
        await client.event("ConnectionTerminated")
        await say(client, stream, b"still here")
        await heard(server, b"still here")
        w.clock.advance(3600)
        assert not await ended(server)
        await w.until(lambda: not w.worker.connections)

    run(scenario())


def test_silence_ends_it_and_not_the_connection(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, stream, server = await opened(world, upstream, listener={"timeouts": {"idle": "60s"}})
        for _ in range(10):
            w.clock.advance(30)
            await say(client, stream, b".")
            await heard(server, b".")
        assert gauges(w) == (1, 1)
        w.clock.advance(80)
        assert await ended(server)
        await client.event("StreamEnded", stream)
        assert (await client.event("StreamReset", stream)).error_code == NO_ERROR
        assert gauges(w) == (1, 0)

    run(scenario())


def test_a_connection_that_is_too_old_goes_with_its_last_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        timeouts = {"idle": "60s", "lifetime": "100s"}
        w, client, stream, server = await opened(world, upstream, listener={"timeouts": timeouts})
        for _ in range(5):
            w.clock.advance(30)
            await say(client, stream, b".")
            await heard(server, b".")
        await client.event("ConnectionTerminated")
        await say(client, stream, b"", last=True)
        assert await ended(server)
        server.close()
        await client.event("StreamEnded", stream)
        assert await ended(client.peer)
        client.peer.close()
        await w.until(lambda: gauges(w) == (0, 0))

    run(scenario())


# How much waits


def test_a_client_that_gives_no_window_holds_the_endpoint(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        _, client, stream, server = await opened(world, upstream)
        data = bytes(range(256)) * 16384  # 4 MiB
        sending = asyncio.create_task(server.send(data))
        got = await said(client, stream, 65535, credit=False)
        for _ in range(150):  # turns of the loop, of which each could take a piece
            client.h2.ping(b"12345678")
            await client.event("PingAckReceived")
        assert not sending.done(), "4 MiB went to somebody who takes 64 KiB"
        client.h2.increment_flow_control_window(len(data))
        client.h2.increment_flow_control_window(len(data), stream)
        await client.flush()
        got += await said(client, stream, len(data) - len(got), credit=False)
        assert got == data
        await sending
        server.end()
        await client.event("StreamEnded", stream)

    run(scenario())


def test_an_endpoint_that_does_not_read_holds_the_client(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        _, client, stream, server = await opened(world, upstream)
        data = bytes(range(256)) * 65536  # 16 MiB
        sent = 0
        while sent < len(data):
            size = min(client.h2.local_flow_control_window(stream), 16384, len(data) - sent)
            if not size:
                break
            await say(client, stream, data[sent : sent + size])
            sent += size
            if client.h2.local_flow_control_window(stream) < 16384:
                # The answer comes after all windows that what was said before it has earned.
                client.h2.ping(b"12345678")
                await client.event("PingAckReceived")
        assert 65536 <= sent < len(data) - 65536, "what nobody reads went on"
        data, got = data[: sent + 65536], b""
        while len(got) < len(data):
            if got and (size := min(client.h2.local_flow_control_window(stream), 16384, len(data) - sent)):
                await say(client, stream, data[sent : sent + size])
                sent += size
            if len(got) < sent:
                got += await server.recv()
            else:
                await client.read()
        assert got == data

    run(scenario())


# Endpoints of HTTP/2

ALLOWED = {8: 1}
"""SETTINGS_ENABLE_CONNECT_PROTOCOL."""
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ASK = (
    b"GET /chat?a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\nOrigin: http://x\r\n\r\n"
) % KEY


def to_h2(*endpoints: str, listener: Any = None) -> dict[str, Any]:
    return config(*endpoints, listener=listener, http={"version": "h2"})


async def asking(
    world: World, upstream: Upstream, ask: bytes = ASK, settings: dict[int, int] = ALLOWED
) -> tuple[Any, Any, H2Peer]:
    w, up = world(), upstream()
    await w.apply(to_h2(up.address))
    client = await w.connect()
    await client.send(ask)
    return w, client, await H2Peer(await up.accept(), settings).begin()


async def tunnelled(world: World, upstream: Upstream) -> tuple[Any, Any, H2Peer, int]:
    w, client, server = await asking(world, upstream)
    stream, _ = await server.asked()
    await server.answer(stream, body=None, last=False)
    await heard(client, switched())
    return w, client, server, stream


def switched(*more: bytes) -> bytes:
    return b"".join([
        b"HTTP/1.1 101 Switching Protocols\r\n", *[line + b"\r\n" for line in more],
        b"Sec-WebSocket-Accept: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % accept(KEY),
    ])  # fmt: skip


async def told(server: H2Peer, stream: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        event = await server.event(DataReceived, stream)
        got += event.data
        server.h2.acknowledge_received_data(event.flow_controlled_length, stream)
    await server.flush()
    return got


def test_a_connection_and_a_stream_become_a_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, server = await asking(world, upstream, ASK + b"too early")
        stream, head = await server.asked()
        del head[b"x-forwarded-for"], head[b"x-forwarded-proto"], head[b"x-request-id"]
        assert head == {
            b":method": b"CONNECT", b":protocol": b"websocket", b":scheme": b"http", b":path": b"/chat?a",
            b":authority": b"x", b"sec-websocket-version": b"13", b"origin": b"http://x",
        }  # fmt: skip
        fields = [("sec-websocket-protocol", "b"), ("sec-websocket-accept", "another's")]
        await server.answer(stream, fields=fields, body=None, last=False)
        await heard(client, switched(b"sec-websocket-protocol: b"))
        assert await told(server, stream, 9) == b"too early"
        await server.data(stream, b"first words")
        await heard(client, b"first words")
        client.end()
        await server.event(StreamEnded, stream)
        await server.data(stream, b"answer", last=True)
        await heard(client, b"answer")
        assert await ended(client)
        await w.until(lambda: w.closed() == {"done": 1})
        assert answered(w) == {"101": 1}
        stats = w.stats.clusters["up"]
        assert (stats.streams_active, stats.streams_total, stats.connections_active) == (0, 1, 1)
        # Its connection goes on.
        client = await w.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stream, _ = await server.asked()
        await server.answer(stream)
        assert (await client.recv()).endswith(b"\r\n\r\nok")

    run(scenario())


def test_a_stream_and_a_stream_become_a_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(to_h2(up.address))
        client = await speaking(w.connect)
        stream = await offer(client, ("sec-websocket-version", "13"))
        server = await H2Peer(await up.accept(), ALLOWED).begin()
        behind, head = await server.asked()
        assert (head[b":method"], head[b":protocol"]) == (b"CONNECT", b"websocket")
        assert not {b"connection", b"upgrade", b"sec-websocket-key"} & {*head}
        await server.answer(behind, fields=[("a", "b")], body=None, last=False)
        assert await agreed(client, stream) == {":status": "200", "a": "b"}
        await say(client, stream, b"question")
        assert await told(server, behind, 8) == b"question"
        await server.data(behind, b"answer", last=True)
        assert await said(client, stream, 6) == b"answer"
        await client.event("StreamEnded", stream)
        await say(client, stream, b"more", last=True)
        assert await told(server, behind, 4) == b"more"
        await server.event(StreamEnded, behind)
        await w.until(lambda: w.stats.clusters["up"].streams_active == 0)

    run(scenario())


@pytest.mark.parametrize("status", [403, 426, 302, 500])
def test_an_endpoint_of_http2_refuses(run: Run, world: World, upstream: Upstream, status: int) -> None:
    async def scenario() -> None:
        w, client, server = await asking(world, upstream)
        stream, _ = await server.asked()
        await server.answer(stream, status, b"no")
        assert (await head_of(client)).startswith(b"HTTP/1.1 %d " % status)
        await heard(client, b"no")
        # It is told that nothing more comes.
        assert (await server.event(StreamReset, stream)).error_code == CANCEL
        assert answered(w) == {str(status): 1}
        assert w.stats.clusters["up"].streams_active == 0

    run(scenario())


@pytest.mark.parametrize("said", [(201, False), (204, True), (200, True)])
def test_what_is_no_agreement_of_an_endpoint_of_http2(
    run: Run, world: World, upstream: Upstream, said: tuple[int, bool]
) -> None:
    async def scenario() -> None:
        w, client, server = await asking(world, upstream)
        stream, _ = await server.asked()
        await server.answer(stream, said[0], None, last=said[1])
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert answered(w) == {"502 UPE": 1}

    run(scenario())


def test_an_endpoint_that_takes_no_such_offer(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, server = await asking(world, upstream, settings={})
        await server.hear()
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        await heard(client, b"no upgrade\n")
        # What is asked otherwise goes there.
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stream, head = await server.asked()
        assert head[b":method"] == b"GET"
        await server.answer(stream)
        assert (await client.recv()).endswith(b"\r\n\r\nok")
        assert answered(w) == {"502 UPE": 1, "200": 1}

    run(scenario())


def test_an_endpoint_that_takes_nothing_at_all(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(to_h2(up.address))
        client = await w.connect()
        await client.send(ASK)

        async def serve() -> None:
            while True:
                server = await H2Peer(await up.accept(), {3: 0, 8: 1}).begin()
                await server.hear()

        serving = asyncio.create_task(serve())
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        serving.cancel()
        assert answered(w) == {"503 UR": 1}

    run(scenario())


@pytest.mark.parametrize(
    "ask",
    [ASK.replace(KEY, KEY[:-4]), ASK.replace(b"GET", b"PUT"), ASK.replace(b"Sec-WebSocket-Key", b"Key")],
    ids=["key", "method", "no-key"],
)
def test_an_offer_that_http2_cannot_pass_on(run: Run, world: World, upstream: Upstream, ask: bytes) -> None:
    async def scenario() -> None:
        w, client, server = await asking(world, upstream, ask)
        await server.hear()
        assert (await head_of(client)).startswith(b"HTTP/1.1 400 ")
        assert answered(w) == {"400 DPE": 1}

    run(scenario())


def test_a_reset_by_the_endpoint_of_http2(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, server, stream = await tunnelled(world, upstream)
        await server.reset(stream, CANCEL)
        assert not await ended(client)
        await w.until(lambda: w.closed() == {"reset": 1})
        assert w.stats.clusters["up"].streams_active == 0

    run(scenario())


def test_a_reset_by_the_client_reaches_the_stream(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, server, stream = await tunnelled(world, upstream)
        client.reset()
        assert (await server.event(StreamReset, stream)).error_code == CANCEL
        await w.until(lambda: w.closed() == {"reset": 1})
        assert w.stats.clusters["up"].connections_active == 1

    run(scenario())


@pytest.mark.parametrize("how", ["end", "reset", "goaway-error", "broken"])
def test_the_end_of_the_endpoints_connection(run: Run, world: World, upstream: Upstream, how: str) -> None:
    async def scenario() -> None:
        w, client, server, stream = await tunnelled(world, upstream)
        match how:
            case "end":
                server.peer.end()
            case "reset":
                server.peer.reset()
            case "goaway-error":
                await server.goaway(stream, 2)
            case "broken":
                await server.peer.send(b"\xff" * 100)
        assert not await ended(client)
        await w.until(lambda: w.closed() == {"reset": 1})
        stats = w.stats.clusters["up"]
        assert (stats.streams_active, stats.connections_active) == (0, 0)

    run(scenario())


def test_an_endpoint_that_goes_keeps_its_tunnels(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, client, server, stream = await tunnelled(world, upstream)
        await server.goaway(stream)
        await server.data(stream, b"still here", last=True)
        await heard(client, b"still here")
        client.close()
        await server.event(StreamEnded, stream)
        assert await server.ended()
        await w.until(lambda: w.closed() == {"done": 1})
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())
