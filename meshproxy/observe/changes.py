"""What changed within a second, as bytes: of each series its number, which fields changed, and by how much.

    write(frame, 7, (1, 0, 0, 0, 0, 0), [0, 3, ...])    # one error; three answers in the second bucket: 5 bytes
    for number, change in read(frame): ...

All are numbers of as many bytes as they need, seven bits in each; a series in which nothing happened has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache

from meshproxy.observe.metrics.answers import REQUEST_BOUNDS

FIELDS = ("errors", "active", "received", "sent", "connections", "failed")
ERRORS, ACTIVE, RECEIVED, SENT, CONNECTIONS, FAILED = range(len(FIELDS))
BUCKETS = slice(len(FIELDS), len(FIELDS) + len(REQUEST_BOUNDS) + 1)
"""Where in a change the answers stand by how long they took."""
WIDTH = BUCKETS.stop

Change = list[int]
"""By how much each of `FIELDS`, and each bucket, has grown; only `active` may shrink."""


def write(frame: bytearray, number: int, fields: Sequence[int], buckets: Sequence[int]) -> None:
    """Where `buckets` are empty, none has grown."""
    changed, grown = 0, [number, 0]
    for at, field in enumerate(fields):
        if field:
            changed |= 1 << at
            grown.append(field if at != ACTIVE else _folded(field))
    if any(buckets):
        changed |= 1 << len(FIELDS)
        where = len(grown)
        grown.append(0)
        for at, count in enumerate(buckets):
            if count:
                grown[where] |= 1 << at
                grown.append(count)
    grown[1] = changed
    for value in grown:
        while value > 0x7F:
            frame.append(value & 0x7F | 0x80)
            value >>= 7
        frame.append(value)


def read(frame: bytes) -> Iterator[tuple[int, Change]]:
    following = iter(_numbers(frame)).__next__
    with suppress(StopIteration):
        while True:
            number, changed = following(), following()
            change = [0] * WIDTH
            for at in _places(changed & (1 << len(FIELDS)) - 1):
                change[at] = following()
            change[ACTIVE] = _unfolded(change[ACTIVE])
            if changed >> len(FIELDS):
                for at in _places(following()):
                    change[BUCKETS.start + at] = following()
            yield number, change


def _numbers(frame: bytes) -> Sequence[int]:
    if frame.isascii():
        return frame
    numbers = []
    value = shift = 0
    for byte in frame:
        if byte < 0x80:
            numbers.append(value | byte << shift)
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
    return numbers


@lru_cache(maxsize=1024)
def _places(bits: int) -> tuple[int, ...]:
    """Of the bits that are set."""
    return tuple(at for at in range(bits.bit_length()) if bits >> at & 1)


def _folded(number: int) -> int:
    """Small ones stay small, and none is less than 0."""
    return number << 1 if number >= 0 else -number << 1 | 1


def _unfolded(number: int) -> int:
    return -(number >> 1) if number & 1 else number >> 1
