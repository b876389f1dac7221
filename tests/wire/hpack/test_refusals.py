"""Blocks that are none: each ends the connection, and says why."""

from __future__ import annotations

import pytest

from meshproxy.wire.hpack import Broken, Decoder, Reason
from meshproxy.wire.hpack.integers import LARGEST, MOST_BYTES
from tests.wire.hpack.huffman_code import EOS, bits_of, coded, padded


def in_huffman(data: bytes) -> bytes:
    """As the value of a field."""
    return b"\x04" + bytes((0x80 | len(data),)) + data


BLOCKS = {
    "index 0": (b"\x80", Reason.BAD_INDEX),
    "index 0 after a field": (b"\x82\x80", Reason.BAD_INDEX),
    "index beyond the table": (b"\xbe", Reason.BAD_INDEX),
    "index beyond the table, in two bytes": (b"\xff\x00", Reason.BAD_INDEX),
    "index far beyond": (b"\xff\x80\x80\x80\x7f", Reason.BAD_INDEX),
    "name beyond the table": (b"\x7e\x01a", Reason.BAD_INDEX),
    "name beyond the table, not indexed": (b"\x0f\x2f\x01a", Reason.BAD_INDEX),
    "index that does not end": (b"\xff", Reason.TRUNCATED),
    "index that does not end, later": (b"\xff\x80", Reason.TRUNCATED),
    "too large an integer": (b"\xff\xff\xff\xff\xff\x0f", Reason.BAD_INTEGER),
    "too long an integer": (b"\xff" + b"\x80" * MOST_BYTES + b"\x00", Reason.BAD_INTEGER),
    "too large a length": (b"\x04\x7f\xff\xff\xff\xff\x0f", Reason.BAD_INTEGER),
    "no name": (b"\x40", Reason.TRUNCATED),
    "half a name": (b"\x40\x05a", Reason.TRUNCATED),
    "no value": (b"\x40\x01a", Reason.TRUNCATED),
    "no value of a known name": (b"\x04", Reason.TRUNCATED),
    "half a value": (b"\x04\x02/", Reason.TRUNCATED),
    "half a value in Huffman": (b"\x04\x82" + coded(b"/")[:1], Reason.TRUNCATED),
    "length that does not end": (b"\x04\x7f\x80", Reason.TRUNCATED),
    "update too large": (b"\x3f\xe2\x1f", Reason.SIZE_UPDATE_TOO_LARGE),
    "update too late": (b"\x82\x20", Reason.SIZE_UPDATE_TOO_LATE),
    "update that does not end": (b"\x3f\x80", Reason.TRUNCATED),
    "end of the string": (in_huffman(padded(EOS)), Reason.BAD_HUFFMAN),
    "end of the string, and more": (in_huffman(padded(bits_of(b"a") + EOS + bits_of(b"a"))), Reason.BAD_HUFFMAN),
    "a byte of padding": (in_huffman(coded(b"0123") + b"\xff"), Reason.BAD_HUFFMAN),
    "nothing but padding": (in_huffman(b"\xff"), Reason.BAD_HUFFMAN),
    "zeros for padding": (in_huffman(padded(bits_of(b"a"), "0")), Reason.BAD_HUFFMAN),
    "padding with a zero in it": (in_huffman(padded(bits_of(b"/") + "10")), Reason.BAD_HUFFMAN),
    "half a code": (in_huffman(padded(bits_of(b"\x00"))[:1]), Reason.BAD_HUFFMAN),
    "a name in broken Huffman": (b"\x40\x81\xff\x01a", Reason.BAD_HUFFMAN),
    "a secret in broken Huffman": (b"\x10\x01a\x81\xff", Reason.BAD_HUFFMAN),
    "an indexed value in broken Huffman": (b"\x40\x01a\x81\xff", Reason.BAD_HUFFMAN),
}


def reason_of(block: bytes) -> Reason:
    with pytest.raises(Broken) as raised:
        Decoder().decode(block)
    return raised.value.reason


@pytest.mark.parametrize("name", BLOCKS)
def test_broken(name: str) -> None:
    data, reason = BLOCKS[name]
    assert reason_of(data) is reason
    assert reason_of(data) is reason, "what strings mean is remembered, but not of these"


def test_each_reason_is_met() -> None:
    assert {reason for _, reason in BLOCKS.values()} | {Reason.SIZE_UPDATE_MISSING} == set(Reason)


def test_every_beginning_of_a_block_is_one_or_is_broken() -> None:
    fields = [b"\x82", b"\x87", b"\x85", b"\x40\x88%b\x89%b" % (coded(b"custom-key"), coded(b"custom-value")), b"\xbe"]
    block, ends, end = b"".join(fields), [0], 0
    for field in fields:
        end += len(field)
        ends.append(end)
    for end in range(len(block) + 1):
        if end in ends:
            assert len(Decoder().decode(block[:end]).fields) == ends.index(end)
        else:
            assert reason_of(block[:end]) is Reason.TRUNCATED


def test_the_largest_integer() -> None:
    with pytest.raises(Broken) as raised:
        Decoder().decode(b"\x04\x7f\x81\xff\xff\x7f")  # a length of 2**28
    assert LARGEST == 2**28
    assert raised.value.reason is Reason.TRUNCATED


def test_zeros_may_fill_up_an_integer() -> None:
    assert Decoder().decode(b"\x0f\x80\x80\x00\x01a").fields == [(b"accept-charset", b"a", b"accept-charset: a")]


class TestSizeOfTheTable:
    def test_several_updates_may_begin_a_block(self) -> None:
        decoder = Decoder()
        decoder.decode(b"\x40\x01a\x01b")
        assert decoder.table.size == 34
        assert decoder.decode(b"\x20\x3f\xe1\x1f\x82").fields[0][1] == b"GET"
        assert decoder.table.size == 0
        with pytest.raises(Broken):
            decoder.decode(b"\xbe")

    def test_a_smaller_one_must_be_obeyed_once_it_is_known(self) -> None:
        decoder = Decoder(table_size=100)
        # Until the peer knows of it, it may say what the default lets it say
        decoder.decode(b"\x3f\xe1\x1f\x82")
        decoder.acknowledged()
        with pytest.raises(Broken) as raised:
            decoder.decode(b"\x82")
        assert raised.value.reason is Reason.SIZE_UPDATE_MISSING

    def test_a_smaller_one_that_is_obeyed(self) -> None:
        decoder = Decoder(table_size=100)
        decoder.decode(b"\x82")
        decoder.acknowledged()
        assert decoder.decode(b"\x3f\x45\x82").fields[0][1] == b"GET"
        assert decoder.decode(b"\x83").fields[0][1] == b"POST"
        with pytest.raises(Broken) as raised:
            decoder.decode(b"\x3f\x46\x82")
        assert raised.value.reason is Reason.SIZE_UPDATE_TOO_LARGE

    def test_a_block_that_came_before_is_no_way_around_it(self) -> None:
        decoder = Decoder(table_size=100)
        decoder.decode(b"\x82")
        decoder.decode(b"\x82")
        decoder.acknowledged()
        with pytest.raises(Broken):
            decoder.decode(b"\x82")

    def test_a_larger_one_need_not_be_used(self) -> None:
        decoder = Decoder(table_size=8192)
        decoder.acknowledged()
        assert decoder.table.most == 4096
        decoder.decode(b"\x82")
        decoder.decode(b"\x3f\xe1\x3f\x82")
        assert decoder.table.most == 8192
