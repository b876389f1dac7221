"""The bytes of a stream as blocks, each of them compressed, or as it was where that is of no use.

    squeezer = Squeezer(coding)
    squeezer.squeeze(b"GET / ...")          # whole blocks: who has them has all of it
    unsqueezer = Unsqueezer(coding)
    unsqueezer.feed(data)                   # of any size
    unsqueezer.read(65536)                  # no more than that; fewer: all that was fed is used up

    block   1 bit: it is compressed | 15 bits: how many bytes follow | these bytes

What is compressed of a stream is one sequence, whatever goes as it is in between.  A library is given as a `Coding`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import Protocol

HEAD = Struct("!H")
SQUEEZED = 0x8000
LARGEST = 30 * 1024
"""Bytes of a block, before it is compressed; a little more may come of them, which has room in a head as well."""
SMALLEST = 32
"""What is shorter goes as it is: it would hardly shrink, and says nothing of what follows."""
MOST_SPARED = 64
"""Blocks that are not tried, at most, after one that was of no use."""

is_name = re.compile(r"[a-z0-9:-]{1,64}").fullmatch
"""Of a coding, in the words of both ends."""


class Garbled(Exception):
    """These are no blocks, or there is an end within one."""


class Decompressor(Protocol):
    @property
    def needs_input(self) -> bool:
        """Whether nothing more can be read of what it was given."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Coding(Protocol):
    """A way to compress."""

    @property
    def broken(self) -> type[Exception]:
        """What its decompressors raise."""

    def compressor(self) -> Callable[[bytes], bytes]:
        """What it answers is all that it was given."""

    def decompressor(self) -> Decompressor:
        """Needs no more memory than this end means to give."""


class Squeezer:
    __slots__ = ("_coding", "_compress", "_spared", "_spares")

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._compress: Callable[[bytes], bytes] | None = None
        self._spared = 0
        """Blocks that are not tried after one that is of no use: more each time."""
        self._spares = 0
        """How many of them are left."""

    def squeeze(self, data: bytes) -> bytes:
        if len(data) <= LARGEST:
            return self._block(data)
        return b"".join([self._block(data[at : at + LARGEST]) for at in range(0, len(data), LARGEST)])

    def _block(self, data: bytes) -> bytes:
        size = len(data)
        if size < SMALLEST:
            return HEAD.pack(size) + data
        if self._spares:
            self._spares -= 1
            return HEAD.pack(size) + data
        compress = self._compress
        if compress is None:
            compress = self._compress = self._coding.compressor()
        # Also where it has not shrunk: what follows may refer to it.
        squeezed = compress(data)
        if len(squeezed) > size - size // 16:
            self._spares = self._spared = min(2 * self._spared or 1, MOST_SPARED)
        else:
            self._spared = 0
        return HEAD.pack(SQUEEZED | len(squeezed)) + squeezed


class Unsqueezer:
    __slots__ = ("_at", "_coding", "_data", "_decompressor", "_left", "_squeezed")

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._decompressor: Decompressor | None = None
        self._data = b""
        self._at = 0
        """How much of it is used up."""
        self._left = 0
        """Bytes of the block."""
        self._squeezed = False

    @property
    def between(self) -> bool:
        """Whether it may end here."""
        return not self._left and self._at == len(self._data)

    def feed(self, data: bytes) -> None:
        """Once all that was fed before is used up: half a head may be left of it."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def read(self, most: int) -> bytes:
        """Raises Garbled."""
        found = []
        while most > 0:
            decompressor = self._decompressor
            if decompressor is not None and not decompressor.needs_input:
                piece = self._decompress(decompressor, b"", most)
            elif self._left:
                if self._at == len(self._data):
                    break
                piece = self._next(most)
            elif not self._begin():
                break
            else:
                continue
            found.append(piece)
            most -= len(piece)
        return b"".join(found)

    def _begin(self) -> bool:
        """Whether there is the head of another block."""
        if len(self._data) - self._at < HEAD.size:
            return False
        (head,) = HEAD.unpack_from(self._data, self._at)
        self._at += HEAD.size
        self._squeezed = head >= SQUEEZED
        self._left = head & ~SQUEEZED
        if not self._left:
            raise Garbled("a block has nothing in it")
        return True

    def _next(self, most: int) -> bytes:
        at = self._at
        size = self._left if self._squeezed else min(self._left, most)
        piece = self._data[at : at + size]
        self._at += len(piece)
        self._left -= len(piece)
        if not self._squeezed:
            return piece
        decompressor = self._decompressor
        if decompressor is None:
            decompressor = self._decompressor = self._coding.decompressor()
        return self._decompress(decompressor, piece, most)

    def _decompress(self, decompressor: Decompressor, data: bytes, most: int) -> bytes:
        try:
            found = decompressor.decompress(data, most)
        except self._coding.broken as error:
            raise Garbled(str(error)) from None
        if decompressor.eof:
            raise Garbled("what is compressed has an end before the stream has")
        return found
