"""What the heads of requests and responses have in common: their fields, and what goes on from them."""

from __future__ import annotations

from typing import Any

from meshproxy.wire.h1.grammar import CRLF, OWS
from meshproxy.wire.h1.shape import Shape

NOTHING: frozenset[bytes] = frozenset()

LONGEST_REMEMBERED = 1024
MEMO_SLOTS = 64
"""A power of two.  The memory of whole heads is a list in which a head's length is its place: no hash, no eviction."""


class Head:
    """Never changed once it is parsed: heads that come again are the same object."""

    __slots__ = ("_lines", "_named", "body", "decision", "keep_alive", "minor", "plain", "raw", "shape", "upgrade")

    raw: bytes
    """As received, with the empty line at its end."""
    shape: Shape
    minor: int
    """Of the version: 0 or 1."""
    body: int
    """The bytes to come, or CHUNKED, or UNTIL_CLOSE."""
    keep_alive: bool
    """Whether the sender means to go on with this connection after the message."""
    upgrade: bytes | None
    """The protocol to go on with, if that is legal and admitted."""
    decision: Any
    """What whoever owns the codec makes of it, and wants to know if the same head comes again; None at first."""
    plain: bytes
    """What goes on if nothing is to be changed: the first line and the field lines that are not for this hop alone."""
    _lines: list[bytes] | None
    _named: frozenset[bytes]
    """The fields that `Connection` named."""

    @property
    def lines(self) -> list[bytes]:
        """All field lines, without their ends."""
        if self._lines is None:
            self._lines = self.raw[:-4].split(CRLF)[1:]
        return self._lines

    def get(self, name: bytes) -> bytes | None:
        """The value of a field, asked for in lower case; of a repeated one, all of them as one list."""
        return self.shape.value(self.lines, name) if name in self.shape.positions else None

    def peek(self, name: bytes) -> bytes | None:
        """The same, for who asks for few: the lines need not be taken apart."""
        mark = self.shape.marks.get(name)
        if mark is None or self._lines is not None:
            return self.get(name)
        raw = self.raw
        start = raw.index(mark) + len(mark)
        return raw[start : raw.index(CRLF, start)].strip(OWS)

    def all(self, name: bytes) -> list[bytes]:
        """Each value of a field that may be repeated, asked for in lower case."""
        lines, skip = self.lines, len(name) + 1
        return [lines[index][skip:].strip(OWS) for index in self.shape.positions.get(name, ())]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names as they are spelt, and values."""
        pairs = zip(self.shape.names, self.lines, strict=True)
        return [(name, line[len(name) + 1 :].strip(OWS)) for name, line in pairs]

    @property
    def kept(self) -> bytes:
        """The field lines to pass on, each with its end, in the order, case and number in which they came."""
        return self.shape.keep(self.lines, self._named)

    def _switch(self) -> bytes:
        """What says to the next hop that the protocol changes."""
        return b"" if self.upgrade is None else b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade
