"""What the proxy itself says to a client."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from meshproxy.wire.h1 import encode

PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
WITHOUT_BODY = frozenset((204, 205, 304))

Field = tuple[bytes, bytes]


class Dates:
    """The time as answers say it, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
        return self._line


_dates = Dates()


class Reply:
    """An answer that is the same for everybody, but for what says how the connection goes on."""

    __slots__ = ("_body", "_opening", "status")

    def __init__(self, status: int, fields: Iterable[Field] = (), body: bytes = b"", added: bytes = b"") -> None:
        """`added` are whole lines."""
        self.status = status
        length = b"" if status in WITHOUT_BODY else b"Content-Length: %d\r\n" % len(body)
        lines = encode.lines(fields) + added + length
        self._opening = b"HTTP/1.1 %d %b\r\n%b" % (status, PHRASES.get(status, b""), lines)
        self._body = body

    def render(self, *, connection: bytes, with_body: bool = True) -> bytes:
        """`connection` is a line or nothing."""
        opening = b"%b%b%b\r\n" % (self._opening, _dates.line(), connection)
        return opening + self._body if with_body else opening


def of_failure(status: int, reason: str) -> Reply:
    """The reason is a word of ours and says nothing of what stands behind the proxy."""
    return Reply(status, ((b"Content-Type", b"text/plain"),), reason.replace("_", " ").encode("ascii") + b"\n")
