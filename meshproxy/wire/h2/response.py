"""Responses: from a block of fields to the head that the same answer would have had over HTTP/1.1.

    responses = Responses(limits)                          one for a cluster
    head = responses.head(block, last, b"GET")             interim heads (1xx) and then the final one; raises Malformed

As with requests, what such a head writes is one HTTP/1.1 answer: a body without a length is said to come in chunks, and
where there is none, that is said.
"""

from __future__ import annotations

from meshproxy.wire.h1.connection import HOP_BY_HOP
from meshproxy.wire.h1.encode import PHRASES
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, content_length
from meshproxy.wire.h1.head import NOTHING
from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.h1.response import FRAMING, ResponseHead
from meshproxy.wire.h1.rules import DEFAULT_LIMITS, Limits
from meshproxy.wire.h1.shape import Kind, Shape, respell
from meshproxy.wire.h2.form import (
    CHUNKED_LINE,
    NOWHERE,
    Form,
    Forms,
    Names,
    Values,
    meanings,
    refuse_bad_values,
)
from meshproxy.wire.hpack import Block

_PSEUDO = frozenset((b":status",))
_STATUSES = {b"%d" % status: status for status in range(100, 600)}
_ACCEPT_NAME = b"Sec-WebSocket-Accept"
_ACCEPT = _ACCEPT_NAME.lower()
_EMPTY_LINE = b"Content-Length: 0"
_KIND = Kind(b"", HOP_BY_HOP, needs_host=False, underscores=True)


class ResponseForm(Form):
    __slots__ = ("chunked", "empty", "length", "shape")

    def __init__(self, names: Names, shapes: Forms[Shape], limits: Limits) -> None:
        super().__init__(names, _PSEUDO, limits)
        if not self.start:
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        self.length = self.only(b"content-length", Reason.REPEATED_LENGTH)
        self.shape = self.chunked = self.empty = shapes[self.names]
        if self.length == NOWHERE:
            self.chunked = shapes[(*self.names, b"Transfer-Encoding")]
            self.empty = shapes[(*self.names, b"Content-Length")]


class Responses:
    """What all connections to a cluster share."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        shapes = self._shapes = Forms(lambda names: Shape(names, _KIND))
        self._forms = Forms(lambda names: ResponseForm(names, shapes, limits))
        self._lengths: Memo[int] = Memo(content_length)

    def head(self, block: Block, last: bool, method: bytes) -> ResponseHead:
        """What answers a request with this method; `last`: nothing follows."""
        usual = method not in (b"HEAD", b"CONNECT")
        known = block.meaning or meanings(block)
        head: ResponseHead | None = known[last] if usual else None
        if head is not None:
            return head
        if not block.fields:
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        names, values, lines = zip(*block.fields, strict=True)
        form = self._forms[names]
        refuse_bad_values(values, lines, self.limits)
        head = self._read(form, values, [*lines[1:]], last, method)
        if usual and not head.shape.secret:
            known[last] = head
        return head

    def switched(self, head: ResponseHead, protocol: bytes, accept: bytes | None) -> ResponseHead:
        """What a 200 that has let a stream become another protocol (RFC 8441) is in HTTP/1.1."""
        kept = [(name, line) for name, line in zip(head.shape.names, head.lines, strict=True) if name != _ACCEPT]
        if accept is not None:
            kept.append((_ACCEPT_NAME, b"%b: %b" % (_ACCEPT_NAME, accept)))
        shape = self._shapes[tuple([name for name, _ in kept])]
        lines = [line for _, line in kept]
        return ResponseHead(
            b"", shape, lines, None, 1, UNTIL_CLOSE, False, 101, b"Switching Protocols", protocol, FRAMING
        )

    def _read(self, form: ResponseForm, values: Values, lines: list[bytes], last: bool, method: bytes) -> ResponseHead:
        status = _STATUSES.get(values[0])
        if status is None:
            raise Malformed(Reason.BAD_STATUS_LINE)
        shape, named, body = form.shape, NOTHING, NO_BODY
        length = None if form.length < 0 else self._lengths[values[form.length]]
        if length is not None:
            respell(shape, lines, b"content-length", b"%d" % length)
        if status < 200:
            _refuse_impossible(status, last)
        if status < 200 or status == 204:
            if length:
                raise Malformed(Reason.BODY_NOT_ALLOWED)
            named = FRAMING
        elif method == b"CONNECT" and status < 300:
            named, body = FRAMING, UNTIL_CLOSE
        elif method == b"HEAD" or status == 304:
            pass
        elif length is not None:
            if last and length:
                raise Malformed(Reason.BAD_LENGTH)
            body = length
        elif last:
            shape = form.empty
            lines.append(_EMPTY_LINE)
        else:
            shape, body = form.chunked, CHUNKED
            lines.append(CHUNKED_LINE)
        phrase = PHRASES.get(status, b"")
        plain = b"HTTP/1.1 %d %b\r\n%b" % (status, phrase, shape.keep(lines, named))
        return ResponseHead(b"", shape, lines, plain, 1, body, body != UNTIL_CLOSE, status, phrase, None, named)


def _refuse_impossible(status: int, last: bool) -> None:
    if status == 101:
        raise Malformed(Reason.UNASKED_UPGRADE)
    if last:
        raise Malformed(Reason.CUT_SHORT)
