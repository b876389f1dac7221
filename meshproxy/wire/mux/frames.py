"""What goes over a link of a tunnel: frames with one head for all kinds, and a hello before them.

    kind 1 | flags 1 | length 4 | stream 4 | value 8 | length bytes

    HELLO     the first on a link, and only that; the bytes are a `Hello`
    OPEN      a stream begins: its opener takes `value` bytes for now; the bytes are what it is for
    DATA      bytes of a stream, of which the first is the `value`th; END: nothing comes after them
    ACK       `value` bytes have come, and as many as the 8 bytes behind may come in all; END: and that was all
    RESET     a stream ends for the reason `value`, both ways
    GONE      nothing is known any more of a stream that was
    DATAGRAM  of the flow that the stream is: it comes once, or never; of a stream that is not known it is dropped
    PING      to be answered by a PONG with the same `value`
    SYNCED    all that had come before this link was there has been acknowledged
    LEAVING   this link is going to be closed: another one should carry, as soon as there is one
    CLOSE     the tunnel ends for the reason `value`; the bytes are words for people

Every byte of a stream has its place, so that a frame may come twice, or by another link.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct

HEAD = Struct("!BBIIQ")
SIZE = HEAD.size
LIMIT = Struct("!Q")
LARGEST = 0xFFFF
"""Bytes of a frame that has to be there as a whole: of all but DATA."""
END = 1
"""The only flag."""


class Kind(IntEnum):
    HELLO = 1
    OPEN = 2
    DATA = 3
    ACK = 4
    RESET = 5
    GONE = 6
    DATAGRAM = 7
    PING = 8
    PONG = 9
    SYNCED = 10
    CLOSE = 11
    LEAVING = 12


class Reason(IntEnum):
    """Why a stream was reset, or a tunnel closed."""

    NONE = 0
    CANCELLED = 1
    REFUSED = 2
    UNREACHABLE = 3
    FORBIDDEN = 4
    OVERFLOW = 5
    EXPIRED = 6
    MALFORMED = 7
    OUT_OF_STATE = 8
    WINDOW = 9
    TOO_MANY = 10
    IDENTITY = 11
    VERSION = 12
    LEAVING = 13


class Fault(Exception):
    """The peer does not keep to the protocol: the tunnel closes for this reason."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason


_REASONS= frozenset(Reason)


class Closed(Fault):
    """The other end has closed the tunnel, for a reason that it says."""

    def __init__(self, reason: int) -> None:
        known = Reason(reason) if reason in _REASONS else Reason.NONE
        super().__init__(known, f"the other end has closed it: {known.name.lower()}")


Take = Callable[[int, int, int, int, bytes], None]
"""A frame: its kind, flags, stream, value and bytes."""

_EMPTY = frozenset((Kind.RESET, Kind.GONE, Kind.PING, Kind.PONG, Kind.SYNCED, Kind.LEAVING))
"""Kinds without bytes."""
_KINDS = frozenset(Kind)
DATA = int(Kind.DATA)
"""A plain number, for what comes with each read."""


def frame(kind: int, stream: int, value: int, data: bytes = b"", flags: int = 0) -> bytes:
    return HEAD.pack(kind, flags, len(data), stream, value) + data


class Frames:
    """Reads frames from bytes as they come.

    Bytes of a stream have their places, so those of a frame that is not all there are taken as several frames: nobody
    waits for its end, and nothing is copied to keep it.
    """

    __slots__ = ("_flags", "_kept", "_left", "_stream", "_take", "_value")

    def __init__(self, take: Take) -> None:
        self._kept = b""
        """Of a head, or of a frame that has to be whole."""
        self._take = take
        self._left = 0
        """Bytes that have yet to come of a DATA frame that has begun."""
        self._flags = self._stream = self._value = 0

    def feed(self, data: bytes) -> None:
        """Raises Fault."""
        at, size = 0, len(data)
        if self._left:
            at = min(self._left, size)
            self._go_on(data[:at])
        elif self._kept:
            data = self._kept + data
            size = len(data)
        take, unpack = self._take, HEAD.unpack_from
        while size - at >= SIZE:
            kind, flags, length, stream, value = unpack(data, at)
            if kind not in _KINDS or flags > END or (kind != DATA and length > (0 if kind in _EMPTY else LARGEST)):
                raise Fault(Reason.MALFORMED, f"no frame begins with kind {kind}, flags {flags}, length {length}")
            begin = at + SIZE
            end = begin + length
            if end <= size:
                take(kind, flags, stream, value, data[begin:end])
                at = end
            elif kind == DATA:
                self._flags, self._stream, self._value, self._left = flags, stream, value, length
                at = size
                self._go_on(data[begin:])
            else:
                break
        self._kept = data[at:]

    def _go_on(self, part: bytes) -> None:
        """With a DATA frame, of which the next bytes are here."""
        self._left -= len(part)
        if part:
            take = self._take
            take(DATA, self._flags if not self._left else 0, self._stream, self._value, part)
            self._value += len(part)
