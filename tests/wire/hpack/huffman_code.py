"""To code in Huffman is something that only tests do."""

from __future__ import annotations

from meshproxy.wire.hpack import huffman, integers

_CODES = {symbol: bits for bits, symbol in huffman.codes().items()}
EOS = _CODES[256]


def bits_of(text: bytes) -> str:
    return "".join(_CODES[byte] for byte in text)


def padded(bits: str, padding: str = "1") -> bytes:
    while len(bits) % 8:
        bits += padding
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def coded(text: bytes) -> bytes:
    return padded(bits_of(text))


def string(text: bytes) -> bytes:
    """With its length."""
    data = coded(text)
    return integers.encode(len(data), 0x7F, 0x80) + data
