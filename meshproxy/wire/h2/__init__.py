"""HTTP/2 as a codec: bytes in, streams and their blocks out, and back.  It knows no socket and no clock of its own.

    engine = Engine(Role.SERVER, hearer, Limits(), now)       one for a connection
    engine.feed(data)                                         the hearer hears of streams, their users of the rest
    engine.head(stream, block, last=False)
    engine.data(stream, data, last=True)
    socket.write(b"".join(engine.out)); engine.out.clear()

Where to read on: `states.py` (what may come when), `floods.py` (and how often), `faults.py` (what can be wrong),
`sending.py` (windows and turns), `engine.py`.
"""

from meshproxy.wire.h2.body import FramedBody
from meshproxy.wire.h2.encode import request_block, response_block, trailer_block
from meshproxy.wire.h2.engine import Engine, Hearer
from meshproxy.wire.h2.faults import Code, Fault, Reason, StreamFault
from meshproxy.wire.h2.form import trailers
from meshproxy.wire.h2.record import Record, User
from meshproxy.wire.h2.request import Requests
from meshproxy.wire.h2.response import Responses
from meshproxy.wire.h2.settings import Limits, Peer, Role
from meshproxy.wire.hpack import Block

__all__ = [
    "Block",
    "Code",
    "Engine",
    "Fault",
    "FramedBody",
    "Hearer",
    "Limits",
    "Peer",
    "Reason",
    "Record",
    "Requests",
    "Responses",
    "Role",
    "StreamFault",
    "User",
    "request_block",
    "response_block",
    "trailer_block",
    "trailers",
]
