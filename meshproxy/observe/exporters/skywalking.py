"""Segments of SkyWalking as JSON: `POST /v3/segments`.

A request with its attempts and waits is one segment, whose spans have numbers: so `sw8` has named them to whoever was
asked.  What came in `sw8` is the segment's parent; of what came in other fields only the trace is known there.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.observe.exporters.pairs import Pairs, quoted
from meshproxy.observe.exporters.parts import Parts, literal
from meshproxy.observe.exporters.who import Who
from meshproxy.observe.record import Record
from meshproxy.observe.spans import Part
from meshproxy.observe.trace import NOBODY, Trace
from meshproxy.wire.trace import Segment

HTTP = 49
"""What a span is about: the number of plain HTTP among SkyWalking's components."""
CALLED = {"http.request.method": "http.method", "http.response.status_code": "http.status_code"}
"""By these names its traces are searched."""

_pairs = Pairs('{"key":%s,"value":%s}', '{"key":%s,"value":"%s"}', CALLED)
_SEGMENT = b',{"traceId":%b,"traceSegmentId":"%b"'
_WHO = ',"service":%s,"serviceInstance":%s,"isSizeLimited":false,"spans":['
_TIMES = b'"startTime":%d,"endTime":%d'
_BELOW = b",{" + _TIMES
_PART = ',"spanId":%d,"parentSpanId":%d,"operationName":%s,"spanType":"%s","spanLayer":"%s","componentId":%d'
_REST = ',"isError":%s,"tags":[%s'
_REFERENCE = (
    ',"refs":[{"refType":"CrossProcess","traceId":%s,"parentTraceSegmentId":%s,"parentService":%s,'
    '"parentServiceInstance":%s,"parentEndpoint":%s,"networkAddressUsedAtPeer":%s,"parentSpanId":%d}]'
)


class SkyWalking:
    content_type = "application/json"

    def __init__(self, who: Who) -> None:
        self._more = more = _pairs({"service.version": who.version, **dict(who.tags)})
        segment = _SEGMENT + literal(_WHO % (quoted(who.service), quoted(who.instance)))
        self._parts = Parts(
            _pairs,
            segment + b"{" + _TIMES + b"%b",
            _BELOW,
            request=lambda part: _part(part, -1, "Entry"),
            client=lambda part: f"{_pairs(part.attributes)}{more}]}}",
            attempt=lambda part: f"{_part(part, 0, 'Exit', part.peer or '-')}{more}]}}",
        )

    def render(self, trace: Trace, x: Record, offset: float) -> bytes:
        segment, segment_id, endpoint = trace.segment, trace.segment_id, NOBODY if trace.attempts else trace.endpoint
        if segment is None:
            name, parent = b'"%b"' % (trace.trace_id[16:] if trace.short else trace.trace_id), b""
        else:
            name, parent = quoted(segment.trace).encode("ascii"), _reference(segment)
        template, path, id = self._parts.of(x, endpoint)
        ended = x.started + x.seconds
        start, end = _times(x.started, ended, offset)
        if endpoint is not NOBODY:
            written = template % (
                name, segment_id, start, end, parent, path, id, x.received, x.sent,
                *_times(trace.asked, ended, offset),
            )  # fmt: skip
        else:
            written = template % (name, segment_id, start, end, parent, path, id, x.received, x.sent)
            trace.finish(x)
            for attempt in trace.attempts:
                written += self._parts.tried(x, attempt) % _times(attempt.started, attempt.ended, offset)
        for number, wait in enumerate(trace.waits, trace.number + 1):
            part = _PART % (number, 0, quoted(wait.name), "Local", "Unknown", 0) + _REST % ("false", self._more[1:])
            written += _BELOW % _times(wait.started, wait.ended, offset) + f"{part}]}}".encode("ascii")
        return written + b"]}"

    def join(self, rendered: Sequence[bytes]) -> Sequence[bytes]:
        return b"[", rendered[0][1:], *rendered[1:], b"]"


def _part(part: Part, parent: int, kind: str, peer: str = "") -> str:
    asked = f',"peer":{quoted(peer)}' if peer else ""
    rest = _REST % ("true" if part.error else "false", _pairs(part.attributes)[1:])
    return _PART % (part.number, parent, quoted(part.name), kind, "Http", HTTP) + asked + rest


def _times(started: float, ended: float, offset: float) -> tuple[int, int]:
    """In milliseconds."""
    start = int((started + offset) * 1e3)
    return start, start + max(0, int((ended - started) * 1e3 + 0.5))


def _reference(parent: Segment) -> bytes:
    texts = (parent.trace, parent.id, parent.service, parent.instance, parent.endpoint, parent.peer)
    return (_REFERENCE % (*map(quoted, texts), parent.span)).encode("ascii")
