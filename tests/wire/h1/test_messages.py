"""What is accepted, and what a proxy is told of it: golden bytes and conversations, in whatever pieces they arrive."""

from __future__ import annotations

import pytest

from meshproxy.wire.h1 import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Authority,
    Limits,
    Reason,
    RequestCodec,
    RequestHead,
    ResponseCodec,
    ResponseHead,
    body_reader,
)
from meshproxy.wire.h1.head import LONGEST_REMEMBERED
from meshproxy.wire.h1.reference import ReferenceCodec
from meshproxy.wire.h1.shape import COMPILED_AT, MOST_SHAPES
from tests.wire.h1.feeding import Message, converse, experienced_requests, experienced_responses, ways

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def request(data: bytes) -> RequestHead:
    """As we read it, and h11 understands the same."""
    head, other = RequestCodec().reader().feed(data), ReferenceCodec().reader().feed(data)
    assert head
    assert other
    assert meaning(head) == meaning(other)
    return head


def meaning(head: RequestHead) -> tuple[object, ...]:
    kept = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in head.kept.splitlines())]
    return (
        head.method, head.target, head.authority, head.minor, head.body, head.keep_alive, head.upgrade,
        head.expect_continue, head.fields, kept,
    )  # fmt: skip


def response(data: bytes, method: bytes = b"GET", upgrade: bytes | None = None) -> ResponseHead:
    reader = ResponseCodec().reader()
    reader.expect(method, upgrade)
    head = reader.feed(data)
    assert head
    return head


# Conversations


def test_pipelined_requests_with_bodies_of_every_kind() -> None:
    a, coding = (b"Host", b"a"), (b"Transfer-Encoding", b"chunked")
    talk = (
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
        b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        b"\r\n"  # of nobody: some clients end a body with it
        b"PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3;name=value;other="quo\\"ted"\r\nabc\r\n00000A\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nx-sum:2\r\n\r\n'
        b"GET /4 HTTP/1.0\r\n\r\n"
        b"GET /5 HTT"
    )
    for codec in (RequestCodec(), experienced_requests(), ReferenceCodec()):
        for pieces in ways(talk):
            assert converse(codec, pieces) == [
                Message((b"GET", b"/1"), [a], b"", []),
                Message((b"POST", b"/2"), [a, (b"Content-Length", b"5")], b"hello", []),
                Message((b"PUT", b"/3"), [a, coding], b"abc0123456789", [b"X-Sum: 1", b"x-sum:2"]),
                Message((b"GET", b"/4"), [], b"", []),
                b"in a head",
            ]


def test_responses_one_after_the_other() -> None:
    talk = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nServer: old\r\n\r\nall the rest\r\n\r\n"
    )
    for codec in (ResponseCodec(), experienced_responses()):
        for pieces in ways(talk):
            events = converse(codec, pieces, closed=True)
            assert [(event.first, event.body) for event in events if isinstance(event, Message)] == [
                (100, b""), (200, b"abc"), (304, b""), (204, b""), (404, b"x"), (200, b"all the rest\r\n\r\n"),
            ]


def test_chunks_pass_as_received_and_only_when_proven() -> None:
    body = b'3;x="y"\r\nabc\r\n0\r\nX: y\r\n\r\n'
    for pieces in ways(body):
        reader = body_reader(CHUNKED, Limits())
        passed = b""
        for piece in pieces:
            more = reader.feed(piece)
            # what is held back is at most the beginning of one line
            assert b"\r\n" not in body[len(passed) + len(more) : len(passed)]
            passed += more
        assert (passed, reader.done, reader.rest) == (body, True, b"")


def test_large_chunks_are_passed_on_without_a_copy() -> None:
    reader = body_reader(CHUNKED, Limits())
    reader.feed(b"100000\r\n")
    data = bytes(65536)
    assert reader.feed(data) is data


def test_a_line_that_may_yet_be_refused_is_not_passed_on() -> None:
    reader = body_reader(CHUNKED, Limits())
    assert reader.feed(b"5") == b""
    assert reader.feed(b";a") == b""
    assert reader.feed(b"\r\nhe") == b"5;a\r\nhe"


def test_what_follows_a_body_is_handed_back() -> None:
    reader = body_reader(5, Limits())
    assert (reader.feed(b"helloGET /"), reader.done, reader.rest) == (b"hello", True, b"GET /")
    chunked = body_reader(CHUNKED, Limits())
    assert (chunked.feed(b"0\r\n\r\nGET /"), chunked.done, chunked.rest) == (b"0\r\n\r\n", True, b"GET /")


@pytest.mark.parametrize("codec", [RequestCodec, ReferenceCodec])
def test_a_reader_says_whether_a_head_has_begun(codec: type[RequestCodec]) -> None:
    reader = codec().reader()
    assert not reader.begun
    assert reader.feed(b"\r\n") is None
    assert not reader.begun
    assert reader.feed(b"GET / HT") is None
    assert reader.begun
    assert reader.feed(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert not reader.begun


# Requests


@pytest.mark.parametrize(
    ("line", "method", "target"),
    [
        (b"GET /a?b=c&d HTTP/1.1", b"GET", b"/a?b=c&d"),
        (b"GET http://a/b?c HTTP/1.1", b"GET", b"/b?c"),
        (b"GET HTTP://A HTTP/1.1", b"GET", b"/"),
        (b"GET http://a?b HTTP/1.1", b"GET", b"/?b"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS", b"*"),
        (b"OPTIONS http://a HTTP/1.1", b"OPTIONS", b"*"),
        (b"BREW-coffee!1 /pot HTTP/1.1", b"BREW-coffee!1", b"/pot"),
        (b"GET /a/../b//c/%2e%2F HTTP/1.1", b"GET", b"/a/../b//c/%2e%2F"),
        (b"GET /[a]|b?{c}\\^`%00% HTTP/1.1", b"GET", b"/[a]|b?{c}\\^`%00%"),
    ],
)
def test_request_lines(line: bytes, method: bytes, target: bytes) -> None:
    head = request(line + b"\r\nHost: a\r\n\r\n")
    assert (head.method, head.target, head.authority) == (method, target, Authority.of(b"a", None))
    assert head.forward().startswith(b"%b %b HTTP/1.1\r\nHost: a\r\n" % (method, target))


@pytest.mark.parametrize(
    ("value", "authority"),
    [
        (b"Shop.Local:8080", Authority.of(b"shop.local", 8080)),
        (b"10.0.0.1", Authority.of(b"10.0.0.1", None)),
        (b"[::1]", Authority.of(b"[::1]", None)),
        (b"[2001:DB8::1]:443", Authority.of(b"[2001:db8::1]", 443)),
        (b"a_b-c.d~e:0", Authority.of(b"a_b-c.d~e", 0)),
        (b"\t a \t", Authority.of(b"a", None)),
    ],
)
def test_hosts(value: bytes, authority: Authority) -> None:
    head = request(b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n")
    assert head.authority == authority
    assert head.forward() == b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % value.strip()


def test_connect_names_its_authority() -> None:
    head = request(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")
    assert (head.method, head.target, head.body) == (b"CONNECT", b"a:80", NO_BODY)
    assert head.authority == Authority.of(b"a", 80)


def test_http_1_0_may_come_without_host_and_gets_the_one_of_its_target() -> None:
    head = request(b"GET http://a:81/x HTTP/1.0\r\n\r\n")
    assert (head.minor, head.authority, head.keep_alive) == (0, Authority.of(b"a", 81), False)
    assert head.forward() == b"GET /x HTTP/1.1\r\nHost: a:81\r\n\r\n"
    assert request(b"GET / HTTP/1.0\r\n\r\n").authority == Authority.of(b"", None)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"", NO_BODY),
        (b"Content-Length: 0\r\n", 0),
        (b"Content-Length:7\r\n", 7),
        (b"content-length: 007 \r\n", 7),
        (b"Content-Length: 999999999999999999\r\n", 999999999999999999),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED),
        (b"transfer-encoding:\tCHUNKED \r\n", CHUNKED),
    ],
)
def test_bodies_of_requests(fields: bytes, body: int) -> None:
    assert request(GET + fields + b"\r\n").body == body


def test_framing_goes_on_in_one_spelling_all_else_as_it_came() -> None:
    head = request(GET + b"X:  y \r\ncontent-LENGTH:\t007 \r\nx:\r\n\r\n")
    assert head.forward() == GET + b"X:  y \r\ncontent-LENGTH: 7\r\nx:\r\n\r\n"
    chunked = request(GET + b"TRANSFER-encoding:CHUNKED\r\n\r\n")
    assert chunked.forward() == GET + b"TRANSFER-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        (b"1", b"", True),
        (b"1", b"Connection: close\r\n", False),
        (b"1", b"Connection: Keep-Alive, CLOSE\r\n", False),
        (b"1", b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"0", b"", False),
        (b"0", b"Connection: Keep-Alive\r\n", True),
        (b"0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_whether_the_connection_lasts(version: bytes, fields: bytes, keep_alive: bool) -> None:
    assert request(b"GET / HTTP/1.%b\r\nHost: a\r\n%b\r\n" % (version, fields)).keep_alive is keep_alive
    answer = response(b"HTTP/1.%b 200 OK\r\nContent-Length: 0\r\n%b\r\n" % (version, fields))
    assert answer.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (b"Keep-Alive: 5\r\nA: 1\r\nProxy-Connection: close\r\nTE: trailers\r\nB: 2\r\n", b"A: 1\r\nB: 2\r\n"),
        (b"Proxy: http://evil\r\n", b""),
        (b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\nConnection: Upgrade, HTTP2-Settings\r\n", b""),
        (b"X-A: 1\r\nx-a: 2\r\nB: 3\r\nConnection: close, X-A\r\n", b"B: 3\r\n"),
        (b"X-A: 1\r\nConnection: x-a\r\nConnection: ,, x-b ,\r\nX-B: 2\r\n", b""),
        (b"Content-Length: 0\r\nConnection: Content-Length, Host\r\n", b"Content-Length: 0\r\n"),
        (
            b"X-Forwarded-For: 1\r\nAuthorization: x\r\nConnection: X-Forwarded-For, Authorization\r\n",
            b"X-Forwarded-For: 1\r\nAuthorization: x\r\n",
        ),
        (b"Set-Cookie: a\r\nB:  b \r\nset-cookie: c\r\n", b"Set-Cookie: a\r\nB:  b \r\nset-cookie: c\r\n"),
    ],
)
def test_fields_that_are_for_this_hop_alone(fields: bytes, kept: bytes) -> None:
    for codec in (RequestCodec(), experienced_requests()):
        reader = codec.reader()
        for number in range(COMPILED_AT + 2):
            head = reader.feed(b"GET /%d?%d HTTP/1.1\r\nHost: a\r\n%b\r\n" % (number, number, fields))
            assert head
            assert head.kept == b"Host: a\r\n" + kept
    assert request(GET + fields + b"\r\n").kept == b"Host: a\r\n" + kept


def test_forwarding_removes_and_adds() -> None:
    head = request(GET + b"X-Forwarded-For: 1\r\nB: 2\r\nKeep-Alive: 1\r\nx-forwarded-for: 3\r\n\r\n")
    without = frozenset((b"x-forwarded-for", b"x-real-ip"))
    assert head.forward(target=b"/new", without=without, added=b"X-Forwarded-For: 9\r\n") == (
        b"GET /new HTTP/1.1\r\nHost: a\r\nB: 2\r\nX-Forwarded-For: 9\r\n\r\n"
    )
    assert head.forward(without=frozenset((b"absent",))) == head.forward()


def test_of_repeated_fields_but_cookies_the_last() -> None:
    fields = b"A: 1\r\nCookie: x\r\nB: 1\r\na: 2\r\ncookie: y\r\nTE: 1\r\nTE: 2\r\nB: 2\r\nC: 1\r\n"
    head = request(GET + fields + b"\r\n")
    assert head.opening(last=True) == GET + b"Cookie: x\r\na: 2\r\ncookie: y\r\nB: 2\r\nC: 1\r\n"
    assert head.opening(last=True, without=frozenset((b"a", b"c"))) == GET + b"Cookie: x\r\ncookie: y\r\nB: 2\r\n"
    assert head.opening().count(b"A: 1") == 1
    cookies = request(GET + b"Cookie: x\r\ncookie: y\r\n\r\n")
    assert cookies.opening(last=True) is cookies.plain
    answer = response(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: 1\r\nset-cookie: b\r\nx: 2\r\n\r\n")
    assert answer.forward(last=True) == b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nx: 2\r\n\r\n"


def test_access_by_name() -> None:
    head = request(GET + b"X-A:  1 \r\nb: 2\r\nx-a: 3\r\n\r\n")
    assert (head.get(b"x-a"), head.get(b"b"), head.get(b"c")) == (b"1, 3", b"2", None)
    assert (head.all(b"x-a"), head.all(b"c")) == ([b"1", b"3"], [])
    assert head.fields == [(b"Host", b"a"), (b"X-A", b"1"), (b"b", b"2"), (b"x-a", b"3")]
    assert head.lines == [b"Host: a", b"X-A:  1 ", b"b: 2", b"x-a: 3"]


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"websocket"),
        (b"Connection: keep-alive, upgrade\r\nUpgrade: h2c, WebSocket\r\n", b"websocket"),
        (b"Upgrade: websocket\r\n", None),
        (b"Connection: Upgrade\r\n", None),
        (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", None),
    ],
)
def test_upgrades(fields: bytes, upgrade: bytes | None) -> None:
    head = request(GET + fields + b"\r\n")
    assert head.upgrade == upgrade
    switch = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if upgrade else b""
    assert head.forward() == GET + switch + b"\r\n"
    old = request(b"GET / HTTP/1.0\r\nHost: a\r\n" + fields + b"\r\n")
    assert old.upgrade is None


def test_an_offer_that_is_not_admitted_may_have_a_body() -> None:
    head = request(GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx")
    assert (head.upgrade, head.body) == (None, 1)


def test_configured_upgrades() -> None:
    codec = RequestCodec(upgrades=frozenset((b"spdy/3.1",)))
    head = codec.reader().feed(GET + b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
    assert head
    assert head.upgrade == b"spdy/3.1"


def test_expectations() -> None:
    expect = b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
    assert request(GET + expect).expect_continue
    assert not request(b"GET / HTTP/1.0\r\nHost: a\r\n" + expect).expect_continue
    assert not request(GET + b"\r\n").expect_continue


# Responses


@pytest.mark.parametrize(
    ("head", "method", "body", "keep_alive"),
    [
        (OK, b"GET", UNTIL_CLOSE, False),
        (OK + b"Content-Length: 3\r\n", b"GET", 3, True),
        (OK + b"Transfer-Encoding: chunked\r\n", b"GET", CHUNKED, True),
        (OK + b"Content-Length: 3\r\n", b"HEAD", NO_BODY, True),
        (OK + b"Transfer-Encoding: chunked\r\n", b"HEAD", NO_BODY, True),
        (OK, b"HEAD", NO_BODY, True),
        (OK, b"CONNECT", UNTIL_CLOSE, False),
        (OK + b"Content-Length: 3\r\n", b"CONNECT", UNTIL_CLOSE, False),
        (b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n", b"CONNECT", 3, True),
        (b"HTTP/1.1 204 No Content\r\n", b"GET", NO_BODY, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n", b"GET", NO_BODY, True),
        (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n", b"GET", NO_BODY, True),
        (b"HTTP/1.1 103 Early Hints\r\n", b"GET", NO_BODY, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n", b"GET", 3, False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n", b"GET", 3, False),
    ],
)
def test_bodies_of_responses(head: bytes, method: bytes, body: int, keep_alive: bool) -> None:
    for codec in (ResponseCodec(), experienced_responses()):
        reader = codec.reader()
        reader.expect(method)
        found = reader.feed(head + b"\r\n")
        assert found
        assert (found.body, found.keep_alive) == (body, keep_alive)


def test_a_switch_that_was_asked_for() -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n"
    head = response(data, upgrade=b"websocket")
    assert (head.upgrade, head.body, head.interim) == (b"websocket", UNTIL_CLOSE, False)
    assert head.forward() == (
        b"HTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


def test_an_offer_that_is_answered_with_a_response_is_no_tunnel() -> None:
    data = OK + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok"
    head = response(data, upgrade=b"websocket")
    assert (head.upgrade, head.body) == (None, 2)


def test_responses_are_forwarded_with_our_version_and_their_phrase() -> None:
    fields = b"Connection: keep-alive, X\r\nX: y\r\nServer: s\r\nContent-Length: 0\r\n\r\n"
    head = response(b"HTTP/1.0 200 \xdcblich\r\n" + fields)
    assert head.forward(added=b"Via: 1.1 m\r\n", without=frozenset((b"server",))) == (
        b"HTTP/1.1 200 \xdcblich\r\nContent-Length: 0\r\nVia: 1.1 m\r\n\r\n"
    )


def test_nothing_says_how_long_no_body_is() -> None:
    assert response(b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n").forward() == b"HTTP/1.1 204 No\r\n\r\n"


def test_security_fields_survive_a_connection_that_names_them() -> None:
    fields = b"Strict-Transport-Security: 1\r\nX-Own: 1\r\nConnection: Strict-Transport-Security, X-Own\r\n"
    head = response(OK + fields + b"\r\n")
    assert head.kept == b"Strict-Transport-Security: 1\r\n"


# What is remembered


def test_a_head_that_comes_again_is_the_same_object() -> None:
    reader = experienced_requests().reader()
    data = GET + b"\r\n"
    assert reader.feed(data)  # of another shape than the one before: read line by line
    first = reader.feed(data)
    assert reader.feed(data) is first
    assert reader.feed(data + b"GET /next") is first
    assert reader.rest == b"GET /next"
    assert reader.feed(b"X" + data[1:]) is not first


@pytest.mark.parametrize(
    "data",
    [
        GET + b"Authorization: Basic x\r\n\r\n",
        GET + b"Cookie: x\r\n\r\n",
        GET + b"X-Api-Key: x\r\n\r\n",
        b"GET /?access_token=x HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + b"X: " + b"y" * LONGEST_REMEMBERED + b"\r\n\r\n",
    ],
)
def test_no_secret_and_nothing_large_is_remembered(data: bytes) -> None:
    codec = RequestCodec()
    reader = codec.reader()
    for _ in range(COMPILED_AT + 2):
        assert reader.feed(data)
    assert not any(codec.memory)


def test_answers_to_head_are_not_taken_for_answers_to_get() -> None:
    reader = experienced_responses().reader()
    data = OK + b"Content-Length: 5\r\n\r\n"
    for method, body in [(b"GET", 5), (b"HEAD", 0), (b"GET", 5), (b"CONNECT", UNTIL_CLOSE), (b"HEAD", 0), (b"GET", 5)]:
        reader.expect(method)
        head = reader.feed(data)
        assert head
        assert head.body == body


def test_what_is_learnt_is_bounded() -> None:
    codec = RequestCodec()
    reader = codec.reader()
    for number in range(3 * MOST_SHAPES):
        assert reader.feed(b"GET / HTTP/1.1\r\nHost: h%d\r\nX-%d: y\r\nConnection: x-%d\r\n\r\n" % ((number,) * 3))
    assert len(codec.shapes) <= MOST_SHAPES
    for number in range(3000):
        assert reader.feed(b"GET / HTTP/1.1\r\nHost: h%d\r\n\r\n" % number)
    assert len(codec.authorities) <= 1024


def test_a_connection_that_goes_back_and_forth_between_two_shapes() -> None:
    codec = experienced_requests()
    reader = codec.reader()
    for number in range(4):
        head = reader.feed(b"GET /%d HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n" % number)
        assert head
        assert head.body == 0
        head = reader.feed(b"GET /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" % number)
        assert head
        assert (head.body, reader.rest) == (1, b"x")


def test_a_plain_head_over_a_limit_is_refused_when_its_shape_is_known_too() -> None:
    codec = experienced_requests(Limits(line=100))
    reader = codec.reader()
    assert reader.feed(GET + b"X: %b\r\n\r\n" % (b"y" * 200))
    assert converse(codec, [b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"y" * 100)]) == [Reason.LINE_TOO_LONG]
