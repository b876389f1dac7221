"""Requests: from a block of fields to the head that the same request would have had over HTTP/1.1.

    requests = Requests(limits, strictness, upgrades, key=lambda: os.urandom(16))     one for a listener
    head = requests.head(block, last)                                                 raises Malformed

What such a head writes is proven to be one HTTP/1.1 request, so everything behind may go by it, and an upstream that
speaks HTTP/1.1 can be given it.  A body without a length is said to come in chunks; `:authority` has become `Host`, the
first line; and who asks for a WebSocket has asked for an upgrade.  `raw` of such a head is empty: it never was bytes.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from operator import itemgetter

from meshproxy.wire.h1 import authority
from meshproxy.wire.h1.authority import Authority
from meshproxy.wire.h1.connection import HOP_BY_HOP, NOT_FOR_UPSTREAMS
from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.framing import CHUNKED, NO_BODY, content_length
from meshproxy.wire.h1.grammar import RAW_TARGET, TARGET, token
from meshproxy.wire.h1.head import NOTHING
from meshproxy.wire.h1.memo import Memo
from meshproxy.wire.h1.request import WEBSOCKET, RequestHead
from meshproxy.wire.h1.rules import DEFAULT_LIMITS, STRICT, Limits, Strictness
from meshproxy.wire.h1.shape import Kind, Shape, respell
from meshproxy.wire.h2.form import CHUNKED_LINE, NOWHERE, Form, Forms, Names, Values, meanings, refuse_bad_values
from meshproxy.wire.hpack import Block

_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority", b":protocol"))
_SCHEMES = frozenset((b"http", b"https"))
Pick = Callable[[tuple[bytes, ...]], tuple[bytes, ...]]

_AROUND_TARGET = len(b"  HTTP/1.1\r\n")
_KEY = b"sec-websocket-key"


class RequestForm(Form):
    __slots__ = (
        "authority", "chunked", "cookies", "crumbs", "host", "length", "method", "path", "pick", "protocol", "rare",
        "scheme", "shape",
    )

    def __init__(self, names: Names, shapes: Forms[Shape], limits: Limits) -> None:
        super().__init__(names, _PSEUDO, limits)
        self.method, self.scheme, self.path, self.authority, self.protocol = (
            self.places.get(name, NOWHERE) for name in (b":method", b":scheme", b":path", b":authority", b":protocol")
        )
        self._refuse_incomplete()
        self.host = self.only(b"host", Reason.REPEATED_HOST)
        self.length = self.only(b"content-length", Reason.REPEATED_LENGTH)
        if self.host == self.authority:
            raise Malformed(Reason.MISSING_HOST)
        self.cookies = [index for index, name in enumerate(names) if name == b"cookie"]
        left_out = {self.host, *self.cookies[1:]}
        choice = [index for index in range(self.start, len(names)) if index not in left_out]
        self.pick = _picking(choice)
        """Takes, of all lines, those that there would be in HTTP/1.1, but for the first."""
        kept = (b"Host", *self.pick(names))
        self.crumbs = kept.index(b"cookie") if len(self.cookies) > 1 else NOWHERE
        """Which of these lines is to have all parts of the cookie."""
        self.shape = shapes[kept]
        self.chunked = self.shape if self.length >= 0 else shapes[(*kept, b"Transfer-Encoding")]
        self.rare = not {b"te", b"expect"}.isdisjoint(kept)

    def _refuse_incomplete(self) -> None:
        if self.method < 0 or (self.scheme < 0) != (self.path < 0):
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        if self.path < 0 and (self.protocol >= 0 or self.authority < 0):
            raise Malformed(Reason.BAD_PSEUDO_HEADER)


def _picking(places: list[int]) -> Pick:
    if len(places) > 1 and places[-1] - places[0] >= len(places):
        return itemgetter(*places)
    # Of neighbours, one or none: a slice is faster, and always a tuple
    first = places[0] if places else 0
    return itemgetter(slice(first, first + len(places)))


class Requests:
    """What all connections of a listener share: its rules, and what has been learnt."""

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        strictness: Strictness = STRICT,
        upgrades: frozenset[bytes] = WEBSOCKET,
        without: frozenset[bytes] = NOTHING,
        *,
        key: Callable[[], bytes],
    ) -> None:
        """`without` are fields, in lower case, that never go on; `key` gives 16 bytes of chance."""
        self.limits = limits
        self.upgrades = upgrades
        """The protocols, in lower case, that a stream may become."""
        self._key = key
        # `te` has lost its dangers here, and gRPC asks for it
        dropped = (HOP_BY_HOP - {b"te"}) | NOT_FOR_UPSTREAMS | without
        kind = Kind(b"", dropped, needs_host=True, underscores=strictness.underscores)
        shapes = self._shapes = Forms(lambda names: Shape(names, kind))
        self._forms = Forms(lambda names: RequestForm(names, shapes, limits))
        self._target = re.compile(RAW_TARGET if strictness.raw_target else TARGET).fullmatch
        self._methods: Memo[bytes] = Memo(_method)
        self._lengths: Memo[int] = Memo(content_length)
        self._authorities: Memo[Authority] = Memo(authority.parse)

    def head(self, block: Block, last: bool) -> RequestHead:
        """`last`: nothing follows."""
        known = block.meaning or meanings(block)
        head: RequestHead | None = known[last]
        if head is not None:
            return head
        if not block.fields:
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        names, values, lines = zip(*block.fields, strict=True)
        form = self._forms[names]
        refuse_bad_values(values, lines, self.limits)
        head = self._read(form, values, lines, last)
        if head.upgrade is None and not head.shape.secret:
            known[last] = head
        return head

    def _read(self, form: RequestForm, values: Values, lines: tuple[bytes, ...], last: bool) -> RequestHead:
        method = self._methods[values[form.method]]
        text, addressed = self._addressed(form, values)
        pick = form.pick
        whole = [b"Host: " + text, *pick(lines)]
        if form.crumbs >= 0:
            whole[form.crumbs] = b"cookie: " + b"; ".join(filter(None, [values[index] for index in form.cookies]))
        shape, body = form.shape, NO_BODY
        if form.length >= 0:
            body = self._length(values[form.length], last)
            respell(shape, whole, b"content-length", b"%d" % body)
        expects = form.rare and _expects(shape, whole)
        if method == b"CONNECT":
            if body:
                raise Malformed(Reason.BODY_NOT_ALLOWED)
            return self._connected(form, values, whole, text, addressed, expects)
        if form.path < 0 or form.protocol >= 0:
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        target = self._targeted(form, values, method)
        if form.length < 0 and not last:
            shape, body = form.chunked, CHUNKED
            whole.append(CHUNKED_LINE)
        plain = b"%b %b HTTP/1.1\r\n%b" % (method, target, shape.keep(whole, NOTHING))
        return RequestHead(
            b"", shape, whole, plain, 1, body, True, method, target, addressed, None, NOTHING, expects
        )

    def _addressed(self, form: RequestForm, values: Values) -> tuple[bytes, Authority]:
        if form.authority < 0:
            text = values[form.host]
            return text, self._authorities[text]
        text = values[form.authority]
        addressed = self._authorities[text]
        if form.host >= 0 and self._authorities[values[form.host]] != addressed:
            raise Malformed(Reason.HOST_MISMATCH)
        return text, addressed

    def _length(self, value: bytes, last: bool) -> int:
        length = self._lengths[value]
        if last and length:
            raise Malformed(Reason.BAD_LENGTH)
        if self.limits.body is not None and length > self.limits.body:
            raise Malformed(Reason.BODY_TOO_LARGE)
        return length

    def _targeted(self, form: RequestForm, values: Values, method: bytes) -> bytes:
        if values[form.scheme] not in _SCHEMES:
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        target = values[form.path]
        if len(method) + len(target) + _AROUND_TARGET > self.limits.line:
            raise Malformed(Reason.LINE_TOO_LONG)
        if self._target(target) is None and (target != b"*" or method != b"OPTIONS"):
            raise Malformed(Reason.BAD_TARGET if target[:1] == b"/" else Reason.WRONG_TARGET_FORM)
        return target

    def _connected(
        self, form: RequestForm, values: Values, whole: list[bytes], text: bytes, addressed: Authority, expects: bool
    ) -> RequestHead:
        """For a tunnel, or for a stream that is to become another protocol (RFC 8441)."""
        target, upgrade = text, None
        if form.path < 0:
            if addressed.port is None:
                raise Malformed(Reason.WRONG_TARGET_FORM)
        elif form.protocol < 0:
            raise Malformed(Reason.BAD_PSEUDO_HEADER)
        else:
            target = self._targeted(form, values, b"GET")
            upgrade = values[form.protocol].lower()
        if upgrade not in self.upgrades:
            # One that is not admitted has its path as its target: that is how it is told from a tunnel
            return RequestHead(
                b"", form.shape, whole, None, 1, NO_BODY, True, b"CONNECT", target, addressed, None, NOTHING, expects
            )
        names, added = form.shape.names, [b"Connection: Upgrade", b"Upgrade: " + upgrade]
        if upgrade == b"websocket":
            # Here it is for us to have a key; who has said one has said it in vain
            whole = [line for name, line in zip(names, whole, strict=True) if name != _KEY]
            names = tuple([name for name in names if name != _KEY])
            added.append(b"Sec-WebSocket-Key: " + b64encode(self._key()))
        shape = self._shapes[names + tuple([line.partition(b":")[0] for line in added])]
        return RequestHead(
            b"", shape, whole + added, None, 1, NO_BODY, True, b"GET", target, addressed, upgrade, NOTHING, expects
        )


def _expects(shape: Shape, lines: list[bytes]) -> bool:
    """Whether an interim answer is awaited; and what two rare fields say is what they may say."""
    te, expected = shape.value(lines, b"te"), shape.value(lines, b"expect")
    if te is not None and te.lower() != b"trailers":
        raise Malformed(Reason.CONNECTION_FIELD)
    if expected is not None and expected.lower() != b"100-continue":
        raise Malformed(Reason.UNKNOWN_EXPECTATION)
    return expected is not None


def _method(method: bytes) -> bytes:
    if token(method) is None:
        raise Malformed(Reason.BAD_METHOD)
    return method
