"""hpack (of h2) and we read what the other writes, and break at the same blocks, or the difference is listed here."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshproxy.wire.hpack import Broken, Decoder, TooLarge, field, huffman
from tests.wire.hpack.huffman_code import coded

hpack = pytest.importorskip("hpack")

EXAMPLES = int(os.environ.get("H2_EXAMPLES", "200"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)

NAMES = st.sampled_from(
    [b":method", b":path", b":status", b"accept-encoding", b"cookie", b"authorization", b"date", b"via", b"x-a", b"x-b"]
) | st.binary(min_size=1, max_size=40)
VALUES = st.sampled_from([b"GET", b"/", b"200", b"gzip, deflate", b"", b"a"]) | st.binary(max_size=200)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=20)


@fuzz
@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 64, 256, 4096])), max_size=8), st.data())
def test_we_read_what_it_writes(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]], data: Any) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for fields, in_huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        never = [data.draw(st.booleans()) for _ in fields]
        block = encoder.encode(
            [
                (hpack.NeverIndexedHeaderTuple if secret else hpack.HeaderTuple)(*field)
                for field, secret in zip(fields, never, strict=True)
            ],
            huffman=in_huffman,
        )
        found = decoder.decode(block).fields
        assert [(name, value) for name, value, _ in found] == fields
        assert [line for _, _, line in found] == [b"%b: %b" % field for field in fields]
        table = [(bytes(name), bytes(value)) for name, value in encoder.header_table.dynamic_entries]
        assert [(name, value) for name, value, _ in decoder.table.entries[62:]] == table


@fuzz
@given(FIELDS)
def test_it_reads_what_we_write(fields: list[tuple[bytes, bytes]]) -> None:
    block = b"".join([field(name, value) for name, value in fields])
    assert hpack.Decoder().decode(block, raw=True) == fields
    assert [(name, value) for name, value, _ in Decoder().decode(block).fields] == fields


@fuzz
@given(st.binary(max_size=300))
def test_huffman(text: bytes) -> None:
    assert huffman.decode(coded(text)) == text


@fuzz
@given(st.lists(st.binary(max_size=60) | st.lists(st.sampled_from(range(256)), max_size=30).map(bytes), max_size=4))
def test_we_break_where_it_does(blocks: list[bytes]) -> None:
    reference, ours = hpack.Decoder(max_header_list_size=60 * 1024), Decoder()
    for block in blocks:
        try:
            expected = [tuple(found) for found in reference.decode(block, raw=True)]
        except hpack.OversizedHeaderListError:
            return
        except Exception:
            expected = None
        try:
            found = [(name, value) for name, value, _ in ours.decode(block).fields]
        except TooLarge:
            return
        except Broken:
            found = None
        assert found == expected, block
        if found is None:
            return
