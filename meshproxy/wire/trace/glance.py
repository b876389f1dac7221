"""A context of one field, written as it usually is: read where it stands in a head, without taking that apart.

    glance = Glance(b"traceparent", b"00-%b-%b-0F" % (b"T" * 32, b"S" * 16), denials, context)
    line = head[colon : colon + glance.size]
    if glance.fits(line):                               # else it may be a context nevertheless
        if line[glance.said] not in glance.denials:     # it is recorded
            came = glance.context(line)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshproxy.wire.trace.context import Context

_DIGITS = bytes.maketrans(b"0123456789abcdef", b"0" * 16)
_NOBODY = b"0" * 16


class Glance:
    __slots__ = ("_context", "_looks", "_span", "_trace", "denials", "name", "said", "size")

    def __init__(
        self, name: bytes, looks: bytes, denials: Iterable[bytes], context: Callable[[bytes, bytes, bytes], Context]
    ) -> None:
        """`looks`: a value, with `T` for each digit of the trace's id, `S` for those of the span's, `F` for the one
        that says whether it is recorded, and 0 for any other.  `denials`: what `F` is where it is not."""
        line = b" %b\r\n" % looks
        self.name = name
        self.size = len(line)
        """Bytes after the colon, to the end of the line."""
        self.said = line.index(b"F")
        self.denials = frozenset(ord(digit) for digit in denials)
        self._looks = line.translate(bytes.maketrans(b"TSF", b"000"))
        self._trace = slice(line.index(b"T"), line.rindex(b"T") + 1)
        self._span = slice(line.index(b"S"), line.rindex(b"S") + 1)
        self._context = context

    def fits(self, line: bytes) -> bool:
        """Whether this is one, and is valid; one with many zeros is left to those who look closely."""
        return line.translate(_DIGITS) == self._looks and line.find(_NOBODY) < 0

    def context(self, line: bytes) -> Context:
        return self._context(line[self._trace], line[self._span], line[self.said : self.said + 1])
