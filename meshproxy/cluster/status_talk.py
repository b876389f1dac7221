"""A check that takes any answer of HTTP for one, and keeps its status: somebody else knows which is a good one.

    talk = StatusTalk(codec)                # with `probe.Probe`, after the request has been sent
    talk.feed(data), talk.end()             # OK once the answer is complete, whatever it says
    talk.status                             # then: 204

The body is read and forgotten, so that no application sees its answer cut; but only as much as kubelet would read.
"""

from __future__ import annotations

from meshproxy.cluster.talk import CLOSED, OK, Result
from meshproxy.wire.h1 import BodyReader, ResponseCodec, body_reader

MOST_READ = 10 * 1024


class StatusTalk:
    def __init__(self, codec: ResponseCodec) -> None:
        self.status = 0
        self._codec = codec
        self._reader = codec.reader()
        self._reader.expect(b"GET")
        self._body: BodyReader | None = None
        self._left = MOST_READ

    def says(self) -> bytes:
        """All has been said."""
        return b""

    def feed(self, data: bytes) -> Result | None:
        if self._body is not None:
            return self._pass(self._body, data)
        reader = self._reader
        head, rest = reader.feed(data), reader.rest
        while head is not None and head.interim:
            head, rest = reader.feed(rest) if rest else None, reader.rest
        if head is None:
            return None
        self.status = head.status
        self._body = body_reader(head.body, self._codec.limits, decode=True)
        return self._pass(self._body, rest)

    def _pass(self, body: BodyReader, data: bytes) -> Result | None:
        self._left -= len(data)
        body.feed(data)
        return OK if body.done or self._left < 0 else None

    def end(self) -> Result:
        if self._body is None:
            return CLOSED
        self._body.end()
        return OK
