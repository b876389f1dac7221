"""Requests: the first line, what it is addressed to, and what is to follow.

A `RequestCodec` holds what all connections of a listener share: its rules, and what has been learnt.  It gives each of
them a reader.
"""

from __future__ import annotations

import re

from meshproxy.wire.h1 import authority, connection
from meshproxy.wire.h1.authority import NOBODY, Authority
from meshproxy.wire.h1.connection import HOP_BY_HOP, NO_OPTIONS, NOT_FOR_UPSTREAMS, Options
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.framing import CHUNKED, NO_BODY, body_of
from meshproxy.wire.h1.gathering import Gathering, lines_of
from meshproxy.wire.h1.grammar import CRLF, OWS, RAW_TARGET, TARGET, token
from meshproxy.wire.h1.head import MEMO_SLOTS, NOTHING, Head
from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.h1.reader import Gatherer, Reader
from meshproxy.wire.h1.rules import DEFAULT_LIMITS, STRICT, Limits, Strictness
from meshproxy.wire.h1.shape import Kind, Shape, Shapes, respell

WEBSOCKET = frozenset((b"websocket",))

_absolute = re.compile(rb"(?i:https?)://([^/?#]*+)(.*+)", re.DOTALL).fullmatch
_version = re.compile(rb"HTTP/[0-9]\.[0-9]").fullmatch


class RequestHead(Head):
    __slots__ = ("authority", "expect_continue", "method", "target", "told")

    def __init__(
        self,
        raw: bytes,
        shape: Shape,
        lines: list[bytes] | None,
        plain: bytes | None,
        minor: int,
        body: int,
        keep_alive: bool,
        method: bytes,
        target: bytes,
        addressed: Authority,
        upgrade: bytes | None = None,
        named: frozenset[bytes] = NOTHING,
        expect_continue: bool = False,
    ) -> None:
        self.decision = self.told = None
        self.raw = raw
        self.shape = shape
        self._lines = lines
        self.minor = minor
        self.body = body
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self._named = named
        self.method = method
        self.target = target
        """A path with its query, also where the request had it in absolute form; `*`; or for CONNECT the authority."""
        self.authority = addressed
        self.expect_continue = expect_continue
        self.plain = self._written(target, NOTHING, last=False) if plain is None else plain

    def opening(
        self, *, target: bytes | None = None, without: frozenset[bytes] = NOTHING, last: bool = False
    ) -> bytes:
        """The head for the next hop but for the empty line: whole lines may follow, of `encode.lines`.

        `without` are names in lower case; `last`: of repeated fields but cookies the last alone goes on.
        """
        last = last and self.shape.repeats
        if (target is None or target == self.target) and not last and not self.shape.has_any(without):
            return self.plain
        return self._written(target or self.target, without, last)

    def _written(self, target: bytes, without: frozenset[bytes], last: bool) -> bytes:
        kept = self.shape.keep(self.lines, self._named | without, last=last)
        if self.upgrade is not None:
            kept += self._switch()
        if b"host" not in self.shape.positions and b"host" not in without:
            # Perhaps an empty one, which is what RFC 9112 3.2 wants where nobody knows
            kept += b"Host: %b\r\n" % self.authority.text
        return b"%b %b HTTP/1.1\r\n%b" % (self.method, target, kept)

    def forward(self, *, target: bytes | None = None, without: frozenset[bytes] = NOTHING, added: bytes = b"") -> bytes:
        """All of the head for the next hop."""
        return self.opening(target=target, without=without) + added + CRLF


UNREAD = RequestHead(
    CRLF + CRLF, Shape((), Kind(b"", NOTHING, needs_host=False, underscores=False)), [], b"", 1, NO_BODY, False,
    b"", b"", NOBODY,
)  # fmt: skip
"""In the place of a request that could not be read."""


class RequestCodec:
    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        strictness: Strictness = STRICT,
        upgrades: frozenset[bytes] = WEBSOCKET,
        without: frozenset[bytes] = NOTHING,
    ) -> None:
        """`without` are fields, in lower case, that never go on."""
        self.limits = limits
        self.strictness = strictness
        self.upgrades = upgrades
        """The protocols, in lower case, that a connection may change to."""
        target = RAW_TARGET if strictness.raw_target else TARGET
        first_line = rb"(?!CONNECT )([A-Z]+) (%b) HTTP/1\.1\r\n" % target
        dropped = HOP_BY_HOP | NOT_FOR_UPSTREAMS | without
        kind = Kind(first_line, dropped, needs_host=True, underscores=strictness.underscores)
        self.shapes = Shapes(kind, limits.fields)
        self.memory: list[RequestHead | None] = [None] * MEMO_SLOTS
        self.numbers: Memo[int] = Memo(int)
        self.options: Memo[Options] = Memo(connection.parse)
        self.authorities: Memo[Authority] = Memo(authority.parse)
        self._target = re.compile(target).fullmatch
        self.plain_size = min(limits.line, limits.head)
        """A head that is no longer than this is within both limits."""

    def reader(self) -> RequestReader:
        return RequestReader(self)

    def parse(self, raw: bytes) -> RequestHead:
        """A whole head, read line by line."""
        lines = lines_of(raw, self.limits, self.strictness)
        method, target, named_by_target, minor = self.parse_line(lines.pop(0))
        shape = self.shapes.of(lines)
        addressed = self._addressed(shape, lines, named_by_target, minor)
        body = body_of(shape, lines, minor, NO_BODY)
        self.refuse_large(body)
        value = shape.value(lines, b"connection")
        options = NO_OPTIONS if value is None else self.options[value]
        upgrade = self._upgrade(shape, lines, options, minor)
        if body and (upgrade is not None or method == b"CONNECT"):
            raise Malformed(Reason.BODY_NOT_ALLOWED)
        # Whoever asks for a tunnel may send at once what is for its far end, and is no request.
        lasts = options.lasts[minor] and method != b"CONNECT"
        return RequestHead(
            raw, shape, lines, None, minor, body, lasts, method, target,
            addressed, upgrade, options.named, self._expects(shape, lines, minor),
        )

    def parse_line(self, line: bytes) -> tuple[bytes, bytes, Authority | None, int]:
        """Method, target, the authority that the target names, and the minor version."""
        words = line.split(b" ")
        if len(words) != 3:
            raise Malformed(Reason.BAD_REQUEST_LINE)
        method, target, version = words
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise Malformed(Reason.UNSUPPORTED_VERSION if _version(version) else Reason.BAD_REQUEST_LINE)
        if token(method) is None:
            raise Malformed(Reason.BAD_METHOD)
        return method, *self._parse_target(method, target), version[-1] - ord("0")

    def _parse_target(self, method: bytes, target: bytes) -> tuple[bytes, Authority | None]:
        if method == b"CONNECT":
            addressed = self._authority_form(target)
            return target, addressed
        if self._target(target):
            return target, None
        if target == b"*":
            if method != b"OPTIONS":
                raise Malformed(Reason.WRONG_TARGET_FORM)
            return target, None
        found = _absolute(target)
        if found is None:
            raise Malformed(Reason.BAD_TARGET if target.startswith(b"/") else Reason.WRONG_TARGET_FORM)
        path: bytes = found[2]
        if not path and method == b"OPTIONS":
            return b"*", self.authorities[found[1]]
        if not path.startswith(b"/"):
            path = b"/" + path
        if self._target(path) is None:
            raise Malformed(Reason.BAD_TARGET)
        return path, self.authorities[found[1]]

    def _authority_form(self, target: bytes) -> Authority:
        try:
            addressed = self.authorities[target]
        except Malformed:
            raise Malformed(Reason.WRONG_TARGET_FORM) from None
        if addressed.port is None:
            raise Malformed(Reason.WRONG_TARGET_FORM)
        return addressed

    def _addressed(
        self, shape: Shape, lines: list[bytes], named_by_target: Authority | None, minor: int
    ) -> Authority:
        host = shape.value(lines, b"host")
        if host is None:
            if minor:
                raise Malformed(Reason.MISSING_HOST)
            return named_by_target or NOBODY
        addressed = self.authorities[host]
        if named_by_target not in (None, addressed):
            raise Malformed(Reason.HOST_MISMATCH)
        respell(shape, lines, b"host", host)
        return addressed

    def refuse_large(self, body: int) -> None:
        if self.limits.body is not None and body > self.limits.body:
            raise Malformed(Reason.BODY_TOO_LARGE)

    def _upgrade(self, shape: Shape, lines: list[bytes], options: Options, minor: int) -> bytes | None:
        """The first protocol offered that is admitted; an offer of others is as if it were not there."""
        offered = shape.value(lines, b"upgrade")
        if offered is None or not options.upgrade or not minor:
            return None
        names = (part.strip(OWS).lower() for part in offered.split(b","))
        return next((name for name in names if name in self.upgrades), None)

    def _expects(self, shape: Shape, lines: list[bytes], minor: int) -> bool:
        expected = shape.value(lines, b"expect")
        if expected is None:
            return False
        if expected.lower() != b"100-continue":
            raise Malformed(Reason.UNKNOWN_EXPECTATION)
        return minor > 0


class RequestReader(Reader[RequestHead]):
    __slots__ = ("_codec",)

    def __init__(self, codec: RequestCodec) -> None:
        super().__init__(codec.memory, codec.shapes.latest)
        self._codec = codec

    def _recognised(self, shape: Shape, data: bytes) -> RequestHead | None:
        codec = self._codec
        recognise = shape.match
        match = recognise(data)
        if match is None:
            return None
        end = match.end()
        groups = match.groups()
        options = codec.options[groups[shape.connection]] if shape.connection else NO_OPTIONS
        if end > codec.plain_size or options.named:
            return None
        if shape.length:
            body = codec.numbers[groups[shape.length]]
            codec.refuse_large(body)
        else:
            body = CHUNKED if shape.chunked else NO_BODY
        pick = shape.pick
        return RequestHead(
            data[:end], shape, None, groups[0] if pick is None else b"".join(pick(groups)), 1, body,
            options.lasts[1], groups[1], groups[2], codec.authorities[groups[shape.host]],
        )

    def _memorable(self, head: RequestHead) -> bool:
        return head.target.find(b"?") < 0

    def _parse(self, raw: bytes) -> RequestHead:
        return self._codec.parse(raw)

    def _gather(self) -> Gatherer:
        codec = self._codec
        return Gathering(codec.limits, codec.strictness, codec.parse_line, skips_empty_lines=True)
