"""What can be wrong on a connection of HTTP/2, as a closed vocabulary.

A `StreamFault` ends one stream (RST_STREAM) and is raised by whoever finds it; a `Fault` ends the connection (GOAWAY)
and is a value.  Both carry the `Code` that the peer is told and the word that logs and metrics count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Code(IntEnum):
    """RFC 9113 7.  A peer may send any other number, which means nothing more than these do."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Reason(StrEnum):
    # Frames
    NOT_HTTP2 = "not_http2"
    FRAME_SIZE = "frame_size"
    BAD_STREAM = "bad_stream"
    BAD_PADDING = "bad_padding"
    HEAD_INTERRUPTED = "head_interrupted"
    STRAY_CONTINUATION = "stray_continuation"
    BAD_SETTING = "bad_setting"
    PUSHED = "pushed"
    # Streams
    STREAM_IDLE = "stream_idle"
    STREAM_CLOSED = "stream_closed"
    STREAM_REFUSED = "stream_refused"
    SELF_DEPENDENCY = "self_dependency"
    BAD_SEQUENCE = "bad_sequence"
    # Windows
    WINDOW_EXCEEDED = "window_exceeded"
    WINDOW_OVERFLOW = "window_overflow"
    EMPTY_INCREMENT = "empty_increment"
    # Fields
    BAD_COMPRESSION = "bad_compression"
    HEAD_TOO_LARGE = "head_too_large"
    MALFORMED = "malformed"
    """The message, for a reason that `wire.h1` has a word for."""
    # Whatever another judge has against a frame
    REFUSED_BY_H2 = "refused_by_h2"
    # Floods
    RESET_FLOOD = "reset_flood"
    FAULT_FLOOD = "fault_flood"
    REFUSED_FLOOD = "refused_flood"
    CONTINUATION_FLOOD = "continuation_flood"
    PING_FLOOD = "ping_flood"
    SETTINGS_FLOOD = "settings_flood"
    EMPTY_FLOOD = "empty_flood"
    DRIBBLE_FLOOD = "dribble_flood"
    PRIORITY_FLOOD = "priority_flood"
    WINDOW_FLOOD = "window_flood"
    UNKNOWN_FLOOD = "unknown_flood"
    LATE_FLOOD = "late_flood"
    UNREAD_FLOOD = "unread_flood"


class StreamFault(Exception):
    """The stream ends; the connection goes on."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fault:
    """The connection ends.  `text` is told to the peer, for whoever reads its logs."""

    code: Code
    reason: str
    text: str = ""


class Broken(Exception):
    """Carries a `Fault` to where the engine ends the connection; it never leaves the engine."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault
