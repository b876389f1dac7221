"""Calls of gRPC among the exchanges: they say for how long they go on, and are answered with a status of gRPC.

    in_time(head), bounded(head, patience)      # of a head that has `grpc-timeout`
    hurry(x, now)                               # what is left of that goes on with the next attempt
    spoken(x, reply)                            # an answer of ours, as whoever calls understands it
    ending(x, failure)                          # trailers instead of a cut
    counting(stats, "web/0")                    # at its end

Only a head says what is a call, so no other request pays for any of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from meshproxy.core.exchange import Exchange
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.observe.metrics.answers import CallStats
from meshproxy.relay.http import failures
from meshproxy.relay.http.handling import Patience
from meshproxy.wire import grpc
from meshproxy.wire.grpc import MOST_MESSAGE, Status
from meshproxy.wire.h1 import RequestHead
from meshproxy.wire.h1.encode import PHRASES

BAD_TIMEOUT = Failure("bad_grpc_timeout", 400, "DPE")
WEB = "grpc_web"
"""The fact that a call comes from a page: what its answer is called."""
TRAILERS = "grpc_trailers"
"""The fact of what has ended its answer, where that has gone on as a part of the body."""
CONTENT_TYPE = b"application/grpc"

_OF_REASON = {
    failures.DEADLINE.reason: Status.DEADLINE_EXCEEDED,
    failures.REQUEST_TIMEOUT.reason: Status.DEADLINE_EXCEEDED,
    failures.BODY_TOO_LARGE.reason: Status.RESOURCE_EXHAUSTED,
    failures.CLIENT_GONE.reason: Status.CANCELLED,
}
_NOT_OURS = frozenset((b"content-type", b"content-length"))
_timeout_line = re.compile(rb"(?im)^grpc-timeout:[^\r\n]*+\r\n").sub


# How long it may take


def _is_call(head: RequestHead) -> bool:
    kind = head.get(b"content-type")
    return grpc.speaks(kind) or grpc.web(kind) is not None


def in_time(head: RequestHead) -> bool:
    """Whether what it says of time is a time; of what is no call, whatever it says."""
    return grpc.timeout(head.get(b"grpc-timeout") or b"") is not None or not _is_call(head)


def bounded(head: RequestHead, patience: Patience) -> Patience:
    """Within which the caller waits."""
    seconds = grpc.timeout(head.get(b"grpc-timeout") or b"")
    if seconds is None or seconds >= patience.total or not _is_call(head):
        return patience
    return replace(patience, total=seconds, first=min(patience.idle, seconds), over=failures.DEADLINE)


def hurry(x: Exchange, now: float) -> None:
    seconds = grpc.timeout(x.request.get(b"grpc-timeout") or b"")
    if seconds is not None and _is_call(x.request):
        changes = x.request_changes
        changes.lines = _timeout_line(b"", changes.lines)
        changes.set(b"grpc-timeout", grpc.spell_timeout(x.started + min(seconds, x.patience.total) - now))


# What is said


def of_failure(failure: Failure) -> Status:
    return _OF_REASON.get(failure.reason) or grpc.of_http(failure.status)


def spoken(x: Exchange, reply: Reply) -> Reply:
    """A head, and no body; what is no call is answered as it is, and so is one with an answer that speaks gRPC."""
    if grpc.speaks(x.request.get(b"content-type")):
        kind = CONTENT_TYPE
    elif x.noted is not None and WEB in x.noted.facts:
        kind = x.noted.facts[WEB]
    else:
        return reply
    lines = reply.opening.split(b"\r\n")[1:-1]
    fields = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    said = {name.lower(): value for name, value in fields}
    if b"grpc-status" in said:
        return reply
    failure = x.failure
    known = failure is not None and failure.status == reply.status
    status = of_failure(failure) if failure is not None and known else grpc.of_http(reply.status)
    text = reply.body.strip() or PHRASES.get(reply.status, b"")
    trailers = _said(status, text)
    x.trailers = trailers
    kept = [(name, value) for name, value in fields if name.lower() not in _NOT_OURS]
    added = b"".join(b"%b\r\n" % line for line in trailers)
    return Reply(200, [(b"Content-Type", kind), *kept], added=added)


def ending(x: Exchange, failure: Failure) -> Sequence[bytes] | None:
    """Of a call whose answer has begun; None where trailers cannot say how that has ended."""
    response = x.response
    if response is None or response.body >= 0 or not grpc.speaks(response.get(b"content-type")):
        return None
    if not grpc.speaks(x.request.get(b"content-type")):
        return None
    return _said(of_failure(failure), failure.reason.replace("_", " ").encode("ascii"))


def _said(status: Status, text: bytes) -> tuple[bytes, bytes]:
    return b"grpc-status: %d" % status, b"grpc-message: %b" % grpc.message(text[:MOST_MESSAGE])


# How it has ended


def counting(stats: CallStats, route: str) -> Callable[[Exchange], None]:
    """Counts each call of a route."""

    def done(x: Exchange) -> None:
        if _is_call(x.request):
            cluster = x.cluster.name if x.cluster is not None else ""
            stats.count(route, cluster, grpc.method(x.path), status_of(x).word)

    return done


def status_of(x: Exchange) -> Status:
    """At its end."""
    trailers: Sequence[bytes] = getattr(x, "trailers", ())
    if not trailers and x.noted is not None:
        trailers = x.noted.facts.get(TRAILERS, ())
    for line in trailers:
        name, _, value = line.partition(b":")
        if name.lower() == b"grpc-status":
            return grpc.status(value.strip())
    if x.failure is not None:
        return of_failure(x.failure)
    found = x.response.get(b"grpc-status") if x.response is not None else None
    return grpc.of_http(x.status) if found is None else grpc.status(found)
