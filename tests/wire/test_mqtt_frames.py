"""A stream is cut into the same packets wherever it is cut on its way, within bounds."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.mqtt import Frames, Malformed
from tests.examples import examples

PACKETS = [
    b"\xc0\x00",
    b"\x30\x05\x00\x01ahi",
    b"\x32\xb8\x01\x00\x01a\x00\x09" + bytes(179),
    b"\xf0\x00",
    b"\x30\x80\x80\x01\x00\x01a" + bytes(16381),
    b"\x40\x02\x00\x09",
]
STREAM = b"".join(PACKETS)


def packets(frames: Frames, chunk: bytes) -> list[bytes]:
    data, cuts = frames.feed(chunk)
    before = 0
    for start, body, end in cuts:
        assert start == before
        assert start + 2 <= body <= end
        before = end
    return [data[start:end] for start, _, end in cuts]


def test_whole_packets_are_cut_where_they_are() -> None:
    data, cuts = Frames(1 << 20).feed(STREAM)
    assert data is STREAM
    assert [data[start:end] for start, _, end in cuts] == PACKETS
    assert [body - start for start, body, _ in cuts] == [2, 2, 3, 2, 4, 2]


def test_byte_by_byte() -> None:
    frames = Frames(1 << 20)
    found = [packet for byte in STREAM for packet in packets(frames, bytes((byte,)))]
    assert found == PACKETS
    assert not frames.waiting


@examples(100)
@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_cut_anywhere(places: list[int]) -> None:
    frames = Frames(1 << 20)
    ends = [0, *sorted(places), len(STREAM)]
    found = []
    for begin, end in pairwise(ends):
        found += packets(frames, STREAM[begin:end])
        assert frames.waiting == end - len(b"".join(found))
    assert found == PACKETS


def test_nothing_is_nothing() -> None:
    frames = Frames(1000)
    assert frames.feed(b"") == (b"", [])
    frames.feed(b"\x30\x05")
    assert frames.feed(b"") == (b"", [])
    assert frames.waiting == 2
    assert frames.feed(b"\x00\x01ahi\xc0") == (b"\x30\x05\x00\x01ahi\xc0", [(0, 2, 7)])
    assert frames.waiting == 1


def test_the_largest_packet_is_counted_whole() -> None:
    data = b"\x30\x62\x00\x01a" + bytes(95)
    assert Frames(100).feed(data)[1] == [(0, 2, 100)]
    assert Frames(100).feed(b"\xc0\x00" + data)[1] == [(0, 2, 2), (2, 4, 102)]
    with pytest.raises(Malformed):
        Frames(99).feed(data)
    with pytest.raises(Malformed):
        Frames(99).feed(b"\xc0\x00" + data)
    with pytest.raises(Malformed):
        Frames(99).feed(data[:2])


def test_the_largest_packet_may_be_another_later() -> None:
    frames = Frames(10)
    frames.most = 100
    assert len(frames.feed(b"\x30\x62\x00\x01a" + bytes(95))[1]) == 1


def test_a_large_packet_in_small_pieces_costs_little_more_than_itself() -> None:
    size = 1 << 18
    frames = Frames(size)
    pieces = [b"\x30\xfb\xff\x0f", *[b"xy"] * (size // 2 - 3)]
    tracemalloc.start()
    for piece in pieces:
        assert frames.feed(piece)[1] == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames.waiting == size - 2
    assert peak < size * 1.5
    data, cuts = frames.feed(b"xyz")
    assert len(data) == size + 1
    assert cuts == [(0, 4, size - 1)]
    assert frames.waiting == 2


@examples(300)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_cut_or_refused_and_what_is_held_is_bounded(chunks: list[bytes]) -> None:
    frames = Frames(100)
    try:
        for chunk in chunks:
            packets(frames, chunk)
            assert frames.waiting < 100
    except Malformed as malformed:
        data, cuts = malformed.before
        assert all(data[start] >= 0x10 and end <= len(data) for start, _, end in cuts)
