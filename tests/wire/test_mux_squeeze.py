"""Blocks of a stream: what was written is read, by whatever pieces it comes; and what is no block."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.mux.squeeze import (
    HEAD,
    LARGEST,
    MOST_SPARED,
    SMALLEST,
    SQUEEZED,
    Decompressor,
    Garbled,
    Squeezer,
    Unsqueezer,
)


class Inflating:
    """As those of zstd are, which not everybody has."""

    def __init__(self) -> None:
        self._inflating = zlib.decompressobj()
        self.eof = False
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._inflating.decompress(self._inflating.unconsumed_tail + data, max_length)
        self.needs_input = len(found) < max_length
        self.eof = self._inflating.eof
        return found


class Deflate:
    broken: type[Exception] = zlib.error

    def __init__(self) -> None:
        self.tried = 0

    def compressor(self) -> Callable[[bytes], bytes]:
        deflating = zlib.compressobj()

        def compress(data: bytes) -> bytes:
            self.tried += 1
            return deflating.compress(data) + deflating.flush(zlib.Z_SYNC_FLUSH)

        return compress

    def decompressor(self) -> Decompressor:
        return Inflating()


def read(data: bytes, cut: int, most: int) -> bytes:
    unsqueezer, found = Unsqueezer(Deflate()), b""
    for at in range(0, len(data), cut):
        unsqueezer.feed(data[at : at + cut])
        while piece := unsqueezer.read(most):
            assert len(piece) <= most
            found += piece
    assert unsqueezer.between
    return found


NOISE = Random(7).randbytes(1_000_000)
REQUEST = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
LONG = {"request": REQUEST, "nothing": bytes(70_000), "noise": NOISE[:40_000]}
SAYINGS = st.binary(min_size=1, max_size=80) | st.sampled_from(sorted(LONG))


@given(st.lists(SAYINGS, max_size=12), st.integers(1, 40_000), st.integers(7, 100_000))
def test_what_was_written_is_read_however_it_is_cut(names: list[bytes | str], cut: int, most: int) -> None:
    said = [LONG[name] if isinstance(name, str) else name for name in names]
    squeezer = Squeezer(Deflate())
    assert read(b"".join(map(squeezer.squeeze, said)), cut, most) == b"".join(said)


def test_whoever_has_what_came_of_a_write_has_all_of_it() -> None:
    squeezer, unsqueezer = Squeezer(Deflate()), Unsqueezer(Deflate())
    for said in (b"hello", b"hello " * 100, bytes(3 * LARGEST + 1), NOISE[:40_000]):
        unsqueezer.feed(squeezer.squeeze(said))
        assert unsqueezer.read(1 << 20) == said


def test_of_what_does_not_shrink_ever_less_is_tried() -> None:
    coding = Deflate()
    squeezer = Squeezer(coding)
    carried = sum(len(squeezer.squeeze(NOISE[at : at + 500])) for at in range(0, len(NOISE), 500))
    assert carried < len(NOISE) * 1.005
    assert 2000 / (MOST_SPARED + 1) < coding.tried < 40
    for _ in range(MOST_SPARED + 1):
        squeezer.squeeze(bytes(1000))
    tried = coding.tried
    squeezer.squeeze(bytes(1000))
    squeezer.squeeze(bytes(1000))
    assert coding.tried == tried + 2


def test_what_is_short_goes_as_it_is_and_says_nothing_of_what_follows() -> None:
    coding = Deflate()
    squeezer = Squeezer(coding)
    short = bytes(SMALLEST - 1)
    assert squeezer.squeeze(short) == HEAD.pack(len(short)) + short
    assert not coding.tried
    assert len(squeezer.squeeze(bytes(SMALLEST))) < SMALLEST


def test_much_that_comes_of_little_is_read_by_and_by() -> None:
    bomb = zlib.compress(bytes(30 << 20))[:-4]
    assert len(bomb) < LARGEST
    unsqueezer = Unsqueezer(Deflate())
    unsqueezer.feed(HEAD.pack(SQUEEZED | len(bomb)) + bomb)
    sizes = [len(unsqueezer.read(1 << 20)) for _ in range(31)]
    assert sizes == [1 << 20] * 30 + [0]


@pytest.mark.parametrize(
    "data",
    [
        HEAD.pack(0), HEAD.pack(SQUEEZED), HEAD.pack(5) + b"hello" + HEAD.pack(0),
        HEAD.pack(SQUEEZED | 40) + b"x" * 40,
        HEAD.pack(SQUEEZED | len(zlib.compress(b"the end"))) + zlib.compress(b"the end"),
    ],
)  # fmt: skip
def test_what_is_no_block(data: bytes) -> None:
    unsqueezer = Unsqueezer(Deflate())
    unsqueezer.feed(data)
    with pytest.raises(Garbled):
        unsqueezer.read(1000)


@given(st.binary(max_size=100))
def test_anything_else_is_read_or_refused(data: bytes) -> None:
    unsqueezer = Unsqueezer(Deflate())
    unsqueezer.feed(data)
    try:
        unsqueezer.read(1 << 20)
    except Garbled:
        return
    assert unsqueezer.read(1) == b""


def test_a_stream_may_end_only_between_blocks() -> None:
    whole = Squeezer(Deflate()).squeeze(b"hello " * 100)
    for size in range(len(whole) + 1):
        unsqueezer = Unsqueezer(Deflate())
        unsqueezer.feed(whole[:size])
        unsqueezer.read(1 << 20)
        assert unsqueezer.between is (size in (0, len(whole)))
