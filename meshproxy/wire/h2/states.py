"""The life of a stream (RFC 9113 5.1), as a table that is read and that is obeyed.

    after = TABLE[DATA][state]        a state, or what is wrong with it: REFUSED and below

Columns are the states in which a stream can be when a frame for it comes.  `LOCAL` is "half-closed (local)": we have
ended it, the peer has not; `REMOTE` the other way round.  `RESET` is "closed", where it was us who reset the stream a
moment ago: frames that were under way then are no fault of the peer's.
"""

from __future__ import annotations

from typing import NoReturn

from meshproxy.wire.h2.faults import Broken, Code, Fault, Reason, StreamFault

OPEN, LOCAL, REMOTE, IDLE, CLOSED, RESET = range(6)

# What is wrong.  All are below zero, so that one comparison tells them from states.
CONNECTION_IDLE = -1
CONNECTION_CLOSED = -2
STREAM_IS_CLOSED = -3
REFUSED = -1

_idle, _gone, _ended = CONNECTION_IDLE, CONNECTION_CLOSED, STREAM_IS_CLOSED

# What happens to a stream
HEADERS, DATA, PEER_ENDS, PEER_RESETS, WINDOW_UPDATE, WE_END, WE_RESET = range(7)

TABLE: tuple[tuple[int, ...], ...] = (
    #             OPEN    LOCAL   REMOTE  IDLE    CLOSED  RESET
    # HEADERS
    (             OPEN,   LOCAL,  _ended, OPEN,   _gone,  RESET),
    # DATA
    (             OPEN,   LOCAL,  _ended, _idle,  _ended, RESET),
    # PEER_ENDS: END_STREAM on one of the two
    (             REMOTE, CLOSED, _ended, REMOTE, _ended, CLOSED),
    # PEER_RESETS
    (             CLOSED, CLOSED, CLOSED, _idle,  CLOSED, CLOSED),
    # WINDOW_UPDATE
    (             OPEN,   LOCAL,  REMOTE, _idle,  CLOSED, RESET),
    # WE_END
    (             LOCAL,  LOCAL,  CLOSED, _idle,  CLOSED, RESET),
    # WE_RESET: whoever had ended it before sends nothing more
    (             RESET,  RESET,  CLOSED, _idle,  CLOSED, RESET),
)  # fmt: skip
"""By what happens, and then by the state in which it does.  PRIORITY may come at any time and changes nothing."""


def refuse(verdict: int) -> NoReturn:
    if verdict == CONNECTION_IDLE:
        raise Broken(Fault(Code.PROTOCOL_ERROR, Reason.STREAM_IDLE, "a frame for a stream that is not open"))
    if verdict == CONNECTION_CLOSED:
        raise Broken(Fault(Code.STREAM_CLOSED, Reason.STREAM_CLOSED, "a head for a stream that has ended"))
    raise StreamFault(Code.STREAM_CLOSED, Reason.STREAM_CLOSED)
