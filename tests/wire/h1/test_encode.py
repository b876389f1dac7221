"""What is written is read as the same; what could not be is not written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.h1 import CHUNKED, Limits, RequestCodec, ResponseCodec, body_reader, encode
from meshproxy.wire.h1.connection import HOP_BY_HOP
from tests.wire.h1.feeding import Message, converse

Fields = list[tuple[bytes, bytes]]

DECISIVE = HOP_BY_HOP | {b"host", b"content-length", b"transfer-encoding", b"expect"}
TOKENS = st.text("abcXYZ019!#$%&'*+-.^`|~", min_size=1, max_size=12).map(str.encode)
NAMES = TOKENS.filter(lambda name: name.lower() not in DECISIVE)
VALUES = st.binary(max_size=20).map(lambda value: bytes(b for b in value if b > 31 and b != 127).strip(b" "))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
TARGETS = st.text("abc019/-._~!$&'()*+,;=:@[]|", max_size=20).map(lambda path: b"/" + path.encode())


@given(TOKENS.filter(lambda method: method != b"CONNECT"), TARGETS, FIELDS)
def test_requests_are_read_as_they_were_written(method: bytes, target: bytes, fields: Fields) -> None:
    fields = [(b"Host", b"a"), *fields]
    written = encode.request(method, target, fields)
    head = RequestCodec().reader().feed(written)
    assert head
    assert (head.method, head.target, head.fields) == (method, target, fields)
    again = RequestCodec().reader().feed(head.forward())
    assert again
    assert again.fields == [field for field in fields if field[0].lower() != b"proxy"]


@given(st.integers(200, 599).filter(lambda status: status not in (204, 304)), VALUES, FIELDS, st.binary(max_size=99))
def test_responses_are_read_as_they_were_written(status: int, phrase: bytes, fields: Fields, body: bytes) -> None:
    fields = [*fields, (b"Content-Length", b"%d" % len(body))]
    written = encode.response(status, phrase, fields) + body
    assert converse(ResponseCodec(), [written]) == [Message(status, fields, body, [])]


@given(st.lists(st.binary(max_size=300)), FIELDS)
def test_chunks_are_read_as_they_were_written(pieces: list[bytes], trailers: Fields) -> None:
    written = b"".join(map(encode.chunk, pieces)) + encode.last_chunk(trailers)
    decoded, raw = body_reader(CHUNKED, Limits(), decode=True), body_reader(CHUNKED, Limits())
    assert (decoded.feed(written), decoded.done) == (b"".join(pieces), True)
    assert (raw.feed(written), raw.done) == (written, True)
    assert decoded.trailers == [b"%b: %b" % field for field in trailers]


def test_the_last_chunk() -> None:
    assert encode.last_chunk([]) == encode.LAST_CHUNK


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"", b"x"), (b"a b", b"x"), (b"a:", b"x"), (b"a\r\n", b"x"), (b"\xc3", b"x"), (b"a", b"x\r\nb: c"),
        (b"a", b"\n"), (b"a", b"\x00"), (b"a", b"\x7f"),
    ],
)
def test_no_field_gets_out_that_is_none(name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="field"):
        encode.line(name, value)


@pytest.mark.parametrize("word", [b"", b"a b", b"a\r\n", b"a\x00"])
def test_no_request_line_gets_out_that_is_none(word: bytes) -> None:
    with pytest.raises(ValueError, match="no method"):
        encode.request(word, b"/", [])
    with pytest.raises(ValueError, match="no target"):
        encode.request(b"GET", word, [])


@pytest.mark.parametrize(("status", "phrase"), [(99, b""), (600, b""), (200, b"\r\n"), (200, b"\x00")])
def test_no_status_line_gets_out_that_is_none(status: int, phrase: bytes) -> None:
    with pytest.raises(ValueError, match="no "):
        encode.response(status, phrase, [])
