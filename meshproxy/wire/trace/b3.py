"""B3, as Zipkin's libraries propagate it: all in one field `b3`, or in several that begin with `x-b3-`.

    came = B3().extract({b"b3": b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d"}.get)
    came.sampled, came.debug                # True, True
    B3().extract({b"b3": b"0"}.get)         # a decision without a trace: `trace_id` is empty

Ids of traces have 64 or 128 bits, and go on with as many as they came with.  A repeated field is malformed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from meshproxy.wire.trace.context import Context, Hop, spread

SINGLE = b"b3"
TRACE, SPAN, PARENT = b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"
SAMPLED, FLAGS = b"x-b3-sampled", b"x-b3-flags"
NO_UPPER_HALF = b"0" * 16

_STATES: dict[bytes | None, tuple[bool | None, bool]] = {
    None: (None, False),
    b"0": (False, False),
    b"1": (True, False),
    b"d": (True, True),
}
"""Sampled, debug."""
_SAID = {
    None: _STATES[None], b"0": _STATES[b"0"], b"1": _STATES[b"1"], b"false": _STATES[b"0"], b"true": _STATES[b"1"]
}
"""In a field of its own; the words are of tracers that are older than the specification."""

_TRACE, _SPAN = rb"(?!0+(?:-|\Z))[0-9a-f]{16}(?:[0-9a-f]{16})?", rb"(?!0{16})[0-9a-f]{16}"
_read = re.compile(rb"(%b)-(%b)(?:-([01d]))?(?:-%b)?|([01d])" % (_TRACE, _SPAN, _SPAN)).fullmatch
_is_trace = re.compile(_TRACE).fullmatch
_is_span = re.compile(_SPAN).fullmatch


class B3:
    names = frozenset((SINGLE,))
    glance = None

    def extract(self, get: Callable[[bytes], bytes | None]) -> Context | None:
        value = get(SINGLE)
        found = _read(value) if value is not None else None
        if found is None:
            return None
        trace_id, span_id, state, alone = found.groups()
        if trace_id is None:
            return _decision(*_STATES[alone])
        return _context(trace_id, span_id, *_STATES[state])

    def inject(self, context: Context, hop: Hop) -> bytes:
        state = b"d" if context.debug else b"1" if context.sampled else b"0"
        return b"b3: %b-%b-%b-%b\r\n" % (_trace(context), hop.below, state, context.span_id)

    def unsampled(self, ids: Sequence[bytes]) -> list[bytes]:
        return spread(b"b3: %b-%b-0\r\n", ids)


class B3Multi:
    names = frozenset((TRACE, SPAN, PARENT, SAMPLED, FLAGS))
    glance = None

    def extract(self, get: Callable[[bytes], bytes | None]) -> Context | None:
        trace_id, span_id, parent, said = get(TRACE), get(SPAN), get(PARENT), get(SAMPLED)
        if said not in _SAID:
            return None
        sampled, debug = (True, True) if get(FLAGS) == b"1" else _SAID[said]
        if trace_id is None and span_id is None and parent is None:
            return _decision(sampled, debug) if sampled is not None else None
        if trace_id is None or span_id is None or not _is_trace(trace_id) or not _is_span(span_id):
            return None
        if parent is not None and not _is_span(parent):
            return None
        return _context(trace_id, span_id, sampled, debug)

    def inject(self, context: Context, hop: Hop) -> bytes:
        return b"x-b3-traceid: %b\r\nx-b3-spanid: %b\r\nx-b3-parentspanid: %b\r\n%b" % (
            _trace(context),
            hop.below,
            context.span_id,
            b"x-b3-flags: 1\r\n" if context.debug else b"x-b3-sampled: %d\r\n" % bool(context.sampled),
        )

    def unsampled(self, ids: Sequence[bytes]) -> list[bytes]:
        return spread(b"x-b3-traceid: %b\r\nx-b3-spanid: %b\r\nx-b3-sampled: 0\r\n", ids)


def _decision(sampled: bool | None, debug: bool) -> Context:
    return Context(b"", b"", sampled, debug=debug)


def _context(trace_id: bytes, span_id: bytes, sampled: bool | None, debug: bool) -> Context:
    short = len(trace_id) == len(NO_UPPER_HALF)
    return Context(NO_UPPER_HALF + trace_id if short else trace_id, span_id, sampled, debug=debug, short=short)


def _trace(context: Context) -> bytes:
    return context.trace_id[16:] if context.short else context.trace_id
