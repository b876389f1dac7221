"""h11 in the place of our own reader: what it takes and refuses, and that nothing goes on that others may misread."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from meshproxy.wire.h1 import Limits, Malformed, Reason, RequestCodec, RequestHead, Strictness
from meshproxy.wire.h1.reference import ReferenceCodec
from tests.examples import of
from tests.wire.h1.feeding import Message, converse, ways
from tests.wire.h1.test_differential import requests
from tests.wire.h1.test_refusals import CHUNKED, GET, POST, REQUESTS, field, some_ways

EXAMPLES = int(os.environ.get("H1_EXAMPLES", of(400)))
fuzz = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))

# What the documentation says of the differences

TAKEN = {
    b"GET / HTTP/1.1\nHost: a\n\n": GET + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n": GET + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n": GET + b"\r\n",
    field(b"X: y\nTransfer-Encoding: chunked"): POST + b"X: y\r\nTransfer-Encoding: chunked\r\n\r\n",
    field(b"X: y\r\n Transfer-Encoding: chunked"): POST + b"X: y Transfer-Encoding: chunked\r\n\r\n",
    field(b"Transfer-Encoding:\r\n chunked"): POST + b"Transfer-Encoding: chunked\r\n\r\n",
    field(b"X: a\r\n b"): POST + b"X: a b\r\n\r\n",
    field(b"X: a\r\n\tb: c"): POST + b"X: a b: c\r\n\r\n",
    field(b"X: a\r\n "): POST + b"X: a\r\n\r\n",
    field(b"Content-Length: 4\r\ncontent-length: 4"): POST + b"Content-Length: 4\r\n\r\n",
    field(b"Content-Length: 4, 4"): POST + b"Content-Length: 4\r\n\r\n",
}
"""And how it goes on."""
WAITED_FOR = (b"GET / HTTP/1.1\r\nHost: a\r\n\rX", b"GET /\r\n", b"hello there\r\n", b"A" * 9000)
"""What can never become a head, which we refuse when that shows: h11 waits for its end."""


def fed(codec: RequestCodec, pieces: list[bytes]) -> RequestHead | None:
    reader = codec.reader()
    heads = [head for piece in pieces if (head := reader.feed(piece))]
    return heads[0] if heads else None


@pytest.mark.parametrize("data", [data for data, _ in REQUESTS if data not in TAKEN and data not in WAITED_FOR])
def test_what_we_refuse_is_refused(data: bytes) -> None:
    for pieces in some_ways(data):
        assert isinstance(converse(ReferenceCodec(), pieces)[-1], Reason)


@pytest.mark.parametrize("data", TAKEN)
def test_what_only_h11_takes_goes_on_in_the_one_spelling(data: bytes) -> None:
    assert data in [data for data, _ in REQUESTS]
    for pieces in ways(data):
        head = fed(ReferenceCodec(), pieces)
        assert head
        assert head.forward() == TAKEN[data]


@pytest.mark.parametrize("data", WAITED_FOR)
def test_what_h11_waits_for(data: bytes) -> None:
    assert data in [data for data, _ in REQUESTS]
    assert converse(ReferenceCodec(), [data]) == [b"in a head"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (field(b"X : y"), Reason.REFUSED_BY_H11),
        (field(b"Transfer-Encoding: gzip"), Reason.UNKNOWN_CODING),
        (GET + b"X: " + b"y" * 70_000, Reason.HEAD_TOO_LARGE),
        # What h11 takes, and would not go on
        (field(b"X: \x01"), Reason.CONTROL_BYTE),
        (field(b"Content-Length: 4\r\nTransfer-Encoding: chunked"), Reason.LENGTH_AND_CODING),
        (field(b"Transfer-Encoding: chunked", b"POST / HTTP/1.0\r\nHost: a\r\n"), Reason.CODING_IN_HTTP_1_0),
        (field(b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4"), Reason.LENGTH_AND_CODING),
        (field(b"user_id: a"), Reason.UNDERSCORE_IN_NAME),
        (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", Reason.BAD_TARGET),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Reason.BAD_HOST),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Reason.UNSUPPORTED_VERSION),
        (CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", Reason.BAD_CHUNK_SIZE),
    ],
)
def test_the_reasons(data: bytes, reason: Reason) -> None:
    assert converse(ReferenceCodec(), [data]) == [reason]


def test_limits_and_switches_are_those_of_the_listener() -> None:
    assert converse(ReferenceCodec(Limits(line=20)), [b"GET /long/enough HTTP/1.1\r\nHost: a\r\n\r\n"]) == [
        Reason.LINE_TOO_LONG
    ]
    assert converse(ReferenceCodec(Limits(head=64)), [GET + b"X: y"]) == [b"in a head"]
    assert converse(ReferenceCodec(Limits(head=64)), [GET + b"X: " + b"y" * 64]) == [Reason.HEAD_TOO_LARGE]
    assert converse(ReferenceCodec(Limits(body=3)), [POST + b"Content-Length: 4\r\n\r\n"]) == [Reason.BODY_TOO_LARGE]
    head = fed(ReferenceCodec(strictness=Strictness(underscores=True, raw_target=True)), [
        b"GET /<a> HTTP/1.1\r\nHost: a\r\nuser_id: 1\r\n\r\n"
    ])  # fmt: skip
    assert head
    assert (head.target, head.get(b"user_id")) == (b"/<a>", b"1")


def test_no_data_is_not_the_end() -> None:
    reader = ReferenceCodec().reader()
    assert [reader.feed(piece) for piece in (b"", b"GET / HTTP/1.1\r\n", b"")] == [None, None, None]
    assert reader.feed(b"Host: a\r\n\r\nrest")
    assert reader.rest == b"rest"


def test_empty_lines_before_a_request_cost_what_they_weigh() -> None:
    reader = ReferenceCodec().reader()
    assert reader.feed(b"\r\n" * 100_000 + b"\r") is None
    assert reader.begun, "a line end may follow, or not"
    assert reader.feed(b"\n") is None
    assert not reader.begun
    assert reader.feed(b"\r") is None
    with pytest.raises(Malformed, match="refused_by_h11"):
        reader.feed(b"X")


def stripped(message: Message) -> tuple[object, ...]:
    fields = [(name, value.strip(b" \t")) for name, value in message.fields]
    return message.first, fields, message.body, message.trailers


@fuzz
@given(requests())
def test_what_we_take_is_taken_with_the_same_meaning(data: bytes) -> None:
    for own, reference in zip(converse(RequestCodec(), [data]), converse(ReferenceCodec(), [data]), strict=False):
        if not isinstance(own, Message):
            return
        assert isinstance(reference, Message)
        assert stripped(own) == stripped(reference)


@fuzz
@given(requests())
def test_what_goes_on_is_what_the_strict_reader_takes(data: bytes) -> None:
    try:
        head = fed(ReferenceCodec(), [data])
    except Malformed:
        return
    if head is None or not head.authority.host:
        return  # in HTTP/1.0 one may say to nobody in particular what one wants
    again = fed(RequestCodec(), [head.forward()])
    assert again
    assert (again.method, again.target, again.body) == (head.method, head.target, head.body)
    assert (again.authority, again.kept) == (head.authority, head.kept)
