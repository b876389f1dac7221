"""What is kept, and how much a block may cost."""

from __future__ import annotations

import tracemalloc

import pytest

from meshproxy.wire.hpack import Block, Broken, Decoder, TooLarge
from meshproxy.wire.hpack import decoder as module
from meshproxy.wire.hpack.decoder import LONGEST_REMEMBERED, MOST_REMEMBERED
from tests.wire.hpack.huffman_code import string

ADDED = b"\x40\x01a\x01b"


def literal(value: bytes, form: bytes = b"\x04") -> bytes:
    return form + string(value)


class TestRemembered:
    def test_the_same_bytes_are_the_same_block(self) -> None:
        decoder = Decoder()
        block = decoder.decode(b"\x82\x84")
        block.meaning = "read"
        assert decoder.decode(b"\x82\x84") is block
        assert decoder.decode(b"\x83\x84") is not block

    def test_until_the_table_changes(self) -> None:
        decoder = Decoder()
        decoder.decode(ADDED)
        block = decoder.decode(b"\xbe")
        assert decoder.decode(b"\xbe") is block
        decoder.decode(b"\x40\x01c\x01d")
        assert decoder.decode(b"\xbe").fields == [(b"c", b"d", b"c: d")]

    def test_until_the_table_shrinks(self) -> None:
        decoder = Decoder()
        decoder.decode(ADDED)
        assert decoder.decode(b"\xbe") is decoder.decode(b"\xbe")
        decoder.decode(b"\x20\x82")
        with pytest.raises(Broken):
            decoder.decode(b"\xbe")

    def test_a_block_that_is_too_large_changes_the_table_too(self) -> None:
        decoder = Decoder(most_fields=2)
        decoder.decode(ADDED)
        assert decoder.decode(b"\xbe") is decoder.decode(b"\xbe")
        with pytest.raises(TooLarge):
            decoder.decode(b"\x40\x01c\x01d\x82\x82")
        assert decoder.decode(b"\xbe").fields[0][0] == b"c"

    def test_a_block_that_changes_it_is_not_kept(self) -> None:
        decoder = Decoder()
        assert decoder.decode(ADDED) is not decoder.decode(ADDED)
        assert decoder.table.size == 2 * 34

    def test_a_size_of_the_table_is_not_kept(self) -> None:
        decoder = Decoder()
        assert decoder.decode(b"\x20\x82") is not decoder.decode(b"\x20\x82")

    def test_long_blocks_are_not_kept(self) -> None:
        decoder = Decoder(most_fields=1000)
        short, long = b"\x82" * LONGEST_REMEMBERED, b"\x82" * (LONGEST_REMEMBERED + 1)
        assert decoder.decode(short) is decoder.decode(short)
        assert decoder.decode(long) is not decoder.decode(long)

    def test_no_more_than_a_few_are_kept(self) -> None:
        decoder = Decoder()
        blocks = [literal(b"/%d" % number) for number in range(10 * MOST_REMEMBERED)]
        found: list[Block] = [decoder.decode(block) for block in blocks]
        kept = sum(decoder.decode(block) is before for block, before in zip(blocks, found, strict=True))
        assert kept <= MOST_REMEMBERED

    @pytest.mark.parametrize("block", [literal(b"Basic secret", b"\x1f\x08"), literal(b"Basic secret", b"\x0f\x08")])
    def test_secrets_are_not_kept(self, block: bytes) -> None:
        """Called so by the peer, or by their name."""
        decoder = Decoder()
        assert decoder.decode(block).fields[0][:2] == (b"authorization", b"Basic secret")
        assert decoder.decode(block) is not decoder.decode(block)
        assert all(value != b"Basic secret" for value in module._memo.values())

    def test_other_strings_in_huffman_are_kept_for_all_connections(self) -> None:
        first, second = (Decoder().decode(literal(b"/a/path/that/comes/again")) for _ in range(2))
        assert first.fields[0][1] is second.fields[0][1]


class TestBounds:
    def test_one_huge_field_a_thousand_times(self) -> None:
        """The bomb: four kilobytes in the table, and then a byte for each time that they are meant."""
        decoder = Decoder()
        decoder.decode(b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968)
        bomb = b"\xbe" * 60_000
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                decoder.decode(bomb)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 64 * 1024
        assert decoder.decode(b"\xbe").fields[0][0] == b"a"

    def test_a_huge_name_with_many_values(self) -> None:
        decoder = Decoder()
        decoder.decode(b"\x40\x7f\x81\x1e" + b"x" * 3968 + b"\x00")
        for form in (b"\x7e", b"\x0f\x2f", b"\x1f\x2f"):
            tracemalloc.start()
            try:
                with pytest.raises(TooLarge):
                    decoder.decode((form + b"\x00") * 20_000)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 4 * 1024 * 1024

    def test_few_fields_that_are_too_long_together(self) -> None:
        decoder = Decoder()
        decoder.decode(b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968)
        assert len(decoder.decode(b"\xbe" * 15).fields) == 15
        with pytest.raises(TooLarge):
            decoder.decode(b"\xbe" * 16)

    def test_the_list_counts_as_its_setting_says(self) -> None:
        """Name, value and 32 for each field."""
        assert Decoder(most_list=2 * (7 + 3 + 32)).decode(b"\x82\x82").fields
        with pytest.raises(TooLarge):
            Decoder(most_list=2 * (7 + 3 + 32) - 1).decode(b"\x82\x82")

    def test_as_many_fields_as_are_taken(self) -> None:
        decoder = Decoder(most_fields=3)
        assert len(decoder.decode(b"\x82" * 3).fields) == 3
        for count in range(4, 12):
            with pytest.raises(TooLarge):
                decoder.decode(b"\x82" * count)

    def test_the_table_stays_in_step_with_what_is_too_large(self) -> None:
        decoder = Decoder(most_fields=10)
        with pytest.raises(TooLarge):
            decoder.decode(b"".join(b"\x40\x01%c\x01b" % byte for byte in b"abcdefghijklmnopqrstuvwxyz"))
        assert [name for name, _, _ in decoder.decode(bytes(range(0xBE, 0xC1))).fields] == [b"z", b"y", b"x"]
        assert decoder.table.size == 26 * 34

    def test_a_table_that_is_filled_again_and_again(self) -> None:
        decoder = Decoder()
        for number in range(2000):
            decoder.decode(b"\x40\x01a" + string(b"%064d" % number))
            assert decoder.table.size <= 4096
        assert len(decoder.table.entries) == 62 + 4096 // (1 + 64 + 32)

    def test_a_field_larger_than_the_table_empties_it(self) -> None:
        decoder = Decoder()
        decoder.decode(ADDED)
        assert len(decoder.decode(b"\x40\x01a\x7f\x81\x3f" + b"x" * 8192).fields[0][1]) == 8192
        assert decoder.table.size == 0
        assert len(decoder.table.entries) == 62
