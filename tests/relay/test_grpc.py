"""Conversations of gRPC: deadlines, what the proxy says itself, calls that are asked again, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.wire.grpc import frame, timeout
from tests.relay.conversation import answered, config, ended, head_of, heard
from tests.relay.http2 import Speaker, speaking

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GRPC = ("content-type", "application/grpc+proto")
CALL = frame(b"question")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n"
BEGUN = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PATH = "/books.v1.Books/Get"


def ended_with(status: int, *lines: bytes) -> bytes:
    """Trailers only."""
    return b"".join((HEAD, b"Content-Length: 0\r\ngrpc-status: %d\r\n" % status, *lines, b"\r\n"))


def whole(message: bytes, status: int = 0) -> bytes:
    body = frame(message)
    return BEGUN + b"%x\r\n%b\r\n0\r\ngrpc-status: %d\r\n\r\n" % (len(body), body, status)


async def start(world: World, *endpoints: str, **more: Any) -> tuple[Any, Speaker]:
    w = world()
    await w.apply(config(*endpoints, **more))
    return w, await speaking(w.connect)


async def call(client: Speaker, *more: tuple[str, str], path: str = PATH) -> int:
    return await client.ask(path, GRPC, *more, method="POST", body=CALL)


async def taken(up: Any) -> tuple[Any, bytes]:
    """A connection to an endpoint, and the head of the call that came on it."""
    server = await up.accept()
    head = await head_of(server)
    await heard(server, b"%x\r\n%b\r\n0\r\n\r\n" % (len(CALL), CALL))
    return server, head


async def silent(client: Speaker, stream: int) -> None:
    """Nothing has been said of it yet."""
    client.h2.ping(b"12345678")
    await client.event("PingAckReceived")
    assert not [event for event in client.events if getattr(event, "stream_id", None) == stream]


async def refused(client: Speaker, stream: int) -> tuple[str, str]:
    """The status and the message of a call that has no answer but these."""
    status, fields, body, trailers = await client.answer(stream)
    assert (status, fields["content-type"], body, trailers) == (200, "application/grpc", b"", [])
    return fields["grpc-status"], fields["grpc-message"]


def test_a_call_and_its_answer(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address)
        stream = await call(client, ("te", "trailers"), ("x-bin", "AA"))
        server, head = await taken(up)
        assert head.startswith(b"POST /books.v1.Books/Get HTTP/1.1\r\n")
        await server.send(whole(b"answer", 5))
        status, _, body, trailers = await client.answer(stream)
        assert (status, body, trailers) == (200, frame(b"answer"), [("grpc-status", "5")])
        assert answered(w) == {"200": 1}

    run(scenario())


# How long it may take


def test_a_deadline_is_kept_before_an_answer(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address, listener={"timeouts": {"request": "60s"}})
        stream = await call(client, ("grpc-timeout", "2S"))
        server, head = await taken(up)
        assert b"grpc-timeout: 2S\r\n" in head
        w.clock.advance(1.9)
        await silent(client, stream)
        w.clock.advance(0.2)
        assert await refused(client, stream) == ("4", "deadline exceeded")
        assert not await ended(server)
        assert answered(w) == {"200 UT": 1}

    run(scenario())


def test_a_deadline_is_kept_in_the_middle_of_an_answer(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address)
        stream = await call(client, ("grpc-timeout", "2S"))
        server, _ = await taken(up)
        first = frame(b"one")
        await server.send(BEGUN + b"%x\r\n%b\r\n" % (len(first), first))
        await client.event("DataReceived", stream)
        w.clock.advance(2.1)
        _, _, body, trailers = await answer_of(client, stream)
        assert (body, trailers) == (b"", [("grpc-status", "4"), ("grpc-message", "deadline exceeded")])
        assert not await ended(server)
        assert answered(w) == {"200 UT": 1}
        # The connection goes on
        stream = await call(client)
        server, _ = await taken(up)
        await server.send(whole(b"more"))
        assert (await client.answer(stream))[3] == [("grpc-status", "0")]

    run(scenario())


async def answer_of(client: Speaker, stream: int) -> tuple[int, dict[str, str], bytes, Any]:
    """The end of one whose head is there already."""
    trailers = (await client.event("TrailersReceived", stream)).headers
    await client.event("StreamEnded", stream)
    return 200, {}, b"", list(trailers)


def test_the_time_of_a_route_is_kept_where_it_is_shorter(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        rules = [{"cluster": "up", "timeouts": {"request": "1s"}}]
        w, client = await start(world, up.address, rules=rules)
        stream = await call(client, ("grpc-timeout", "1H"))
        await taken(up)
        w.clock.advance(1.1)
        assert await refused(client, stream) == ("4", "request timeout")

    run(scenario())


def test_no_time_at_all_is_over_at_once(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address)
        stream = await call(client, ("grpc-timeout", "0n"))
        await taken(up)
        w.clock.advance(0.01)
        assert await refused(client, stream) == ("4", "deadline exceeded")

    run(scenario())


@pytest.mark.parametrize("said", ["", "1", "100000000S", "1s", "-1S"])
def test_what_is_no_timeout_is_refused(run: Run, world: World, said: str) -> None:
    async def scenario() -> None:
        w, client = await start(world, "127.0.0.1:1")
        assert await refused(client, await call(client, ("grpc-timeout", said))) == ("13", "bad grpc timeout")
        assert answered(w) == {"200 DPE": 1}

    run(scenario())


def test_what_is_no_call_may_say_anything_of_time(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address)
        streams = [await client.ask("/", ("grpc-timeout", said)) for said in ("nonsense", "1m")]
        servers = [await up.accept() for _ in streams]
        w.clock.advance(1)
        for server in servers:
            await head_of(server)
            await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert [(await client.answer(stream))[2] for stream in streams] == [b"hi", b"hi"]

    run(scenario())


# What the proxy says


def test_a_failure_is_said_in_grpc(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        up.close()
        _w, client = await start(
            world, up.address,
            rules=[
                {"match": {"path": {"prefix": "/books.v1.Books"}}, "cluster": "up"},
                {"match": {"path": {"exact": "/closed/For"}}, "reply": {
                    "status": 503, "headers": {"x-why": "paint"}, "body": "100% gone: ä\n"}},
                {"match": {"path": {"exact": "/own/Words"}}, "reply": {
                    "status": 200, "headers": {"content-type": "application/grpc", "grpc-status": "9"}}},
                {"match": {"path": {"exact": "/not/You"}}, "cluster": "up", "authorize": []},
                {"match": {"path": {"exact": "/small/Only"}}, "cluster": "up", "filters": [{"max_body": 3}]},
            ],
        )  # fmt: skip
        assert await refused(client, await call(client)) == ("14", "connect failed")
        assert await refused(client, await call(client, path="/no/Such")) == ("12", "no route")
        assert await refused(client, await call(client, path="/not/You")) == ("7", "not authorized")
        assert await refused(client, await call(client, path="/small/Only")) == ("8", "body too large")
        stream = await call(client, path="/closed/For")
        _, fields, body, _ = await client.answer(stream)
        assert (fields["grpc-status"], fields["grpc-message"], fields["x-why"], body) == (
            "14", "100%25 gone: %C3%A4", "paint", b"",
        )  # fmt: skip
        _, fields, _, _ = await client.answer(await call(client, path="/own/Words"))
        assert fields["grpc-status"] == "9"
        # Who does not speak gRPC is told as ever
        stream = await client.ask("/no/Such", ("content-type", "text/plain"))
        assert (await client.answer(stream))[:1] == (404,)

    run(scenario())


def test_an_answer_that_is_cut_ends_in_trailers(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address)
        stream = await call(client)
        server, _ = await taken(up)
        await server.send(BEGUN + b"4\r\ncut ")
        await client.event("DataReceived", stream)
        server.reset()
        _, _, _, trailers = await answer_of(client, stream)
        assert trailers == [("grpc-status", "14"), ("grpc-message", "upstream lost")]
        assert answered(w) == {"200 UC": 1}

    run(scenario())


def test_an_answer_of_a_length_cannot_be_ended_so(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        _w, client = await start(world, up.address)
        stream = await call(client)
        server, _ = await taken(up)
        await server.send(HEAD + b"Content-Length: 100\r\n\r\n" + b"some")
        await client.event("DataReceived", stream)
        server.close()
        await client.event("StreamReset", stream)

    run(scenario())


def test_who_does_not_read_gets_the_end_after_what_was_before_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address)
        stream = await call(client, ("grpc-timeout", "5S"))
        server, _ = await taken(up)
        much = b"x" * 100_000
        await server.send(BEGUN + b"%x\r\n%b\r\n" % (len(much), much))
        got = 0
        while got < 65535:
            got += len((await client.event("DataReceived", stream)).data)
        w.clock.advance(6)
        await w.until(lambda: answered(w) == {"200 UT": 1})
        client.h2.increment_flow_control_window(100_000)
        client.h2.increment_flow_control_window(100_000, stream)
        await client.flush()
        _, _, _, trailers = await answer_of(client, stream)
        got += sum(len(each.data) for each in client.events if type(each).__name__ == "DataReceived")
        assert trailers[0] == ("grpc-status", "4")
        assert got == 100_000

    run(scenario())


# Asked again


def retrying(*on: str, **more: Any) -> list[Any]:
    return [{"cluster": "up", "retry": {"on": [*on], "attempts": 3, "backoff": 0, **more}}]


def test_a_call_is_asked_again_for_its_status(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        one, two = upstream(), upstream()
        w, client = await start(world, one.address, two.address, rules=retrying("unavailable"))
        stream = await call(client, ("grpc-timeout", "10S"))
        server, head = await taken(one)
        assert b"grpc-timeout: 10S\r\n" in head
        w.clock.advance(3)
        await server.send(ended_with(14))
        server, head = await taken(two)
        assert head.count(b"grpc-timeout") == 1
        assert timeout(head.partition(b"grpc-timeout: ")[2].partition(b"\r\n")[0]) == pytest.approx(7)
        w.clock.advance(2)
        await server.send(ended_with(14))
        server, head = await taken(one)
        assert head.count(b"grpc-timeout") == 1
        assert timeout(head.partition(b"grpc-timeout: ")[2].partition(b"\r\n")[0]) == pytest.approx(5)
        await server.send(whole(b"at last"))
        assert (await client.answer(stream))[2] == frame(b"at last")
        assert w.stats.clusters["up"].retries_total == 2

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        ended_with(13),
        ended_with(14, b"grpc-retry-pushback-ms: -1\r\n"),
        ended_with(14, b"grpc-retry-pushback-ms: 1001\r\n"),
        whole(b"said", 14),
    ],
)
def test_a_call_is_not_asked_again(run: Run, world: World, upstream: Upstream, answer: bytes) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address, rules=retrying("unavailable"))
        stream = await call(client)
        server, _ = await taken(up)
        await server.send(answer)
        status, fields, _, trailers = await client.answer(stream)
        assert status == 200
        assert {**fields, **dict(trailers)}["grpc-status"] in ("13", "14")
        assert w.stats.clusters["up"].retries_total == 0

    run(scenario())


def test_a_call_is_asked_again_when_the_endpoint_says(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await start(world, up.address, rules=retrying("resource-exhausted"))
        stream = await call(client)
        server, _ = await taken(up)
        await server.send(ended_with(8, b"grpc-retry-pushback-ms: 700\r\n"))
        await w.until(lambda: w.stats.clusters["up"].retries_total)
        await silent(client, stream)
        w.clock.advance(0.71)
        server, _ = await taken(up)
        await server.send(whole(b"now"))
        assert (await client.answer(stream))[2] == frame(b"now")

    run(scenario())


def test_failures_of_calls_eject_who_has_them(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        bad, good = upstream(), upstream()
        w, client = await start(world, bad.address, good.address, outlier={"consecutive_5xx": 2, "max_ejected": 50})
        servers: dict[Any, Any] = {}
        for number in range(6):
            up = (bad, good)[number % 2] if number < 4 else good
            stream = await call(client)
            if up in servers:
                server = servers[up]
                await head_of(server)
                await heard(server, b"%x\r\n%b\r\n0\r\n\r\n" % (len(CALL), CALL))
            else:
                server, _ = await taken(up)
                servers[up] = server
            await server.send(ended_with(13 if up is bad else 5))
            await client.answer(stream)
        assert w.stats.clusters["up"].ejections["5xx"] == 1

    run(scenario())


# Who is asked, and what is counted


def test_a_rule_for_a_method(run: Run, world: World) -> None:
    async def scenario() -> None:
        def said(number: int) -> dict[str, Any]:
            return {"status": 503, "body": f"rule {number}"}

        _w, client = await start(
            world, "127.0.0.1:1",
            rules=[
                {"match": {"grpc": {"service": "books.v1.Books", "method": "Get"}}, "reply": said(1)},
                {"match": {"grpc": "books.v1.Books"}, "reply": said(2)},
                {"match": {"path": {"prefix": "/"}}, "reply": said(3)},
            ],
        )  # fmt: skip
        found = [(await refused(client, await call(client, path=path)))[1] for path in (
            "/books.v1.Books/Get", "/books.v1.Books/List", "/books.v1.BooksToo/Get", "/books.v1.Books/Get/x",
        )]  # fmt: skip
        assert found == ["rule 1", "rule 2", "rule 3", "rule 2"]
        stream = await client.ask("/books.v1.Books/Get", ("content-type", "application/json"), method="POST")
        assert (await client.answer(stream))[2] == b"rule 3"

    run(scenario())


def test_calls_are_counted_by_method_where_that_is_said(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        rules = [{"match": {"path": {"prefix": "/shut"}}, "reply": {"status": 403}}, {"cluster": "up"}]
        w, client = await start(world, up.address, rules=rules, listener={"http": {"grpc_metrics": True}})
        server: Any = None
        for path, answer in (
            (PATH, whole(b"x")), (PATH, whole(b"x", 5)), (PATH, ended_with(14)), ("/a.B/Nothing", ended_with(12)),
            ("/not a path", ended_with(3)),
        ):  # fmt: skip
            stream = await call(client, path=path.replace(" ", "-"))
            if server is None:
                server, _ = await taken(up)
            else:
                await head_of(server)
                await heard(server, b"%x\r\n%b\r\n0\r\n\r\n" % (len(CALL), CALL))
            await server.send(answer)
            await client.answer(stream)
        await refused(client, await call(client, path="/shut/Out"))
        stream = await call(client)
        await head_of(server)
        await server.send(BEGUN + b"1\r\nx")
        await client.event("DataReceived", stream)
        server.reset()
        await answer_of(client, stream)
        stream = await call(client)
        await taken(up)
        client.h2.reset_stream(stream)
        await client.flush()
        counted = w.stats.listeners["in"].calls
        await w.until(lambda: "cancelled" in str(counted.snapshot()))
        assert counted.snapshot() == {
            "web/0": {"": {"shut": {"Out": {"permission-denied": 1}}}},
            "web/1": {"up": {
                "books.v1.Books": {"Get": {"ok": 1, "not-found": 1, "unavailable": 2, "cancelled": 1}},
                "other": {"other": {"unimplemented": 1, "invalid-argument": 1}},
            }},
        }  # fmt: skip

    run(scenario())


def test_methods_beyond_the_first_are_one(run: Run, world: World) -> None:
    async def scenario() -> None:
        w, client = await start(
            world, "127.0.0.1:1", rules=[{"reply": {"status": 403}}], listener={"http": {"grpc_metrics": True}}
        )
        for number in range(103):
            await refused(client, await call(client, path=f"/a/M{number}"))
        found = w.stats.listeners["in"].calls.snapshot()["web/0"][""]
        assert len(found["a"]) == 100
        assert found["other"]["other"] == {"permission-denied": 3}

    run(scenario())


# Messages in both directions, over HTTP/2 to the endpoint as well


async def over_h2(world: World, up: Any, **rule: Any) -> tuple[Any, Speaker]:
    return await start(world, up.address, rules=[{"cluster": "up", **rule}], http={"version": "h2"})


def test_messages_go_on_as_they_come_in_both_directions(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await over_h2(world, up)
        stream = await client.ask(PATH, GRPC, ("te", "trailers"), method="POST", body=frame(b"q0"), last=False)
        server = Speaker(await up.accept(), client=False)
        request = await server.event("RequestReceived")
        assert dict(request.headers)["te"] == "trailers"
        assert (await server.event("DataReceived")).data == frame(b"q0")
        server.h2.send_headers(request.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        for number in range(1, 4):
            server.h2.send_data(request.stream_id, frame(b"a%d" % number))
            await server.flush()
            assert (await client.event("DataReceived", stream)).data == frame(b"a%d" % number)
            client.h2.send_data(stream, frame(b"q%d" % number))
            await client.flush()
            assert (await server.event("DataReceived")).data == frame(b"q%d" % number)
        # Half of it may be over before the other
        client.h2.end_stream(stream)
        await client.flush()
        await server.event("StreamEnded")
        server.h2.send_data(request.stream_id, frame(b"last"))
        server.h2.send_headers(request.stream_id, [("grpc-status", "0"), ("x-more", "1")], end_stream=True)
        await server.flush()
        assert (await client.event("DataReceived", stream)).data == frame(b"last")
        assert (await answer_of(client, stream))[3] == [("grpc-status", "0"), ("x-more", "1")]
        assert answered(w) == {"200": 1}

    run(scenario())


def test_a_deadline_cancels_the_stream_of_the_endpoint(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await over_h2(world, up)
        stream = await call(client, ("grpc-timeout", "2S"))
        server = Speaker(await up.accept(), client=False)
        await server.event("RequestReceived")
        w.clock.advance(2.1)
        assert await refused(client, stream) == ("4", "deadline exceeded")
        assert (await server.event("StreamReset")).error_code == 8

    run(scenario())


@pytest.mark.parametrize("status", [14, 8])
def test_trailers_alone_of_http2_are_asked_again(run: Run, world: World, upstream: Upstream, status: int) -> None:
    async def scenario() -> None:
        up = upstream()
        retry = {"on": ["unavailable"], "attempts": 2, "backoff": 0}
        w, client = await over_h2(world, up, retry=retry)
        stream = await call(client)
        server = Speaker(await up.accept(), client=False)
        said = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", str(status))]
        tries = 2 if status == 14 else 1
        for _ in range(tries):
            request = await server.event("RequestReceived")
            server.h2.send_headers(request.stream_id, said, end_stream=True)
            await server.flush()
        _, fields, _, _ = await client.answer(stream)
        assert fields["grpc-status"] == str(status)
        assert w.stats.clusters["up"].retries_total == tries - 1

    run(scenario())


def test_the_end_of_an_answer_waits_for_who_does_not_read(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        w, client = await over_h2(world, up)
        stream = await client.ask(PATH, GRPC, method="POST", body=CALL, last=False)
        server = Speaker(await up.accept(), client=False)
        request = await server.event("RequestReceived")
        server.h2.send_headers(request.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        # What is past the window of the client is kept, within that of the endpoint
        for size in (16_384, 16_384, 16_384, 16_383, 1000):
            while server.h2.local_flow_control_window(request.stream_id) < size:
                await server.read()
            server.h2.send_data(request.stream_id, b"x" * size)
            await server.flush()
        got = 0
        while got < 65_535:
            got += len((await client.event("DataReceived", stream)).data)
        server.h2.send_headers(request.stream_id, [("grpc-status", "0")], end_stream=True)
        await server.flush()
        await w.until(lambda: answered(w) == {"200": 1})
        client.h2.increment_flow_control_window(100_000)
        client.h2.increment_flow_control_window(100_000, stream)
        await client.flush()
        assert (await answer_of(client, stream))[3] == [("grpc-status", "0")]
        assert got + sum(len(each.data) for each in client.events if type(each).__name__ == "DataReceived") == 66_535

    run(scenario())


def test_failures_over_http2_eject_who_has_them(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        bad, good = upstream(), upstream()
        outlier = {"consecutive_5xx": 1, "max_ejected": 50}
        w, client = await start(world, bad.address, good.address, http={"version": "h2"}, outlier=outlier)
        for up, status, ejected in ((bad, "14", 1), (good, "5", 1)):
            stream = await call(client)
            server = Speaker(await up.accept(), client=False)
            request = await server.event("RequestReceived")
            said = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", status)]
            server.h2.send_headers(request.stream_id, said, end_stream=True)
            await server.flush()
            await client.answer(stream)
            assert w.stats.clusters["up"].ejections["5xx"] == ejected

    run(scenario())
