"""OTLP over HTTP as JSON, what OpenTelemetry's collector, Jaeger and Tempo take: `POST /v1/traces`.

Ids are in hexadecimal, 64-bit numbers are texts, and words of enumerations are numbers, as its specification has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.observe.exporters.pairs import Pairs, quoted
from meshproxy.observe.exporters.parts import Parts
from meshproxy.observe.exporters.who import Who
from meshproxy.observe.record import Record
from meshproxy.observe.spans import Part
from meshproxy.observe.trace import NOBODY, Trace
from meshproxy.wire.trace.w3c import tidy

_INTERNAL, _SERVER, _CLIENT = 1, 2, 3
_SAMPLED, _RANDOM = 1, 2
_REMOTENESS_IS_KNOWN, _REMOTE = 0x100, 0x200
"""Of the parent."""
_FLAGS = tuple(_SAMPLED | random | _REMOTENESS_IS_KNOWN for random in (0, _RANDOM))
_HERE = tuple(b',"flags":%d' % flags for flags in _FLAGS)
_ELSEWHERE = tuple(b',"flags":%d,"parentSpanId":"%%b"' % (flags | _REMOTE) for flags in _FLAGS)
"""Where the parent is, by whether the trace's id is random."""

_DOCUMENT = (
    '{"resourceSpans":[{"resource":{"attributes":[%s]},"scopeSpans":[{"scope":{"name":"meshproxy","version":%s},'
    '"spans":['
)
_pairs = Pairs('{"key":%s,"value":{"stringValue":%s}}', '{"key":%s,"value":{"intValue":"%s"}}')

_TIMES = b',"startTimeUnixNano":"%d","endTimeUnixNano":"%d"%b,'
_ABOVE = b',{"traceId":"%b","spanId":"%b"' + _TIMES
_BELOW = b',{"traceId":"%b","spanId":"%b","parentSpanId":"%b"' + _TIMES
_PART = '"name":%s,"kind":%d%s,"attributes":[%s'
_ERROR = ',"status":{"code":2}'
_END = "]}"


class Otlp:
    content_type = "application/json"

    def __init__(self, who: Who) -> None:
        told = {
            "service.name": who.service,
            "service.instance.id": who.instance,
            "service.version": who.version,
            **dict(who.tags),
        }
        begin = _DOCUMENT % (_pairs(told)[1:], quoted(who.version))
        self._begin = begin.encode("ascii")
        self._end = b"]}]}]}"
        self._parts = Parts(
            _pairs,
            _ABOVE,
            _BELOW,
            request=lambda part: _part(part, _SERVER),
            client=lambda part: _pairs(part.attributes) + _END,
            attempt=lambda part: _part(part, _CLIENT) + _END,
        )

    def render(self, trace: Trace, x: Record, offset: float) -> bytes:
        trace_id, span_id, endpoint = trace.trace_id, trace.span_id, NOBODY if trace.attempts else trace.endpoint
        state = b"" if trace.state is None else _state(trace.state)
        below = state + _HERE[trace.random]
        above = state + _ELSEWHERE[trace.random] % trace.parent if trace.parent else below
        template, path, id = self._parts.of(x, endpoint)
        start = int((x.started + offset) * 1e9)
        end = start + int(x.seconds * 1e9)
        if endpoint is not NOBODY:
            asked = int((trace.asked + offset) * 1e9)
            written = template % (
                trace_id, span_id, start, end, above, path, id, x.received, x.sent,
                trace_id, trace.below, span_id, asked, end if end > asked else asked, below,
            )  # fmt: skip
        else:
            written = template % (trace_id, span_id, start, end, above, path, id, x.received, x.sent)
            trace.finish(x)
            for attempt in trace.attempts:
                start, end = _times(attempt.started, attempt.ended, offset)
                written += self._parts.tried(x, attempt) % (trace_id, attempt.id, span_id, start, end, below)
        for wait in trace.waits:
            start, end = _times(wait.started, wait.ended, offset)
            written += _BELOW % (trace_id, wait.id, span_id, start, end, below)
            written += (_PART % (quoted(wait.name), _INTERNAL, "", _END)).encode("ascii")
        return written

    def join(self, rendered: Sequence[bytes]) -> Sequence[bytes]:
        return self._begin, rendered[0][1:], *rendered[1:], self._end


def _part(part: Part, kind: int) -> str:
    return _PART % (quoted(part.name), kind, _ERROR if part.error else "", _pairs(part.attributes)[1:])


def _times(started: float, ended: float, offset: float) -> tuple[int, int]:
    start = int((started + offset) * 1e9)
    return start, start + max(0, int((ended - started) * 1e9))


def _state(state: bytes) -> bytes:
    told = tidy(state).decode("ascii")
    return f',"traceState":{quoted(told)}'.encode("ascii") if told else b""
