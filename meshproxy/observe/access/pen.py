"""How a value is written in a line: what a peer has sent cannot end it, hide in it, or make it long.

    Pen.in_text(1024).write(b'say "hi"\n')      # b'say \\"hi\\"\\n'
    Pen.as_json(1024).write(None)               # b"null"

Numbers stand as they are.  Of text, quotes, backslashes and all that is not printable ASCII is escaped: by the rules of
JSON, or by those of Apache.  What is longer than is wanted is cut, and says how many bytes are not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json.encoder import encode_basestring_ascii

Value = str | bytes | int | None

PLAIN = bytes(sorted({*range(0x20, 0x7F)} - {*b'"\\'}))
"""What need not be escaped: `text.translate(None, PLAIN)` is what must be, found faster than by an expression."""
GROWTH = 6
"""A byte is escaped with so many at most."""
MARK = b"...(%d more)"

_AWKWARD = re.compile(rb'["\\\x00-\x1f\x7f-\xff]')
_SHORT = {b'"': b'\\"', b"\\": b"\\\\", b"\b": b"\\b", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\v": b"\\v"}


class Pen:
    def __init__(
        self, frame: bytes, absent: bytes, escape: Callable[[bytes], bytes], longest: int, number: bytes = b"%d"
    ) -> None:
        self.frame = frame
        """What stands around a text, with `%b` for it."""
        self.absent = absent
        """What is written for nothing."""
        self.number = number
        self.longest = longest
        """Bytes of a text before it is escaped."""
        self._escape = escape

    @classmethod
    def as_json(cls, longest: int) -> Pen:
        """For a value of an object."""
        return cls(b'"%b"', b"null", _json, longest)

    @classmethod
    def in_json(cls, longest: int) -> Pen:
        """For a part of a string."""
        return cls(b"%b", b"-", _json, longest)

    @classmethod
    def in_text(cls, longest: int) -> Pen:
        return cls(b"%b", b"-", _text, longest)

    def after(self, words: bytes) -> Pen:
        """One that writes these words before each value."""
        before = words.replace(b"%", b"%%")
        return Pen(before + self.frame, words + self.absent, self._escape, self.longest, before + self.number)

    def write(self, value: Value) -> bytes:
        if isinstance(value, int):
            return self.number % value
        if not value:
            return self.absent
        if isinstance(value, str):
            value = value.encode("utf-8", "backslashreplace")
        if len(value) > self.longest or value.translate(None, PLAIN):
            value = self._with_care(value)
        return self.frame % value

    def _with_care(self, text: bytes) -> bytes:
        excess = len(text) - self.longest
        if excess <= 0:
            return self._escape(text)
        return self._escape(text[: self.longest]) + MARK % excess


def _json(text: bytes) -> bytes:
    """What is not UTF-8 is shown as it is in Python, such as `\\xff`."""
    return encode_basestring_ascii(text.decode("utf-8", "backslashreplace"))[1:-1].encode("ascii")


def _text(text: bytes) -> bytes:
    return _AWKWARD.sub(_escaped, text)


def _escaped(found: re.Match[bytes]) -> bytes:
    return _SHORT.get(found[0]) or b"\\x%02x" % found[0][0]
