"""Blocks for tests, without the detour over HPACK."""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.wire.h2.request import Requests
from meshproxy.wire.hpack import Block

Pair = tuple[bytes, bytes]

GET: list[Pair] = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/x?y=1")]
POST: list[Pair] = [(b":method", b"POST"), *GET[1:]]
CONNECT: list[Pair] = [(b":method", b"CONNECT"), (b":authority", b"a.example:443")]
WEBSOCKET: list[Pair] = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]


def block(*fields: Pair) -> Block:
    return Block([(name, value, b"%b: %b" % (name, value)) for name, value in fields])


def but(fields: Iterable[Pair], *changed: Pair, without: bytes = b"") -> list[Pair]:
    """With other values for some, in their places."""
    others = dict(changed)
    return [(name, others.get(name, value)) for name, value in fields if name != without]


def requests(**how: object) -> Requests:
    return Requests(key=lambda: b"0123456789abcdef", **how)  # type: ignore[arg-type]
