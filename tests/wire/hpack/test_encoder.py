"""Fields as we say them."""

from __future__ import annotations

from meshproxy.wire.hpack import STATUS, Decoder, field
from meshproxy.wire.hpack.table import STATIC


def test_what_everybody_knows_is_one_byte() -> None:
    for index, (name, value, _) in enumerate(STATIC, 1):
        if value:
            assert field(name, value) == bytes((0x80 | index,))


def test_names_that_everybody_knows() -> None:
    assert field(b":path", b"/x") == b"\x04\x02/x"
    assert field(b"via", b"x") == b"\x0f\x2d\x01x"
    assert field(b"x-a", b"") == b"\x00\x03x-a\x00"


def test_secrets_are_never_to_be_indexed() -> None:
    assert field(b"authorization", b"a") == b"\x1f\x08\x01a"


def test_each_status() -> None:
    for status in range(100, 600):
        assert Decoder().decode(STATUS[status]).fields == [
            (b":status", b"%d" % status, b":status: %d" % status)
        ]
    assert STATUS[200] == b"\x88"
    assert len(STATUS) == 500


def test_nothing_that_we_say_changes_a_table() -> None:
    decoder = Decoder()
    for name, value, _ in STATIC:
        decoder.decode(field(name, value) + field(name, b"another"))
    assert decoder.table.size == 0
