"""A body that comes in frames, as a connection of HTTP/1.1 would carry it.

    body = FramedBody(head.body, limits)      # a length, or CHUNKED
    passed = body.feed(data)                  # what goes on: the data, as a chunk where no length was said
    passed = body.finish(trailers)            # the last chunk; raises Malformed if it is not as long as was said

To whoever wants it without chunks it is given so (`decode`).  It satisfies `wire.h1.BodyReader`.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.wire.h1 import CHUNKED, Limits, Malformed, Reason, encode

NO_TRAILERS: Sequence[bytes] = ()


class FramedBody:
    __slots__ = ("_chunks", "_length", "_most", "_size", "done", "trailers")
    left = 0
    """Nothing goes by that is not fed."""
    rest = b""

    def __init__(self, body: int, limits: Limits, *, decode: bool = False) -> None:
        self._length = None if body == CHUNKED else body
        self._most = limits.body
        self._chunks = body == CHUNKED and not decode
        self._size = 0
        self.done = False
        self.trailers = NO_TRAILERS

    def feed(self, data: bytes) -> bytes:
        self._size = size = self._size + len(data)
        length = self._length
        if length is None:
            if self._most is not None and size > self._most:
                raise Malformed(Reason.BODY_TOO_LARGE)
        elif size > length:
            raise Malformed(Reason.BAD_LENGTH)
        return encode.chunk(data) if self._chunks else data

    def finish(self, trailers: Sequence[bytes] = NO_TRAILERS) -> bytes:
        """What ends it; the lines of trailers are proven to be such."""
        self.end()
        self.done = True
        self.trailers = trailers
        if not self._chunks:
            return b""
        return b"0\r\n%b\r\n" % b"".join([b"%b\r\n" % line for line in trailers])

    def end(self) -> None:
        if self._length is not None and self._size != self._length:
            raise Malformed(Reason.CUT_SHORT)
