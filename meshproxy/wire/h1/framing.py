"""How long a body is: the two fields that say so, read so that nobody else can read them in another way.

    Transfer-Encoding   Content-Length   request    response
    absent              absent           nothing    until the close
    absent              n                n bytes    n bytes
    chunked             absent           chunked    chunked
    anything else       any              refused    refused
    any                 any (both)       refused    refused

RFC 9112 6.3 lets a recipient be more lenient in three of these cells; each leniency has been a smuggled request.
"""

from __future__ import annotations

import re

from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.grammar import OWS, token
from meshproxy.wire.h1.shape import Shape, respell

NO_BODY = 0
CHUNKED = -1
UNTIL_CLOSE = -2
"""`body` of a head is the number of bytes to come, or one of these."""

# Eighteen digits fit every integer type that anyone counts bytes with
_length = re.compile(rb"[0-9]{1,18}").fullmatch


def body_of(shape: Shape, lines: list[bytes], minor: int, otherwise: int) -> int:
    """What a head says of its body.  Its lines then say so in the one spelling that everybody reads alike."""
    length = shape.value(lines, b"content-length")
    if length is not None:
        body = content_length(length)
        respell(shape, lines, b"content-length", b"%d" % body)
        return body
    coding = shape.value(lines, b"transfer-encoding")
    if coding is not None:
        require_chunked(coding, minor)
        respell(shape, lines, b"transfer-encoding", b"chunked")
        return CHUNKED
    return otherwise


def content_length(value: bytes) -> int:
    if _length(value) is None:
        raise Malformed(Reason.BAD_LENGTH)
    return int(value)


def require_chunked(value: bytes, minor: int) -> None:
    """Raise unless the one coding is `chunked`: 501 for others, applied as the RFC has it; 400 for a broken list."""
    if minor == 0:
        raise Malformed(Reason.CODING_IN_HTTP_1_0)
    codings = [part.strip(OWS).lower() for part in value.split(b",")]
    if codings == [b"chunked"]:
        return
    if codings[-1] == b"chunked":
        codings.pop()
    names = [coding.partition(b";")[0].strip(OWS) for coding in codings]
    if b"chunked" in names or not all(map(token, names)):
        raise Malformed(Reason.BAD_CODING)
    raise Malformed(Reason.UNKNOWN_CODING)
