"""Malformed, hostile and odd messages of HTTP/2 as raw frames, through a listener to an endpoint of HTTP/1.1.

Each is sent whole, byte by byte, and cut by chance.  What is refused reaches nobody, what is taken has one meaning, and
the next request, on this connection or on another one, is served.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.relay.conversation import IDENTITY, config
from tests.relay.raw_h2 import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    START,
    STREAM_CLOSED,
    WHOLE,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Raw,
    block,
    data,
    frame,
    headers,
    literal,
    number,
    request,
    settings,
)
from tests.relay.test_http_corpus import Origin, say

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

LATER = 201
"""A stream that no case uses."""
GOOD = headers(LATER, request(path="/good"))
AS_GOOD = b"GET /good HTTP/1.1\r\nHost: x\r\n\r\n"
BYTE_BY_BYTE = 600
"""The longest that is cut so."""
ONE_READ = 16_000


@dataclass
class Reset:
    """RST_STREAM; the connection goes on."""

    code: int
    behind_a_whole: bool = False
    """What comes before the fault is a whole request, which in pieces goes on."""


@dataclass
class Goaway:
    code: int


@dataclass
class Status:
    """The proxy says it."""

    status: int


@dataclass
class Passes:
    """The endpoint is asked with exactly this, and its answer comes back."""

    words: bytes


Due = Reset | Goaway | Status | Passes


def ask(*more: tuple[str, str], **pseudo: str | None) -> bytes:
    return START + headers(1, request(*more, **pseudo))


def begin(*more: tuple[str, str], **pseudo: str | None) -> bytes:
    """A body is to follow."""
    return START + headers(1, request(*more, **{"method": "POST", **pseudo}), END_HEADERS)


def encoded(said: bytes, flags: int = WHOLE) -> bytes:
    return START + headers(1, said, flags)


INNER = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
CUT = request()[:20], request()[20:50], request()[50:]
SIZE = [("content-length", "5")]

MALFORMED: list[tuple[str, bytes]] = [
    # values
    ("CR LF in a value", ask(("a", "b\r\nc: d"))),
    ("a request in a value", ask(("a", "b\r\n\r\nGET /inner HTTP/1.1\r\nHost: x"))),
    ("bare LF in a value", ask(("a", "b\nc"))),
    ("bare CR in a value", ask(("a", "b\rc"))),
    ("NUL in a value", ask(("a", "b\0c"))),
    ("DEL in a value", ask(("a", "b\x7fc"))),
    ("a control byte in a value", ask(("a", "b\x01c"))),
    ("space before a value", ask(("a", " b"))),
    ("tab after a value", ask(("a", "b\t"))),
    # names
    ("CR LF in a name", ask(("a\r\nb", "c"))),
    ("a colon in a name", ask(("a: b\r\nc", "d"))),
    ("space in a name", ask(("a b", "c"))),
    ("NUL in a name", ask(("a\0", "b"))),
    ("a byte above 127 in a name", ask(("a\x80", "b"))),
    ("a capital in a name", ask(("Accept", "b"))),
    ("a capital in a framing name", ask(("Content-Length", "0"))),
    ("an empty name", ask(("", "b"))),
    ("a colon at the end of a name", ask(("transfer-encoding:", "chunked"))),
    ("a colon at the beginning of a name", ask((":transfer-encoding", "chunked"))),
    ("an underscore in a name", ask(("content_length", "5"))),
    ("a name of DEL", ask(("a\x7f", "b"))),
    # of a connection
    ("transfer-encoding: chunked", begin(("transfer-encoding", "chunked")) + data(1, b"0\r\n\r\n" + INNER)),
    ("transfer-encoding: identity", ask(("transfer-encoding", "identity"))),
    ("connection: keep-alive", ask(("connection", "keep-alive"))),
    ("connection: x-forwarded-for", ask(("connection", "x-forwarded-for"))),
    ("keep-alive", ask(("keep-alive", "timeout=5"))),
    ("proxy-connection", ask(("proxy-connection", "keep-alive"))),
    ("upgrade: h2c", ask(("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__"))),
    ("upgrade: websocket", ask(("upgrade", "websocket"))),
    ("http2-settings", ask(("http2-settings", "AAMAAABkAAQAAP__"))),
    ("te: gzip", ask(("te", "gzip"))),
    ("te: trailers, gzip", ask(("te", "trailers, gzip"))),
    ("te twice", ask(("te", "trailers"), ("te", "gzip"))),
    # the path
    ("space in a path", ask(path="/a b")),
    ("a version in a path", ask(path="/a HTTP/1.1\r\nHost: evil\r\n\r\n")),
    ("CR LF in a path", ask(path="/a\r\nb: c")),
    ("NUL in a path", ask(path="/\0")),
    ("an empty path", ask(path="")),
    ("a path without a slash", ask(path="a")),
    ("a path with an authority", ask(path="http://evil/a")),
    ("a fragment", ask(path="/a#b")),
    ("a byte above 127 in a path", ask(path="/\xff")),
    ("half an escape", ask(path="/%z")),
    ("%00", ask(path="/%00")),
    ("a backslash", ask(path="/a\\b")),
    ("an asterisk without OPTIONS", ask(path="*")),
    ("a tab in a query", ask(path="/?a\tb")),
    # the method
    ("a method with a space", ask(method="GET /evil HTTP/1.1\r\nHost: y\r\n\r\nGET")),
    ("G T", ask(method="G T")),
    ("an empty method", ask(method="")),
    ("a method with a delimiter", ask(method="G(T")),
    # the authority
    ("a user in an authority", ask(authority="u@x")),
    ("a path in an authority", ask(authority="x/y")),
    ("CR LF in an authority", ask(authority="x\r\na: b")),
    ("an empty authority", ask(authority="")),
    ("port 99999", ask(authority="x:99999")),
    ("an address that is not closed", ask(authority="[::1")),
    ("a list of authorities", ask(authority="x, y")),
    ("another host", ask(("host", "y"))),
    ("another port in host", ask(("host", "x:81"))),
    ("two hosts", ask(("host", "x"), ("host", "x"))),
    ("an empty host", ask(("host", ""))),
    ("a host with a user and no authority", ask(("host", "u@x"), authority=None)),
    # the scheme
    ("a URL in a scheme", ask(scheme="http://evil/x?")),
    ("an empty scheme", ask(scheme="")),
    ("another scheme", ask(scheme="ftp")),
    ("a scheme with a line", ask(scheme="http\r\na: b")),
    # what is missing, twice, or in a wrong place
    ("no method", ask(method=None)),
    ("no scheme", ask(scheme=None)),
    ("no path", ask(path=None)),
    ("neither authority nor host", ask(authority=None)),
    ("nothing", encoded(b"")),
    ("two methods", ask((":method", "PUT"))),
    ("two paths", ask((":path", "/b"))),
    ("two authorities", ask((":authority", "x"))),
    ("two schemes", ask((":scheme", "http"))),
    ("a status", ask((":status", "200"))),
    ("a pseudo-header that nobody knows", ask((":foo", "bar"))),
    ("a path behind fields", encoded(request(("a", "b"), path=None) + block((":path", "/a")))),
    ("CONNECT with a path", ask(method="CONNECT")),
    ("CONNECT without an authority", ask(method="CONNECT", scheme=None, path=None, authority=None)),
    ("CONNECT without a port", ask(method="CONNECT", scheme=None, path=None)),
    ("CONNECT to a protocol without a path", ask((":protocol", "websocket"), method="CONNECT", path=None)),
    ("GET with a protocol", ask((":protocol", "websocket"))),
    ("a protocol with a line", ask((":protocol", "websocket\r\na: b"), method="CONNECT")),
    # lengths
    ("a length that is longer", begin(("content-length", "10")) + data(1, b"hello")),
    ("a length, and no body", ask(*SIZE)),
    ("two lengths", begin(*SIZE, ("content-length", "6")) + data(1, b"hello")),
    ("the same length twice", begin(*SIZE, *SIZE) + data(1, b"hello")),
    ("a list of lengths", begin(("content-length", "5, 5")) + data(1, b"hello")),
    ("+5", begin(("content-length", "+5")) + data(1, b"hello")),
    ("-1", begin(("content-length", "-1")) + data(1, b"")),
    ("0x5", begin(("content-length", "0x5")) + data(1, b"hello")),
    ("1_0", begin(("content-length", "1_0")) + data(1, b"0123456789")),
    ("an empty length", begin(("content-length", "")) + data(1)),
    ("2^64+1", begin(("content-length", "18446744073709551617")) + data(1, b"a")),
    ("a length and a coding", begin(*SIZE, ("transfer-encoding", "chunked")) + data(1, b"hello")),
    ("a length, cut by trailers", begin(*SIZE) + data(1, b"hi", 0) + headers(1, block(("a", "b")))),
    # trailers
    ("a pseudo-header in trailers", begin() + data(1, b"a", 0) + headers(1, block((":path", "/b")))),
    ("trailers that do not end", begin() + data(1, b"a", 0) + headers(1, block(("a", "b")), END_HEADERS)),
    ("a length in trailers", begin() + data(1, b"a", 0) + headers(1, block(("content-length", "9")))),
    ("a coding in trailers", begin() + data(1, b"a", 0) + headers(1, block(("transfer-encoding", "chunked")))),
    ("a host in trailers", begin() + data(1, b"a", 0) + headers(1, block(("host", "y")))),
    ("CR LF in trailers", begin() + data(1, b"a", 0) + headers(1, block(("a", "b\r\n\r\n" + INNER.decode())))),
    ("a capital in trailers", begin() + data(1, b"a", 0) + headers(1, block(("A", "b")))),
    ("x-forwarded-for in trailers", begin() + data(1, b"a", 0) + headers(1, block(("x-forwarded-for", "::1")))),
    # streams
    ("a head that depends on itself",
     START + frame(HEADERS, WHOLE | WITH_PRIORITY, 1, number(1) + b"\0" + request())),
    ("an increment of nothing for a stream", begin() + frame(WINDOW_UPDATE, 0, 1, number(0))),
]  # fmt: skip

BEHIND = Reset(PROTOCOL_ERROR, behind_a_whole=True)
OTHERWISE: list[tuple[str, bytes, Due]] = [
    # lengths
    ("a length that is shorter", begin(("content-length", "2")) + data(1, b"hello"), BEHIND),
    ("a length of nothing, and a body", begin(("content-length", "0")) + data(1, b"hello"), BEHIND),
    ("a length of nothing, and a request", begin(("content-length", "0")) + data(1, INNER), BEHIND),
    ("trailers after a length of nothing",
     begin(("content-length", "0")) + headers(1, block(("transfer-encoding", "chunked"))), BEHIND),
    # streams
    ("a window that is too large", begin() + frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1)), Reset(FLOW_CONTROL_ERROR)),
    ("10,000 cookies by an index",
     encoded(request() + literal("cookie", "a=b", 0x40) + b"\xbe" * 10_000), Reset(ENHANCE_YOUR_CALM)),
    ("100 of 4,000 bytes by an index",
     encoded(request() + literal("a", "b" * 4000, 0x40) + b"\xbe" * 90), Reset(ENHANCE_YOUR_CALM)),
    ("PRIORITY of 4 bytes", begin() + frame(PRIORITY, 0, 1, bytes(4)), Reset(FRAME_SIZE_ERROR)),
    ("PRIORITY of itself", begin() + frame(PRIORITY, 0, 1, number(1) + b"\0"), Reset(PROTOCOL_ERROR)),
    # what the proxy answers itself
    ("another expectation", begin(("expect", "200-ok")) + data(1, b"a"), Status(417)),
    ("101 fields", ask(*[("a", "b")] * 101), Status(431)),
    ("a path of 16,000 bytes", ask(path="/" + "a" * 16_000), Status(414)),
    ("CONNECT", ask(method="CONNECT", scheme=None, path=None, authority="x:80"), Status(405)),
    ("CONNECT to a protocol that nobody speaks", ask((":protocol", "connect-udp"), method="CONNECT"), Status(405)),
    ("escaped slashes", ask(path="/pub%2f..%2fadmin"), Status(400)),
    ("escaped backslashes", ask(path="/pub%5c..%5cadmin"), Status(400)),
    ("dots with a parameter", ask(path="/pub/..;/admin"), Status(400)),
    ("above the root", ask(path="/../admin"), Status(400)),
    # the connection: how it begins
    ("PING before SETTINGS", PREFACE + frame(PING, 0, 0, bytes(8)), Goaway(PROTOCOL_ERROR)),
    ("a request before SETTINGS", PREFACE + headers(1, request()), Goaway(PROTOCOL_ERROR)),
    ("an acknowledgement before SETTINGS", PREFACE + frame(SETTINGS, ACK), Goaway(PROTOCOL_ERROR)),
    ("HTTP/1.1 after the preface", PREFACE + INNER + INNER, Goaway(FRAME_SIZE_ERROR)),
    # stream numbers
    ("HEADERS for the connection", START + headers(0, request()), Goaway(PROTOCOL_ERROR)),
    ("HEADERS of an even number", START + headers(2, request()), Goaway(PROTOCOL_ERROR)),
    ("HEADERS of a lower number", START + headers(5, request()) + headers(3, request()), Goaway(PROTOCOL_ERROR)),
    ("DATA for the connection", START + data(0, b"hello"), Goaway(PROTOCOL_ERROR)),
    ("DATA for what is idle", START + data(1, b"hello"), Goaway(PROTOCOL_ERROR)),
    ("RST_STREAM for the connection", START + frame(RST_STREAM, 0, 0, number(CANCEL)), Goaway(PROTOCOL_ERROR)),
    ("RST_STREAM for what is idle", START + frame(RST_STREAM, 0, 1, number(CANCEL)), Goaway(PROTOCOL_ERROR)),
    ("RST_STREAM of 3 bytes", begin() + frame(RST_STREAM, 0, 1, bytes(3)), Goaway(FRAME_SIZE_ERROR)),
    ("PRIORITY for the connection", START + frame(PRIORITY, 0, 0, bytes(5)), Goaway(PROTOCOL_ERROR)),
    ("PUSH_PROMISE", begin() + frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + request()), Goaway(PROTOCOL_ERROR)),
    # SETTINGS
    ("SETTINGS of 5 bytes", START + frame(SETTINGS, 0, 0, bytes(5)), Goaway(FRAME_SIZE_ERROR)),
    ("SETTINGS for a stream", START + frame(SETTINGS, 0, 1), Goaway(PROTOCOL_ERROR)),
    ("an acknowledgement with words", START + frame(SETTINGS, ACK, 0, bytes(6)), Goaway(FRAME_SIZE_ERROR)),
    ("ENABLE_PUSH 2", PREFACE + settings((2, 2)), Goaway(PROTOCOL_ERROR)),
    ("INITIAL_WINDOW_SIZE 2^31", PREFACE + settings((4, 2**31)), Goaway(FLOW_CONTROL_ERROR)),
    ("MAX_FRAME_SIZE 16383", PREFACE + settings((5, 16383)), Goaway(PROTOCOL_ERROR)),
    ("MAX_FRAME_SIZE 2^24", PREFACE + settings((5, 2**24)), Goaway(PROTOCOL_ERROR)),
    ("ENABLE_CONNECT_PROTOCOL 2", PREFACE + settings((8, 2)), Goaway(PROTOCOL_ERROR)),
    ("SETTINGS of 2,000", PREFACE + settings(*[(3, 100)] * 2000), Goaway(ENHANCE_YOUR_CALM)),
    # PING, GOAWAY, WINDOW_UPDATE
    ("PING of 7 bytes", START + frame(PING, 0, 0, bytes(7)), Goaway(FRAME_SIZE_ERROR)),
    ("PING for a stream", START + frame(PING, 0, 1, bytes(8)), Goaway(PROTOCOL_ERROR)),
    ("GOAWAY for a stream", START + frame(GOAWAY, 0, 1, bytes(8)), Goaway(PROTOCOL_ERROR)),
    ("GOAWAY of 7 bytes", START + frame(GOAWAY, 0, 0, bytes(7)), Goaway(FRAME_SIZE_ERROR)),
    ("WINDOW_UPDATE of 3 bytes", START + frame(WINDOW_UPDATE, 0, 0, bytes(3)), Goaway(FRAME_SIZE_ERROR)),
    ("an increment of nothing", START + frame(WINDOW_UPDATE, 0, 0, number(0)), Goaway(PROTOCOL_ERROR)),
    ("a window of the connection that is too large",
     START + frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1)), Goaway(FLOW_CONTROL_ERROR)),
    ("WINDOW_UPDATE for what is idle", START + frame(WINDOW_UPDATE, 0, 1, number(1)), Goaway(PROTOCOL_ERROR)),
    # frames
    ("CONTINUATION of nothing", START + frame(CONTINUATION, END_HEADERS, 1, request()), Goaway(PROTOCOL_ERROR)),
    ("CONTINUATION after the end of a head", begin() + frame(CONTINUATION, END_HEADERS, 1), Goaway(PROTOCOL_ERROR)),
    ("a head that is interrupted",
     START + headers(1, CUT[0], 0) + frame(PING, 0, 0, bytes(8)), Goaway(PROTOCOL_ERROR)),
    ("a head that is interrupted by an unknown frame",
     START + headers(1, CUT[0], 0) + frame(0x7F), Goaway(PROTOCOL_ERROR)),
    ("a head that goes on for another stream",
     START + headers(1, CUT[0], 0) + frame(CONTINUATION, END_HEADERS, 3, CUT[1] + CUT[2]), Goaway(PROTOCOL_ERROR)),
    ("a head that is interrupted by DATA", START + headers(1, CUT[0], 0) + data(1, b"hello"), Goaway(PROTOCOL_ERROR)),
    ("a head of 16,385 bytes", START + headers(1, bytes(16_385)), Goaway(FRAME_SIZE_ERROR)),
    ("DATA of 16,385 bytes", begin() + data(1, bytes(16_385)), Goaway(FRAME_SIZE_ERROR)),
    ("an unknown frame of 16 MiB", START + b"\xff\xff\xff\x7f\0\0\0\0\0", Goaway(FRAME_SIZE_ERROR)),
    ("HEADERS with more padding than frame",
     START + headers(1, b"\xff" + request(), WHOLE | PADDED), Goaway(PROTOCOL_ERROR)),
    ("HEADERS without the size of their padding", START + headers(1, b"", WHOLE | PADDED), Goaway(FRAME_SIZE_ERROR)),
    ("HEADERS without their priority", START + headers(1, bytes(4), WHOLE | WITH_PRIORITY), Goaway(FRAME_SIZE_ERROR)),
    ("DATA with more padding than frame", begin() + data(1, b"\x06hello", PADDED), Goaway(PROTOCOL_ERROR)),
    ("DATA without the size of its padding", begin() + data(1, b"", PADDED), Goaway(FRAME_SIZE_ERROR)),
    # compression
    ("index 0", encoded(b"\x80"), Goaway(COMPRESSION_ERROR)),
    ("an index beyond the table", encoded(request() + b"\xbe"), Goaway(COMPRESSION_ERROR)),
    ("an index of ten bytes", encoded(b"\xff" + b"\xff" * 9 + b"\x01"), Goaway(COMPRESSION_ERROR)),
    ("a string that is cut", encoded(request() + b"\0\x05abc"), Goaway(COMPRESSION_ERROR)),
    ("a string of 4 GiB", encoded(b"\0\x7f\x80\xff\xff\xff\x0f"), Goaway(COMPRESSION_ERROR)),
    ("the end of strings in a string", encoded(b"\0\x01a\x84\xff\xff\xff\xff"), Goaway(COMPRESSION_ERROR)),
    ("padding of zeros in a string", encoded(b"\0\x01a\x81\x18"), Goaway(COMPRESSION_ERROR)),
    ("a table of 4,097 bytes", encoded(b"\x3f\xe2\x1f" + request()), Goaway(COMPRESSION_ERROR)),
    ("a size of the table behind a field", encoded(request() + b"\x20"), Goaway(COMPRESSION_ERROR)),
    ("what was compressed in a refused head breaks nothing",
     encoded(literal("a", "B\r", 0x40)) + headers(3, request() + b"\xbe"), Reset(PROTOCOL_ERROR)),
]  # fmt: skip


def get(lines: bytes = b"", target: bytes = b"/a", method: bytes = b"GET", host: bytes = b"x") -> Passes:
    return Passes(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, host, lines))


def post(lines: bytes = b"", body: bytes = b"") -> Passes:
    return Passes(b"POST /a HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (lines, body))


CHUNKED = b"Transfer-Encoding: chunked\r\n"
FIVE = b"content-length: 5\r\n"

TAKEN: list[tuple[str, bytes, Passes]] = [
    ("a request", ask(), get()),
    ("host alone", ask(("host", "x"), authority=None), get()),
    ("host and authority", ask(("a", "b"), ("host", "X")), get(b"a: b\r\n")),
    ("https", ask(scheme="https"), get()),
    ("a query", ask(path="/a?b=/../c&d=%2f"), get(target=b"/a?b=/../c&d=%2f")),
    ("dots", ask(path="/admin/../a"), get()),
    ("OPTIONS *", ask(method="OPTIONS", path="*"), get(target=b"*", method=b"OPTIONS")),
    ("a method of one's own", ask(method="PURGE"), get(method=b"PURGE")),
    ("an address", ask(authority="[::1]:80"), get(host=b"[::1]:80")),
    ("bytes above 127 in a value", ask(("a", "\xe4\xf6")), get(b"a: \xe4\xf6\r\n")),
    ("an empty value", ask(("a", "")), get(b"a: \r\n")),
    ("cookies", ask(("cookie", "a=1"), ("b", "c"), ("cookie", "d=2")), get(b"cookie: a=1; d=2\r\nb: c\r\n")),
    ("90 empty cookies", ask(*[("cookie", "")] * 90), get(b"cookie: \r\n")),
    ("te: trailers", ask(("te", "trailers")), get(b"te: trailers\r\n")),
    ("a proxy for CGI", ask(("proxy", "http://evil")), get()),
    ("a colon in a value", ask(("a", "transfer-encoding: chunked")), get(b"a: transfer-encoding: chunked\r\n")),
    ("a length of nothing", ask(("content-length", "0"), method="POST"), post(b"content-length: 0\r\n")),
    ("a length of nothing, and DATA of nothing",
     begin(("content-length", "0")) + data(1), post(b"content-length: 0\r\n")),
    ("a length of zeros", begin(("content-length", "005")) + data(1, b"hello"), post(FIVE, b"hello")),
    # bodies
    ("a body", begin(*SIZE) + data(1, b"hello"), post(FIVE, b"hello")),
    ("a body in two frames", begin(*SIZE) + data(1, b"hel", 0) + data(1, b"lo"), post(FIVE, b"hello")),
    ("an end of its own", begin(*SIZE) + data(1, b"hello", 0) + data(1), post(FIVE, b"hello")),
    ("a body with padding", begin(*SIZE) + data(1, b"\x03hello\0\0\0", END_STREAM | PADDED), post(FIVE, b"hello")),
    ("padding alone", begin(*SIZE) + data(1, b"\x03\0\0\0", PADDED) + data(1, b"hello"), post(FIVE, b"hello")),
    ("a body without a length", begin() + data(1, b"hello"), post(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")),
    ("no body without a length", begin() + data(1), post(CHUNKED, b"0\r\n\r\n")),
    ("the last chunk within a body",
     begin() + data(1, b"0\r\n\r\n" + INNER), post(CHUNKED, b"25\r\n0\r\n\r\n" + INNER + b"\r\n0\r\n\r\n")),
    ("a request within a body",
     begin(("content-length", str(len(INNER)))) + data(1, INNER), post(b"content-length: 32\r\n", INNER)),
    ("GET with a body",
     START + headers(1, request(*SIZE), END_HEADERS) + data(1, b"hello"), Passes(get(FIVE).words + b"hello")),
    ("an expectation", begin(("expect", "100-continue"), *SIZE) + data(1, b"hello"),
     post(b"expect: 100-continue\r\n" + FIVE, b"hello")),
    ("trailers", begin() + data(1, b"hello", 0) + headers(1, block(("x-sum", "1"))),
     post(CHUNKED, b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n")),
    ("trailers and no body", begin() + headers(1, block(("x-sum", "1"))), post(CHUNKED, b"0\r\nx-sum: 1\r\n\r\n")),
    ("trailers of nothing", begin() + data(1, b"hello", 0) + headers(1, b""),
     post(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")),
    ("trailers after a length", begin(*SIZE) + data(1, b"hello", 0) + headers(1, block(("x-sum", "1"))),
     post(FIVE, b"hello")),
    # frames
    ("a head in three frames",
     START + headers(1, CUT[0], END_STREAM) + frame(CONTINUATION, 0, 1, CUT[1])
     + frame(CONTINUATION, END_HEADERS, 1, CUT[2]), get()),
    ("a head in frames of nothing",
     START + headers(1, b"", END_STREAM) + frame(CONTINUATION, 0, 1) * 3
     + frame(CONTINUATION, END_HEADERS, 1, request()), get()),
    ("padding in a head", START + headers(1, b"\x02" + request() + b"\0\0", WHOLE | PADDED), get()),
    ("priority in a head",
     START + headers(1, number(1 << 31 | 7) + b"\xff" + request(), WHOLE | WITH_PRIORITY), get()),
    ("both", START + headers(1, b"\x02" + number(0) + b"\0" + request() + b"\0\0", WHOLE | PADDED | WITH_PRIORITY),
     get()),
    ("flags that nobody knows", START + headers(1, request(), WHOLE | 0xD2), get()),
    ("the reserved bit", START + frame(HEADERS, END_HEADERS, 1 << 31 | 1, request(*SIZE, method="POST"))
     + frame(DATA, END_STREAM, 1 << 31 | 1, b"hello"), post(FIVE, b"hello")),
    ("an unknown frame", START + frame(0x7F, 0xFF, 1, b"hello") + headers(1, request()), get()),
    ("PRIORITY for what is idle", START + frame(PRIORITY, 0, 9, number(7) + b"\0") + headers(1, request()), get()),
    ("PRIORITY_UPDATE", START + frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=1") + headers(1, request()), get()),
    ("unknown settings", PREFACE + settings((0x7F7F, 1), (9, 1)) + headers(1, request()), get()),
    ("SETTINGS in the middle", begin(*SIZE) + settings((4, 5), (3, 0)) + data(1, b"hello"), post(FIVE, b"hello")),
    ("a window update for a stream", begin(*SIZE) + frame(WINDOW_UPDATE, 0, 1, number(1)) + data(1, b"hello"),
     post(FIVE, b"hello")),
    ("an answer to no PING", START + frame(PING, ACK, 0, bytes(8)) + headers(1, request()), get()),
    # compression
    ("indexes", encoded(b"\x82\x86\x01\x01x\x04\x02/a"), get()),
    ("Huffman", encoded(b"\x82\x86\x01\x81\xf3\x04\x82\x60\x7f"), get()),
    ("a field that goes into the table",
     encoded(request() + literal("a", "b", 0x40) + b"\xbe"), get(b"a: b\r\na: b\r\n")),
    ("a field that is never to go there", encoded(request() + literal("a", "b", 0x10)), get(b"a: b\r\n")),
    ("a table of nothing", encoded(b"\x20" + request() + literal("a", "b", 0x40)), get(b"a: b\r\n")),
    ("a table that shrinks and grows", encoded(b"\x20\x3f\xe1\x1f" + request()), get()),
    ("a field that is larger than the table", encoded(request() + literal("a", "b" * 5000, 0x40)),
     get(b"a: %b\r\n" % (b"b" * 5000))),
]  # fmt: skip


def cuts(words: bytes) -> Iterator[list[bytes]]:
    yield [words]
    if len(words) <= BYTE_BY_BYTE:
        yield [words[at : at + 1] for at in range(len(words))]
    chance = random.Random(words)
    places = sorted(chance.sample(range(1, len(words)), 6))
    yield [words[a:b] for a, b in zip([0, *places], [*places, len(words)], strict=True)]


async def asked(w: Any, origin: Origin, pieces: list[bytes], due: Due) -> Raw:
    """A client that has said it, has heard what is due, and then asked for something else.  Nobody answers before all
    is said, as somebody may who has a whole request but not its end."""
    client = Raw(await w.connect())
    origin.may_answer.clear()
    saying = asyncio.ensure_future(say(client.peer, pieces))
    if isinstance(due, Goaway):
        await client.until(lambda: client.gone)
        origin.may_answer.set()
        assert client.goaway == due.code
        assert not client[1].statuses
    else:
        await saying
        await client.answers()
        origin.may_answer.set()
        await client.until(lambda: client[1].over)
        assert client.goaway is None
        await client.send(GOOD)
        await client.until(lambda: client[LATER].over)
        assert (client[LATER].status, client[LATER].body, client[LATER].reset) == (200, b"hi", None)
    await saying
    return client


async def good(w: Any) -> None:
    client = Raw(await w.connect())
    await client.send(START + GOOD)
    await client.until(lambda: client[LATER].over)
    assert (client[LATER].status, client[LATER].body) == (200, b"hi")
    client.peer.close()


NOT_PASSED: list[tuple[str, bytes, Due]] = [(name, words, Reset(PROTOCOL_ERROR)) for name, words in MALFORMED]
NOT_PASSED += OTHERWISE


@pytest.mark.parametrize(("words", "due"), [case[1:] for case in NOT_PASSED], ids=[case[0] for case in NOT_PASSED])
def test_not_passed_on(run: Run, world: World, upstream: Upstream, words: bytes, due: Due) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        origin = Origin(up)
        for pieces in cuts(words):
            client = await asked(w, origin, pieces, due)
            if isinstance(due, Reset):
                assert (client[1].reset, client[1].statuses) == (due.code, [])
            elif isinstance(due, Status):
                assert client[1].statuses == [due.status]
                assert client[1].reset in (None, NO_ERROR)
            client.peer.close()
            await good(w)
            whole = [request.target for request in origin.seen]
            some = isinstance(due, Goaway) or (isinstance(due, Reset) and due.behind_a_whole)
            assert set(whole) <= ({b"/good", b"/a"} if some else {b"/good"})
            assert b"inner" not in origin.heard
            if len(pieces) == 1 and len(words) <= ONE_READ:
                # not even of what came before the fault
                assert IDENTITY.sub(b"", origin.heard) == AS_GOOD * len(whole)
                assert len(whole) == (1 if isinstance(due, Goaway) else 2)
            origin.seen.clear()
            origin.heard = b""
        await w.until(lambda: w.stats.listeners["in"].connections_active == 0)

    run(scenario())


@pytest.mark.parametrize(("words", "due"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_passed_on_with_the_one_meaning_that_it_has(
    run: Run, world: World, upstream: Upstream, words: bytes, due: Passes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        origin = Origin(up)
        first: Any = None
        for pieces in cuts(words):
            client = await asked(w, origin, pieces, due)
            assert (client[1].status, client[1].reset) == (200, None)
            client.peer.close()
            await good(w)
            seen, *others = origin.seen
            assert [request.target for request in others] == [b"/good"] * 2
            if len(pieces) == 1 and len(words) <= ONE_READ:
                assert IDENTITY.sub(b"", origin.heard) == due.words + AS_GOOD * 2
            seen.fields.pop(b"x-request-id")
            first = first or seen
            assert seen == first
            origin.seen.clear()
            origin.heard = b""
        await w.until(lambda: w.stats.listeners["in"].connections_active == 0)

    run(scenario())


ENDED: list[tuple[str, bytes, bytes, Due]] = [
    ("DATA after the end", ask(), data(1, b"hello"), Reset(STREAM_CLOSED)),
    ("HEADERS after the end", ask(), headers(1, request()), Reset(STREAM_CLOSED)),
    ("trailers after the end", ask(), headers(1, block(("a", "b"))), Reset(STREAM_CLOSED)),
]


@pytest.mark.parametrize(("words", "more", "due"), [case[1:] for case in ENDED], ids=[case[0] for case in ENDED])
def test_after_its_end_a_request_has_no_more(
    run: Run, world: World, upstream: Upstream, words: bytes, more: bytes, due: Reset
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        for together in (True, False):
            client = Raw(await w.connect())
            await client.send(words + (more if together else b""))
            if not together:
                server = await up.accept()
                await server.recv()
                await client.send(more)
            heard = client[1]
            await client.until(lambda heard=heard: heard.over)  # type: ignore[misc]
            assert (heard.reset, heard.statuses) == (due.code, [])
            client.peer.close()
        assert w.stats.clusters["up"].connections_total == 1

    run(scenario())
