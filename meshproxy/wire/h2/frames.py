"""Frames (RFC 9113 4 and 6): their numbers, and the small ones as bytes.

    PREFIX.pack(length << 8 | HEADERS, END_HEADERS, stream) + block

`PREFIX` reads and writes the nine bytes before what a frame holds: length and kind as one number, flags, stream.
"""

from __future__ import annotations

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFIX = Struct(">IBI")
PREFIX_SIZE = 9

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16

END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

MOST_ID = 2**31 - 1
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65535
SMALLEST_FRAME, LARGEST_FRAME = 2**14, 2**24 - 1
"""Between which a peer may set the size of the frames that it takes."""

_number = Struct(">I").pack
_two_numbers = Struct(">II").pack

SETTINGS_ACK = PREFIX.pack(SETTINGS, ACK, 0)
PING_QUESTION = PREFIX.pack(8 << 8 | PING, 0, 0) + b"meshprox"
_PING_ANSWER = PREFIX.pack(8 << 8 | PING, ACK, 0)


def ping_answer(data: bytes) -> bytes:
    return _PING_ANSWER + data


def rst_stream(stream: int, code: int) -> bytes:
    return PREFIX.pack(4 << 8 | RST_STREAM, 0, stream) + _number(code)


def window_update(stream: int, increment: int) -> bytes:
    return PREFIX.pack(4 << 8 | WINDOW_UPDATE, 0, stream) + _number(increment)


def goaway(last: int, code: int, text: str = "") -> bytes:
    said = text.encode()
    return PREFIX.pack((8 + len(said)) << 8 | GOAWAY, 0, 0) + _two_numbers(last, code) + said


def headers(stream: int, block: bytes, flags: int, most: int) -> bytes:
    """HEADERS, and what CONTINUATION it takes where a frame holds `most` bytes."""
    size = len(block)
    if size <= most:
        return PREFIX.pack(size << 8 | HEADERS, flags | END_HEADERS, stream) + block
    parts = [PREFIX.pack(most << 8 | HEADERS, flags, stream), block[:most]]
    for at in range(most, size, most):
        part = block[at : at + most]
        parts += PREFIX.pack(len(part) << 8 | CONTINUATION, END_HEADERS if at + most >= size else 0, stream), part
    return b"".join(parts)
