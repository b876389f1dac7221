"""Integers: as many bits as the first byte has left, and if they are all ones, more bytes of seven bits each."""

from __future__ import annotations

from meshproxy.wire.hpack.faults import Broken, Reason

LARGEST = 2**28
"""Nothing that is counted here comes near it."""
MOST_BYTES = 5
"""That follow the first one.  An integer may be filled up with zeros, but not for ever."""


def decode(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """What goes on at `at`, after a byte whose bits are all ones: `prefix`.  And where it ends."""
    try:
        byte = block[at]
    except IndexError:
        raise Broken(Reason.TRUNCATED) from None
    return (prefix + byte, at + 1) if byte < 0x80 else _long(block, at, prefix)


def _long(block: bytes, at: int, value: int) -> tuple[int, int]:
    for number, byte in enumerate(block[at : at + MOST_BYTES]):
        value += (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            if value > LARGEST:
                raise Broken(Reason.BAD_INTEGER)
            return value, at + number + 1
    raise Broken(Reason.BAD_INTEGER if len(block) >= at + MOST_BYTES else Reason.TRUNCATED)


def encode(value: int, prefix: int, first: int) -> bytes:
    """`first` has the bits of the first byte that are not the integer's."""
    if value < prefix:
        return bytes((first | value,))
    encoded = bytearray((first | prefix,))
    value -= prefix
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
