"""HTTP/1.1 as a codec: bytes in, heads and bodies out, and back.  It knows no socket, no clock and no peer.

    codec = RequestCodec(limits, strictness)      one for a listener: the rules, and what is learnt
    reader = codec.reader()                       one for a connection
    head = reader.feed(data)                      a RequestHead, or None for "need more"; raises Malformed
    body = body_reader(head.body, limits)
    passed = body.feed(reader.rest)               what to write to the other side
    upstream.write(head.forward(added=...))

Responses mirror that.  Where to read on: `rules.py` (what an operator may set), `faults.py` (what can be wrong),
`reader.py` (three ways to a head), `shape.py` (why that is fast), `framing.py` and `body.py` (how long a message is).
"""

from meshproxy.wire.h1.authority import Authority
from meshproxy.wire.h1.body import BodyReader, ChunkedReader, LengthReader, UntilCloseReader
from meshproxy.wire.h1.body import reader as body_reader
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.framing import CHUNKED, NO_BODY, UNTIL_CLOSE
from meshproxy.wire.h1.request import UNREAD, RequestCodec, RequestHead, RequestReader
from meshproxy.wire.h1.response import ResponseCodec, ResponseHead, ResponseReader
from meshproxy.wire.h1.rules import Limits, Strictness

__all__ = [
    "CHUNKED",
    "NO_BODY",
    "UNREAD",
    "UNTIL_CLOSE",
    "Authority",
    "BodyReader",
    "ChunkedReader",
    "LengthReader",
    "Limits",
    "Malformed",
    "Reason",
    "RequestCodec",
    "RequestHead",
    "RequestReader",
    "ResponseCodec",
    "ResponseHead",
    "ResponseReader",
    "Strictness",
    "UntilCloseReader",
    "body_reader",
]
