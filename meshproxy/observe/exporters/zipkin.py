"""Zipkin's second format as JSON: `POST /api/v2/spans`.

Names are in lower case there, and a span has an endpoint at either end.  An id of 64 bits stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from meshproxy.observe.exporters.pairs import Pairs, quoted
from meshproxy.observe.exporters.parts import Parts, literal
from meshproxy.observe.exporters.who import Who
from meshproxy.observe.record import Record
from meshproxy.observe.spans import Part, address_of
from meshproxy.observe.trace import NOBODY, Trace

_pairs = Pairs("%s:%s", '%s:"%s"')
_ABOVE = b',{"traceId":"%b","id":"%b","timestamp":%d,"duration":%d%b,'
_BELOW = b',{"traceId":"%b","id":"%b","parentId":"%b","timestamp":%d,"duration":%d%b,'
_PART = '"name":%s,"kind":"%s","tags":{%s%s'


class Zipkin:
    content_type = "application/json"

    def __init__(self, who: Who) -> None:
        local = f'"localEndpoint":{{"serviceName":{quoted(who.service.lower())}}},'
        self._more = more = _pairs({"service.instance.id": who.instance, **dict(who.tags)})
        self._below = _BELOW + literal(local)
        self._parts = Parts(
            _pairs,
            _ABOVE + literal(local),
            self._below,
            request=lambda part: _part(part, "SERVER"),
            client=lambda part: f"{_pairs(part.attributes)}{more}}}{_remote(part)}}}",
            attempt=lambda part: f"{_part(part, 'CLIENT')}{more}}}{_remote(part)}}}",
        )

    def render(self, trace: Trace, x: Record, offset: float) -> bytes:
        span_id, endpoint = trace.span_id, NOBODY if trace.attempts else trace.endpoint
        trace_id = trace.trace_id[16:] if trace.short else trace.trace_id
        above = below = b',"debug":true' if trace.debug else b""
        if trace.parent:
            above += b',"parentId":"%b"' % trace.parent
        template, path, id = self._parts.of(x, endpoint)
        ended = x.started + x.seconds
        start, lasted = _times(x.started, ended, offset)
        if endpoint is not NOBODY:
            written = template % (
                trace_id, span_id, start, lasted, above, path, id, x.received, x.sent,
                trace_id, trace.below, span_id, *_times(trace.asked, ended, offset), below,
            )  # fmt: skip
        else:
            written = template % (trace_id, span_id, start, lasted, above, path, id, x.received, x.sent)
            trace.finish(x)
            for attempt in trace.attempts:
                start, lasted = _times(attempt.started, attempt.ended, offset)
                written += self._parts.tried(x, attempt) % (trace_id, attempt.id, span_id, start, lasted, below)
        for wait in trace.waits:
            start, lasted = _times(wait.started, wait.ended, offset)
            written += self._below % (trace_id, wait.id, span_id, start, lasted, below)
            written += f'"name":{quoted(wait.name.lower())},"tags":{{{self._more[1:]}}}}}'.encode("ascii")
        return written

    def join(self, rendered: Sequence[bytes]) -> Sequence[bytes]:
        return b"[", rendered[0][1:], *rendered[1:], b"]"


def _part(part: Part, kind: str) -> str:
    error = f'"error":{quoted(part.error)},' if part.error else ""
    return _PART % (quoted(part.name.lower()), kind, error, _pairs(part.attributes)[1:])


def _times(started: float, ended: float, offset: float) -> tuple[int, int]:
    """When it began, in microseconds, and how many it lasted: one at least."""
    return int((started + offset) * 1e6), int((ended - started) * 1e6 + 0.5) or 1


def _remote(part: Part) -> str:
    """The other end, as far as it is known."""
    parts = [f'"serviceName":{quoted(part.cluster.lower())}'] if part.cluster else []
    host, port = address_of(part.peer)
    try:
        parts.append(f'"ipv{ip_address(host).version}":"{ip_address(host)}"')
    except ValueError:
        pass
    else:
        if port:
            parts.append(f'"port":{port}')
    return f',"remoteEndpoint":{{{",".join(parts)}}}' if parts else ""
