"""The same of connections of HTTP/2 to endpoints: what has ended is freed by counting alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("h2")

from h2.errors import ErrorCodes
from h2.events import StreamReset

from tests.relay.conversation import config, head_of, heard
from tests.relay.h2_peer import H2Peer, reached
from tests.relay.test_http_filters import extended
from tests.relay.test_http_freed import left_by

Run = Callable[[Coroutine[Any, Any, None]], None]
World = Callable[[], Any]
Upstream = Callable[[], Any]
H2 = {"http": {"version": "h2"}}
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"


async def answered(client: Any, server: H2Peer, stream: int) -> None:
    await client.send(b"llo")
    assert await server.body(stream) == b"hello"
    await server.answer(stream)
    await head_of(client)
    await heard(client, b"ok")


async def answered_early(client: Any, server: H2Peer, stream: int) -> None:
    await server.answer(stream)
    await head_of(client)
    await server.event(StreamReset, stream)


async def in_pieces(client: Any, server: H2Peer, stream: int) -> None:
    await client.send(b"llo")
    await server.answer(stream, body=b"one", last=False, length=False)
    await head_of(client)
    await server.data(stream, b"two")
    await server.trailers(stream, [("x-end", "1")])
    await heard(client, b"3\r\none\r\n3\r\ntwo\r\n0\r\nx-end: 1\r\n\r\n")


async def reset(client: Any, server: H2Peer, stream: int) -> None:
    await server.reset(stream, ErrorCodes.INTERNAL_ERROR)
    assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")


async def lost(client: Any, server: H2Peer, stream: int) -> None:
    server.peer.reset()
    assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")


async def broken(client: Any, server: H2Peer, stream: int) -> None:
    await server.peer.send(b"\0\0\x01\x06\0\0\0\0\0x")  # a PING that is no PING
    assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")


async def left(client: Any, server: H2Peer, stream: int) -> None:
    client.reset()
    await server.event(StreamReset, stream)


@pytest.mark.parametrize("filtered", [False, True], ids=["plain", "filtered"])
@pytest.mark.parametrize("end", [answered, answered_early, in_pieces, reset, lost, broken, left])
def test_an_exchange_leaves_nothing_for_the_collector(
    run: Run, world: World, upstream: Upstream, end: Any, filtered: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = extended(up.address, call="Ask", config={"when": "response"}) if filtered else config(up.address)
        said["clusters"]["up"] |= H2
        await w.apply(said)

        async def exchange() -> None:
            client = await w.connect()
            await client.send(PUT)
            server = await reached(up)
            stream, _ = await server.asked()
            await end(client, server, stream)
            client.close()
            server.peer.close()

        assert not await left_by(w, exchange)

    run(scenario())


def test_nor_does_one_for_which_no_connection_could_be_made(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        up.close()
        await w.apply(config(up.address, http=H2["http"]))

        async def exchange() -> None:
            clients = [await w.connect() for _ in range(3)]
            for client in clients:
                await client.send(PUT)
            for client in clients:
                assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
                client.close()

        assert not await left_by(w, exchange)

    run(scenario())


def test_nor_do_those_that_leave_while_it_is_made(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, http=H2["http"]))

        async def exchange() -> None:
            clients = [await w.connect() for _ in range(3)]
            for client in clients:
                await client.send(PUT)
            peer = await up.accept()
            await peer.recv()
            await w.until(lambda: w.stats.clusters["up"].streams_active)
            for client in clients:
                client.reset()
            await w.until(lambda: not w.stats.listeners["in"].connections_active)
            peer.close()

        assert not await left_by(w, exchange)

    run(scenario())
