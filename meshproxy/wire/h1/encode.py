"""What we say ourselves: first lines, fields and chunks, of values that are proven to be what they stand for.

A name or value that could end its line is a `ValueError`, whoever made it: nothing leaves here that this package would
not read back as the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from meshproxy.wire.h1.grammar import CRLF, text, token, visible

Field = tuple[bytes, bytes]

PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
"""What is usually said beside a status."""
LAST_CHUNK = b"0\r\n\r\n"


def request(method: bytes, target: bytes, fields: Iterable[Field]) -> bytes:
    if token(method) is None:
        raise ValueError(f"no method: {method!r}")
    if visible(target) is None:
        raise ValueError(f"no target: {target!r}")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, lines(fields))


def response(status: int, phrase: bytes, fields: Iterable[Field]) -> bytes:
    if not 100 <= status <= 599:
        raise ValueError(f"no status: {status}")
    if text(phrase) is None:
        raise ValueError(f"no reason phrase: {phrase!r}")
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase, lines(fields))


def lines(fields: Iterable[Field]) -> bytes:
    """Field lines, each with its end; what `forward` of a head takes as `added`."""
    return b"".join([line(name, value) for name, value in fields])


def line(name: bytes, value: bytes) -> bytes:
    if token(name) is None:
        raise ValueError(f"no field name: {name!r}")
    if text(value) is None:
        raise ValueError(f"no value for the field {name!r}")
    return b"%b: %b\r\n" % (name, value)


def marked(message: bytes, line: bytes) -> bytes:
    """A whole head, and what follows it, with a line after its first."""
    at = message.index(CRLF) + len(CRLF)
    return message[:at] + line + message[at:]


def chunk(data: bytes) -> bytes:
    """One chunk; of no data nothing, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Iterable[Field]) -> bytes:
    return b"0\r\n%b\r\n" % lines(trailers)
