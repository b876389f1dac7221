"""Questions to a control plane over real sockets: what comes back, and every way in which nothing does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.model import Address
from meshproxy.net.tls.faults import Broken
from meshproxy.sources import asking
from meshproxy.sources.asking import Answer, Asked, Denied, Gone, Unanswered
from tests.conftest import _opened
from tests.pki import Pki
from tests.sources.plane import BASE, Plane

Run = Callable[[Coroutine[Any, Any, None]], None]


class Reach:
    """Loopback, whatever the name."""

    server_name: str | None = None

    def __init__(self, *hosts: str, context: ssl.SSLContext | None = None) -> None:
        self._hosts = hosts or ("127.0.0.1",)
        self._context = context
        self.wanted = b""

    async def addresses(self, host: str) -> list[Address]:
        return [Address("ipv4", each, 0) for each in self._hosts]

    async def context(self) -> ssl.SSLContext:
        assert self._context is not None
        return self._context

    def check(self, certificate: bytes) -> None:
        if self.wanted not in certificate:
            raise Broken("wrong_name")


def asked(plane: Plane, within: float = 5.0, token: str | None = None, reach: Reach | None = None) -> Asked:
    found = Asked(plane.url, within=within, reach=reach or Reach(), token=token)
    _opened.append(found.close)
    return found


async def why(asked: Asked, most: int = 1 << 20) -> str:
    with pytest.raises(Unanswered) as raised:
        (await asked.ask(b"GET", asked.target, most=most)).expect(200)
    return str(raised.value)


def test_questions_go_over_one_connection_and_what_is_opaque_stays_so(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("14695981039346656037", b"{}")
        one = asked(plane, token="s3cret")
        assert await one.ask(b"GET", BASE) == Answer(200, "14695981039346656037", b"/main.js\n/config.json")
        assert await one.ask(b"HEAD", BASE) == Answer(200, "14695981039346656037", b"")
        plane.version = 'W/"a b"'
        assert (await one.ask(b"GET", BASE, [(b"If-None-Match", b'W/"a b"')])).status == 304
        assert (await one.ask(b"POST", BASE, body=b"{}")).status == 201
        assert plane.connections == 1
        assert {heard.headers["host"] for heard in plane.asked} == {f"127.0.0.1:{plane.port}"}
        assert {heard.headers["authorization"] for heard in plane.asked} == {"Bearer s3cret"}
        assert all("text/html" not in heard.headers["accept"] for heard in plane.asked)
        assert one.local == "127.0.0.1"

    run(scenario())


def test_a_connection_that_has_ended_is_replaced(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("1", b"{}")
        one = asked(plane)
        await one.ask(b"HEAD", BASE)
        port = plane.port
        plane.close()
        await plane.open(port)
        assert (await one.ask(b"HEAD", BASE)).status == 200
        assert plane.connections == 2

    run(scenario())


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "no HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "no HTTP/1.1: bad status line"),
        (HEAD, "in the middle of an answer"),
        (HEAD + b"content-length: 10\r\n\r\n{}", "no HTTP/1.1: cut short"),
        (HEAD + b"content-length: 10\r\ncontent-length: 11\r\n\r\n0123456789", "no HTTP/1.1"),
        (HEAD + b"content-length: ten\r\n\r\n0123456789", "no HTTP/1.1"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhel", "no HTTP/1.1: cut short"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", "no HTTP/1.1"),
        (HEAD + b"content-length: 999999999999\r\n\r\n", "more than 1 MiB"),
        (HEAD + b"x: " + b"y" * 70_000 + b"\r\n\r\n", "no HTTP/1.1: head too large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "no HTTP/1.1: too many interim"),
        (HEAD + b"content-encoding: br\r\ncontent-length: 0\r\n\r\n", "Content-Encoding that is not read: br"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "no HTTP/1.1"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirects are not"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", "it answers 500"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "it answers 304"),
    ],
)
def test_what_is_no_answer_is_told_in_words(run: Run, raw: bytes, words: str) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.raw = raw
        one = asked(plane)
        assert words in await why(one)
        plane.raw = None
        plane.commit("1", b"{}")
        assert (await one.ask(b"GET", BASE)).status == 200

    run(scenario())


@pytest.mark.parametrize(("status", "kind"), [(401, Denied), (403, Denied), (404, Gone), (410, Gone)])
def test_refusals_are_told_apart(status: int, kind: type[Unanswered]) -> None:
    with pytest.raises(kind, match=str(status)):
        Answer(status, "", b"").expect(200)


def test_a_token_is_not_carried_to_where_a_redirect_points(run: Run) -> None:
    async def scenario() -> None:
        plane, other = await Plane.start(), await Plane.start()
        plane.raw = b"HTTP/1.1 307 Go\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % other.url.encode()
        assert "redirects are not followed" in await why(asked(plane, token="s3cret"))
        assert other.connections == 0

    run(scenario())


@pytest.mark.parametrize("head", [HEAD + b"\r\n", HEAD + b"transfer-encoding: chunked\r\n\r\n"])
def test_an_endless_answer_ends_at_the_bound(run: Run, head: bytes) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.raw, plane.for_ever = head, b"1000\r\n" + b"x" * 4096 + b"\r\n"
        assert await why(asked(plane)) == "what it sends has more than 1 MiB"

    run(scenario())


def test_who_answers_byte_by_byte_is_late_although_never_silent(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.raw, plane.pause = HEAD + b"content-length: 500\r\n\r\n" + b"x" * 500, 0.01
        began = asyncio.get_running_loop().time()
        assert await why(asked(plane, within=0.3)) == "no whole answer within 0.3 s"
        assert asyncio.get_running_loop().time() - began < 3

    run(scenario())


def test_who_never_shakes_hands_is_left(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        reach = Reach(context=ssl.create_default_context())
        one = Asked(f"https://plane.local:{plane.port}/", within=0.2, reach=reach)
        assert await why(one) == "no whole answer within 0.2 s"
        while plane.connected:  # noqa: ASYNC110 - what is watched is a plain value
            await asyncio.sleep(0.001)

    run(scenario())


def test_a_query_is_a_part_of_the_question() -> None:
    assert Asked("http://plane.local/mesh?of=books", within=1.0, reach=Reach()).target == "/mesh?of=books"
    assert Asked("http://plane.local", within=1.0, reach=Reach()).target == "/"


def test_nobody_there_is_told_and_another_address_is_tried(run: Run) -> None:
    async def scenario() -> None:
        plane = await Plane.start()
        plane.commit("1", b"{}")
        assert (await asked(plane, reach=Reach("127.0.0.9", "127.0.0.1")).ask(b"HEAD", BASE)).status == 200
        plane.close()
        assert await why(asked(plane)) == "Connection refused"

    run(scenario())


def test_a_name_without_an_address_is_told(run: Run) -> None:
    class Nowhere(Reach):
        async def addresses(self, host: str) -> list[Address]:
            return []

    async def scenario() -> None:
        assert await why(asked(await Plane.start(), reach=Nowhere())) == "it has no address"

    run(scenario())


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    try:
        writer.write(data)
        await reader.read()
    finally:
        writer.transport.abort()


def test_tls_is_verified_and_what_is_wrong_is_told(run: Run, pki: Pki) -> None:
    ca, stranger = pki.ca(), pki.ca()
    pair = ca.issue("shop/plane", dns=["plane.local"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await say(reader, writer, HEAD + b"content-length: 2\r\n\r\n{}")

    def client(root: Any) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(root))

    async def scenario() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
        _opened.append(listening.close)
        port = listening.sockets[0].getsockname()[1]

        def at(host: str, reach: Reach) -> Asked:
            return Asked(f"https://{host}:{port}/", within=5.0, reach=reach)

        good = Reach(context=client(ca.root))
        one = at("plane.local", good)
        assert (await one.ask(b"GET", "/")).body == b"{}"
        one.close()
        assert "wrong name" in await why(at("other.local", good))
        assert "unknown ca" in await why(at("plane.local", Reach(context=client(stranger.root))))
        good.wanted = b"somebody else"
        assert await why(at("plane.local", good)) == "TLS: wrong name"
        named = Reach(context=client(ca.root))
        named.server_name = "plane.local"
        one = at("127.0.0.1", named)
        assert (await one.ask(b"GET", "/")).status == 200
        one.close()

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            await say(reader, writer, b"HTTP/1.1 400 Bad Request\r\n\r\n")

        speaks_plain = await asyncio.start_server(plain, "127.0.0.1", 0)
        _opened.append(speaks_plain.close)
        port = speaks_plain.sockets[0].getsockname()[1]
        assert "TLS: plain" in await why(at("plane.local", named))

    run(scenario())


def test_what_is_shown_of_us_names_the_version_only() -> None:
    assert asking.AGENT.startswith(b"meshproxy/")
