"""A request as it is shown to a person: plain data, bounded, and without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meshproxy.observe.flags import words
from meshproxy.observe.record import Record
from meshproxy.observe.redact import cut, fields, target

LONGEST = 256
"""Characters of a name that came from outside."""

Row = dict[str, Any]


def seen(record: Record, offset: float) -> Row:
    """`offset` is what the clock of the loop lacks to Unix time."""
    request, origin, handling, endpoint = record.request, record.origin, record.handling, record.endpoint
    peer, failure, trace = origin.peer, record.failure, record.trace
    began = datetime.fromtimestamp(record.started + offset, UTC)
    row = {
        "time": began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "listener": handling.listener,
        "route": handling.route,
        "cluster": endpoint.cluster,
        "endpoint": endpoint.name,
        "client": origin.client or "unix",
        "identity": cut(peer.identity, LONGEST) if peer is not None else "",
        "method": _text(request.method),
        "authority": _text(request.authority.text),
        "path": target(request.target),
        "protocol": record.protocol,
        "status": record.status,
        "flags": record.flags.split(",") if record.flags else [],
        "words": list(words(record.flags)),
        "reason": failure.reason if failure is not None else "",
        "ms": round(record.seconds * 1000, 3),
        "attempts": record.attempts,
        "request_id": _text(record.id),
        "trace_id": _text(trace.trace_id) if trace is not None else "",
        "received_bytes": record.received,
        "sent_bytes": record.sent,
    }
    if record.session is not None:
        # Not the user: where nobody is asked for a password, that may be a name that is one.
        row["mqtt_client_id"] = cut(record.session.client_id, LONGEST)
    return row


def heads(record: Record) -> Row:
    """What the client has asked with, and what the endpoint has answered with."""
    response = record.response
    return {
        "request_headers": fields(record.request.fields),
        "response_headers": fields(response.fields) if response is not None else [],
    }


def _text(raw: bytes) -> str:
    return cut(raw.decode("latin-1"), LONGEST)
