"""Responses: the mirror image of `request.py`.  How long one is depends on what was asked, so a reader is told.

    reader.expect(b"GET")       before a request of another method, with an offer, or after interim heads
    reader.feed(data)           interim heads (1xx) and then the final one
"""

from __future__ import annotations

import re

from meshproxy.wire.h1 import connection
from meshproxy.wire.h1.connection import HOP_BY_HOP, NO_OPTIONS, Options
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, body_of
from meshproxy.wire.h1.gathering import Gathering, lines_of
from meshproxy.wire.h1.grammar import CRLF, TEXT
from meshproxy.wire.h1.head import MEMO_SLOTS, NOTHING, Head
from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.h1.reader import Reader
from meshproxy.wire.h1.rules import DEFAULT_LIMITS, STRICT, Limits, Strictness
from meshproxy.wire.h1.shape import Kind, Shape, Shapes

FRAMING = frozenset((b"content-length", b"transfer-encoding"))

_parts = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (%b*+))?" % TEXT).fullmatch
_first_line = re.compile(rb"HTTP/[0-9]\.[0-9] ").match


class ResponseHead(Head):
    __slots__ = ("block", "phrase", "status")

    block: bytes | None
    """What goes on in HTTP/2 if nothing is to be changed, once somebody has asked for that."""

    def __init__(
        self,
        raw: bytes,
        shape: Shape,
        lines: list[bytes] | None,
        plain: bytes | None,
        minor: int,
        body: int,
        keep_alive: bool,
        status: int,
        phrase: bytes,
        upgrade: bytes | None = None,
        named: frozenset[bytes] = NOTHING,
    ) -> None:
        self.decision = self.block = None
        self.raw = raw
        self.shape = shape
        self._lines = lines
        self.minor = minor
        self.body = body
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self._named = named
        self.status = status
        self.phrase = phrase
        self.plain = self._written(NOTHING, last=False) if plain is None else plain

    @property
    def interim(self) -> bool:
        """Whether another head follows as the answer to the same request."""
        return self.status < 200 and self.status != 101

    def opening(self, *, without: frozenset[bytes] = NOTHING, last: bool = False) -> bytes:
        """The head for the next hop but for the empty line: whole lines may follow, of `encode.lines`.

        `without` are names in lower case; `last`: of repeated fields but cookies the last alone goes on.
        """
        last = last and self.shape.repeats
        return self._written(without, last) if last or self.shape.has_any(without) else self.plain

    def _written(self, without: frozenset[bytes], last: bool) -> bytes:
        kept = self.shape.keep(self.lines, self._named | without, last=last)
        if self.upgrade is not None:
            kept += self._switch()
        return b"HTTP/1.1 %d %b\r\n%b" % (self.status, self.phrase, kept)

    def forward(self, *, without: frozenset[bytes] = NOTHING, added: bytes = b"", last: bool = False) -> bytes:
        """All of the head for the next hop."""
        return self.opening(without=without, last=last) + added + CRLF


class ResponseCodec:
    def __init__(self, limits: Limits = DEFAULT_LIMITS, strictness: Strictness = STRICT) -> None:
        self.limits = limits
        self.strictness = strictness
        first_line = rb"HTTP/1\.1 ([2-5][0-9][0-9]) (%b*+)\r\n" % TEXT
        self.shapes = Shapes(Kind(first_line, HOP_BY_HOP, needs_host=False, underscores=True), limits.fields)
        self.memory: list[ResponseHead | None] = [None] * MEMO_SLOTS
        self.no_memory: list[ResponseHead | None] = [None] * MEMO_SLOTS
        """For answers whose framing is not in their head; nothing is ever put here."""
        self.numbers: Memo[int] = Memo(int)
        self.options: Memo[Options] = Memo(connection.parse)
        self.plain_size = min(limits.line, limits.head)
        """A head that is no longer than this is within both limits."""

    def reader(self) -> ResponseReader:
        return ResponseReader(self)

    def parse(self, raw: bytes, method: bytes = b"GET", upgrade: bytes | None = None) -> ResponseHead:
        """A whole head, read line by line: the answer to this method, and to the offer of this protocol."""
        lines = lines_of(raw, self.limits, self.strictness)
        minor, status, phrase = self.parse_line(lines.pop(0))
        shape = self.shapes.of(lines)
        body = body_of(shape, lines, minor, UNTIL_CLOSE)
        value = shape.value(lines, b"connection")
        options = NO_OPTIONS if value is None else self.options[value]
        named = options.named
        switched = None
        if status == 101:
            switched = self._switched(shape, lines, options, minor, upgrade)
        if status < 200 or status == 204:
            # Neither has a body or may say how long it is; the one harmless thing is to say that there is none.
            if body == CHUNKED or body > 0:
                raise Malformed(Reason.BODY_NOT_ALLOWED)
            named |= FRAMING
            body = UNTIL_CLOSE if switched is not None else NO_BODY
        elif method == b"CONNECT" and status < 300:
            named |= FRAMING
            body = UNTIL_CLOSE
        elif method == b"HEAD" or status == 304:
            body = NO_BODY
        return ResponseHead(
            raw, shape, lines, None, minor, body, body != UNTIL_CLOSE and options.lasts[minor],
            status, phrase, switched, named,
        )

    def parse_line(self, line: bytes) -> tuple[int, int, bytes]:
        """The minor version, the status and the reason phrase."""
        found = _parts(line)
        if found is None:
            unsupported = _first_line(line) and not line.startswith((b"HTTP/1.0 ", b"HTTP/1.1 "))
            raise Malformed(Reason.UNSUPPORTED_VERSION if unsupported else Reason.BAD_STATUS_LINE)
        if found[3] is None and not self.strictness.bare_status:
            raise Malformed(Reason.BAD_STATUS_LINE)
        return int(found[1]), int(found[2]), found[3] or b""

    def _switched(
        self, shape: Shape, lines: list[bytes], options: Options, minor: int, upgrade: bytes | None
    ) -> bytes:
        """The protocol of a 101, which must be the one that was offered."""
        value = shape.value(lines, b"upgrade")
        if upgrade is None or value is None or value.lower() != upgrade or not options.upgrade or not minor:
            raise Malformed(Reason.UNASKED_UPGRADE)
        return upgrade


class ResponseReader(Reader[ResponseHead]):
    __slots__ = ("_codec", "_interim", "_method", "_upgrade")

    def __init__(self, codec: ResponseCodec) -> None:
        super().__init__(codec.memory, codec.shapes.latest)
        self._codec = codec
        self._method = b""
        self._interim = 0
        self._upgrade: bytes | None = None
        self.expect(b"GET")

    def expect(self, method: bytes, upgrade: bytes | None = None) -> None:
        """What comes next answers this method, and the offer of this protocol."""
        self._method = method
        self._upgrade = upgrade
        self._interim = 0
        self._usual = None
        # What is remembered and learnt are answers to GET and its like, which are framed by their heads
        self._memory = self._codec.memory if method not in (b"HEAD", b"CONNECT") else self._codec.no_memory

    def _recognised(self, shape: Shape, data: bytes) -> ResponseHead | None:
        codec = self._codec
        recognise = shape.match
        match = recognise(data)
        if match is None or self._memory is not codec.memory:
            return None
        end = match.end()
        groups = match.groups()
        options = codec.options[groups[shape.connection]] if shape.connection else NO_OPTIONS
        status = codec.numbers[groups[1]]
        if end > codec.plain_size or options.named or status == 204:
            return None
        if status == 304:
            body = NO_BODY
        elif shape.length:
            body = codec.numbers[groups[shape.length]]
        else:
            body = CHUNKED if shape.chunked else UNTIL_CLOSE
        pick = shape.pick
        return ResponseHead(
            data[:end], shape, None, groups[0] if pick is None else b"".join(pick(groups)), 1, body,
            body != UNTIL_CLOSE and options.lasts[1], status, groups[2],
        )

    def _memorable(self, head: ResponseHead) -> bool:
        # An answer to HEAD says how long something is that does not follow; others are for one offer, or for nobody
        return self._memory is self._codec.memory and head.status >= 200

    def _parse(self, raw: bytes) -> ResponseHead:
        head = self._codec.parse(raw, self._method, self._upgrade)
        if head.interim:
            self._interim += 1
            if self._interim > self._codec.limits.interim:
                raise Malformed(Reason.TOO_MANY_INTERIM)
        return head

    def _gather(self) -> Gathering:
        codec = self._codec
        return Gathering(codec.limits, codec.strictness, codec.parse_line)
