"""Malformed and hostile messages, sent to a listener and to it from an upstream: whole, byte by byte and cut at random.

Each has a number, by which it is known elsewhere (RFC 9112, the CVEs of other proxies, HTTP Garden); a letter marks a
neighbour.  After each comes a request or a response that an accomplice would like to see taken for a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import h11
import pytest

from tests.relay.conversation import WITHIN, config, idle

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

HOST = b"Host: x\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"
BYTE_BY_BYTE = 1000
"""The longest that is cut so."""
ONE_READ = 16_000


def get(target: bytes = b"/a", fields: bytes = HOST) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields)


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /a HTTP/1.1\r\n%b%b\r\n%b" % (HOST, fields, body)


def chunks(body: bytes) -> bytes:
    return post(CHUNKED, body)


REFUSED: list[tuple[str, int, bytes]] = [
    ("1 length and coding", 400, post(b"Content-Length: 5\r\n" + CHUNKED, LAST)),
    ("2 coding and length", 400, post(CHUNKED + b"Content-Length: 5\r\n", LAST)),
    ("3 xchunked", 501, post(b"Transfer-Encoding: xchunked\r\n", LAST)),
    ("4 chunked is not last", 400, post(b"Transfer-Encoding: chunked, gzip\r\n", LAST)),
    ("5 VT before chunked", 400, post(b"Transfer-Encoding:\x0bchunked\r\n", LAST)),
    ("6 space before the colon", 400, post(b"Transfer-Encoding : chunked\r\n", LAST)),
    ("7 identity", 501, post(b"Transfer-Encoding: identity\r\n", LAST)),
    ("8 gzip, chunked", 501, post(b"Transfer-Encoding: gzip, chunked\r\n", LAST)),
    ("9 two codings", 400, post(CHUNKED * 2, LAST)),
    ("10 chunked, chunked", 400, post(b"Transfer-Encoding: chunked, chunked\r\n", LAST)),
    ("11 empty element first", 400, post(b"Transfer-Encoding: ,chunked\r\n", LAST)),
    ("12 empty element last", 400, post(b"Transfer-Encoding: chunked,\r\n", LAST)),
    ("13 chunked with a parameter", 400, post(b"Transfer-Encoding: chunked;q=1\r\n", LAST)),
    ("14 chunked in quotes", 400, post(b'Transfer-Encoding: "chunked"\r\n', LAST)),
    ("15 coding in HTTP/1.0", 400, b"POST /a HTTP/1.0\r\nHost: x\r\n" + CHUNKED + b"\r\n" + LAST),
    ("16 no coding", 400, post(b"Transfer-Encoding:\r\n", LAST)),
    ("17 two lengths", 400, post(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"ab")),
    ("18 the same length twice", 400, post(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"a")),
    ("19 a list of lengths", 400, post(b"Content-Length: 1, 2\r\n", b"ab")),
    ("20 a list of one length", 400, post(b"Content-Length: 1, 1\r\n", b"a")),
    ("21 -1", 400, post(b"Content-Length: -1\r\n")),
    ("22 +1", 400, post(b"Content-Length: +1\r\n", b"a")),
    ("23 1_0", 400, post(b"Content-Length: 1_0\r\n", b"0123456789")),
    ("24 0x1", 400, post(b"Content-Length: 0x1\r\n", b"a")),
    ("25 2^64+1", 400, post(b"Content-Length: 18446744073709551617\r\n", b"a")),
    ("26 1 0", 400, post(b"Content-Length: 1 0\r\n", b"0123456789")),
    ("27 NUL in a length", 400, post(b"Content-Length: 1\0\r\n", b"a")),
    ("28 no length", 400, post(b"Content-Length:\r\n")),
    ("29 white space before the first field", 400, b"POST /a HTTP/1.1\r\n Content-Length: 1\r\nHost: x\r\n\r\na"),
    ("30 space after Content-Length", 400, post(b"Content-Length : 1\r\n", b"a")),
    ("31 a digit that is not ASCII", 400, post(b"Content-Length: \xef\xbc\x91\r\n", b"a")),
    ("32 1.0", 400, post(b"Content-Length: 1.0\r\n", b"a")),
    ("33 bare LF after a coding", 400, post(b"Transfer-Encoding: chunked\n", LAST)),
    ("34 bare CR after a coding", 400, post(b"Transfer-Encoding: chunked\rX: y\r\n", LAST)),
    ("35 CR LF CR X at the end", 400, b"GET /a HTTP/1.1\r\nHost: x\r\n\rX"),
    ("36 LF at the end", 400, b"GET /a HTTP/1.1\r\nHost: x\r\n\n"),
    ("37 chunk +5", 400, chunks(b"+5\r\nhello\r\n" + LAST)),
    ("38 chunk -5", 400, chunks(b"-5\r\nhello\r\n" + LAST)),
    ("39 chunk 5_0", 400, chunks(b"5_0\r\nhello\r\n" + LAST)),
    ("40 chunk 0x5", 400, chunks(b"0x5\r\nhello\r\n" + LAST)),
    ("41 space before a size", 400, chunks(b" 5\r\nhello\r\n" + LAST)),
    ("42 space after a size", 400, chunks(b"5 \r\nhello\r\n" + LAST)),
    ("43 chunk Z", 400, chunks(b"Z\r\nhello\r\n" + LAST)),
    ("43a no size", 400, chunks(b"\r\nhello\r\n" + LAST)),
    ("44 17 digits", 400, chunks(b"00000000000000005\r\nhello\r\n" + LAST)),
    ("44a over 2^63", 400, chunks(b"ffffffffffffffff\r\nhello\r\n" + LAST)),
    ("45 bare LF in an extension", 400, chunks(b"5;a\nhello\r\n" + LAST)),
    ("46 bare CR in an extension", 400, chunks(b"5;a\rb\r\nhello\r\n" + LAST)),
    ("47 CR and another byte after a size", 400, chunks(b"5\rX\nhello\r\n" + LAST)),
    ("48 bare LF after a size", 400, chunks(b"5\nhello\r\n" + LAST)),
    ("48a bare LF after the last size", 400, chunks(b"0\n\r\n")),
    ("49 bare LF after data", 400, chunks(b"5\r\nhello\n" + LAST)),
    ("50 data longer than its size", 400, chunks(b"5\r\nhello!!\r\n" + LAST)),
    ("51 an extension of 70 KiB", 400, chunks(b"5;a=" + b"b" * 70_000 + b"\r\nhello\r\n" + LAST)),
    ("52 many extensions", 400, chunks((b"1;" + b"a" * 500 + b"\r\nx\r\n") * 50 + LAST)),
    ("53 bare LF in a trailer", 400, chunks(b"0\r\nA: b\n\r\n")),
    ("54 a length in the trailers", 400, chunks(b"0\r\nContent-Length: 9\r\n\r\n")),
    ("54a a host in the trailers", 400, chunks(b"0\r\nHost: other\r\n\r\n")),
    ("54b a folded trailer", 400, chunks(b"0\r\nA: b\r\n c\r\n\r\n")),
    ("57 two spaces", 400, b"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("58 a tab", 400, b"GET\t/a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("59 space after the version", 400, b"GET /a HTTP/1.1 \r\nHost: x\r\n\r\n"),
    ("60 space before the method", 400, b" GET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("61 HTTP/2.0", 505, b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n"),
    ("62 almost the preface of HTTP/2", 505, b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n"),
    ("63 HTTP/9.9", 505, b"GET /a HTTP/9.9\r\nHost: x\r\n\r\n"),
    ("64 HTTP/1.10", 400, b"GET /a HTTP/1.10\r\nHost: x\r\n\r\n"),
    ("64a http/1.1", 400, b"GET /a http/1.1\r\nHost: x\r\n\r\n"),
    ("65 no version", 400, b"GET / \r\nHost: x\r\n\r\n"),
    ("66 HTTP/0.9", 400, b"GET /\r\n\r\n"),
    ("67 NUL in the method", 400, b"G\0T /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("68 a method that is no token", 400, b"G(T /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("69 NUL in the target", 400, get(b"/\0")),
    ("70 a byte above 127 in the target", 400, get(b"/\xff")),
    ("71 a control byte in the target", 400, get(b"/\x01")),
    ("71a DEL in the target", 400, get(b"/\x7f")),
    ("72 a fragment", 400, get(b"/a#b")),
    ("73 no leading slash", 400, get(b"a")),
    ("74 a backslash", 400, get(b"/a\\b")),
    ("75 another authority than Host", 400, get(b"http://y/a")),
    ("76 an authority with a user", 400, get(b"http://u@x/a")),
    ("76a another scheme", 400, get(b"ftp://x/a")),
    ("77 CONNECT", 405, b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n"),
    ("78 CONNECT with a path", 400, b"CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("79 a target of 100 KiB", 414, get(b"/" + b"a" * 102_400)),
    ("80 a field of 100 KiB", 431, get(fields=HOST + b"A: " + b"a" * 102_400 + b"\r\n")),
    ("81 a ClientHello", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(100)) + b"\r\n\r\n"),
    ("82 garbage", 400, b"\xff\xfe\xfd\xfc" * 20 + b"\r\n\r\n"),
    ("83 LF only", 400, b"GET /a HTTP/1.1\nHost: x\n\n"),
    ("85 two hosts", 400, get(fields=HOST + b"Host: y\r\n")),
    ("85a the same host twice", 400, get(fields=HOST * 2)),
    ("86 no host", 400, get(fields=b"A: b\r\n")),
    ("87 a host with a user", 400, get(fields=b"Host: u@a\r\n")),
    ("88 a space in a host", 400, get(fields=b"Host: a b\r\n")),
    ("89 port 99999", 400, get(fields=b"Host: a:99999\r\n")),
    ("90 a port that is none", 400, get(fields=b"Host: a:b\r\n")),
    ("91 an address that is not closed", 400, get(fields=b"Host: [::1\r\n")),
    ("92 a path in a host", 400, get(fields=b"Host: a/b\r\n")),
    ("93 a byte above 127 in a host", 400, get(fields=b"Host: \xffa\r\n")),
    ("94 a folded host", 400, get(fields=b"Host:\r\n x\r\n")),
    ("95 no colon", 400, get(fields=HOST + b"nothing\r\n")),
    ("96 an empty name", 400, get(fields=HOST + b": b\r\n")),
    ("97 NUL in a name", 400, get(fields=HOST + b"A\0: b\r\n")),
    ("98 space before a colon", 400, get(fields=HOST + b"A : b\r\n")),
    ("99 a delimiter in a name", 400, get(fields=HOST + b"Fo(o: x\r\n")),
    ("100 a byte above 127 in a name", 400, get(fields=HOST + b"F\x80: x\r\n")),
    ("101 bare CR in a value", 400, get(fields=HOST + b"A: b\rc\r\n")),
    ("102 NUL in a value", 400, get(fields=HOST + b"A: b\0c\r\n")),
    ("103 DEL in a value", 400, get(fields=HOST + b"A: b\x7fc\r\n")),
    ("104 a control byte in a value", 400, get(fields=HOST + b"A: b\x01c\r\n")),
    ("105 a folded field", 400, get(fields=HOST + b"A: b\r\n c\r\n")),
    ("106 a folded coding", 400, post(b"Transfer-Encoding:\r\n chunked\r\n", LAST)),
    ("107 300 fields", 431, get(fields=HOST + b"A: b\r\n" * 300)),
    ("108 one field too many", 431, get(fields=HOST + b"A: b\r\n" * 100)),
    ("109 10,000 cookies", 431, get(fields=HOST + b"Cookie: a=b\r\n" * 10_000)),
    ("110 a head of 70 KiB", 431, get(fields=HOST + (b"A: " + b"b" * 1000 + b"\r\n") * 70)),
    ("118 an underscore in a name", 400, post(b"Content_Length: 5\r\n")),
    ("122 another expectation", 417, post(b"Expect: 200-ok\r\nContent-Length: 1\r\n", b"a")),
    ("129 %00", 400, get(b"/%00")),
    ("130 half an escape", 400, get(b"/%zz")),
]
AMBIGUOUS = [
    ("125 escaped slashes", b"/pub%2f..%2fadmin"),
    ("126 escaped backslashes", b"/pub%5c..%5cadmin"),
    ("127 dots with a parameter", b"/pub/..;/admin"),
    ("128 above the root", b"/../admin"),
    ("131 overlong UTF-8", b"/%c0%ae%c0%ae/"),
]


class Seen(NamedTuple):
    """A request as an upstream understands it."""

    method: bytes
    target: bytes
    fields: dict[bytes, bytes]
    body: bytes


WITHOUT_CLOSE = b"Connection: close, X-Forwarded-For, Host, Content-Length\r\n"
HOP_BY_HOP = b"Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nProxy: http://evil\r\nUpgrade: h2c\r\n"
INNER = get(b"/inner")

ACCEPTED: list[tuple[str, bytes, bytes, bytes]] = [
    ("55 a chunk extension", chunks(b"5;a=b\r\nhello\r\n" + LAST), b"/a", b"hello"),
    ("56 one in quotes", chunks(b'5;a="b;c"\r\nhello\r\n' + LAST), b"/a", b"hello"),
    ("56a a trailer", chunks(b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"), b"/a", b"hello"),
    ("84 an empty line before a request", b"\r\n" + get(), b"/a", b""),
    ("84a the absolute form", get(b"http://x/a"), b"/a", b""),
    ("112 a request within a body", post(b"Content-Length: %d\r\n" % len(INNER), INNER), b"/a", INNER),
    ("112a a request within a chunk", chunks(b"%x\r\n%b\r\n" % (len(INNER), INNER) + LAST), b"/a", INNER),
    ("115 hop by hop", get(fields=HOST + HOP_BY_HOP), b"/a", b""),
    ("121 GET with a body", get(fields=HOST + b"Content-Length: 5\r\n") + b"hello", b"/a", b"hello"),
    ("123 dots", get(b"/admin/../x"), b"/x", b""),
    ("124 escaped dots", get(b"/admin/%2e%2E/x"), b"/x", b""),
]


class Origin:
    """An upstream that answers whatever h11 takes for a request, and remembers it."""

    def __init__(self, up: Any) -> None:
        self._up = up
        self.seen: list[Seen] = []
        self.heard = b""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._tasks = {asyncio.ensure_future(self._accept())}

    async def _accept(self) -> None:
        while True:
            self._tasks.add(asyncio.ensure_future(self._serve(await self._up.accept())))

    async def _serve(self, peer: Any) -> None:
        parser = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        body = b""
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
            while True:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    data = await peer.recv()
                    self.heard += data
                    parser.receive_data(data)
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert request is not None
                    self.seen.append(Seen(request.method, request.target, dict(request.headers), body))
                    await self.may_answer.wait()
                    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                    parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                    parser.send(h11.EndOfMessage())
                    parser.start_next_cycle()
                else:
                    break
        peer.close()


def cuts(words: bytes) -> Iterator[list[bytes]]:
    yield [words]
    if len(words) <= BYTE_BY_BYTE:
        yield [words[at : at + 1] for at in range(len(words))]
    chance = random.Random(words)
    for pieces in (2, 5, 20):
        places = sorted(chance.sample(range(1, len(words)), min(pieces, len(words) - 1)))
        yield [words[a:b] for a, b in zip([0, *places], [*places, len(words)], strict=True)]


async def say(peer: Any, pieces: list[bytes]) -> None:
    """As separate segments, each of which is read before the next; who does not listen any more is let alone."""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def all_of(peer: Any) -> bytes:
    async with asyncio.timeout(WITHIN):
        got: bytes = await peer.recv_all()
        return got


@pytest.mark.parametrize(("status", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused_answered_once_and_never_passed_on(
    run: Run, world: World, upstream: Upstream, status: int, words: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        origin = Origin(up)
        for pieces in cuts(words + SECOND):
            client = await w.connect()
            saying = asyncio.ensure_future(say(client, pieces))
            answer = await all_of(client)
            await saying
            client.close()
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer
            assert b"\r\nConnection: close\r\n" in answer
            assert answer.count(b"HTTP/1.1 ") == 1
            assert origin.seen == []
            assert b"second" not in origin.heard
            if len(pieces) == 1 and len(words) <= ONE_READ:
                assert origin.heard == b"", "not even of what came before the fault"

    run(scenario())


@pytest.mark.parametrize("path", [case[1] for case in AMBIGUOUS], ids=[case[0] for case in AMBIGUOUS])
def test_a_path_with_two_meanings_goes_nowhere(run: Run, world: World, upstream: Upstream, path: bytes) -> None:
    """Where it ends is beyond doubt, so the connection goes on."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        origin = Origin(up)
        for pieces in cuts(get(path) + SECOND.replace(HOST, HOST + b"Connection: close\r\n")):
            client = await w.connect()
            saying = asyncio.ensure_future(say(client, pieces))
            answer = await all_of(client)
            await saying
            client.close()
            assert answer.startswith(b"HTTP/1.1 400 "), answer
            assert [request.target for request in origin.seen] == [b"/second"]
            origin.seen.clear()

    run(scenario())


@pytest.mark.parametrize(
    ("words", "target", "body"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_accepted_with_the_one_meaning_that_it_has(
    run: Run, world: World, upstream: Upstream, words: bytes, target: bytes, body: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        origin = Origin(up)
        for pieces in cuts(words + SECOND.replace(HOST, HOST + b"Connection: close\r\n")):
            client = await w.connect()
            saying = asyncio.ensure_future(say(client, pieces))
            answer = await all_of(client)
            await saying
            client.close()
            assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2, answer
            first, second = origin.seen
            assert (first.target, first.body) == (target, body)
            assert (second.target, second.body) == (b"/second", b"")
            unwelcome = {b"keep-alive", b"proxy-connection", b"te", b"proxy", b"upgrade", b"connection"}
            assert not first.fields.keys() & unwelcome
            origin.seen.clear()

    run(scenario())


def test_what_connection_names_does_not_change_what_the_next_server_believes(
    run: Run, world: World, upstream: Upstream
) -> None:
    """Numbers 111, 113 and 114."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        origin = Origin(up)
        for pieces in cuts(post(WITHOUT_CLOSE + b"X-Forwarded-For: 1.1.1.1\r\nContent-Length: 5\r\n", b"hello")):
            client = await w.connect()
            saying = asyncio.ensure_future(say(client, pieces))
            answer = await all_of(client)
            await saying
            (request,) = origin.seen
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert request.body == b"hello"
            assert (request.fields[b"host"], request.fields[b"x-forwarded-for"]) == (b"x", b"127.0.0.1")
            origin.seen.clear()

    run(scenario())


OK = b"HTTP/1.1 200 OK\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


def answer(fields: bytes, body: bytes = b"hi") -> bytes:
    return OK + fields + b"\r\n" + body


BROKEN: list[tuple[str, bytes]] = [
    ("266 length and coding", answer(b"Content-Length: 5\r\n" + CHUNKED, LAST)),
    ("267 two lengths", answer(b"Content-Length: 2\r\nContent-Length: 3\r\n")),
    ("267a the same length twice", answer(b"Content-Length: 2\r\nContent-Length: 2\r\n")),
    ("267b -1", answer(b"Content-Length: -1\r\n")),
    ("267c two codings", answer(CHUNKED * 2, LAST)),
    ("267d xchunked", answer(b"Transfer-Encoding: xchunked\r\n", LAST)),
    ("268 NUL in a field", answer(b"A: b\0c\r\nContent-Length: 2\r\n")),
    ("268a bare CR in a field", answer(b"A: b\rc\r\nContent-Length: 2\r\n")),
    ("268b bare LF after a field", answer(b"A: b\nContent-Length: 2\r\n")),
    ("268c space before a colon", answer(b"Content-Length : 2\r\n")),
    ("270 a change that nobody asked for", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("271 a flood of interim answers", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + answer(b"Content-Length: 2\r\n")),
    ("271a one with a body", b"HTTP/1.1 103 Early\r\nContent-Length: 2\r\n\r\nhi" + answer(b"Content-Length: 2\r\n")),
    ("272 chunk data without an end", answer(CHUNKED, b"5\r\nhelloXX" + LAST)),
    ("272a bare LF after a size", answer(CHUNKED, b"5\nhello\r\n" + LAST)),
    ("272b no size", answer(CHUNKED, b"zz\r\nhello\r\n" + LAST)),
    ("272c a length in the trailers", answer(CHUNKED, b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n")),
    ("273 a head of 100 KiB", answer((b"A: " + b"b" * 1000 + b"\r\n") * 100 + b"Content-Length: 2\r\n")),
    ("273a 300 fields", answer(b"A: b\r\n" * 300 + b"Content-Length: 2\r\n")),
    ("274 HTTP/0.9", b"<html>hello</html>\r\n\r\n"),
    ("274a HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("274b status 99", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("274c status 2000", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("275 204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi"),
    ("277 a folded cookie", answer(b"Set-Cookie: a=b;\r\n Secure\r\nContent-Length: 2\r\n")),
    ("278 coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n" + LAST),
]
CUT = [
    ("272d a length that does not come", answer(b"Content-Length: 9\r\n")),
    ("272e chunks without the last", answer(CHUNKED, b"5\r\nhello\r\n")),
    ("272f half a chunk", answer(CHUNKED, b"5\r\nhel")),
    ("272g half the last chunk", answer(CHUNKED, b"5\r\nhello\r\n0\r\n")),
    ("272h half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
    ("272i an interim answer only", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ("272j nothing", b""),
]
EXTRA = [
    ("269 more than an answer", b"GET", answer(b"Content-Length: 2\r\n"), b"hi"),
    ("269a more than the last chunk", b"GET", answer(CHUNKED, b"2\r\nhi\r\n" + LAST), b"hi"),
    ("275a 204 with a body", b"GET", b"HTTP/1.1 204 No Content\r\n\r\nhi", b""),
    ("275b 304 with a body", b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nhi", b""),
    ("275c HEAD with a body", b"HEAD", answer(b"Content-Length: 2\r\n"), b""),
]


async def understood(client: Any, method: bytes = b"GET") -> tuple[int, bytes] | None:
    """The answer as another parser understands it; None if it was cut."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target="/a", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    status, body = 0, b""
    async with asyncio.timeout(WITHIN):
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                try:
                    parser.receive_data(await client.recv())
                except (ConnectionError, h11.RemoteProtocolError):
                    return None
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body


async def end_of(server: Any) -> bool:
    """In whichever way."""
    async with asyncio.timeout(WITHIN):
        try:
            return not await server.recv()
        except ConnectionError:
            return True


async def the_next_is_right(w: Any, up: Any) -> None:
    """Another client's request goes to another connection, and the answer is its own."""
    assert idle(w) == 0
    client = await w.connect()
    await client.send(get())
    server = await up.accept()
    await server.recv()
    await server.send(answer(b"Content-Length: 2\r\n"))
    assert await understood(client) == (200, b"hi")
    server.close()
    client.close()


@pytest.mark.parametrize("words", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_answer_is_502_or_a_reset(run: Run, world: World, upstream: Upstream, words: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        for pieces in cuts(words + POISON):
            client = await w.connect()
            await client.send(get())
            server = await up.accept()
            await server.recv()
            saying = asyncio.ensure_future(say(server, pieces))
            said = await understood(client)
            assert said in (None, (502, b"upstream malformed\n")), said
            await saying
            assert await end_of(server), "not used again"
            client.close()
            await the_next_is_right(w, up)

    run(scenario())


@pytest.mark.parametrize("by", ["FIN", "RST"])
@pytest.mark.parametrize("words", [case[1] for case in CUT], ids=[case[0] for case in CUT])
def test_a_cut_answer_is_502_or_a_reset(run: Run, world: World, upstream: Upstream, words: bytes, by: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        for pieces in cuts(words) if words else [[]]:
            client = await w.connect()
            await client.send(get())
            server = await up.accept()
            await server.recv()
            await say(server, pieces)
            server.close() if by == "FIN" else server.reset()
            said = await understood(client)
            assert said is None or said[0] == 502, said
            client.close()
            await the_next_is_right(w, up)

    run(scenario())


@pytest.mark.parametrize(
    ("method", "words", "body"), [case[1:] for case in EXTRA], ids=[case[0] for case in EXTRA]
)
def test_what_comes_after_an_answer_is_nobodys(
    run: Run, world: World, upstream: Upstream, method: bytes, words: bytes, body: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        for pieces in cuts(words + POISON):
            client = await w.connect()
            await client.send(get().replace(b"GET", method))
            server = await up.accept()
            await server.recv()
            saying = asyncio.ensure_future(say(server, pieces))
            said = await understood(client, method)
            assert said is not None
            assert said[1] == body
            await saying
            assert await end_of(server), "not used again"
            await client.send(get())
            server = await up.accept()
            await server.recv()
            await server.send(answer(b"Content-Length: 2\r\n"))
            assert await understood(client) == (200, b"hi")
            server.close()
            client.close()
            await w.until(lambda: idle(w) == 0)

    run(scenario())
