"""A trace that goes on here."""

from __future__ import annotations

from meshproxy.wire.trace import Context


def continued(came: Context, span_id: bytes) -> Context:
    """Of a span of ours, which is recorded."""
    return Context(came.trace_id, span_id, True, came.random, came.state, came.debug, came.short, came.segment)
