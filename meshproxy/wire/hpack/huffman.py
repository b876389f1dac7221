"""The Huffman code of RFC 7541, appendix B: from coded bytes to text, a byte at a time.

Between two bytes, what is known is the beginning of a code: one of 256.  Each of these is a row of 256 steps, by the
byte that comes: the text that it completes, and the row for the next byte.  A row is worked out when it is first needed
(a tenth of a millisecond; ordinary text needs some thirty), so that a byte of a string costs one look-up in a list.
Rows hold nothing of what went by.
"""

from __future__ import annotations

from meshproxy.wire.hpack.faults import Broken, Reason

# How long the code of each byte is, and of the end of the string.  The rest follows: codes of one length are numbers in
# a row, in the order of the bytes, and longer ones begin where the shorter ones end.
_LENGTHS = tuple(
    map(
        int,
        (
            "13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 "
            "6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 "
            "13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 "
            "15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 "
            "20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 "
            "22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 "
            "26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 "
            "20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30"
        ).split(),
    )
)
_EOS = 256
_LONGEST_PADDING = 7

Row = list["Step"]
Step = tuple[str, Row]
"""Text is put together as `str`, of one character for a byte: that grows in place, as `bytes` do not."""


def codes() -> dict[str, int]:
    """What each code, in bits, stands for."""
    found = {}
    code, before = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - before
        found[f"{code:0{length}b}"] = symbol
        code, before = code + 1, length
    return found


_CODES = codes()
_NOWHERE = "-"
"""After the code for the end of a string, which must not be in any: no bit leads on from here, and no string ends."""

_rows: dict[str, Row] = {"1" * padding: [] for padding in range(_LONGEST_PADDING + 1)}
"""By the bits that have begun a code.  An empty one has not been worked out yet."""
_START = _rows[""]
_ENDS = frozenset(map(id, _rows.values()))
"""Where a string may end: between two codes, or in padding, which is the beginning of the code for the end."""


def decode(data: bytes) -> bytes:
    while True:
        text, row = "", _START
        try:
            for byte in data:
                piece, row = row[byte]
                text += piece
        except IndexError:
            _work_out(row)
            continue
        if id(row) not in _ENDS:
            raise Broken(Reason.BAD_HUFFMAN)
        return text.encode("latin-1")


def _work_out(row: Row) -> None:
    steps = [("", next(bits for bits, known in _rows.items() if known is row))]
    for _ in range(8):
        steps = [_bit(text, bits + bit) for text, bits in steps for bit in "01"]
    row += [(text, _rows.setdefault(bits, [])) for text, bits in steps]


def _bit(text: str, bits: str) -> tuple[str, str]:
    symbol = _CODES.get(bits)
    if symbol is None:
        return text, _NOWHERE if bits.startswith(_NOWHERE) else bits
    return (text, _NOWHERE) if symbol == _EOS else (text + chr(symbol), "")
