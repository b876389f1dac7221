"""How the tests of the codec feed it: whole, byte by byte, and cut at random; and what comes out, as a conversation."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meshproxy.wire.h1 import Limits, Malformed, Reason, RequestCodec, ResponseCodec, body_reader
from meshproxy.wire.h1.head import Head
from meshproxy.wire.h1.request import RequestHead
from meshproxy.wire.h1.response import ResponseHead
from meshproxy.wire.h1.shape import COMPILED_AT

RANDOM_CUTS = 3


def ways(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    rng = random.Random(zlib.crc32(data))
    for _ in range(RANDOM_CUTS):
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 5)))
        yield [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@dataclass(frozen=True)
class Message:
    first: tuple[bytes, bytes] | int
    """Method and target, or the status."""
    fields: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[bytes]


Event = Message | Reason | bytes
"""A message, or why there is none, or what is left at the end."""


def first_of(head: Head) -> tuple[bytes, bytes] | int:
    if isinstance(head, RequestHead):
        return head.method, head.target
    assert isinstance(head, ResponseHead)
    return head.status


def converse(codec: RequestCodec | ResponseCodec, pieces: Iterable[bytes], **how: Any) -> list[Event]:
    """What follows when these pieces arrive, one after the other."""
    return list(events(codec, pieces, **how))


def events(
    codec: RequestCodec | ResponseCodec,
    pieces: Iterable[bytes],
    *,
    asked: bytes = b"GET",
    offered: bytes | None = None,
    closed: bool = False,
) -> Iterator[Event]:
    reader = codec.reader()
    if not isinstance(codec, RequestCodec):
        reader.expect(asked, offered)  # type: ignore[union-attr]
    head: Head | None = None
    body = None
    passed: list[bytes] = []
    left = b""
    try:
        for piece in pieces:
            left = piece
            while True:
                if head is None:
                    head = reader.feed(left)
                    left = reader.rest
                    if head is None:
                        break
                    body = body_reader(head.body, codec.limits, decode=True)
                assert body is not None
                if not body.done:
                    passed.append(body.feed(left))
                    left = body.rest
                if not body.done:
                    break
                yield Message(first_of(head), head.fields, b"".join(passed), [*body.trailers])
                head, passed = None, []
                if not left:
                    break
        if closed and head is not None:
            assert body is not None
            body.end()
            yield Message(first_of(head), head.fields, b"".join(passed), [*body.trailers])
        elif head is not None:
            yield b"in a body"
        elif reader.begun:
            yield b"in a head"
    except Malformed as error:
        yield error.reason


def experienced_requests(limits: Limits | None = None) -> RequestCodec:
    """A codec that has seen common shapes often enough to have expressions for them."""
    codec = RequestCodec(limits or Limits())
    reader = codec.reader()
    for fields in (
        b"", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"X: y\r\n", b"Connection: close\r\n",
    ):
        tail = b"0\r\n\r\n" if b"chunked" in fields else b""
        for number in range(COMPILED_AT):
            assert reader.feed(b"GET /%d HTTP/1.1\r\nHost: a\r\n%b\r\n%b" % (number, fields, tail))
    return codec


def experienced_responses() -> ResponseCodec:
    codec = ResponseCodec()
    reader = codec.reader()
    for fields in (
        b"", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"X: y\r\n", b"Connection: close\r\n",
    ):
        for number in range(COMPILED_AT):
            assert reader.feed(b"HTTP/1.1 200 OK %d\r\n%b\r\n" % (number, fields))
    return codec
