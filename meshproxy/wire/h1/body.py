"""Bodies, one reader for each way in which they end.

    body.feed(data)  ->  what to pass on, or raises Malformed
    body.done        ->  whether that was all of it; body.rest is then what came after
    body.end()       ->  the peer has closed: raises Malformed unless that is how this body ends
    body.left        ->  how much may go by without being fed, and is taken off here by whoever lets it

No reader keeps data, and none looks at a byte of data: a chunk is passed over by its size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from meshproxy.wire.h1.connection import HOP_BY_HOP
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.framing import CHUNKED, UNTIL_CLOSE
from meshproxy.wire.h1.gathering import Gathering, lines_of
from meshproxy.wire.h1.grammar import CHUNK_EXTENSIONS, CRLF, refuse_illegal_bytes
from meshproxy.wire.h1.rules import STRICT, Limits
from meshproxy.wire.h1.shape import names_of, refuse_bad_name

FORBIDDEN_TRAILERS = HOP_BY_HOP | frozenset(
    b"transfer-encoding content-length trailer host content-type content-encoding content-range range expect "
    b"max-forwards cache-control pragma vary age expires date location retry-after authorization proxy-authorization "
    b"proxy-authenticate www-authenticate cookie set-cookie forwarded via x-forwarded-for x-forwarded-host "
    b"x-forwarded-port x-forwarded-proto x-forwarded-prefix x-forwarded-server x-forwarded-scheme x-forwarded-ssl "
    b"x-original-forwarded-for x-real-ip x-client-ip true-client-ip x-request-id x-forwarded-client-cert "
    b"proxy if-match if-none-match if-modified-since if-unmodified-since if-range".split()
)
"""Fields that frame, route, authenticate or modify: RFC 9110 6.5.1 forbids them after a body, because a recipient that
merges trailers into the head would decide anew what has been decided."""

# What a chunked body expects next, where that is not data
SIZE, DATA_END, TRAILERS = -1, -2, -3

NO_END = 2**63 - 1

MOST_DIGITS = 16
LARGEST_CHUNK = 2**63 - 1
_LAST_SIZE = b"0\r\n"

_size_line = re.compile(rb"([0-9A-Fa-f]{1,%d})(%b)\r\n" % (MOST_DIGITS, CHUNK_EXTENSIONS)).match
_next_chunk = re.compile(rb"\r\n([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n").match
"""The end of a chunk and the plain beginning of another."""
_digits = re.compile(rb"[0-9A-Fa-f]*+").match


class BodyReader(Protocol):
    left: int
    done: bool
    rest: bytes

    @property
    def trailers(self) -> Sequence[bytes]:
        """Field lines after the body, without their ends, once it is done."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> None: ...


def reader(body: int, limits: Limits, *, decode: bool = False) -> BodyReader:
    """For what a head says of its body.  A chunked one is passed on as received, unless it is to be decoded."""
    if body == CHUNKED:
        return ChunkedReader(limits, decode=decode)
    if body == UNTIL_CLOSE:
        return UntilCloseReader()
    return LengthReader(body)


class LengthReader:
    __slots__ = ("done", "left", "rest")
    trailers: Sequence[bytes] = ()

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = not length
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        left = self.left
        if len(data) < left:
            self.left = left - len(data)
            return data
        self.left = 0
        self.done = True
        self.rest = data[left:]
        return data[:left]

    def end(self) -> None:
        if not self.done:
            raise Malformed(Reason.CUT_SHORT)


class UntilCloseReader:
    __slots__ = ("done", "left", "rest")
    trailers: Sequence[bytes] = ()

    def __init__(self) -> None:
        self.left = NO_END
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.done = True


class ChunkedReader:
    """Where it stands is `_left`: how much of a chunk is to come, or one of the states above."""

    __slots__ = (
        "_decode", "_extensions", "_held", "_left", "_limits", "_trailer_section", "done", "rest", "size", "trailers",
    )
    left: int = 0  # every size in it must be seen

    def __init__(self, limits: Limits, *, decode: bool) -> None:
        self._limits = limits
        self._decode = decode
        self._left = SIZE
        self._held = b""
        """The beginning of a line that has not all arrived; it is passed on when it has, and is proven."""
        self._extensions = 0
        self._trailer_section: Gathering | None = None
        self.size = 0
        """What the body has decoded to so far."""
        self.trailers: list[bytes] = []
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
        decoded: list[bytes] = []
        at, size = 0, len(data)
        while at < size and self._left != TRAILERS:
            left = self._left
            if left > 0:
                if self._decode:
                    decoded.append(data[at : at + left])
                at += left
                if at >= size:
                    self._left, at = at - size or DATA_END, size
                    break
                self._left = left = DATA_END
            if left == DATA_END and (plain := _next_chunk(data, at)):
                self._begin_chunk(int(plain[1], 16))
                at = plain.end()
                continue
            after = self._read_data_end(data, at) if left == DATA_END else self._read_size(data, at)
            if after == at:
                break
            at = after
        self._held = trailers = b""
        if self._left != TRAILERS:
            self._held = data[at:]
        elif self._trailer_section is None and data.startswith(CRLF, at):
            at += len(CRLF)
            self.done = True
            self.rest = data[at:]
        else:
            trailers = self._read_trailers(data[at:])
        passed = b"".join(decoded) if self._decode else data[:at]
        return passed + trailers if trailers else passed

    def end(self) -> None:
        if not self.done:
            raise Malformed(Reason.CUT_SHORT)

    # Both read one thing at `at` and answer where it ends; `at` itself if it has not all arrived

    def _read_data_end(self, data: bytes, at: int) -> int:
        if data.startswith(CRLF, at):
            self._left = SIZE
            return at + 2
        if data[at:] == b"\r":
            return at
        raise Malformed(Reason.BAD_CHUNK_END)

    def _read_size(self, data: bytes, at: int) -> int:
        found = _size_line(data, at)
        if found is None:
            self._refuse_bad_size_line(data, at)
            return at
        digits, extensions = found.groups()
        if found.end() - at > self._limits.chunk_line:
            raise Malformed(Reason.CHUNK_EXTENSION_TOO_LONG)
        self._extensions += len(extensions)
        if self._extensions > self._limits.chunk_extensions:
            raise Malformed(Reason.CHUNK_EXTENSION_TOO_LONG)
        self._begin_chunk(int(digits, 16))
        return found.end()

    def _begin_chunk(self, size: int) -> None:
        if size > LARGEST_CHUNK:
            raise Malformed(Reason.BAD_CHUNK_SIZE)
        self.size += size
        if self._limits.body is not None and self.size > self._limits.body:
            raise Malformed(Reason.BODY_TOO_LARGE)
        self._left = size or TRAILERS

    def _refuse_bad_size_line(self, data: bytes, at: int) -> None:
        """Raise unless this may yet become a size line."""
        longest = at + self._limits.chunk_line
        end = data.find(b"\n", at, longest)
        line = data[at : longest if end < 0 else end + 1]
        refuse_illegal_bytes(line, 0, bare_lf=False)
        digits = _digits(line)
        assert digits is not None
        follows = line[digits.end() :]
        if digits.end() > MOST_DIGITS or (follows and not (digits[0] and follows.startswith((b";", b"\r")))):
            raise Malformed(Reason.BAD_CHUNK_SIZE)
        if end >= 0:
            raise Malformed(Reason.BAD_CHUNK_EXTENSION)
        if len(line) == self._limits.chunk_line:
            raise Malformed(Reason.CHUNK_EXTENSION_TOO_LONG)

    def _read_trailers(self, data: bytes) -> bytes:
        """They are a head, of which the line of the last chunk is the first line."""
        section = self._trailer_section
        if section is None:
            section = Gathering(self._limits, STRICT, _accept)
            section.add(_LAST_SIZE)
            self._trailer_section = section
        found = section.add(data)
        if found is None:
            return b""
        raw, self.rest = found
        self.trailers = _trailers(raw, self._limits)
        self.done = True
        return b"" if self._decode else raw[len(_LAST_SIZE) :]


def _accept(_: bytes) -> None:
    """The line of the last chunk has been read already."""


def _trailers(raw: bytes, limits: Limits) -> list[bytes]:
    lines = lines_of(raw, limits, STRICT)
    del lines[0]
    if len(lines) > limits.fields:
        raise Malformed(Reason.TOO_MANY_FIELDS)
    for name in names_of(lines):
        refuse_bad_name(name)
        if name.lower() in FORBIDDEN_TRAILERS:
            raise Malformed(Reason.FORBIDDEN_TRAILER)
    return lines
