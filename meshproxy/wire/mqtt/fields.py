"""What packets are made of: numbers of two bytes, numbers of up to four bytes of seven bits, strings, binary data.

Each reader is told where its field begins and where what holds it ends, and says where the next one begins.
"""

from __future__ import annotations

from meshproxy.wire.mqtt.codes import LARGEST
from meshproxy.wire.mqtt.faults import Fault, Malformed


def cut_short() -> Malformed:
    return Malformed(Fault.CUT_SHORT, "it ends before what it holds does")


def short_at(data: bytes, at: int, end: int) -> int:
    """Two bytes."""
    if at + 2 > end:
        raise cut_short()
    return data[at] << 8 | data[at + 1]


def number_at(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Up to four bytes."""
    value = 0
    for shift, byte in enumerate(data[at : min(at + 4, end)]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            if not byte and shift:
                raise Malformed(Fault.BAD_LENGTH, "a number of more bytes than it needs")
            return value, at + shift + 1
    if at + 4 > end:
        raise cut_short()
    raise Malformed(Fault.BAD_LENGTH, "a number of more than four bytes")


def binary_at(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    begin = at + 2
    if begin > end:
        raise cut_short()
    stop = begin + (data[at] << 8 | data[at + 1])
    if stop > end:
        raise cut_short()
    return data[begin:stop], stop


def text_at(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    found = text, _ = binary_at(data, at, end)
    check_text(text)
    return found


def check_text(text: bytes) -> None:
    """Well-formed UTF-8 (so no surrogates), without U+0000."""
    if text.find(0) >= 0:
        raise Malformed(Fault.BAD_TEXT, "U+0000 in a string")
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            raise Malformed(Fault.BAD_TEXT, "a string that is not UTF-8") from None


def short(value: int) -> bytes:
    return value.to_bytes(2, "big")


def number(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value > LARGEST:
        raise OverflowError("more than four bytes of seven bits can say")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def binary(value: bytes) -> bytes:
    """Also of a string."""
    return len(value).to_bytes(2, "big") + value
