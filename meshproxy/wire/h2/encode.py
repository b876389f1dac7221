"""From a head as it would go on over HTTP/1.1 to a block of fields.

    response_block(head.plain)
    request_block(head.opening(...) + lines, b"https")

The text is one that this proxy has made or proven, so nothing is proven here again.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.wire.h1.grammar import CRLF, OWS
from meshproxy.wire.h1.head import NOTHING
from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.h2.form import CONNECTION_FIELDS
from meshproxy.wire.hpack import STATUS, Lines, field
from meshproxy.wire.hpack.encoder import beginning, string

_lines = Lines({b"te": frozenset((b"trailers",)), **dict.fromkeys(CONNECTION_FIELDS, NOTHING)})
_field = _lines.__getitem__

_AT_STATUS = slice(len(b"HTTP/1.1 "), len(b"HTTP/1.1 200"))
_HOST = len(b"Host:")
_PATH = beginning(b":path")
_KEY = b"sec-websocket-key:"


def response_block(opening: bytes) -> bytes:
    """Of a head without its empty line."""
    lines = opening[:-2].split(CRLF)
    return b"".join([_statuses[lines[0]], *map(_field, lines[1:])])


def request_block(opening: bytes, scheme: bytes, protocol: bytes | None = None) -> bytes:
    """Of a head without its empty line; `protocol`: what the stream is to become (RFC 8441)."""
    lines = opening[:-2].split(CRLF)
    host = 1
    while lines[host][:_HOST].lower() != b"host:":
        host += 1
    authority = _authorities[lines.pop(host)]
    if protocol is None:
        return b"".join([_first(lines[0]), _schemes[scheme], authority, *map(_field, lines[1:])])
    lines[0] = b"CONNECT" + lines[0][lines[0].index(b" ") :]
    said = [line for line in lines[1:] if not line.lower().startswith(_KEY)]
    return b"".join(
        [_first(lines[0]), _schemes[scheme], field(b":protocol", protocol), authority, *map(_field, said)]
    )


def trailer_block(lines: Iterable[bytes]) -> bytes:
    """Of field lines without their ends."""
    return b"".join(map(_field, lines))


def _status(line: bytes) -> bytes:
    return STATUS[int(line[_AT_STATUS])]


def _authority(line: bytes) -> bytes:
    """Nothing, where nobody knows whom an HTTP/1.0 request is addressed to."""
    value = line[_HOST:].strip(OWS)
    return field(b":authority", value) if value else b""


def _first(line: bytes) -> bytes:
    # What stands in a query may be a secret
    return _method_and_path(line) if line.find(b"?") >= 0 else _firsts[line]


def _method_and_path(line: bytes) -> bytes:
    method, target, _ = line.split(b" ")
    return _methods[method] + _PATH + string(target)


_statuses: Memo[bytes] = Memo(_status)
_methods: Memo[bytes] = Memo(lambda method: field(b":method", method))
_firsts: Memo[bytes] = Memo(_method_and_path)
_authorities: Memo[bytes] = Memo(_authority)
_schemes = {scheme: field(b":scheme", scheme) for scheme in (b"http", b"https")}
