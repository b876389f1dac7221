"""Whatever we accept, h11 and llhttp (of httptools) accept with the same meaning, or the difference is listed here.

Messages are made of the pieces that have fooled parsers, put together at random and damaged.  A longer run:

    H1_EXAMPLES=200000 pytest tests/wire/h1/test_differential.py
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshproxy.wire.h1 import Limits, Reason, RequestCodec, ResponseCodec
from tests.examples import of
from tests.wire.h1.feeding import Event, Message, converse, events, experienced_requests, experienced_responses, ways

EXAMPLES = int(os.environ.get("H1_EXAMPLES", of(400)))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)

# Where we accept what another refuses, or read it in another way, and why that is right.
LLHTTP_METHODS = frozenset(b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT".split())
"""llhttp has a list of methods; RFC 9110 has tokens.  Other methods are not compared."""

# Strategies


def one_of(*pieces: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(pieces)


METHODS = one_of(b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"get", b"BREW", b"CONNECT", b"G T", b"")
TARGETS = one_of(
    b"/", b"/a?b=c", b"/%41/../x", b"*", b"http://a/x?y", b"http://a", b"a:80", b"//a", b"/a#b", b"/\xc3\xa9", b"",
    b"/|[]?{}",
)
VERSIONS = one_of(*[b"HTTP/1.1"] * 6, b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"")
STATUS_LINES = one_of(
    *[b"HTTP/1.1 200 OK"] * 4, b"HTTP/1.0 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.1 304 X", b"HTTP/1.1 404 \xff",
    b"HTTP/1.1 200", b"HTTP/1.1 700 X", b"HTTP/1.1  200 OK",
)
NAMES = one_of(
    b"Host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade", b"X",
    b"x-y!z", b"Cookie", b"TE", b"Trailer", b"X_Y", b" X", b"X ", b"",
)
VALUES = one_of(
    b"a", b"a:80", b"b", b"3", b"0", b"10", b"+3", b"3, 3", b"0x3", b"chunked", b"Chunked", b"gzip, chunked",
    b"identity", b"close", b"keep-alive", b"100-continue", b"h2c", b"", b"  v  ", b"\tv\t", b"v\x00", b"v\x0b",
    b"\xff\x80", b"a b\tc", b"v\rw", b"v\nw", b"v\r\n w", b'(),/:;<=>?@[\\]{}"',
)
COLONS = one_of(*[b": "] * 8, b":", b" : ", b":\t", b"")
ENDS = one_of(*[b"\r\n"] * 20, b"\n", b"\r", b"\r\r\n")
LINES = st.tuples(NAMES, COLONS, VALUES, ENDS).map(b"".join)
HONEST = one_of(*[b"Host: a\r\n"] * 2, b"Host: a\r\nX: y\r\n", b"Host: a\r\nConnection: close\r\n", b"")
FRAMINGS = one_of(b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n")
CHUNK_PARTS = one_of(
    b"3\r\nabc\r\n", b"003\r\nabc\r\n", b"A\r\n0123456789\r\n", b"3;x\r\nabc\r\n", b'3;x=y;z="q"\r\nabc\r\n',
    b'3;x="\xff"\r\nabc\r\n', b"0\r\n", b"0;x\r\n", b"\r\n", b"0\r\n\r\n", b"X: y\r\n", b"Content-Length: 3\r\n",
    b"3 \r\nabc\r\n", b"-3\r\nabc\r\n", b"3\nabc\r\n", b"3\r\nabc", b"ffffffffffffffff\r\n", b"0x3\r\nabc\r\n",
)
HONEST_CHUNKS = one_of(b"3\r\nabc\r\n0\r\n\r\n", b"1;x\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\nZ:\t1 \r\n\r\n")
BODIES = st.one_of(one_of(b"", b"abc"), HONEST_CHUNKS, st.lists(CHUNK_PARTS, max_size=5).map(b"".join))
SPLINTERS = one_of(b"", b"\r", b"\n", b"\x00", b" ", b":", b"\t", b",", b"\xff", b"0", b";")
DAMAGE = st.lists(st.tuples(st.integers(0, 300), SPLINTERS), max_size=1)


def damaged(data: bytes, wounds: list[tuple[int, bytes]]) -> bytes:
    for at, splinter in wounds:
        data = data[:at] + splinter + data[at + (not splinter) :]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    honest = draw(st.integers(0, 3))
    method = draw(METHODS) if honest < 1 else draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD"]))
    target = draw(TARGETS) if honest < 2 else b"/x"
    version = draw(VERSIONS) if honest < 1 else b"HTTP/1.1"
    fields = draw(HONEST) + draw(FRAMINGS) + b"".join(draw(st.lists(LINES, max_size=2 if honest < 2 else 0)))
    data = b"%b %b %b\r\n%b\r\n%b" % (method, target, version, fields, draw(BODIES))
    return damaged(data, draw(DAMAGE))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    line = draw(STATUS_LINES)
    fields = draw(FRAMINGS) + b"".join(draw(st.lists(LINES, max_size=2)))
    return damaged(b"%b\r\n%b\r\n%b" % (line, fields, draw(BODIES)), draw(DAMAGE))


# The other two, told as one message


@dataclass
class Told:
    """A message as another implementation has it."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    # What llhttp calls

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def by_h11(data: bytes, role: type[h11.CLIENT | h11.SERVER], *, closed: bool) -> Told:
    conn = h11.Connection(role, max_incomplete_event_size=1 << 20)
    if role is h11.CLIENT:
        conn.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        conn.send(h11.EndOfMessage())
    conn.receive_data(data)
    if closed:
        conn.receive_data(b"")
    story = Told()
    while True:
        event = conn.next_event()
        if isinstance(event, h11.Request):
            story.method, story.target, story.fields = event.method, event.target, list(event.headers)
        elif isinstance(event, h11.Response):
            story.status, story.fields = event.status_code, list(event.headers)
        elif isinstance(event, h11.Data):
            story.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            story.fields += list(event.headers)
            story.complete = True
            return story
        elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
            return story


def by_llhttp(data: bytes, kind: str) -> Told:
    httptools: Any = importlib.import_module("httptools")
    story = Told()
    parser = getattr(httptools, kind)(story)
    with suppress(httptools.HttpParserUpgrade):
        parser.feed_data(data)
    if kind == "HttpRequestParser":
        story.method = parser.get_method()
    else:
        story.status = parser.get_status_code()
    return story


needs_httptools = pytest.mark.skipif(
    importlib.util.find_spec("httptools") is None, reason="httptools is not installed: llhttp is not compared with"
)


def accepted(codec: RequestCodec | ResponseCodec, data: bytes, *, closed: bool = False) -> tuple[Message, bytes] | None:
    """The first message of the data and its bytes, if we take it; the same however it is cut.

    Only which of several faults is told first may differ: pieces show a later one before the head is whole.
    """
    outcomes = [told(converse(codec, pieces, closed=closed)) for pieces in ways(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    message = outcomes[0][0] if outcomes[0] else None
    if not isinstance(message, Message):
        return None
    taken = 0

    def byte_by_byte() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(1, len(data) + 1):
            yield data[taken - 1 : taken]

    assert next(events(codec, byte_by_byte(), closed=closed)) == message
    return message, data[:taken].lstrip(b"\r\n")


def told(events: list[Event]) -> list[Event | None]:
    return [None if isinstance(event, Reason) else event for event in events]


def lowered(message: Message) -> list[tuple[bytes, bytes]]:
    trailers = [line.partition(b":") for line in message.trailers]
    return [(name.lower(), value) for name, value in message.fields] + [
        (name.lower(), value.strip(b" \t")) for name, _, value in trailers
    ]


def same_target(ours: bytes, theirs: bytes, message: bytes) -> bool:
    """We give the path of an absolute target; the others give it as it came."""
    return theirs == message.split(b" ")[1] and (ours == theirs or theirs.startswith(b"http://"))


def canonical(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """h11 gives codings and expectations in lower case, and we spell framing in one way."""
    return [
        (name, value.lower() if name in (b"transfer-encoding", b"expect") else value.lstrip(b"0") or b"0"
         if name == b"content-length" else value)
        for name, value in fields
    ]


# What must hold


@fuzz
@given(requests())
def test_requests_that_we_accept_h11_accepts(data: bytes) -> None:
    found = accepted(RequestCodec(), data)
    if found is None:
        return
    message, raw = found
    story = by_h11(raw, h11.SERVER, closed=False)
    assert isinstance(message.first, tuple)
    assert (story.method, story.complete) == (message.first[0], True)
    assert same_target(message.first[1], story.target, raw)
    assert canonical(story.fields) == canonical(lowered(message))
    assert story.body == message.body


@fuzz
@given(responses())
def test_responses_that_we_accept_h11_accepts(data: bytes) -> None:
    found = accepted(ResponseCodec(), data, closed=True)
    if found is None:
        return
    message, raw = found
    story = by_h11(raw, h11.CLIENT, closed=True)
    assert (story.status, story.complete) == (message.first, True)
    assert canonical(story.fields) == canonical(lowered(message))
    assert story.body == message.body


@needs_httptools
@fuzz
@given(requests())
def test_requests_that_we_accept_llhttp_accepts(data: bytes) -> None:
    found = accepted(RequestCodec(), data)
    if found is None:
        return
    message, raw = found
    assert isinstance(message.first, tuple)
    if message.first[0] not in LLHTTP_METHODS:
        return
    story = by_llhttp(raw, "HttpRequestParser")
    assert (story.method, story.complete) == (message.first[0], True)
    assert same_target(message.first[1], story.target, raw)
    assert canonical(story.fields) == canonical(lowered(message))
    assert story.body == message.body


@needs_httptools
@fuzz
@given(responses())
def test_responses_that_we_accept_llhttp_accepts(data: bytes) -> None:
    found = accepted(ResponseCodec(), data)
    if found is None:
        return
    message, raw = found
    story = by_llhttp(raw, "HttpResponseParser")
    assert (story.status, story.complete) == (message.first, True)
    assert canonical(story.fields) == canonical(lowered(message))
    assert story.body == message.body


# Our own three ways to a head


LEARNED = experienced_requests(), experienced_responses()


@fuzz
@given(requests())
def test_what_is_learnt_changes_nothing_about_requests(data: bytes) -> None:
    assert converse(LEARNED[0], [data]) == converse(RequestCodec(Limits()), [data])


@fuzz
@given(responses())
def test_what_is_learnt_changes_nothing_about_responses(data: bytes) -> None:
    assert converse(LEARNED[1], [data]) == converse(ResponseCodec(), [data])
