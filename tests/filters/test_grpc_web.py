"""Calls that pages make: translated piece by piece, with nothing kept and nothing lost."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from meshproxy.wire.grpc import Messages, frame, web_trailers
from tests.filters.asking import Answer, answer
from tests.relay.conversation import answered, config, ended, head_of, heard
from tests.relay.http2 import speaking

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\nTransfer-Encoding: chunked\r\n\r\n"
QUESTION = frame(b"question")
ANSWER = frame(b"answer")
OK = [b"grpc-status: 0", b"grpc-message: fine"]


def webbed(*endpoints: str, **rule: Any) -> dict[str, Any]:
    rule = {"cluster": "up", "filters": [{"grpc_web": {}}], **rule}
    return config(*endpoints, rules=[rule], listener={"http": {"grpc_metrics": True}})


def asked(kind: str, length: int, *more: str) -> bytes:
    lines = ("POST /books.Books/Get HTTP/1.1", "Host: x", f"Content-Type: {kind}", "X-Grpc-Web: 1", f"Accept: {kind}")
    return "\r\n".join((*lines, f"Content-Length: {length}", *more, "", "")).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = b"0\r\n" + b"".join(line + b"\r\n" for line in OK) + b"\r\n"


async def call_of(server: Any) -> bytes:
    """The head of a call, and then that of the message that it asks with."""
    head = await head_of(server)
    await heard(server, chunk(QUESTION) + b"0\r\n\r\n")
    return head


def counted(w: Any) -> Any:
    return w.stats.listeners["in"].calls.snapshot()["web/0"]["up"]["books.Books"]["Get"]


def test_a_call_in_binary(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await w.connect()
        await client.send(asked("application/grpc-web+proto", len(QUESTION)) + QUESTION)
        server = await up.accept()
        assert await call_of(server) == (
            b"POST /books.Books/Get HTTP/1.1\r\nHost: x\r\n"
            b"content-type: application/grpc+proto\r\nte: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await server.send(BEGUN + chunk(ANSWER))
        assert (await head_of(client)).lower() == (
            b"http/1.1 200 ok\r\ncontent-type: application/grpc-web+proto\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        # At once, whatever comes after it
        await heard(client, chunk(ANSWER))
        await server.send(LAST)
        await heard(client, chunk(web_trailers(OK)) + b"0\r\n\r\n")
        assert counted(w) == {"ok": 1}
        assert answered(w) == {"200": 1}

    run(scenario())


@pytest.mark.parametrize("cuts", [(), (1,), (2, 3), (5, 6, 7, 13), tuple(range(1, 20))])
@pytest.mark.parametrize("pieces", [(len(QUESTION),), (1, 12), (5, 8), (4, 4, 5)])
def test_a_call_in_text_may_be_cut_anywhere(
    run: Run, world: World, upstream: Upstream, cuts: tuple[int, ...], pieces: tuple[int, ...]
) -> None:
    text, at = b"", 0
    for size in pieces:
        text, at = text + b64encode(QUESTION[at : at + size]), at + size

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await w.connect()
        ends = [*[cut for cut in cuts if cut < len(text)], len(text)]
        await client.send(asked("application/grpc-web-text", len(text)))
        server = await up.accept()
        assert b"content-type: application/grpc\r\n" in await head_of(server)
        got, begin = b"", 0
        for end in ends:
            await client.send(text[begin:end])
            begin = end
        while not got.endswith(b"0\r\n\r\n"):
            got += await server.recv()
        assert dechunked(got) == QUESTION
        await server.send(BEGUN + chunk(ANSWER[:7]))
        found = await head_of(client)
        assert b"content-type: application/grpc-web-text\r\n" in found
        await heard(client, chunk(b64encode(ANSWER[:7])))
        await server.send(chunk(ANSWER[7:]) + LAST)
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += await client.recv()
        rest = dechunked(got)
        assert b"".join(b64decode(piece) for piece in padded(rest)) == ANSWER[7:] + web_trailers(OK)

    run(scenario())


def dechunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        found, data = found + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return found


def padded(text: bytes) -> list[bytes]:
    """The pieces that were encoded each by itself."""
    found, begin = [], 0
    for at in range(0, len(text), 4):
        if text[at : at + 4].endswith(b"="):
            found.append(text[begin : at + 4])
            begin = at + 4
    return [*found, text[begin:]]


@pytest.mark.parametrize("text", [b"AAA", b"AAA*", b"A===", b"AA=A", b"AAAA=", b"AA\r\n", b"====", b"AA==A"])
def test_what_is_no_base64_is_refused(run: Run, world: World, upstream: Upstream, text: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await w.connect()
        await client.send(asked("application/grpc-web-text+proto", len(text)) + text)
        found: Answer = await answer(client)
        assert (found.status, found.fields["grpc-status"], found.fields["grpc-message"]) == (200, "13", "bad base64")
        assert found.fields["content-type"] == "application/grpc-web-text+proto"
        assert w.stats.listeners["in"].malformed == {"bad_base64": 1}

    run(scenario())


def test_a_status_in_the_head_stays_there(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await w.connect()
        await client.send(asked("application/grpc-web", len(QUESTION)) + QUESTION)
        server = await up.accept()
        await call_of(server)
        await server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\ngrpc-status: 5\r\n\r\n"
        )
        found = await answer(client)
        assert (found.fields["grpc-status"], found.fields["content-type"]) == ("5", "application/grpc-web")
        assert counted(w) == {"not-found": 1}

    run(scenario())


def test_failures_are_said_so_that_a_page_understands_them(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        up.close()
        await w.apply(webbed(up.address))
        client = await w.connect()
        await client.send(asked("application/grpc-web+proto", len(QUESTION)) + QUESTION)
        found = await answer(client)
        assert (found.status, found.fields["grpc-status"], found.fields["grpc-message"]) == (
            200, "14", "connect failed",
        )  # fmt: skip
        assert found.fields["content-type"] == "application/grpc-web+proto"
        assert counted(w) == {"unavailable": 1}

    run(scenario())


def test_a_page_has_a_deadline_too(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await w.connect()
        await client.send(asked("application/grpc-web", len(QUESTION), "grpc-timeout: 2S") + QUESTION)
        server = await up.accept()
        assert b"grpc-timeout: 2S\r\n" in await call_of(server)
        w.clock.advance(2.1)
        found = await answer(client)
        assert (found.fields["grpc-status"], found.fields["grpc-message"]) == ("4", "deadline exceeded")
        assert not await ended(server)

    run(scenario())


@pytest.mark.parametrize(
    ("kind", "back"), [("application/json", "application/grpc"), ("application/grpc-web", "text/html")]
)
def test_all_else_goes_on_as_it_is(run: Run, world: World, upstream: Upstream, kind: str, back: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await w.connect()
        await client.send(asked(kind, len(QUESTION)) + QUESTION)
        server = await up.accept()
        head = await call_of(server)
        assert (f"Content-Type: {kind}".encode() in head) is (kind == "application/json")
        assert (b"X-Grpc-Web: 1" in head) is (kind == "application/json")
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: 2\r\n\r\nhi" % back.encode())
        assert f"Content-Type: {back}\r\n".encode() in await head_of(client)
        await heard(client, chunk(b"hi") + b"0\r\n\r\n")

    run(scenario())


def test_trailers_are_not_said_twice(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(webbed(up.address))
        client = await speaking(w.connect)
        fields = [("content-type", "application/grpc-web"), ("x-grpc-web", "1")]
        stream = await client.ask("/books.Books/Get", *fields, method="POST", body=QUESTION)
        server = await up.accept()
        await call_of(server)
        await server.send(BEGUN + chunk(ANSWER) + LAST)
        status, found, body, trailers = await client.answer(stream)
        assert (status, found["content-type"]) == (200, "application/grpc-web")
        assert (body, trailers) == (ANSWER + web_trailers(OK), [])
        assert counted(w) == {"ok": 1}

    run(scenario())


@pytest.mark.parametrize("text", [False, True])
def test_a_page_asks_a_server_of_grpc(run: Run, world: World, text: bool) -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed: no page asks its server")

    def echo(messages: Any, context: Any) -> Any:
        context.set_trailing_metadata((("x-said", "1"),))
        yield from messages

    handler = grpc.method_handlers_generic_handler("books.Books", {"Get": grpc.stream_stream_rpc_method_handler(echo)})
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    async def scenario() -> None:
        w = world()
        said = webbed(f"127.0.0.1:{port}")
        said["clusters"]["up"]["http"] = {"version": "h2"}
        await w.apply(said)
        client = await w.connect()
        body = QUESTION + frame(b"more")
        body = b64encode(body) if text else body
        kind = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"
        await client.send(asked(kind, len(body)) + body)
        assert f"content-type: {kind}\r\n".encode() in (await head_of(client)).lower()
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += await client.recv()
        found = dechunked(got)
        if text:
            found = b"".join(b64decode(piece) for piece in padded(found))
        flags, messages = zip(*Messages(1000).feed(found), strict=True)
        assert flags == (0, 0, 0x80)
        assert messages[:2] == (b"question", b"more")
        assert {b"grpc-status: 0", b"x-said: 1"} <= set(messages[2].split(b"\r\n"))
        assert counted(w) == {"ok": 1}

    try:
        run(scenario())
    finally:
        server.stop(None).wait()
