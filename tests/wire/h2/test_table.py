"""Who wants a smaller table of header compression is told, in the next block, that we use none (RFC 7541 4.2)."""

from __future__ import annotations

import pytest

from meshproxy.wire.h2 import Engine, Limits, Role, response_block

hpack = pytest.importorskip("hpack", reason="the hpack library is not installed")

REQUEST = b"\x82\x86\x84\x41\x01x"  # GET http://x/


class Owner:
    def __init__(self) -> None:
        self.opened_streams: list[int] = []

    def opened(self, stream: int, block: object, last: bool) -> Owner:
        self.opened_streams.append(stream)
        return self

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(*sizes: int) -> bytes:
    return frame(4, 0, 0, b"".join(b"\x00\x01" + size.to_bytes(4, "big") for size in sizes))


def blocks(engine: Engine, streams: list[int]) -> list[bytes]:
    """Of the heads with which these are answered."""
    engine.out.clear()
    for stream in streams:
        engine.head(stream, response_block(b"HTTP/1.1 200 OK\r\na: b\r\n"), True)
    return [bytes(piece[9:]) for piece in engine.out if piece[3] == 1]


@pytest.mark.parametrize(
    ("said", "due"),
    [((), False), ((4096,), False), ((8192,), False), ((0,), True), ((100,), True), ((8192, 0, 4096), True)],
)
def test_a_smaller_table_is_answered_once(said: tuple[int, ...], due: bool) -> None:
    engine = Engine(Role.SERVER, Owner(), Limits(), lambda: 0.0)  # type: ignore[arg-type]
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    engine.feed(preface + settings(*said) + frame(1, 5, 1, REQUEST) + frame(1, 5, 3, REQUEST))
    first, second = blocks(engine, [1, 3])
    assert (first[:1] == b"\x20") is due
    assert second[:1] != b"\x20"
    engine.feed(settings(0, 4096) + frame(1, 5, 5, REQUEST))
    (third,) = blocks(engine, [5])
    assert (third[:1] == b"\x20") is not due
    decoder = hpack.Decoder()
    for size in said:
        decoder.max_allowed_table_size = size
    assert decoder.decode(first) == [(":status", "200"), ("a", "b")]
