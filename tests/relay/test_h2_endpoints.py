"""HTTP/2 to endpoints, as conversations: what they are asked and answer, and what else they may do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("h2")

from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset

from meshproxy.relay.http.link import Link
from tests.relay.conversation import answered, config, head_of, heard, idle
from tests.relay.h2_peer import reached
from tests.relay.test_http_filters import extended

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
World = Callable[[], Any]
Upstream = Callable[[], Any]

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def h2(*endpoints: str, **said: Any) -> dict[str, Any]:
    http2 = {key: said.pop(key) for key in ("max_streams", "window", "connection_window", "ping") if key in said}
    return config(*endpoints, http={"version": "h2", "http2": http2}, **said)


async def got(client: Any, words: bytes) -> None:
    """As `heard`, whatever the case of names."""
    data = b""
    async with asyncio.timeout(5):
        while len(data) < len(words):
            more = await client.recv(len(words) - len(data))
            assert more, f"ended after {data!r}"
            data += more
    assert data.lower() == words.lower()


async def asks(w: Any, request: bytes = GET) -> Any:
    client = await w.connect()
    await client.send(request)
    return client


def test_requests_on_one_connection(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        stream, head = await server.asked()
        assert stream == 1
        del head[b"x-forwarded-for"], head[b"x-forwarded-proto"], head[b"x-request-id"]
        assert head == {
            b":method": b"GET", b":scheme": b"http", b":path": b"/a?b", b":authority": b"x", b"accept": b"text/plain",
        }
        await server.answer(stream)
        await got(client, OK)
        assert idle(w) == 1
        for number in (3, 5):
            await client.send(GET)
            stream, _ = await server.asked()
            assert stream == number
            await server.answer(stream)
            await got(client, OK)
        stats = w.stats.clusters["up"]
        assert (stats.connections_total, stats.streams_total, stats.streams_active) == (1, 3, 0)
        assert answered(w) == {"200": 3}

    run(scenario())


def test_exchanges_share_a_connection_that_is_being_made(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        clients = [await asks(w) for _ in range(20)]
        server = await reached(up)
        streams = [(await server.asked())[0] for _ in clients]
        assert w.stats.clusters["up"].streams_active == 20
        for stream in reversed(streams):
            await server.answer(stream)
        for client in clients:
            await got(client, OK)
        assert w.stats.clusters["up"].connections_total == 1
        assert idle(w) == 1

    run(scenario())


def test_an_endpoint_that_takes_few_gets_more_connections(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        clients = [await asks(w) for _ in range(5)]
        servers = []
        left = 5
        while left:
            server = await reached(up, max_concurrent_streams=2)
            servers.append(server)
            for _ in range(min(left, 2)):
                await server.asked()
                left -= 1
        assert len(servers) == 3
        for server, streams in zip(servers, ((1, 3), (1, 3), (1,)), strict=True):
            for stream in streams:
                await server.answer(stream)
        for client in clients:
            await got(client, OK)
        assert w.stats.clusters["up"].connections_total == 3

    run(scenario())


def test_a_body_goes_and_comes_in_frames(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        server = await reached(up)
        stream, head = await server.asked()
        assert head[b"content-length"] == b"6"
        await client.send(b"def")
        assert await server.body(stream) == b"abcdef"
        await server.answer(stream, body=b"first", last=False, length=False)
        assert (await head_of(client)).lower() == b"http/1.1 200 ok\r\ntransfer-encoding: chunked\r\n\r\n"
        await heard(client, b"5\r\nfirst\r\n")
        await server.data(stream, b"second", last=True)
        await heard(client, b"6\r\nsecond\r\n0\r\n\r\n")
        assert idle(w) == 1

    run(scenario())


def test_chunks_and_trailers_both_ways(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        from h2.events import TrailersReceived

        w, up = world(), upstream()
        await w.apply(h2(up.address))
        body = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        server = await reached(up)
        stream, head = await server.asked()
        assert b"transfer-encoding" not in head
        trailers = await server.event(TrailersReceived, stream)
        assert list(trailers.headers) == [(b"x-sum", b"1")]
        assert await server.body(stream) == b"abc"
        await server.answer(stream, body=b"data", last=False, length=False)
        await server.trailers(stream, [("x-end", "2")])
        await head_of(client)
        await heard(client, b"4\r\ndata\r\n0\r\nx-end: 2\r\n\r\n")

    run(scenario())


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(run: Run, world: World, upstream: Upstream, status: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0], status, None)
        assert (await head_of(client)).startswith(b"HTTP/1.1 %d " % status)
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.answer((await server.asked())[0], 200, None, [("content-length", "9")])
        assert b"content-length: 9" in (await head_of(client)).lower()
        await client.send(GET)
        await server.answer((await server.asked())[0])
        await got(client, OK)

    run(scenario())


def test_interim_heads_go_on(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        server = await reached(up)
        stream, head = await server.asked()
        assert head[b"expect"] == b"100-continue"
        server.h2.send_headers(stream, [(":status", "100")])
        await server.flush()
        await heard(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.send(b"hi")
        assert await server.body(stream) == b"hi"
        await server.answer(stream)
        await got(client, OK)

    run(scenario())


def test_an_answer_before_the_request_is_whole(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        server = await reached(up)
        stream, _ = await server.asked()
        await server.answer(stream, 413, b"no")
        assert (await head_of(client)).startswith(b"HTTP/1.1 413 ")
        assert (await server.event(StreamReset, stream)).error_code == ErrorCodes.CANCEL
        other = await asks(w)
        await server.answer((await server.asked())[0])
        await got(other, OK)
        assert answered(w) == {"413": 1, "200": 1}

    run(scenario())


def test_a_client_that_leaves_resets_its_stream_alone(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        leaving, staying = await asks(w), await asks(w)
        server = await reached(up)
        first, second = [(await server.asked())[0] for _ in range(2)]
        leaving.reset()
        assert (await server.event(StreamReset, first)).error_code == ErrorCodes.CANCEL
        await server.answer(second)
        await got(staying, OK)
        assert idle(w) == 1

    run(scenario())


def test_a_stream_that_is_reset_fails_its_exchange_alone(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        failing, staying = await asks(w), await asks(w)
        server = await reached(up)
        first, second = [(await server.asked())[0] for _ in range(2)]
        await server.reset(first, ErrorCodes.INTERNAL_ERROR)
        assert (await head_of(failing)).startswith(b"HTTP/1.1 502 ")
        await server.answer(second)
        await got(staying, OK)
        assert answered(w) == {"502 UC": 1, "200": 1}

    run(scenario())


def test_what_is_cut_does_not_look_whole(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        await server.answer(stream, body=b"some", last=False, length=False)
        await head_of(client)
        await heard(client, b"4\r\nsome\r\n")
        await server.reset(stream, ErrorCodes.NO_ERROR)
        with pytest.raises(ConnectionError):
            await client.recv()

    run(scenario())


@pytest.mark.parametrize("how", ["too_short", "too_long", "field"])
def test_an_answer_that_is_malformed(run: Run, world: World, upstream: Upstream, how: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        server.h2.config.validate_outbound_headers = server.h2.config.normalize_outbound_headers = False
        stream, _ = await server.asked()
        if how == "field":
            await server.answer(stream, body=None, fields=[("connection", "close")])
        else:
            said = {"too_short": "9", "too_long": "1"}[how]
            await server.answer(stream, body=b"ok", fields=[("content-length", said)], length=False)
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert sum(w.stats.clusters["up"].malformed.values()) == 1
        again = await asks(w)
        await server.answer((await server.asked())[0])
        await got(again, OK)

    run(scenario())


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_refused_stream_is_asked_again(run: Run, world: World, upstream: Upstream, method: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w, method + b" / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        server = await reached(up)
        stream, _ = await server.asked()
        await server.body(stream)
        server.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        await server.flush()
        other = await reached(up)
        stream, _ = await other.asked()
        assert await other.body(stream) == b"hi"
        await other.answer(stream)
        await got(client, OK)
        assert w.stats.clusters["up"].retries_total == 1
        assert answered(w) == {"200": 1}
        # Nothing was under way there: it is of no use.
        assert await server.ended()

    run(scenario())


def test_who_refuses_everything_is_not_asked_for_ever(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        for _ in range(3):
            server = await reached(up)
            await server.reset((await server.asked())[0], ErrorCodes.REFUSED_STREAM)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert answered(w) == {"503 UR": 1}

    run(scenario())


def test_goaway(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        first, second = await asks(w), await asks(w)
        server = await reached(up)
        one, two = [(await server.asked())[0] for _ in range(2)]
        await server.goaway(one)
        other = await reached(up)
        stream, _ = await other.asked()
        await other.answer(stream)
        await got(second, OK)
        await server.answer(one)
        await got(first, OK)
        assert await server.ended()
        assert idle(w) == 1
        assert two == 3

    run(scenario())


def test_goaway_with_an_error_ends_what_is_under_way(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        server = await reached(up)
        stream, _ = await server.asked()
        await server.goaway(stream, ErrorCodes.ENHANCE_YOUR_CALM)
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert not idle(w)

    run(scenario())


def test_an_endpoint_that_speaks_http1(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        peer = await up.accept()
        await peer.recv()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert answered(w) == {"502 UPE": 1}

    run(scenario())


def test_an_idle_connection_that_is_closed_is_noticed(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0])
        await got(client, OK)
        server.peer.close()
        await w.until(lambda: not idle(w))
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_a_request_into_a_closing_connection_is_asked_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0])
        await got(client, OK)
        await client.send(GET)
        await server.asked()
        server.peer.close()
        other = await reached(up)
        await other.answer((await other.asked())[0])
        await got(client, OK)
        assert answered(w) == {"200": 2}

    run(scenario())


def test_what_was_not_sent_when_a_connection_ended_is_asked_again(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0])
        await got(client, OK)

        def end_instead(link: Link) -> None:
            monkeypatch.undo()
            link.drain()

        monkeypatch.setattr(Link, "_flush", end_instead)
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        server = await reached(up)
        stream, _ = await server.asked()
        assert await server.body(stream) == b"hi"
        await server.answer(stream)
        await got(client, OK)

    run(scenario())


def test_silence_is_asked_about(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address, ping="10s", pool={"idle": "600s"}))
        client = await asks(w)
        server = await reached(up)
        await server.asked()
        await w.until(lambda: w.stats.clusters["up"].streams_active)
        from h2.events import PingReceived

        w.clock.advance(10.1)
        await server.event(PingReceived)
        await asyncio.sleep(0.02)
        w.clock.advance(10.1)
        await server.event(PingReceived)  # it has answered, so it is asked again
        # and now it does not answer
        w.clock.advance(0.5)
        await asyncio.sleep(0.02)
        w.clock.advance(10.1)
        w.clock.advance(10.1)
        assert (await head_of(client)).startswith(b"HTTP/1.1 50")

    run(scenario())


@pytest.mark.parametrize(
    ("pool", "seconds"), [({"requests": 1}, 0), ({"max_idle": 0}, 0), ({"lifetime": "5s"}, 6), ({"idle": "5s"}, 6)]
)
def test_a_connection_is_not_used_for_ever(
    run: Run, world: World, upstream: Upstream, pool: dict[str, Any], seconds: float
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address, pool=pool))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0])
        await got(client, OK)
        w.clock.advance(seconds)
        await server.event(ConnectionTerminated)
        assert await server.ended()
        await client.send(GET)
        server = await reached(up)
        await server.answer((await server.asked())[0])
        await got(client, OK)

    run(scenario())


def test_a_connection_that_is_replaced_ends_with_its_last_stream(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address, pool={"lifetime": "5s"}))
        slow = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        w.clock.advance(6)
        client = await asks(w)
        other = await reached(up)
        await other.answer((await other.asked())[0])
        await got(client, OK)
        await server.answer(stream)
        await got(slow, OK)
        assert await server.ended()

    run(scenario())


def test_an_answer_that_nobody_takes_is_held_by_its_window(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        slow = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        size = 16 << 20
        await server.answer(stream, body=None, fields=[("content-length", str(size))], last=False)
        sent = 0

        async def pump() -> int:
            nonlocal sent
            while sent < size:
                window = min(server.h2.local_flow_control_window(stream), 16384, size - sent)
                if not window:
                    try:
                        async with asyncio.timeout(0.3):
                            await server.hear()
                    except TimeoutError:
                        return sent
                    continue
                await server.data(stream, bytes(window), last=sent + window == size)
                sent += window
            return sent

        assert await pump() < size
        quick = await asks(w)
        await server.answer((await server.asked())[0])
        await got(quick, OK)
        taken = asyncio.ensure_future(_drain(slow, size))
        while sent < size:
            await pump()
        await taken

    run(scenario())


async def _drain(client: Any, size: int) -> None:
    await head_of(client)
    left = size
    while left:
        left -= len(await client.recv())


def test_a_body_that_the_endpoint_does_not_take_is_held(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        size = 8 << 20
        client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        server = await reached(up)
        stream, _ = await server.asked()
        feeding = asyncio.ensure_future(client.send(bytes(size)))
        await asyncio.sleep(0.2)
        assert not feeding.done()
        other = await asks(w)
        await server.answer((await server.asked())[0])
        await got(other, OK)
        got_so_far = 0
        while got_so_far < size:
            from h2.events import DataReceived

            event = await server.event(DataReceived, stream)
            got_so_far += len(event.data)
            server.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            await server.flush()
        await feeding
        await server.answer(stream)
        await got(client, OK)

    run(scenario())


def test_a_copy_shares_the_connections_of_its_cluster(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, next_up = world(), upstream(), upstream()
        said = h2(up.address, rules=[{"cluster": "up", "mirror": {"cluster": "next"}}])
        said["clusters"]["next"] = {"endpoints": [next_up.address], "http": {"version": "h2"}}
        await w.apply(said)
        server, copied = None, None
        for body in (b"one", b"two"):
            client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n" + body)
            server, copied = server or await reached(up), copied or await reached(next_up)
            for peer in (server, copied):
                stream, _ = await peer.asked()
                assert await peer.body(stream) == body
                await peer.answer(stream)
            await got(client, OK)
        await w.until(lambda: w.stats.clusters["next"].streams_active == 0)
        assert w.stats.clusters["next"].connections_total == 1

    run(scenario())


def test_who_answers_first_of_two(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        retry = {"on": ["reset"], "hedge": "1s", "attempts": 2}
        await w.apply(h2(a.address, b.address, rules=[{"cluster": "up", "retry": retry}]))
        client = await asks(w)
        first = await reached(a)
        stream, _ = await first.asked()
        await asyncio.sleep(0.02)
        w.clock.advance(1.1)
        second = await reached(b)
        other, _ = await second.asked()
        await second.answer(other, body=b"some", last=False, length=False)
        await head_of(client)
        assert (await first.event(StreamReset, stream)).error_code == ErrorCodes.CANCEL
        await second.data(other, b"more", last=True)
        await heard(client, b"4\r\nsome\r\n4\r\nmore\r\n0\r\n\r\n")
        assert idle(w) == 2

    run(scenario())


def test_a_retry_of_a_status_uses_a_connection_that_is_there(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        retry = {"on": [503], "attempts": 3, "backoff": 0}
        await w.apply(h2(up.address, rules=[{"cluster": "up", "retry": retry}]))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0], 503)
        await server.answer((await server.asked())[0], 503)
        await server.answer((await server.asked())[0])
        await got(client, OK)
        assert w.stats.clusters["up"].connections_total == 1

    run(scenario())


def test_an_endpoint_that_is_gone_answers_what_is_under_way(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        await w.apply(h2(other.address))
        await asyncio.sleep(0.02)
        await server.answer(stream)
        await got(client, OK)
        assert await server.ended()
        await client.send(GET)
        server = await reached(other)
        await server.answer((await server.asked())[0])
        await got(client, OK)

    run(scenario())


def test_another_version_begins_with_new_connections(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        await server.answer((await server.asked())[0])
        await got(client, OK)
        await w.apply(config(up.address))
        await server.event(ConnectionTerminated)
        await client.send(GET)
        peer = await up.accept()
        assert (await peer.recv()).startswith(b"GET /a?b HTTP/1.1\r\n")

    run(scenario())


def test_those_who_wait_for_a_connection_are_limited(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address, breaker={"max_pending": 2}))
        clients = [await asks(w)]
        peer = await up.accept()  # who says nothing for a while
        await peer.recv()
        clients += [await asks(w) for _ in range(5)]
        await w.until(lambda: w.stats.clusters["up"].overflow_total == 3)
        for client in clients[3:]:
            assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert w.stats.clusters["up"].connections_total == 1

    run(scenario())


def test_a_dial_that_fails_is_told_to_all_who_wait(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, good = world(), upstream(), upstream()
        up.close()
        await w.apply(h2(up.address, good.address))
        clients = [await asks(w) for _ in range(4)]
        server = await reached(good)
        for _ in clients:
            await server.answer((await server.asked())[0])
        for client in clients:
            await got(client, OK)

    run(scenario())


def test_who_wait_are_asked_again_where_the_connection_ends_at_once(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        clients = [await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi") for _ in range(3)]
        peer = await up.accept()
        await peer.recv()
        await w.until(lambda: w.stats.clusters["up"].streams_total)
        await asyncio.sleep(0.02)
        peer.close()
        assert (await head_of(clients[0])).startswith(b"HTTP/1.1 502 ")  # it may have been heard
        server = await reached(up)
        for _ in clients[1:]:
            await server.answer((await server.asked())[0])
        for client in clients[1:]:
            await got(client, OK)

    run(scenario())


def test_fewer_streams_than_before(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        from h2.settings import SettingCodes

        w, up = world(), upstream()
        await w.apply(h2(up.address))
        clients = [await asks(w) for _ in range(3)]
        server = await reached(up)
        streams = [(await server.asked())[0] for _ in clients]
        server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        await server.flush()
        await asyncio.sleep(0.02)
        late = await asks(w)
        other = await reached(up)
        await other.answer((await other.asked())[0])
        await got(late, OK)
        for stream in streams:
            await server.answer(stream)
        for client in clients:
            await got(client, OK)
        assert idle(w) == 2

    run(scenario())


def test_clients_of_http2_reach_endpoints_of_http2(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import DataReceived, StreamEnded, TrailersReceived

        w, up = world(), upstream()
        await w.apply(h2(up.address))
        peer, front = await w.connect(), H2Connection(H2Configuration(header_encoding=None))
        front.initiate_connection()
        head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
        for stream in (1, 3):
            front.send_headers(stream, head)
            front.send_data(stream, b"body%d" % stream)
            front.send_headers(stream, [("x-sum", "1")], end_stream=True)
        await peer.send(front.data_to_send())
        server = await reached(up)
        for number in (1, 3):
            stream, _ = await server.asked()
            assert list((await server.event(TrailersReceived, stream)).headers) == [(b"x-sum", b"1")]
            assert await server.body(stream) == b"body%d" % number
            await server.answer(stream, body=b"data", last=False, length=False)
            await server.trailers(stream, [("x-end", "2")])
        events: list[Any] = []
        while sum(isinstance(event, StreamEnded) for event in events) < 2:
            events += front.receive_data(await peer.recv())
        assert [event.data for event in events if isinstance(event, DataReceived) and event.data] == [b"data"] * 2
        assert [list(e.headers) for e in events if isinstance(e, TrailersReceived)] == [[(b"x-end", b"2")]] * 2

    run(scenario())


def test_an_answer_while_a_filter_thinks_outlives_its_connection(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = extended(up.address, call="Ask", config={"when": "response", "seconds": 0.1})
        said["clusters"]["up"]["http"] = {"version": "h2"}
        await w.apply(said)
        client = await asks(w, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        server = await reached(up)
        stream, _ = await server.asked()
        await server.answer(stream, body=b"one", last=False, length=False)
        await asyncio.sleep(0.02)
        await server.data(stream, b"two", last=True)
        await asyncio.sleep(0.02)
        server.peer.close()
        assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
        await heard(client, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")

    run(scenario())


@pytest.mark.parametrize("whole", [True, False])
def test_what_comes_while_a_filter_thinks_is_kept(run: Run, world: World, upstream: Upstream, whole: bool) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = extended(up.address, call="Ask", config={"when": "response", "seconds": 0.1})
        said["clusters"]["up"]["http"] = {"version": "h2"}
        await w.apply(said)
        client = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        await server.answer(stream, body=b"one", last=False, length=False)
        await asyncio.sleep(0.02)
        await server.data(stream, b"two", last=whole)
        await asyncio.sleep(0.02)
        if whole:
            server.peer.close()  # all of it is there
        assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
        if not whole:
            await server.data(stream, b"end", last=True)
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += await client.recv()
        assert b"".join(got.split(b"\r\n")[1::2]) == (b"onetwo" if whole else b"onetwoend")
        await w.until(lambda: w.stats.clusters["up"].streams_active == 0)

    run(scenario())


PREFACE = b"\0\0\0\x04\0\0\0\0\0"
ENDLESS_PINGS = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)
PUSH = b"\0\0\x05\x05\x04\0\0\0\x01\0\0\0\x02\x88"
LARGE_FRAME = b"\x01\0\0\x00\0\0\0\0\x01"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (PREFACE + ENDLESS_PINGS * 1000, "ping_flood"),
        (PREFACE + PUSH, "pushed"),
        (PREFACE + LARGE_FRAME, "frame_size"),
        (PREFACE + b"\0\0\x01\x01\x04\0\0\0\x01\xff", "bad_compression"),
        (PREFACE * 1000, "settings_flood"),
        (b"\0\0\x08\x06\0\0\0\0\0" + bytes(8), "not_http2"),
    ],
)
def test_an_endpoint_that_breaks_the_rules_of_a_connection(
    run: Run, world: World, upstream: Upstream, said: bytes, kind: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        clients = [await asks(w)]
        peer = await up.accept()
        await peer.recv()
        await peer.send(said)
        for client in clients:
            assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert answered(w) == {"502 UPE": 1}
        assert dict(w.stats.clusters["up"].http2) == {kind: 1}
        await w.until(lambda: not w.stats.clusters["up"].connections_active)

    run(scenario())


def test_an_endpoint_that_resets_everything_is_ejected(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, bad, good = world(), upstream(), upstream()
        outlier = {"consecutive_gateway": 2, "max_ejected": 100}
        await w.apply(h2(bad.address, good.address, outlier=outlier))
        server, other = None, None
        for _ in range(2):
            client = await asks(w)
            server = server or await reached(bad)
            await server.reset((await server.asked())[0], ErrorCodes.INTERNAL_ERROR)
            assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
            client = await asks(w)
            other = other or await reached(good)
            await other.answer((await other.asked())[0])
            await got(client, OK)
        for _ in range(3):
            client = await asks(w)
            assert other is not None
            await other.answer((await other.asked())[0])
            await got(client, OK)

    run(scenario())


def test_a_stream_that_is_refused_after_its_answer_began_is_cut(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        await server.answer(stream, body=b"some", last=False, length=False)
        await head_of(client)
        await heard(client, b"4\r\nsome\r\n")
        await server.reset(stream, ErrorCodes.REFUSED_STREAM)
        with pytest.raises(ConnectionError):
            await client.recv()
        assert w.stats.clusters["up"].retries_total == 0

    run(scenario())


def test_who_refuses_gets_no_more_until_it_has_answered(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        first, second = await asks(w), await asks(w)
        server = await reached(up)
        one, two = [(await server.asked())[0] for _ in range(2)]
        await server.reset(two, ErrorCodes.REFUSED_STREAM)
        other = await reached(up)
        await other.answer((await other.asked())[0])
        await got(second, OK)
        await server.answer(one)
        await got(first, OK)
        assert idle(w) == 2
        third = await asks(w)
        await server.answer((await server.asked())[0])  # the one that was used last
        await got(third, OK)

    run(scenario())


def test_interim_heads_without_end(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up)
        stream, _ = await server.asked()
        for _ in range(11):
            server.h2.send_headers(stream, [(":status", "103")])
        await server.flush()
        for _ in range(10):
            await heard(client, b"HTTP/1.1 103 Early Hints\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert w.stats.clusters["up"].malformed["too_many_interim"] == 1

    run(scenario())


def test_an_answer_before_the_endpoint_has_taken_the_request(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        client = await asks(w)
        server = await reached(up, initial_window_size=10)
        await server.answer((await server.asked())[0])
        await got(client, OK)
        for _ in range(2):
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + bytes(100))
            stream, _ = await server.asked()
            await server.answer(stream)
            await got(client, OK)
            assert (await server.event(StreamReset, stream)).error_code == ErrorCodes.CANCEL

    run(scenario())


def test_an_endpoint_that_does_not_read(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(h2(up.address))
        size = 64 << 20
        client = await asks(w, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        server = await reached(up, initial_window_size=2**31 - 1)
        await server.asked()
        server.h2.increment_flow_control_window(2**30)
        await server.flush()
        feeding = asyncio.ensure_future(client.send(bytes(size)))
        await asyncio.sleep(0.5)
        assert not feeding.done()
        left = size
        while left > 0:
            left -= len(await server.peer.recv(1 << 20))
        await feeding

    run(scenario())


def test_trailers_of_the_second_of_two(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import StreamEnded, TrailersReceived

        w, a, b = world(), upstream(), upstream()
        retry = {"on": ["reset"], "hedge": "1s", "attempts": 2}
        await w.apply(h2(a.address, b.address, rules=[{"cluster": "up", "retry": retry}]))
        peer, front = await w.connect(), H2Connection(H2Configuration(header_encoding=None))
        front.initiate_connection()
        head = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
        front.send_headers(1, head, end_stream=True)
        await peer.send(front.data_to_send())
        first = await reached(a)
        await first.asked()
        await asyncio.sleep(0.02)
        w.clock.advance(1.1)
        second = await reached(b)
        stream, _ = await second.asked()
        second.h2.send_headers(stream, [(":status", "200")])
        second.h2.send_data(stream, b"data")
        await second.trailers(stream, [("x-end", "2")])
        events: list[Any] = []
        while not any(isinstance(event, StreamEnded) for event in events):
            events += front.receive_data(await peer.recv())
        assert [list(e.headers) for e in events if isinstance(e, TrailersReceived)] == [[(b"x-end", b"2")]]

    run(scenario())
