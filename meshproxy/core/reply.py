"""An answer that the proxy gives itself."""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.wire.h1 import encode
from meshproxy.wire.h1.encode import PHRASES

WITHOUT_BODY = frozenset((204, 205, 304))

Field = tuple[bytes, bytes]


class Reply:
    """The same for everybody, but for the date and for what says how the connection goes on."""

    __slots__ = ("body", "opening", "status")

    def __init__(self, status: int, fields: Iterable[Field] = (), body: bytes = b"", added: bytes = b"") -> None:
        """`added` are whole lines.  A name or a value that could end its line is a ValueError."""
        self.status = status
        length = b"" if status in WITHOUT_BODY else b"Content-Length: %d\r\n" % len(body)
        lines = encode.lines(fields) + added + length
        self.opening = b"HTTP/1.1 %d %b\r\n%b" % (status, PHRASES.get(status, b""), lines)
        """Its head but for the empty line: whole lines may follow."""
        self.body = body

    def render(self, lines: bytes, *, with_body: bool = True) -> bytes:
        """With these lines at the end of its head."""
        opening = self.opening + lines + b"\r\n"
        return opening + self.body if with_body else opening


def of_failure(status: int, reason: str) -> Reply:
    """The reason is a word of ours and says nothing of what stands behind the proxy."""
    return Reply(status, ((b"Content-Type", b"text/plain"),), reason.replace("_", " ").encode("ascii") + b"\n")
