"""What is refused, by golden bytes: each input whole, byte by byte and cut at random, to a codec that has seen nothing
and to one that has learnt the shapes of heads."""

from __future__ import annotations

import pytest

from meshproxy.wire.h1 import Limits, Malformed, Reason, RequestCodec, ResponseCodec, Strictness
from tests.wire.h1.feeding import converse, experienced_requests, experienced_responses, ways

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def field(line: bytes, start: bytes = POST) -> bytes:
    return start + line + b"\r\n\r\n"


def line(first: bytes) -> bytes:
    return first + b"\r\nHost: a\r\n\r\n"


def host(value: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


def chunks(data: bytes) -> bytes:
    return CHUNKED + data


REQUESTS: list[tuple[bytes, Reason]] = [
    # Content-Length and Transfer-Encoding
    (field(b"Content-Length: 4\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n", Reason.LENGTH_AND_CODING),
    (field(b"Transfer-Encoding: chunked\r\nContent-Length: 4") + b"0\r\n\r\n", Reason.LENGTH_AND_CODING),
    (field(b"Transfer-Encoding: xchunked"), Reason.UNKNOWN_CODING),
    (field(b"Transfer-Encoding: gzip, chunked"), Reason.UNKNOWN_CODING),
    (field(b"Transfer-Encoding: gzip;q=1"), Reason.UNKNOWN_CODING),
    (field(b"Transfer-Encoding: identity"), Reason.UNKNOWN_CODING),
    (field(b"Transfer-Encoding:\x0bchunked"), Reason.CONTROL_BYTE),
    (field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: chunked, chunked"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: chunked, gzip"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: ,chunked"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: chunked,"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: chunked;q=1"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: chunked chunked"), Reason.BAD_CODING),
    (field(b'Transfer-Encoding: "chunked"'), Reason.BAD_CODING),
    (field(b"Transfer-Encoding:"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: \xa0chunked"), Reason.BAD_CODING),
    (field(b"Transfer-Encoding: chunked", b"POST / HTTP/1.0\r\nHost: a\r\n"), Reason.CODING_IN_HTTP_1_0),
    (field(b"Transfer-Encoding : chunked"), Reason.SPACE_BEFORE_COLON),
    (field(b"Transfer-Encoding\t: chunked"), Reason.SPACE_BEFORE_COLON),
    (field(b"Transfer_Encoding: chunked"), Reason.UNDERSCORE_IN_NAME),
    (field(b"X: y\r\n Transfer-Encoding: chunked"), Reason.OBS_FOLD),
    (field(b"Transfer-Encoding:\r\n chunked"), Reason.OBS_FOLD),
    (field(b"X: y\nTransfer-Encoding: chunked"), Reason.BARE_LF),
    (field(b"X: y\rTransfer-Encoding: chunked"), Reason.BARE_CR),
    # Content-Length
    (field(b"Content-Length: 4\r\nContent-Length: 5"), Reason.REPEATED_LENGTH),
    (field(b"Content-Length: 4\r\ncontent-length: 4"), Reason.REPEATED_LENGTH),
    (field(b"Content-Length: 1, 2"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 4, 4"), Reason.BAD_LENGTH),
    (field(b"Content-Length: -1"), Reason.BAD_LENGTH),
    (field(b"Content-Length: +1"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 1_0"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 0x1"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 1.0"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 1 1"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 18446744073709551617"), Reason.BAD_LENGTH),
    (field(b"Content-Length: " + b"0" * 19), Reason.BAD_LENGTH),
    (field(b"Content-Length:"), Reason.BAD_LENGTH),
    (field(b"Content-Length: 1\x00"), Reason.CONTROL_BYTE),
    (field(b"Content-Length: \xef\xbc\x91"), Reason.BAD_LENGTH),
    (b"POST / HTTP/1.1\r\n Content-Length: 1\r\nHost: a\r\n\r\n", Reason.OBS_FOLD),
    # The end of a head, and bytes that have no place in one
    (b"GET / HTTP/1.1\r\nHost: a\r\n\rX", Reason.BARE_CR),
    (b"GET / HTTP/1.1\nHost: a\n\n", Reason.BARE_LF),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Reason.BARE_LF),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Reason.BARE_LF),
    (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason.BARE_LF),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Reason.CONTROL_BYTE),
    (field(b"X: a\rb"), Reason.BARE_CR),
    (field(b"X: a\r\r"), Reason.BARE_CR),
    (field(b"X: a\x7fb"), Reason.CONTROL_BYTE),
    (field(b"X: a\x00b"), Reason.CONTROL_BYTE),
    (field(b"X: a\x0cb"), Reason.CONTROL_BYTE),
    (field(b"X\x00: a"), Reason.CONTROL_BYTE),
    # The request line
    (line(b"GET  / HTTP/1.1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET /  HTTP/1.1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET / HTTP/1.1 "), Reason.BAD_REQUEST_LINE),
    (line(b" GET / HTTP/1.1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET\t/ HTTP/1.1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET /a b HTTP/1.1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET / "), Reason.BAD_REQUEST_LINE),
    (line(b"GET /"), Reason.BAD_REQUEST_LINE),
    (b"GET /\r\n", Reason.BAD_REQUEST_LINE),
    (b"hello there\r\n", Reason.BAD_REQUEST_LINE),
    (line(b"GET / http/1.1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET / HTTP/1.10"), Reason.BAD_REQUEST_LINE),
    (line(b"GET / HTTP/1,1"), Reason.BAD_REQUEST_LINE),
    (line(b"GET / HTTP/ 1.1"), Reason.BAD_REQUEST_LINE),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason.UNSUPPORTED_VERSION),
    (line(b"GET / HTTP/2.0"), Reason.UNSUPPORTED_VERSION),
    (line(b"GET / HTTP/0.9"), Reason.UNSUPPORTED_VERSION),
    (line(b"GET / HTTP/9.9"), Reason.UNSUPPORTED_VERSION),
    (line(b"GET / HTTP/1.2"), Reason.UNSUPPORTED_VERSION),
    (line(b"G\x00T / HTTP/1.1"), Reason.CONTROL_BYTE),
    (line(b"G(T / HTTP/1.1"), Reason.BAD_METHOD),
    (line(b"G\xc3\xa9T / HTTP/1.1"), Reason.BAD_METHOD),
    (line(b"GET /\x00 HTTP/1.1"), Reason.CONTROL_BYTE),
    (line(b"GET /\x01 HTTP/1.1"), Reason.CONTROL_BYTE),
    (line(b"GET /\x7f HTTP/1.1"), Reason.CONTROL_BYTE),
    (line(b"GET /a#b HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /?a#b HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /\xc3\xa9 HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /<a> HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /a\\b HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /%00 HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /%zz HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET /%4 HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET index HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"GET a:80 HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"GET * HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"OPTIONS ** HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"GET ftp://a/ HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"CONNECT / HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"CONNECT a HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"CONNECT http://a:80/ HTTP/1.1"), Reason.WRONG_TARGET_FORM),
    (line(b"GET http://a/#f HTTP/1.1"), Reason.BAD_TARGET),
    (line(b"GET http:///x HTTP/1.1"), Reason.BAD_HOST),
    (line(b"GET http://u@a/ HTTP/1.1"), Reason.BAD_HOST),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", Reason.LINE_TOO_LONG),
    (b"A" * 9000, Reason.LINE_TOO_LONG),
    # Host
    (b"GET / HTTP/1.1\r\n\r\n", Reason.MISSING_HOST),
    (b"GET http://a/ HTTP/1.1\r\n\r\n", Reason.MISSING_HOST),
    (field(b"Host: b"), Reason.REPEATED_HOST),
    (field(b"hOST: a"), Reason.REPEATED_HOST),
    (line(b"GET http://b/ HTTP/1.1"), Reason.HOST_MISMATCH),
    (line(b"GET http://a:81/ HTTP/1.1"), Reason.HOST_MISMATCH),
    (line(b"CONNECT b:80 HTTP/1.1"), Reason.HOST_MISMATCH),
    (host(b""), Reason.BAD_HOST),
    (host(b"u@a"), Reason.BAD_HOST),
    (host(b"a:99999"), Reason.BAD_HOST),
    (host(b"a:"), Reason.BAD_HOST),
    (host(b"a:b"), Reason.BAD_HOST),
    (host(b"a:+1"), Reason.BAD_HOST),
    (host(b"[::1"), Reason.BAD_HOST),
    (host(b"[::g]"), Reason.BAD_HOST),
    (host(b"[1:2]"), Reason.BAD_HOST),
    (host(b"::1"), Reason.BAD_HOST),
    (host(b"\xffa"), Reason.BAD_HOST),
    (host(b"a b"), Reason.BAD_HOST),
    (host(b"a, b"), Reason.BAD_HOST),
    (host(b"a/b"), Reason.BAD_HOST),
    (host(b"a?b"), Reason.BAD_HOST),
    (host(b"http://a"), Reason.BAD_HOST),
    (host(b"a%00"), Reason.BAD_HOST),
    # Fields
    (field(b"no colon"), Reason.NO_COLON),
    (field(b": nameless"), Reason.BAD_FIELD_NAME),
    (field(b"Fo(o: x"), Reason.BAD_FIELD_NAME),
    (field(b"Fo o: x"), Reason.BAD_FIELD_NAME),
    (field(b"F\xc3\xb6: x"), Reason.BAD_FIELD_NAME),
    (field(b"Foo : x"), Reason.SPACE_BEFORE_COLON),
    (field(b"Host : a", b"GET / HTTP/1.1\r\n"), Reason.SPACE_BEFORE_COLON),
    (field(b"X: a\r\n b"), Reason.OBS_FOLD),
    (field(b"X: a\r\n\tb: c"), Reason.OBS_FOLD),
    (field(b"X: a\r\n "), Reason.OBS_FOLD),
    (field(b"x_user: a"), Reason.UNDERSCORE_IN_NAME),
    (field(b"\r\n".join([b"X: y"] * 300)), Reason.TOO_MANY_FIELDS),
    (field(b"\r\n".join([b"Cookie: a=%d" % n for n in range(10_000)])), Reason.HEAD_TOO_LARGE),
    (field(b"X: " + b"y" * 70_000), Reason.HEAD_TOO_LARGE),
    (field(b"Connection: a b"), Reason.BAD_CONNECTION),
    (field(b"Connection: close;q=1"), Reason.BAD_CONNECTION),
    (field(b"Expect: 200-ok"), Reason.UNKNOWN_EXPECTATION),
    # Upgrades and tunnels
    (field(b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1", GET) + b"x", Reason.BODY_NOT_ALLOWED),
    (
        field(b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", GET) + b"0\r\n\r\n",
        Reason.BODY_NOT_ALLOWED,
    ),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 1\r\n\r\nx", Reason.BODY_NOT_ALLOWED),
    # Chunks
    (chunks(b"+5\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"-5\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"5_0\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b" 5\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"5 \r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"5 ;a=b\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"Z\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"\r\n5\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"00000000000000005\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"8000000000000000\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_SIZE),
    (chunks(b"5;\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_EXTENSION),
    (chunks(b"5;a=\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_EXTENSION),
    (chunks(b'5;a="\r\nhello\r\n0\r\n\r\n'), Reason.BAD_CHUNK_EXTENSION),
    (chunks(b"5;a;b c\r\nhello\r\n0\r\n\r\n"), Reason.BAD_CHUNK_EXTENSION),
    (chunks(b"5;a\nhello\r\n0\r\n\r\n"), Reason.BARE_LF),
    (chunks(b'5;a="\n"\r\nhello\r\n0\r\n\r\n'), Reason.BARE_LF),
    (chunks(b"5;a\x00\r\nhello\r\n0\r\n\r\n"), Reason.CONTROL_BYTE),
    (chunks(b"5\nhello\r\n0\r\n\r\n"), Reason.BARE_LF),
    (chunks(b"5\rXhello\r\n0\r\n\r\n"), Reason.BARE_CR),
    (chunks(b"5\r\nhelloXX0\r\n\r\n"), Reason.BAD_CHUNK_END),
    (chunks(b"5\r\nhello\n0\r\n\r\n"), Reason.BAD_CHUNK_END),
    (chunks(b"5\r\nhello\rX0\r\n\r\n"), Reason.BAD_CHUNK_END),
    (chunks(b"5\r\nhello world\r\n0\r\n\r\n"), Reason.BAD_CHUNK_END),
    (chunks(b"5;" + b"a" * 71_680 + b"\r\nhello\r\n0\r\n\r\n"), Reason.CHUNK_EXTENSION_TOO_LONG),
    (chunks(b"".join(b"1;" + b"a" * 500 + b"\r\nx\r\n" for _ in range(40))), Reason.CHUNK_EXTENSION_TOO_LONG),
    # Trailers
    (chunks(b"0\r\nX: a\n\r\n"), Reason.BARE_LF),
    (chunks(b"0\r\nX: a\r\n\n"), Reason.BARE_LF),
    (chunks(b"0\r\nX: \x00\r\n\r\n"), Reason.CONTROL_BYTE),
    (chunks(b"0\r\nX : a\r\n\r\n"), Reason.SPACE_BEFORE_COLON),
    (chunks(b"0\r\nno colon\r\n\r\n"), Reason.NO_COLON),
    (chunks(b"0\r\nX: a\r\n b\r\n\r\n"), Reason.OBS_FOLD),
    (chunks(b"0\r\nContent-Length: 5\r\n\r\n"), Reason.FORBIDDEN_TRAILER),
    (chunks(b"0\r\ntransfer-encoding: chunked\r\n\r\n"), Reason.FORBIDDEN_TRAILER),
    (chunks(b"0\r\nX: a\r\nHost: b\r\n\r\n"), Reason.FORBIDDEN_TRAILER),
    (chunks(b"0\r\nAuthorization: b\r\n\r\n"), Reason.FORBIDDEN_TRAILER),
    (chunks(b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n"), Reason.TOO_MANY_FIELDS),
    (chunks(b"0\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), Reason.HEAD_TOO_LARGE),
]

RESPONSES: list[tuple[bytes, Reason]] = [
    (field(b"Content-Length: 4\r\nTransfer-Encoding: chunked", OK), Reason.LENGTH_AND_CODING),
    (field(b"Content-Length: 4\r\nContent-Length: 5", OK), Reason.REPEATED_LENGTH),
    (field(b"Content-Length: 4, 4", OK), Reason.BAD_LENGTH),
    (field(b"Transfer-Encoding: gzip", OK), Reason.UNKNOWN_CODING),
    (field(b"Transfer-Encoding: chunked", b"HTTP/1.0 200 OK\r\n"), Reason.CODING_IN_HTTP_1_0),
    (field(b"X: \x00", OK), Reason.CONTROL_BYTE),
    (field(b"X: a\rb", OK), Reason.BARE_CR),
    (field(b"X: a\nb", OK), Reason.BARE_LF),
    (field(b"X: a\r\n b", OK), Reason.OBS_FOLD),
    (field(b"X : a", OK), Reason.SPACE_BEFORE_COLON),
    (field(b"X: " + b"y" * 90_000, OK), Reason.HEAD_TOO_LARGE),
    (field(b"\r\n".join([b"X: y"] * 101), OK), Reason.TOO_MANY_FIELDS),
    (b"hello, no HTTP here\r\n", Reason.BAD_STATUS_LINE),
    (b"\r\nHTTP/1.1 200 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1 200\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1 20 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1 2000 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1 +20 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1 600 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1  200 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/1.1 200 \x00\r\n\r\n", Reason.CONTROL_BYTE),
    (b"http/1.1 200 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"ICY 200 OK\r\n\r\n", Reason.BAD_STATUS_LINE),
    (b"HTTP/2.0 200 OK\r\n\r\n", Reason.UNSUPPORTED_VERSION),
    (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Reason.UNASKED_UPGRADE),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Reason.BODY_NOT_ALLOWED),
    (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Reason.BODY_NOT_ALLOWED),
    (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello", Reason.BODY_NOT_ALLOWED),
    (b"A" * 9000, Reason.LINE_TOO_LONG),
]


def named(cases: list[tuple[bytes, Reason]]) -> list[object]:
    return [
        pytest.param(data, reason, id=f"{reason.value}-{data[-48:] if len(data) < 400 else len(data)!r}")
        for data, reason in cases
    ]


def some_ways(data: bytes) -> list[list[bytes]]:
    """Long inputs are not fed byte by byte here: test_limits.py says what that costs."""
    return [pieces for pieces in ways(data) if len(pieces) < 2000]


@pytest.mark.parametrize(("data", "reason"), named(REQUESTS))
@pytest.mark.parametrize("make", [RequestCodec, experienced_requests])
def test_refused_requests(make: type[RequestCodec], data: bytes, reason: Reason) -> None:
    codec = make()
    for pieces in some_ways(data):
        assert converse(codec, pieces) == [reason]


@pytest.mark.parametrize(("data", "reason"), named(REQUESTS))
def test_refused_behind_a_good_request(data: bytes, reason: Reason) -> None:
    first = GET + b"\r\n"
    events = converse(RequestCodec(), [first + data])
    assert events[1:] == [reason]


@pytest.mark.parametrize(("data", "reason"), named(RESPONSES))
@pytest.mark.parametrize("make", [ResponseCodec, experienced_responses])
def test_refused_responses(make: type[ResponseCodec], data: bytes, reason: Reason) -> None:
    codec = make()
    for pieces in some_ways(data):
        assert converse(codec, pieces) == [reason]


@pytest.mark.parametrize(
    ("answer", "offered"),
    [
        (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"websocket"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", b"websocket"),
        (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n\r\n", b"websocket"),
        (b"HTTP/1.0 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"websocket"),
    ],
)
def test_a_switch_must_be_to_what_was_offered(answer: bytes, offered: bytes) -> None:
    assert converse(ResponseCodec(), [answer], offered=offered) == [Reason.UNASKED_UPGRADE]


def test_each_reason_is_met() -> None:
    met = {reason for _, reason in REQUESTS + RESPONSES}
    elsewhere = {Reason.BODY_TOO_LARGE, Reason.TOO_MANY_INTERIM, Reason.CUT_SHORT, Reason.REFUSED_BY_H11}
    above = {Reason.BAD_BASE64}
    http2 = {
        Reason.BAD_PSEUDO_HEADER, Reason.CAPITAL_IN_NAME, Reason.CONNECTION_FIELD, Reason.SPACE_AROUND_VALUE,
        Reason.WRONG_ACCEPT,
    }
    assert met | elsewhere | above | http2 == set(Reason)


def test_statuses() -> None:
    assert Malformed(Reason.LINE_TOO_LONG).status == 414
    assert {reason.value: reason.status for reason in Reason if reason.status != 400} == {
        "unsupported_version": 505, "line_too_long": 414, "too_many_fields": 431, "head_too_large": 431,
        "unknown_coding": 501, "body_too_large": 413, "unknown_expectation": 417,
    }


def test_bodies_over_the_limit() -> None:
    codec = RequestCodec(Limits(body=4))
    for start in (POST + b"Content-Length: 5\r\n\r\n", CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n"):
        for pieces in ways(start):
            assert converse(codec, pieces) == [Reason.BODY_TOO_LARGE]
    learned = experienced_requests(Limits(body=4))
    assert converse(learned, [POST + b"Content-Length: 5\r\n\r\n"]) == [Reason.BODY_TOO_LARGE]


def test_more_interim_responses_than_anyone_sends() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert len(converse(ResponseCodec(), [interim * 10 + final])) == 11
    assert converse(ResponseCodec(), [interim * 11])[-1] == Reason.TOO_MANY_INTERIM


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 10\r\n\r\nhello", CHUNKED, CHUNKED + b"5\r\nhel", CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"0\r\nX: y\r\n",
    ],
)
def test_a_body_that_the_peer_breaks_off(data: bytes) -> None:
    for pieces in ways(data):
        assert converse(RequestCodec(), pieces, closed=True) == [Reason.CUT_SHORT]


# Switches


@pytest.mark.parametrize(
    ("switch", "data", "forwarded"),
    [
        ("bare_lf", b"GET / HTTP/1.1\nHost: a\nX: y\r\n\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"),
        ("obs_fold", field(b"X: a\r\n \t b\r\nY: c", GET), field(b"X: a b\r\nY: c", GET)),
        ("raw_target", line(b"GET /\xc3\xa9<%zz\\>?\xff HTTP/1.1"), line(b"GET /\xc3\xa9<%zz\\>?\xff HTTP/1.1")),
        ("underscores", field(b"x_y: z", GET), field(b"x_y: z", GET)),
    ],
)
def test_a_switch_admits_one_thing_and_passes_it_on_regular(switch: str, data: bytes, forwarded: bytes) -> None:
    strictness = Strictness(**{switch: True})
    for pieces in ways(data):
        reader = RequestCodec(strictness=strictness).reader()
        heads = [head for piece in pieces if (head := reader.feed(piece))]
        assert [head.forward() for head in heads] == [forwarded]
        assert reader.rest == b""
    assert isinstance(converse(RequestCodec(), [data])[0], Reason)


@pytest.mark.parametrize(
    ("switch", "data", "reason"),
    [
        ("bare_lf", b"GET / HTTP/1.1\nX: a\rb\n\n", Reason.BARE_CR),
        ("bare_lf", CHUNKED + b"5\nhello\n0\n\n", Reason.BARE_LF),
        ("obs_fold", b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", Reason.OBS_FOLD),
        ("obs_fold", field(b"Content-Length: 1\r\n 2"), Reason.BAD_LENGTH),
        ("raw_target", line(b"GET /a#b HTTP/1.1"), Reason.BAD_TARGET),
        ("raw_target", line(b"GET /%00 HTTP/1.1"), Reason.BAD_TARGET),
        ("raw_target", line(b"GET /a b HTTP/1.1"), Reason.BAD_REQUEST_LINE),
    ],
)
def test_what_no_switch_admits(switch: str, data: bytes, reason: Reason) -> None:
    codec = RequestCodec(strictness=Strictness(**{switch: True}))
    for pieces in ways(data):
        assert converse(codec, pieces) == [reason]


def test_a_status_line_without_its_space() -> None:
    codec = ResponseCodec(strictness=Strictness(bare_status=True))
    head = codec.reader().feed(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")
    assert head
    assert head.forward() == b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"
