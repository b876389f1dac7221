"""HPACK (RFC 7541): the fields of HTTP/2 as blocks of bytes, and back.  It knows no frame and no stream.

    decoder = Decoder()                       one for a connection: what the peer says refers to what it has said
    block = decoder.decode(data)              raises Broken (the connection is lost), or TooLarge (the stream is)
    for name, value, line in block.fields: ...

    STATUS[200] + field(b"content-length", b"0")

What we say ourselves refers to the static table alone: it is the same on every connection, so it can be remembered, and
there is nothing that two sides could get out of step.  Where to read on: `faults.py`, `table.py`, `decoder.py` (what is
remembered, what is bounded), `huffman.py` (why that is fast), `encoder.py`.
"""

from meshproxy.wire.hpack.decoder import Block, Decoder
from meshproxy.wire.hpack.encoder import STATUS, Lines, field
from meshproxy.wire.hpack.faults import Broken, Reason, TooLarge
from meshproxy.wire.hpack.table import Field

__all__ = ["STATUS", "Block", "Broken", "Decoder", "Field", "Lines", "Reason", "TooLarge", "field"]
