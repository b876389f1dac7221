"""WebSocket as a server speaks it: what comes out however it is cut, what is refused and how, who understands us."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.websocket import BINARY, CLOSE, PING, PONG, Messages
from meshproxy.wire.websocket_server import Frames, binary, closing, is_key, unmasked

pytest.importorskip("websockets", reason="websockets is not installed: nobody speaks to ours")

from websockets.frames import Frame, Opcode

CONTINUED = 0
MASK = b"\x01\x80\xff\x3c"


def sent(kind: int, data: bytes, *, final: bool = True) -> bytes:
    """As a client sends it, in the words of another library."""
    return Frame(Opcode(kind), data, fin=final).serialize(mask=True)


def raw(first: int, data: bytes = b"", *, length: bytes | None = None) -> bytes:
    """A frame that no library would send."""
    return bytes((first,)) + (length or bytes((0x80 | len(data),))) + MASK + unmasked(data, MASK)


def read(frames: Frames, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The payload and the pongs."""
    found, pongs, at = b"", b"", 0
    for end in [*sorted(cuts), len(data)]:
        found += frames.feed(data[at:end])
        pongs, frames.owed = pongs + frames.owed, b""
        at = end
    return found, pongs


payloads = st.binary(max_size=300) | st.sampled_from((125, 126, 65535, 65536)).map(lambda size: b"\x5a" * size)


@given(st.lists(st.lists(payloads, min_size=1, max_size=3), max_size=4), st.lists(st.integers(0, 700), max_size=8))
def test_payload_comes_out_however_it_is_cut(messages: list[list[bytes]], cuts: list[int]) -> None:
    data = b""
    for pieces in messages:
        for place, piece in enumerate(pieces):
            data += sent(CONTINUED if place else BINARY, piece, final=place == len(pieces) - 1)
            data += sent(PING, b"?")
    frames = Frames()
    found, _ = read(frames, data, cuts)
    assert found == b"".join(piece for pieces in messages for piece in pieces)
    assert not frames.over


def test_byte_by_byte_it_is_the_same() -> None:
    data = sent(BINARY, bytes(range(200)), final=False) + sent(PING, b"12") + sent(CONTINUED, b"\xff" * 7)
    frames = Frames()
    found, pongs = read(frames, data, list(range(len(data))))
    assert found == bytes(range(200)) + b"\xff" * 7
    assert pongs == bytes((0x80 | PONG, 2)) + b"12"


def test_payload_is_handed_on_before_its_frame_is_whole() -> None:
    frames = Frames()
    data = sent(BINARY, b"abcdefgh" * 1000)
    assert len(frames.feed(data[:4000])) == 4000 - 8
    assert len(frames.feed(data[4000:])) == 8000 - 4000 + 8


def test_of_many_pings_in_one_read_the_last_is_answered() -> None:
    frames = Frames()
    assert frames.feed(b"".join(sent(PING, b"%d" % number) for number in range(1000)) + sent(BINARY, b"x")) == b"x"
    assert frames.owed == b"\x8a\x03999"


LONG = b"\xfe"  # masked, and 16 bits of length
LONGER = b"\xff"


@pytest.mark.parametrize("cuts", [[], list(range(300))])
@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (raw(0xC2, b"x"), 1002, "reserved_bits"),
        (raw(0xA2, b"x"), 1002, "reserved_bits"),
        (raw(0x92, b"x"), 1002, "reserved_bits"),
        (raw(0xC9), 1002, "reserved_bits"),
        *((raw(0x80 | kind, b"x"), 1002, "reserved_opcode") for kind in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (b"\x82\x01x", 1002, "unmasked"),
        (b"\x89\x00", 1002, "unmasked"),
        (b"\x88\x00", 1002, "unmasked"),
        (raw(0x09, b"x"), 1002, "bad_control"),
        (raw(0x0A), 1002, "bad_control"),
        (raw(0x08), 1002, "bad_control"),
        (raw(0x89, bytes(126), length=LONG + b"\x00\x7e"), 1002, "bad_control"),
        (raw(0x88, bytes(126), length=LONG + b"\x00\x7e"), 1002, "bad_control"),
        (raw(0x80, b"x"), 1002, "bad_continuation"),
        (raw(0x00, b"x"), 1002, "bad_continuation"),
        (raw(0x02, b"a") + raw(0x82, b"b"), 1002, "bad_continuation"),
        (raw(0x82, b"a") + raw(0x80, b"b"), 1002, "bad_continuation"),
        (raw(0x02, b"a") + raw(0x81, b"b"), 1002, "bad_continuation"),
        (raw(0x81, b"text"), 1003, "text"),
        (raw(0x01, b"te"), 1003, "text"),
        (raw(0x82, b"x" * 125, length=LONG + b"\x00\x7d"), 1002, "bad_length"),
        (raw(0x82, b"", length=LONGER + (65535).to_bytes(8, "big")), 1002, "bad_length"),
        (raw(0x82, b"", length=LONGER + (1 << 63).to_bytes(8, "big")), 1002, "bad_length"),
        (raw(0x82, b"", length=LONGER + (1 << 62).to_bytes(8, "big")), 1009, "too_large"),
        (raw(0x82, b"", length=LONGER + ((1 << 28) + 1).to_bytes(8, "big")), 1009, "too_large"),
        (raw(0x88, b"\x03"), 1002, "bad_close"),
        *((raw(0x88, code.to_bytes(2, "big")), 1002, "bad_close")
          for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)),
        (raw(0x88, b"\x03\xe8\xff"), 1007, "bad_close"),
        (raw(0x88, b"\x03\xe8\xed\xa0\x80"), 1007, "bad_close"),
        (raw(0x88), 1005, ""),
        (raw(0x88, b"\x03\xe8"), 1000, ""),
        (raw(0x88, b"\x03\xe9bye \xe2\x82\xac"), 1001, ""),
        (raw(0x88, b"\x0f\xa0"), 4000, ""),
    ],
)  # fmt: skip
def test_what_ends_it(data: bytes, code: int, word: str, cuts: list[int]) -> None:
    """What was good before is handed on, what comes after is not, and however it is cut it is the same."""
    good = data[:7].startswith((b"\x02", b"\x82")) and word == "bad_continuation"
    frames = Frames()
    found, _ = read(frames, sent(BINARY, b"before") + data + sent(BINARY, b"after"), [at for at in cuts if at < 320])
    assert (frames.over, frames.word) == (code, word)
    assert found == (b"before" + b"a" if good else b"before")
    assert frames.feed(sent(BINARY, b"after")) == b""


def test_what_we_say_is_understood() -> None:
    for size in (0, 1, 125, 126, 65535):
        data = os.urandom(size)
        assert [*Messages().feed(binary(data))] == [(BINARY, data)]
    assert [*Messages().feed(closing(1002) + closing(1005))] == [(CLOSE, b"\x03\xea"), (CLOSE, b"")]
    assert binary(bytes(65536))[:10] == b"\x82\x7f" + (65536).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (b"dGhlIHNhbXBsZSBub25jZQ==", True),
        (None, False),
        (b"", False),
        (b"dGhlIHNhbXBsZSBub25jZQ", False),
        (b"dGhlIHNhbXBsZSBub25jZR==", False),
        (b"dGhlIHNhbXBsZSBub25jZQ==x", False),
        (b"dGhlIHNhbXBsZSBub25jZSBsb25nZXI=", False),
        (b"dGhlIHNhbXBsZSBub25j_-==", False),
    ],
)
def test_a_key_is_sixteen_bytes(value: bytes | None, good: bool) -> None:
    assert is_key(value) == good


