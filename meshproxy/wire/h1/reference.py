"""h11 as the judge of what is a request, for listeners that are to take what everybody's reference takes.

    codec = ReferenceCodec(limits, strictness)      # in the place of a RequestCodec

h11 reads the head, and what it has understood is spelt anew: one space, one line for each field, nothing folded.  That
spelling is then read line by line like any other, so nothing goes on that the strict reader would refuse in it: a
target, a `Host` or a framing that others read differently.  Bodies are read as always: chunks go on as received, so
they have to be proven as strictly as ever.

It is slow, by a factor of thirty, and remembers nothing.
"""

from __future__ import annotations

import re

import h11

from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.grammar import CRLF
from meshproxy.wire.h1.request import RequestCodec, RequestHead, RequestReader
from meshproxy.wire.h1.rules import Limits
from meshproxy.wire.h1.shape import Shape

_empty_lines = re.compile(rb"(?:\r\n)*").match
_REASONS = {431: Reason.HEAD_TOO_LARGE, 501: Reason.UNKNOWN_CODING}
"""Of the few that h11 tells apart, by status."""


class ReferenceCodec(RequestCodec):
    def reader(self) -> RequestReader:
        return ReferenceReader(self)


class ReferenceReader(RequestReader):
    __slots__ = ()

    def _recognised(self, shape: Shape, data: bytes) -> RequestHead | None:
        """No head is taken for like another: h11 looks at each."""
        return None

    def _gather(self) -> Judge:
        return Judge(self._codec.limits)


class Judge:
    """One head, as h11 reads it."""

    __slots__ = ("_conn", "_held")

    def __init__(self, limits: Limits) -> None:
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
        self._held = b""
        """The CR of what may be an empty line, or nothing: h11 would refuse such lines before a request."""

    @property
    def empty(self) -> bool:
        return not self._held and not self._conn.trailing_data[0]

    def add(self, data: bytes) -> tuple[bytes, bytes] | None:
        if self.empty or self._held:
            data = self._held + data
            lines = _empty_lines(data)
            assert lines is not None
            data = data[lines.end() :]
            self._held = data if data == b"\r" else b""
        if not data or self._held:
            # To h11, no data is the end of the connection.
            return None
        self._conn.receive_data(data)
        try:
            event = self._conn.next_event()
        except h11.RemoteProtocolError as error:
            raise Malformed(_REASONS.get(error.error_status_hint, Reason.REFUSED_BY_H11)) from None
        if not isinstance(event, h11.Request):
            return None
        return _spelt(event), self._conn.trailing_data[0]


def _spelt(request: h11.Request) -> bytes:
    lines = [b"%b %b HTTP/%b" % (request.method, request.target, request.http_version)]
    lines += [b"%b: %b" % field for field in request.headers.raw_items()]
    return CRLF.join(lines) + CRLF + CRLF
