"""Responses in HTTP/2 become heads of HTTP/1.1, or are refused for a reason; and trailers become lines."""

from __future__ import annotations

import pytest

from meshproxy.wire.h1 import CHUNKED, NO_BODY, UNTIL_CLOSE, Limits, Malformed, Reason, ResponseHead
from meshproxy.wire.h2.form import trailers
from meshproxy.wire.h2.response import Responses
from tests.wire.h2.messages import Pair, block

OK: Pair = (b":status", b"200")
LENGTH: Pair = (b"content-length", b"5")


def head(*fields: Pair, last: bool = False, method: bytes = b"GET", codec: Responses | None = None) -> ResponseHead:
    return (codec or Responses()).head(block(*fields), last, method)


class TestBodies:
    def test_of_unknown_length_are_chunked(self) -> None:
        got = head(OK, (b"content-type", b"a/b"))
        assert (got.status, got.phrase, got.body, got.keep_alive) == (200, b"OK", CHUNKED, True)
        assert got.plain == b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nTransfer-Encoding: chunked\r\n"

    def test_of_known_length(self) -> None:
        got = head(OK, (b"content-length", b"05"))
        assert (got.body, got.plain) == (5, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n")

    def test_that_are_not_there(self) -> None:
        got = head(OK, last=True)
        assert (got.body, got.plain) == (NO_BODY, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
        assert head(OK, (b"content-length", b"0"), last=True).plain == got.plain.replace(b"C", b"c").replace(b"L", b"l")

    @pytest.mark.parametrize("last", [True, False])
    def test_of_answers_to_head(self, last: bool) -> None:
        got = head(OK, LENGTH, last=last, method=b"HEAD")
        assert (got.body, got.plain) == (NO_BODY, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n")
        assert head(OK, last=last, method=b"HEAD").plain == b"HTTP/1.1 200 OK\r\n"

    @pytest.mark.parametrize("last", [True, False])
    def test_of_304(self, last: bool) -> None:
        got = head((b":status", b"304"), LENGTH, last=last)
        assert (got.body, got.plain) == (NO_BODY, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n")

    @pytest.mark.parametrize("last", [True, False])
    def test_of_204(self, last: bool) -> None:
        got = head((b":status", b"204"), (b"content-length", b"0"), last=last)
        assert (got.body, got.plain) == (NO_BODY, b"HTTP/1.1 204 No Content\r\n")

    def test_of_connect(self) -> None:
        got = head(OK, LENGTH, method=b"CONNECT")
        assert (got.body, got.plain) == (UNTIL_CLOSE, b"HTTP/1.1 200 OK\r\n")
        assert head((b":status", b"403"), LENGTH, method=b"CONNECT").body == 5


class TestHead:
    def test_interim(self) -> None:
        got = head((b":status", b"103"), (b"link", b"</a>"))
        assert got.interim
        assert got.plain == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n"

    def test_a_status_without_a_name(self) -> None:
        assert head((b":status", b"599"), last=True, method=b"HEAD").plain == b"HTTP/1.1 599 \r\n"

    def test_cookies_stay_apart(self) -> None:
        got = head(OK, (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d"), LENGTH)
        assert got.all(b"set-cookie") == [b"a=b", b"c=d"]

    def test_underscores_are_the_servers_affair(self) -> None:
        assert head(OK, (b"x_a", b"b")).get(b"x_a") == b"b"

    def test_a_block_that_comes_again_is_the_same_head(self) -> None:
        codec, came = Responses(), block(OK, (b"a", b"b"))
        first, last = codec.head(came, False, b"GET"), codec.head(came, True, b"GET")
        assert (first.body, last.body) == (CHUNKED, NO_BODY)
        assert codec.head(came, False, b"POST") is first
        assert codec.head(came, True, b"GET") is last
        # How long these are does not stand in them
        assert codec.head(came, False, b"HEAD").body == NO_BODY
        assert codec.head(came, False, b"CONNECT").body == UNTIL_CLOSE
        assert codec.head(came, False, b"GET") is first

    def test_not_with_secrets(self) -> None:
        codec, came = Responses(), block(OK, (b"set-cookie", b"a=b"))
        assert codec.head(came, False, b"GET") is not codec.head(came, False, b"GET")


REFUSED: dict[str, tuple[list[Pair], bool, Reason]] = {
    "nothing": ([], True, Reason.BAD_PSEUDO_HEADER),
    "no status": ([(b"a", b"b")], True, Reason.BAD_PSEUDO_HEADER),
    "two statuses": ([OK, OK], True, Reason.BAD_PSEUDO_HEADER),
    "a status after others": ([(b"a", b"b"), OK], True, Reason.BAD_PSEUDO_HEADER),
    "a pseudo-header field of requests": ([OK, (b":path", b"/")], True, Reason.BAD_PSEUDO_HEADER),
    "no number": ([(b":status", b"abc")], True, Reason.BAD_STATUS_LINE),
    "an empty status": ([(b":status", b"")], True, Reason.BAD_STATUS_LINE),
    "four digits": ([(b":status", b"0200")], True, Reason.BAD_STATUS_LINE),
    "a sign": ([(b":status", b"+20")], True, Reason.BAD_STATUS_LINE),
    "a status that is too small": ([(b":status", b"099")], True, Reason.BAD_STATUS_LINE),
    "a status that is too large": ([(b":status", b"600")], True, Reason.BAD_STATUS_LINE),
    "a phrase": ([(b":status", b"200 OK")], True, Reason.BAD_STATUS_LINE),
    "a switch": ([(b":status", b"101")], False, Reason.UNASKED_UPGRADE),
    "an interim answer that ends the stream": ([(b":status", b"100")], True, Reason.CUT_SHORT),
    "a length with an interim answer": ([(b":status", b"100"), LENGTH], False, Reason.BODY_NOT_ALLOWED),
    "a length with 204": ([(b":status", b"204"), LENGTH], True, Reason.BODY_NOT_ALLOWED),
    "a length and no body": ([OK, LENGTH], True, Reason.BAD_LENGTH),
    "a length that is none": ([OK, (b"content-length", b"-1")], False, Reason.BAD_LENGTH),
    "two lengths": ([OK, LENGTH, LENGTH], False, Reason.REPEATED_LENGTH),
    "a field of the connection": ([OK, (b"transfer-encoding", b"chunked")], False, Reason.CONNECTION_FIELD),
    "a name in capitals": ([OK, (b"Server", b"a")], False, Reason.CAPITAL_IN_NAME),
    "a value with a line end": ([OK, (b"a", b"b\r\n\r\nHTTP/1.1 200 OK")], False, Reason.CONTROL_BYTE),
    "a value that begins with a space": ([OK, (b"a", b" b")], False, Reason.SPACE_AROUND_VALUE),
    "too many fields": ([OK, *[(b"a", b"b")] * 101], False, Reason.TOO_MANY_FIELDS),
    "too large": ([OK, *[(b"a", b"b" * 6000)] * 11], False, Reason.HEAD_TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    fields, last, reason = REFUSED[name]
    with pytest.raises(Malformed) as raised:
        head(*fields, last=last)
    assert raised.value.reason is reason


class TestTrailers:
    def test_become_lines(self) -> None:
        came = block((b"grpc-status", b"0"), (b"grpc-message", b""))
        assert trailers(came, Limits()) == [b"grpc-status: 0", b"grpc-message: "]
        assert trailers(came, Limits()) is trailers(came, Limits())

    def test_may_be_empty(self) -> None:
        assert trailers(block(), Limits()) == []

    def test_are_no_head_and_a_head_is_no_trailers(self) -> None:
        """Also where the same bytes come in another place."""
        came, codec = block((b"grpc-status", b"0")), Responses()
        assert trailers(came, Limits())
        with pytest.raises(Malformed):
            codec.head(came, True, b"GET")
        came = block(OK)
        assert codec.head(came, False, b"GET")
        with pytest.raises(Malformed):
            trailers(came, Limits())

    @pytest.mark.parametrize(
        ("field", "reason"),
        [
            (OK, Reason.BAD_PSEUDO_HEADER),
            ((b":path", b"/"), Reason.BAD_PSEUDO_HEADER),
            (LENGTH, Reason.FORBIDDEN_TRAILER),
            ((b"host", b"a"), Reason.FORBIDDEN_TRAILER),
            ((b"authorization", b"a"), Reason.FORBIDDEN_TRAILER),
            ((b"te", b"trailers"), Reason.FORBIDDEN_TRAILER),
            ((b"transfer-encoding", b"chunked"), Reason.CONNECTION_FIELD),
            ((b"X-A", b"b"), Reason.CAPITAL_IN_NAME),
            ((b"", b"b"), Reason.BAD_FIELD_NAME),
            ((b"a", b"b\r\n0"), Reason.CONTROL_BYTE),
            ((b"a", b"b "), Reason.SPACE_AROUND_VALUE),
            ((b"a", b"b" * 62_000), Reason.HEAD_TOO_LARGE),
        ],
    )
    def test_refused(self, field: Pair, reason: Reason) -> None:
        with pytest.raises(Malformed) as raised:
            trailers(block((b"grpc-status", b"0"), field), Limits())
        assert raised.value.reason is reason

    def test_too_many(self) -> None:
        with pytest.raises(Malformed) as raised:
            trailers(block(*[(b"a", b"b")] * 101), Limits())
        assert raised.value.reason is Reason.TOO_MANY_FIELDS
