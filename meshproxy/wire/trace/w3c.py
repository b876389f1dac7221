"""W3C Trace Context, Level 2: `traceparent` and `tracestate`.

    came = W3c().extract({b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"}.get)
    came.sampled, came.random               # True, True

A `traceparent` that breaks a rule is as good as none, and its `tracestate` with it.  A `tracestate` that breaks one is
left out, and the trace goes on without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from meshproxy.wire.trace.context import Context, Hop, spread
from meshproxy.wire.trace.glance import Glance

PARENT, STATE = b"traceparent", b"tracestate"
MOST_MEMBERS = 32
LONGEST_STATE = 32 * 515
"""Of all the members that there may be, at their longest, each with its comma and a blank."""

_read = re.compile(
    rb"(?!ff)(?:00|([0-9a-f]{2}))-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(-.*)?", re.DOTALL
).fullmatch
_member = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[ !-+\--<>-~]{0,255}[!-+\--<>-~]").fullmatch
_FLAGS = {b"%x" % flags: (bool(flags & 1), bool(flags & 2)) for flags in range(16)}
"""Sampled, random; others are for later versions, and not passed on."""


class W3c:
    names = frozenset((PARENT, STATE))
    glance = Glance(
        PARENT,
        b"00-%b-%b-0F" % (b"T" * 32, b"S" * 16),
        [flags for flags, (sampled, _) in _FLAGS.items() if not sampled],
        lambda trace_id, span_id, flags: Context(trace_id, span_id, *_FLAGS[flags]),
    )

    def extract(self, get: Callable[[bytes], bytes | None]) -> Context | None:
        value = get(PARENT)
        found = _read(value) if value is not None else None
        if found is None:
            return None
        later, trace_id, span_id, flags, more = found.groups()
        if more is not None and later is None:
            return None  # only of versions to come there may be more
        sampled, random = _FLAGS[flags]
        return Context(trace_id, span_id, sampled, random, get(STATE))

    def inject(self, context: Context, hop: Hop) -> bytes:
        flags = (1 if context.sampled else 0) | (2 if context.random else 0)
        parent = b"traceparent: 00-%b-%b-0%d\r\n" % (context.trace_id, hop.below, flags)
        if context.state is None:
            return parent
        state = tidy(context.state)
        return b"%btracestate: %b\r\n" % (parent, state) if state else parent

    def unsampled(self, ids: Sequence[bytes]) -> list[bytes]:
        return spread(b"traceparent: 00-%b-%b-02\r\n", ids)


def tidy(state: bytes) -> bytes:
    """A `tracestate` of perhaps several fields as one, without what is empty in it; empty if it breaks a rule.

    Members that are there twice stay: they are not ours to choose from.
    """
    if len(state) > LONGEST_STATE:
        return b""
    members = [member for part in state.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > MOST_MEMBERS or not all(map(_member, members)):
        return b""
    return b",".join(members)
