"""What a hostile peer can cost: nothing grows faster than what it sends, and no more is held than the limits say."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.h1 import CHUNKED, Limits, Malformed, Reason, RequestCodec, ResponseCodec, Strictness, body_reader
from meshproxy.wire.h1.grammar import clean, refuse_illegal_bytes

START = b"GET / HTTP/1.1\r\nHost: a\r\n"
MUCH = 50 * 1024
SECONDS = 2.0
"""Forty times what it takes; what grows with the square of the input would take minutes."""


@pytest.mark.parametrize(
    "data",
    [
        START + b"X: " + b"y" * MUCH + b"\r\n\r\n",
        START + b"X:" + b" " * MUCH + b"\r\n\r\n",
        START + b"X:" + b":" * MUCH + b"\x01\r\n\r\n",
        START + b"Connection: " + b"a," * (MUCH // 2) + b"\r\n\r\n",
        START + b"Transfer-Encoding: " + b"," * MUCH + b"\r\n\r\n",
        START + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * MUCH + b"\r\n\r\n",
        START + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (MUCH // 6),
        START + b'Transfer-Encoding: chunked\r\n\r\n1;x="' + b"\\a" * (MUCH // 2),
        b"GET /" + b"%41" * 2000 + b"\\ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n" * (MUCH // 2),
    ],
    ids=lambda data: repr(data[-30:]),
)
@pytest.mark.parametrize("strictness", [Strictness(), Strictness(bare_lf=True, obs_fold=True, raw_target=True)])
def test_byte_by_byte_is_linear(strictness: Strictness, data: bytes) -> None:
    began = time.process_time()
    reader = RequestCodec(strictness=strictness).reader()
    body = None
    with suppress(Malformed):
        for at in range(len(data)):
            piece = data[at : at + 1]
            if body is not None:
                body.feed(piece)
            elif head := reader.feed(piece):
                body = body_reader(head.body, Limits())
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\x01\r\n\r\n", b"\\ HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("piece", [b"a: b\r\n", b"%", b" ", b":", b"\t:", b"\r\n ", b"?", b"/%41"])
def test_at_once_is_linear(piece: bytes, end: bytes) -> None:
    limits = Limits(line=10 * MUCH, head=10 * MUCH, fields=10 * MUCH)
    strictness = Strictness(bare_lf=True, obs_fold=True)
    began = time.process_time()
    for start in (b"GET /", START, START + b"X:"):
        with suppress(Malformed):
            RequestCodec(limits, strictness).reader().feed(start + piece * (MUCH // len(piece)) + end)
    assert time.process_time() - began < SECONDS


def test_a_head_that_never_ends_is_refused_at_the_limit() -> None:
    reader = RequestCodec(Limits(head=1000)).reader()
    assert reader.feed(START + b"X: " + b"y" * (997 - len(START))) is None
    with pytest.raises(Malformed, match=Reason.HEAD_TOO_LARGE):
        reader.feed(b"y")


def test_limits_hold_to_the_byte() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    for make in (RequestCodec, ResponseCodec):
        if make is ResponseCodec:
            head = b"HTTP/1.1 200 OK\r\nX: y\r\nY: z\r\n\r\n"
        line = head.index(b"\n") + 1
        assert make(Limits(line=line, head=len(head), fields=2)).reader().feed(head)
        for limits, reason in [
            (Limits(line=line - 1), Reason.LINE_TOO_LONG),
            (Limits(head=len(head) - 1), Reason.HEAD_TOO_LARGE),
            (Limits(fields=1), Reason.TOO_MANY_FIELDS),
        ]:
            with pytest.raises(Malformed, match=reason):
                make(limits).reader().feed(head)


def test_many_small_chunks_with_extensions_are_refused() -> None:
    body = body_reader(CHUNKED, Limits(chunk_extensions=100))
    body.feed(b"1;" + b"a" * 99 + b"\r\nx\r\n")
    with pytest.raises(Malformed, match=Reason.CHUNK_EXTENSION_TOO_LONG):
        body.feed(b"1;a\r\nx\r\n")


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\r\n", b"")), min_size=1), st.booleans())
def test_what_is_not_clean_is_refused_for_one_of_its_bytes(lines: list[bytes], bare_lf: bool) -> None:
    raw = b"\r\n".join(lines) + b"\r\n\r\n"
    if not clean(raw[:-4].split(b"\r\n")) and not (bare_lf and clean(raw.replace(b"\r\n", b"\n").split(b"\n"))):
        with pytest.raises(Malformed):
            refuse_illegal_bytes(raw, 0, bare_lf)
    else:
        refuse_illegal_bytes(raw, 0, bare_lf)
