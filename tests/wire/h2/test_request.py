"""Requests in HTTP/2 become heads of HTTP/1.1, or are refused for a reason."""

from __future__ import annotations

import pytest

from meshproxy.wire.h1 import CHUNKED, NO_BODY, Limits, Malformed, Reason, RequestHead, Strictness
from meshproxy.wire.h1.authority import Authority
from meshproxy.wire.h2.request import Requests
from tests.wire.h2.messages import CONNECT, GET, POST, WEBSOCKET, Pair, block, but, requests


def head(*fields: Pair, last: bool = True, codec: Requests | None = None) -> RequestHead:
    return (codec or requests()).head(block(*fields), last)


class TestHead:
    def test_of_a_get(self) -> None:
        got = head(*GET, (b"accept", b"*/*"))
        assert (got.method, got.target, got.minor, got.keep_alive) == (b"GET", b"/x?y=1", 1, True)
        assert got.authority == Authority.of(b"a.example", None)
        assert got.body == NO_BODY
        assert got.forward() == b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\naccept: */*\r\n\r\n"
        assert (got.upgrade, got.expect_continue, got.decision) == (None, False, None)

    def test_fields_are_found_as_in_http_1(self) -> None:
        got = head(*GET, (b"accept", b"a"), (b"x-a", b""), (b"accept", b"b"))
        assert got.get(b"host") == b"a.example"
        assert got.get(b"accept") == b"a, b"
        assert got.all(b"accept") == [b"a", b"b"]
        assert got.get(b"x-a") == b""
        assert got.get(b"x-b") is None
        assert got.fields == [(b"Host", b"a.example"), (b"accept", b"a"), (b"x-a", b""), (b"accept", b"b")]
        assert got.opening(last=True) == b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nx-a: \r\naccept: b\r\n"
        assert got.opening(target=b"/z", without=frozenset((b"accept",))) == (
            b"GET /z HTTP/1.1\r\nHost: a.example\r\nx-a: \r\n"
        )

    def test_pseudo_header_fields_come_in_any_order(self) -> None:
        assert head(*reversed(GET)).plain == head(*GET).plain

    def test_a_body_of_unknown_length_is_chunked(self) -> None:
        got = head(*POST, (b"x-a", b"b"), last=False)
        assert got.body == CHUNKED
        assert got.plain == b"POST /x?y=1 HTTP/1.1\r\nHost: a.example\r\nx-a: b\r\nTransfer-Encoding: chunked\r\n"
        assert got.get(b"transfer-encoding") == b"chunked"

    def test_a_body_of_known_length(self) -> None:
        got = head(*POST, (b"content-length", b"007"), last=False)
        assert got.body == 7
        assert got.plain.endswith(b"\r\ncontent-length: 7\r\n")

    def test_no_body_with_a_length_that_says_so(self) -> None:
        assert head(*POST, (b"content-length", b"0")).body == NO_BODY

    def test_host_may_stand_for_the_authority(self) -> None:
        got = head(*but(GET, without=b":authority"), (b"x-a", b"b"), (b"host", b"b.example:81"))
        assert got.authority == Authority.of(b"b.example", 81)
        assert got.plain == b"GET /x?y=1 HTTP/1.1\r\nHost: b.example:81\r\nx-a: b\r\n"

    def test_host_may_say_the_same(self) -> None:
        assert head(*GET, (b"host", b"A.example")).plain == head(*GET).plain

    def test_crumbs_of_a_cookie_become_one(self) -> None:
        got = head(*GET, (b"cookie", b"a=1"), (b"x-a", b"b"), (b"cookie", b"b=2"), (b"cookie", b"c=3"))
        assert got.plain == b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\ncookie: a=1; b=2; c=3\r\nx-a: b\r\n"
        assert got.get(b"cookie") == b"a=1; b=2; c=3"

    def test_empty_crumbs_leave_nothing_behind(self) -> None:
        got = head(*GET, (b"cookie", b""), (b"cookie", b"a=1"), (b"cookie", b""))
        assert got.plain.endswith(b"\r\ncookie: a=1\r\n")

    def test_te_goes_on(self) -> None:
        assert head(*GET, (b"te", b"trailers")).plain.endswith(b"\r\nte: trailers\r\n")

    def test_fields_that_never_go_on(self) -> None:
        got = head(*GET, (b"proxy", b"a"), (b"x-a", b"b"), codec=requests(without=frozenset((b"x-a",))))
        assert got.plain == b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\n"
        assert got.get(b"x-a") == b"b"

    def test_an_interim_answer_is_awaited(self) -> None:
        got = head(*POST, (b"expect", b"100-Continue"), (b"content-length", b"1"), last=False)
        assert got.expect_continue
        assert b"\r\nexpect: 100-Continue\r\n" in got.plain

    def test_options_of_all(self) -> None:
        assert head(*but(GET, (b":method", b"OPTIONS"), (b":path", b"*"))).target == b"*"

    def test_raw_targets_if_they_are_admitted(self) -> None:
        codec = requests(strictness=Strictness(raw_target=True))
        assert head(*but(GET, (b":path", b'/\xc3\xbc"')), codec=codec).target == b'/\xc3\xbc"'

    def test_underscores_if_they_are_admitted(self) -> None:
        assert head(*GET, (b"x_a", b"b"), codec=requests(strictness=Strictness(underscores=True))).get(b"x_a") == b"b"


class TestRemembered:
    def test_a_block_that_comes_again_is_the_same_head(self) -> None:
        codec, came = requests(), block(*GET, (b"accept", b"*/*"))
        first = codec.head(came, True)
        assert codec.head(came, True) is first

    def test_whether_it_is_all_matters(self) -> None:
        codec, came = requests(), block(*POST)
        first, second = codec.head(came, True), codec.head(came, False)
        assert (first.body, second.body) == (NO_BODY, CHUNKED)
        assert codec.head(came, True) is first
        assert codec.head(came, False) is second

    def test_not_with_secrets(self) -> None:
        codec, came = requests(), block(*GET, (b"authorization", b"Basic secret"))
        assert codec.head(came, True) is not codec.head(came, True)
        assert came.meaning[True] is None


class TestOtherProtocols:
    def test_a_websocket(self) -> None:
        got = head(*WEBSOCKET, (b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"mine"), last=False)
        assert (got.method, got.target, got.upgrade, got.body) == (b"GET", b"/x?y=1", b"websocket", NO_BODY)
        assert got.forward() == (
            b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nsec-websocket-version: 13\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert got.get(b"upgrade") == b"websocket"
        assert got.get(b"sec-websocket-key") == b"MDEyMzQ1Njc4OWFiY2RlZg=="

    def test_each_has_its_own_key(self) -> None:
        keys = iter((b"a" * 16, b"b" * 16))
        codec, came = Requests(key=lambda: next(keys)), block(*WEBSOCKET)
        first, second = codec.head(came, False), codec.head(came, False)
        assert first.get(b"sec-websocket-key") != second.get(b"sec-websocket-key")

    def test_one_without_a_key(self) -> None:
        codec = requests(upgrades=frozenset((b"chat",)))
        got = head(*but(WEBSOCKET, (b":protocol", b"Chat")), last=False, codec=codec)
        assert got.plain == b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: chat\r\n"

    def test_one_that_is_not_admitted_is_a_connect_to_a_path(self) -> None:
        got = head(*but(WEBSOCKET, (b":protocol", b"connect-udp")), last=False)
        assert (got.method, got.target, got.upgrade) == (b"CONNECT", b"/x?y=1", None)

    @pytest.mark.parametrize("fields", [CONNECT, WEBSOCKET])
    def test_an_interim_answer_is_awaited(self, fields: list[Pair]) -> None:
        assert head(*fields, (b"expect", b"100-continue"), last=False).expect_continue

    def test_a_tunnel(self) -> None:
        got = head(*CONNECT, last=False)
        assert (got.method, got.target, got.body) == (b"CONNECT", b"a.example:443", NO_BODY)
        assert got.plain == b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"


REFUSED: dict[str, tuple[list[Pair], Reason]] = {
    "nothing": ([], Reason.BAD_PSEUDO_HEADER),
    "no method": (but(GET, without=b":method"), Reason.BAD_PSEUDO_HEADER),
    "no scheme": (but(GET, without=b":scheme"), Reason.BAD_PSEUDO_HEADER),
    "no path": (but(GET, without=b":path"), Reason.BAD_PSEUDO_HEADER),
    "neither path nor scheme": ([GET[0], GET[2]], Reason.BAD_PSEUDO_HEADER),
    "no authority": (but(GET, without=b":authority"), Reason.MISSING_HOST),
    "two methods": ([*GET, GET[0]], Reason.BAD_PSEUDO_HEADER),
    "two paths": ([*GET, (b":path", b"/admin")], Reason.BAD_PSEUDO_HEADER),
    "a pseudo-header field of responses": ([*GET, (b":status", b"200")], Reason.BAD_PSEUDO_HEADER),
    "an unknown pseudo-header field": ([*GET, (b":admin", b"1")], Reason.BAD_PSEUDO_HEADER),
    "a pseudo-header field after others": ([*GET[:3], (b"a", b"b"), GET[3]], Reason.BAD_PSEUDO_HEADER),
    "a colon alone": ([*GET, (b":", b"b")], Reason.BAD_PSEUDO_HEADER),
    "a colon alone after others": ([*GET, (b"a", b"b"), (b":", b"b")], Reason.BAD_PSEUDO_HEADER),
    "another scheme": (but(GET, (b":scheme", b"ftp")), Reason.BAD_PSEUDO_HEADER),
    "a scheme in capitals": (but(GET, (b":scheme", b"HTTPS")), Reason.BAD_PSEUDO_HEADER),
    "a scheme with a target": (but(GET, (b":scheme", b"https://a/x?")), Reason.BAD_PSEUDO_HEADER),
    "a protocol without CONNECT": ([*GET, (b":protocol", b"websocket")], Reason.BAD_PSEUDO_HEADER),
    "CONNECT with a path": (but(GET, (b":method", b"CONNECT")), Reason.BAD_PSEUDO_HEADER),
    "CONNECT with a protocol, without a path": ([*CONNECT, (b":protocol", b"websocket")], Reason.BAD_PSEUDO_HEADER),
    "CONNECT without authority": ([CONNECT[0], (b"host", b"a:1")], Reason.BAD_PSEUDO_HEADER),
    "CONNECT without a port": (but(CONNECT, (b":authority", b"a")), Reason.WRONG_TARGET_FORM),
    "CONNECT with a body": ([*CONNECT, (b"content-length", b"1")], Reason.BAD_LENGTH),
    "WebSocket with a body": ([*WEBSOCKET, (b"content-length", b"1")], Reason.BAD_LENGTH),
    "no method at all": (but(GET, (b":method", b"")), Reason.BAD_METHOD),
    "a method with a space": (but(GET, (b":method", b"GET /admin HTTP/1.1")), Reason.BAD_METHOD),
    "an empty path": (but(GET, (b":path", b"")), Reason.WRONG_TARGET_FORM),
    "an absolute path form": (but(GET, (b":path", b"http://a/")), Reason.WRONG_TARGET_FORM),
    "a path without slash": (but(GET, (b":path", b"x")), Reason.WRONG_TARGET_FORM),
    "* outside OPTIONS": (but(GET, (b":path", b"*")), Reason.WRONG_TARGET_FORM),
    "a path with a space": (but(GET, (b":path", b"/x HTTP/1.1")), Reason.BAD_TARGET),
    "a path with a fragment": (but(GET, (b":path", b"/x#y")), Reason.BAD_TARGET),
    "a path with a line end": (but(GET, (b":path", b"/x HTTP/1.1\r\nx: y")), Reason.CONTROL_BYTE),
    "a path that is too long": (but(GET, (b":path", b"/" + b"x" * 8192)), Reason.LINE_TOO_LONG),
    "an empty authority": (but(GET, (b":authority", b"")), Reason.BAD_HOST),
    "user information": (but(GET, (b":authority", b"u@a.example")), Reason.BAD_HOST),
    "an impossible port": (but(GET, (b":authority", b"a:65536")), Reason.BAD_HOST),
    "another host": ([*GET, (b"host", b"b.example")], Reason.HOST_MISMATCH),
    "another port": ([*GET, (b"host", b"a.example:443")], Reason.HOST_MISMATCH),
    "a broken host": ([*GET, (b"host", b"")], Reason.BAD_HOST),
    "two hosts": ([*GET, (b"host", b"a.example"), (b"host", b"a.example")], Reason.REPEATED_HOST),
    "a name in capitals": ([*GET, (b"Accept", b"*/*")], Reason.CAPITAL_IN_NAME),
    "an empty name": ([*GET, (b"", b"b")], Reason.BAD_FIELD_NAME),
    "a name with a colon": ([*GET, (b"a:b", b"c")], Reason.BAD_FIELD_NAME),
    "a name with a line end": ([*GET, (b"a\r\nb", b"c")], Reason.BAD_FIELD_NAME),
    "a name with a space": ([*GET, (b"a ", b"c")], Reason.BAD_FIELD_NAME),
    "a name with an underscore": ([*GET, (b"x_a", b"b")], Reason.UNDERSCORE_IN_NAME),
    "a value with a line end": ([*GET, (b"a", b"b\r\nc: d")], Reason.CONTROL_BYTE),
    "a value with CR": ([*GET, (b"a", b"b\rc")], Reason.CONTROL_BYTE),
    "a value with LF": ([*GET, (b"a", b"b\nc")], Reason.CONTROL_BYTE),
    "a value with NUL": ([*GET, (b"a", b"b\0c")], Reason.CONTROL_BYTE),
    "a value with another control byte": ([*GET, (b"a", b"b\x1bc")], Reason.CONTROL_BYTE),
    "a value that begins with a space": ([*GET, (b"a", b" b")], Reason.SPACE_AROUND_VALUE),
    "a value that ends with a tab": ([*GET, (b"a", b"b\t")], Reason.SPACE_AROUND_VALUE),
    "a cookie with a line end": ([*GET, (b"cookie", b"a=b"), (b"cookie", b"a=b\r\nc: d")], Reason.CONTROL_BYTE),
    "te": ([*GET, (b"te", b"gzip")], Reason.CONNECTION_FIELD),
    "te with more": ([*GET, (b"te", b"trailers, gzip")], Reason.CONNECTION_FIELD),
    "te twice": ([*GET, (b"te", b"trailers"), (b"te", b"gzip")], Reason.CONNECTION_FIELD),
    "an expectation": ([*GET, (b"expect", b"200-ok")], Reason.UNKNOWN_EXPECTATION),
    "a length that is none": ([*GET, (b"content-length", b"+1")], Reason.BAD_LENGTH),
    "a list of lengths": ([*GET, (b"content-length", b"1, 1")], Reason.BAD_LENGTH),
    "a length and no body": ([*GET, (b"content-length", b"1")], Reason.BAD_LENGTH),
    "two lengths": ([*GET, (b"content-length", b"0"), (b"content-length", b"0")], Reason.REPEATED_LENGTH),
    "too many fields": ([*GET, *[(b"a", b"b")] * 101], Reason.TOO_MANY_FIELDS),
    "too large": ([*GET, *[(b"a", b"b" * 6000)] * 11], Reason.HEAD_TOO_LARGE),
    **{
        f"{name.decode()}": ([*GET, (name, b"a")], Reason.CONNECTION_FIELD)
        for name in (
            b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings",
        )
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    fields, reason = REFUSED[name]
    codec, came = requests(), block(*fields)
    for _ in range(2):
        with pytest.raises(Malformed) as raised:
            codec.head(came, True)
        assert raised.value.reason is reason


@pytest.mark.parametrize("fields", [CONNECT, WEBSOCKET])
def test_refused_with_a_body_that_has_no_place(fields: list[Pair]) -> None:
    with pytest.raises(Malformed) as raised:
        head(*fields, (b"content-length", b"1"), last=False)
    assert raised.value.reason is Reason.BODY_NOT_ALLOWED


def test_a_body_over_the_limit() -> None:
    codec = requests(limits=Limits(body=10))
    assert head(*POST, (b"content-length", b"10"), last=False, codec=codec).body == 10
    with pytest.raises(Malformed) as raised:
        head(*POST, (b"content-length", b"11"), last=False, codec=codec)
    assert raised.value.reason is Reason.BODY_TOO_LARGE


def test_as_many_fields_as_are_taken() -> None:
    assert len(head(*GET, *[(b"a", b"b")] * 100).fields) == 101


def test_what_is_learnt_is_bounded() -> None:
    codec = requests()
    for number in range(2000):
        head(*GET, (b"x-%d" % number, b"a"), codec=codec)
    assert len(codec._forms) <= 256
    assert len(codec._shapes) <= 256
