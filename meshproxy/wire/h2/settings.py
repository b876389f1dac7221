"""SETTINGS (RFC 9113 6.5, 8441, 9218): what we say of ourselves, and what a peer has said of itself.

    peer = Peer(Role.CLIENT)
    peer.take(payload)              raises Broken for a value that may not be
    peer.max_streams
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from struct import Struct

from meshproxy.wire.h2.faults import Broken, Code, Fault, Reason
from meshproxy.wire.h2.frames import (
    DEFAULT_WINDOW,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    MOST_ID,
    PREFIX,
    SETTINGS,
    SMALLEST_FRAME,
)

KIB = 1024

DEFAULT_TABLE = 4096
UNTOLD_STREAMS = 100
"""How many streams a client opens before the server has said how many it takes (RFC 9113 6.5.2: no less than this)."""
MOST_SETTINGS = 32
"""In one frame.  There are nine, and a peer may grease."""

_entry = Struct(">HI")


class Role(StrEnum):
    SERVER = "server"
    CLIENT = "client"


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8
    NO_RFC7540_PRIORITIES = 9


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may hold of us: no more than `connection_window` of bodies, and one head at a time."""

    max_streams: int = 100
    window: int = 64 * KIB
    """Of a body, unread by whoever takes it."""
    connection_window: int = 1024 * KIB
    max_frame: int = SMALLEST_FRAME
    head: int = 60 * KIB
    fields: int = 100
    table: int = DEFAULT_TABLE
    """What the peer's compression may have us remember."""


def said(role: Role, limits: Limits) -> dict[int, int]:
    """Our SETTINGS; what has its default is not said."""
    values: dict[Setting, tuple[int, int | None]] = {Setting.HEADER_TABLE_SIZE: (limits.table, DEFAULT_TABLE)}
    if role is Role.CLIENT:
        values[Setting.ENABLE_PUSH] = 0, 1
    else:
        values[Setting.MAX_CONCURRENT_STREAMS] = limits.max_streams, None
        values[Setting.ENABLE_CONNECT_PROTOCOL] = 1, 0
    values |= {
        Setting.INITIAL_WINDOW_SIZE: (limits.window, DEFAULT_WINDOW),
        Setting.MAX_FRAME_SIZE: (limits.max_frame, SMALLEST_FRAME),
        Setting.MAX_HEADER_LIST_SIZE: (limits.head, None),
        Setting.NO_RFC7540_PRIORITIES: (1, 0),
    }
    return {int(number): value for number, (value, default) in values.items() if value != default}


def announced(role: Role, limits: Limits) -> bytes:
    payload = b"".join(_entry.pack(number, value) for number, value in said(role, limits).items())
    return PREFIX.pack(len(payload) << 8 | SETTINGS, 0, 0) + payload


class Peer:
    """What the other side has said last; what it has not said has the default of the RFC."""

    __slots__ = ("_role", "_told", "connect_protocol", "max_frame", "max_list", "max_streams", "small_table", "window")

    def __init__(self, role: Role) -> None:
        self._role = role
        self._told = False
        self.max_streams = UNTOLD_STREAMS
        self.connect_protocol = False
        self.window = DEFAULT_WINDOW
        self.max_frame = SMALLEST_FRAME
        self.max_list: int | None = None
        self.small_table = False
        """It has wanted a smaller table of header compression than the default, if only for a moment.  We use none, but
        have to say so then (RFC 7541 4.2)."""

    def take(self, payload: bytes) -> None:
        """In the order in which they stand."""
        if len(payload) > MOST_SETTINGS * _entry.size:
            raise Broken(Fault(Code.ENHANCE_YOUR_CALM, Reason.SETTINGS_FLOOD, "too many settings in a frame"))
        if not self._told:
            self._told = True
            self.max_streams = MOST_ID
        for number, value in _entry.iter_unpack(payload):
            if number == Setting.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            elif number == Setting.INITIAL_WINDOW_SIZE:
                _refuse(value > LARGEST_WINDOW, Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE")
                self.window = value
            elif number == Setting.MAX_FRAME_SIZE:
                _refuse(not SMALLEST_FRAME <= value <= LARGEST_FRAME, Code.PROTOCOL_ERROR, "MAX_FRAME_SIZE")
                self.max_frame = value
            elif number == Setting.ENABLE_PUSH:
                _refuse(value > (self._role is Role.CLIENT), Code.PROTOCOL_ERROR, "ENABLE_PUSH")
            elif number == Setting.ENABLE_CONNECT_PROTOCOL:
                _refuse(value > 1 or value < self.connect_protocol, Code.PROTOCOL_ERROR, "ENABLE_CONNECT_PROTOCOL")
                self.connect_protocol = bool(value)
            elif number == Setting.MAX_HEADER_LIST_SIZE:
                self.max_list = value
            elif number == Setting.HEADER_TABLE_SIZE and value < DEFAULT_TABLE:
                self.small_table = True


def _refuse(wrong: bool, code: Code, name: str) -> None:
    if wrong:
        raise Broken(Fault(code, Reason.BAD_SETTING, f"{name} may not be that"))
