"""gRPC, as far as one who passes it on has to know it: its heads, its statuses, and how its messages are framed.

    speaks(b"application/grpc+proto")           # True; web(...) knows that of pages
    timeout(b"250m")                            # 0.25; None: it is no timeout
    of_http(503), Status.UNAVAILABLE.word       # Status.UNAVAILABLE, "unavailable"
    message("ein Käse".encode())                # b"ein K%C3%A4se", and back with `meant`
    messages.feed(data)                         # [(flags, bytes), ...], however the data is cut
    web_trailers([b"Grpc-Status: 0"])           # what ends a body for a page

What a method does and what a message means are for others: all of this is text and lengths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

MOST_MESSAGE = 1024
"""Bytes of a text that goes with a status."""
TRAILERS = 0x80
"""The flag of a frame that is no message: for pages, what comes after the last."""

_kind = re.compile(rb"(?i:application/grpc)(\+[!#$&^_.+a-zA-Z0-9-]++)?[ \t]*+(?:;.*+)?").fullmatch
_web = re.compile(rb"(?i:application/grpc-web)(?i:(-text))?(\+[!#$&^_.+a-zA-Z0-9-]++)?[ \t]*+(?:;.*+)?").fullmatch
_timeout = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_method = re.compile(rb"/([A-Za-z_][\w.]{0,127})/([A-Za-z_]\w{0,127})").fullmatch
_escape = re.compile(rb"[^ -$&-~]").sub
_escaped = re.compile(rb"%([0-9A-Fa-f]{2})").sub
_status = re.compile(rb"[0-9]{1,2}").fullmatch
_prefix = Struct(">BI")

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_UNITS = ((b"u", 1_000_000.0), (b"m", 1000.0), (b"S", 1.0), (b"M", 1 / 60), (b"H", 1 / 3600))
_MOST_TIME = 99_999_999


class Status(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def word(self) -> str:
        return self.name.lower().replace("_", "-")


_OF_HTTP = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    429: Status.UNAVAILABLE,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.UNAVAILABLE,
}


def of_http(status: int) -> Status:
    """What an answer stands for that has no status of gRPC."""
    return _OF_HTTP.get(status, Status.UNKNOWN)


def status(value: bytes | None) -> Status:
    """As it stands in trailers.  One that is absent, or that nobody knows, is unknown."""
    found = _status(value) if value is not None else None
    number = int(found[0]) if found is not None else Status.UNKNOWN
    return Status(number) if number <= Status.UNAUTHENTICATED else Status.UNKNOWN


def speaks(content_type: bytes | None) -> bool:
    """Whether it is that of gRPC itself; that of pages is not."""
    return content_type is not None and _kind(content_type) is not None


def web(content_type: bytes | None) -> tuple[bytes, bool] | None:
    """Of gRPC for pages: what its messages are written in, such as `+proto`, and whether the body is base64."""
    found = _web(content_type) if content_type is not None else None
    return None if found is None else (found[2] or b"", found[1] is not None)


def method(path: bytes) -> tuple[str, str] | None:
    """The service and its method."""
    found = _method(path)
    return None if found is None else (found[1].decode("ascii"), found[2].decode("ascii"))


def timeout(value: bytes) -> float | None:
    """In seconds."""
    found = _timeout(value)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def spell_timeout(seconds: float) -> bytes:
    """In the finest unit that holds it, from a microsecond on, and never more than it is but for the least there is."""
    for unit, each in _UNITS:
        number = int(seconds * each)
        if number <= _MOST_TIME:
            return b"%d%b" % (max(number, 1), unit)
    return b"%dH" % _MOST_TIME


def message(text: bytes) -> bytes:
    """Any text as a value of `grpc-message`."""
    return _escape(lambda byte: b"%%%02X" % ord(byte[0]), text)


def meant(value: bytes) -> bytes:
    """The text of such a value; what is not well escaped stays as it is."""
    return _escaped(lambda digits: bytes.fromhex(digits[1].decode("ascii")), value)


def frame(data: bytes, flags: int = 0) -> bytes:
    return _prefix.pack(flags, len(data)) + data


def web_trailers(lines: Iterable[bytes]) -> bytes:
    """Field lines, as the last frame of a body: their names are in lower case there."""
    pairs = (line.partition(b":") for line in lines)
    return frame(b"".join(b"%b: %b\r\n" % (name.lower(), value.strip()) for name, _, value in pairs), TRAILERS)


class TooLong(ValueError):
    """A message is longer than is taken."""


class Messages:
    """Out of a body that may be cut anywhere."""

    __slots__ = ("_held", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Those that are whole now, each with its flags; raises TooLong."""
        data = self._held + data
        found = []
        at = 0
        while len(data) - at >= _prefix.size:
            flags, length = _prefix.unpack_from(data, at)
            if length > self._most:
                raise TooLong(f"a message of {length} bytes")
            end = at + _prefix.size + length
            if end > len(data):
                break
            found.append((flags, data[end - length : end]))
            at = end
        self._held = data[at:]
        return found
