"""Stand-ins for the collectors of OpenTelemetry, Zipkin and SkyWalking: they read every document strictly.

    [server, client] = otlp(body)                   # AssertionError: what breaks the published schema, and where
    related([server, client])                       # AssertionError: a parent that nobody is

    with Collector("zipkin") as collector:          # over HTTP, on a port of its own, in a thread
        ...                                         # whatever posts to collector.url
        spans = collector.until(2)

What three formats say of a span is one `Told` here, so that a test asks the same of each.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address
from typing import Any

LONGEST_WAIT = 8.0
INT32, INT64, UINT64 = 2**31 - 1, 2**63 - 1, 2**64 - 1

Check = Callable[[Any, str], object]


@dataclass(frozen=True)
class Told:
    """A span, whoever was told."""

    trace: str
    id: str
    parent: str
    """Empty: it has none."""
    remote: bool
    """Whether the parent is of another process, as far as the format says so."""
    name: str
    kind: str
    start: float
    seconds: float
    error: bool
    service: str
    attributes: Mapping[str, Any]
    """With those of the service."""


# How a value may be -------------------------------------------------------------------------------


def parsed(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no name twice in an object, no NaN."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        once([name for name, _ in pairs], "names")
        return dict(pairs)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(body.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


def fields(value: Any, path: str, needed: Mapping[str, Check], allowed: Mapping[str, Check]) -> dict[str, Any]:
    assert isinstance(value, dict), f"{path} must be an object, not {value!r}"
    known = {**needed, **allowed}
    assert needed.keys() <= value.keys(), f"{path} lacks {sorted(needed.keys() - value.keys())}"
    assert value.keys() <= known.keys(), f"{path} has {sorted(value.keys() - known.keys())}, which nobody knows"
    for name, item in value.items():
        known[name](item, f"{path}.{name}")
    return value


def items(check: Check, least: int = 0) -> Check:
    def checked(value: Any, path: str) -> None:
        assert isinstance(value, list), f"{path} must be a list, not {value!r}"
        assert len(value) >= least, f"{path} must have {least} at least"
        for number, item in enumerate(value):
            check(item, f"{path}[{number}]")

    return checked


def text(pattern: str = r"[\s\S]*", most: int = 4096) -> Check:
    matches = re.compile(pattern).fullmatch

    def checked(value: Any, path: str) -> None:
        assert isinstance(value, str), f"{path} must be a text, not {value!r}"
        value.encode("utf-8")  # no half of a surrogate pair
        assert len(value) <= most, f"{path} has {len(value)} characters, more than {most}"
        assert matches(value), f"{path} must match {pattern}, not {value!r}"

    return checked


def whole(low: int, high: int) -> Check:
    def checked(value: Any, path: str) -> None:
        assert isinstance(value, int), f"{path} must be a whole number, not {value!r}"
        assert not isinstance(value, bool), f"{path} must be a number, not {value!r}"
        assert low <= value <= high, f"{path} must be from {low} to {high}, not {value}"

    return checked


def as_text(low: int, high: int) -> Check:
    """A whole number of 64 bits, which is a text in JSON."""

    def checked(value: Any, path: str) -> None:
        text(r"0|-?[1-9][0-9]*")(value, path)
        whole(low, high)(int(value), path)

    return checked


def boolean(value: Any, path: str) -> None:
    assert isinstance(value, bool), f"{path} must be true or false, not {value!r}"


def one_of(*words: Any) -> Check:
    def checked(value: Any, path: str) -> None:
        assert any(value is word or (type(value) is type(word) and value == word) for word in words), (
            f"{path} must be one of {words}, not {value!r}"
        )

    return checked


def address(kind: type[IPv4Address] | type[IPv6Address]) -> Check:
    def checked(value: Any, path: str) -> None:
        text(most=45)(value, path)
        kind(value)

    return checked


def once(values: Sequence[str], what: str) -> None:
    assert len(set(values)) == len(values), f"{what} are there twice: {sorted(values)}"


# OTLP ---------------------------------------------------------------------------------------------

NO_ZEROS = "(?!0+$)"
_OTLP_KINDS = {1: "internal", 2: "server", 3: "client"}
IS_REMOTE_KNOWN, IS_REMOTE = 0x100, 0x200


def _any_value(value: Any, path: str) -> None:
    assert isinstance(value, dict), f"{path} must be an object"
    assert len(value) == 1, f"{path} must have exactly one value, not {value!r}"
    fields(value, path, {}, {"stringValue": text(), "intValue": as_text(-INT64 - 1, INT64), "boolValue": boolean})


def _key_value(value: Any, path: str) -> None:
    fields(value, path, {"key": text("[a-z][a-z0-9_.]*|[A-Za-z][A-Za-z0-9_.-]*", 128), "value": _any_value}, {})


_attributes = items(_key_value)


def _otlp_span(value: Any, path: str) -> None:
    needed = {
        "traceId": text(f"{NO_ZEROS}[0-9a-f]{{32}}"),
        "spanId": text(f"{NO_ZEROS}[0-9a-f]{{16}}"),
        "name": text("[\\s\\S]+"),
        "kind": one_of(1, 2, 3, 4, 5),
        "startTimeUnixNano": as_text(1, UINT64),
        "endTimeUnixNano": as_text(1, UINT64),
    }
    allowed = {
        "parentSpanId": text(f"{NO_ZEROS}[0-9a-f]{{16}}"),
        "traceState": text("[ -~]+", 32 * 515),
        "flags": whole(0, 0x3FF),
        "attributes": _attributes,
        "droppedAttributesCount": whole(0, INT32),
        "status": lambda v, p: fields(v, p, {}, {"code": one_of(0, 1, 2), "message": text()}),
    }
    span = fields(value, path, needed, allowed)
    assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]), f"{path} ends before it starts"
    if span.get("flags", 0) & IS_REMOTE:
        assert span["flags"] & IS_REMOTE_KNOWN, f"{path}.flags says what it says is not known"
        assert "parentSpanId" in span, f"{path} has a remote parent, and none"
    once([pair["key"] for pair in span.get("attributes", ())], f"{path}.attributes")


def _scope_spans(value: Any, path: str) -> None:
    scope = {"name": text("[\\s\\S]+"), "version": text(), "attributes": _attributes}
    fields(value, path, {"spans": items(_otlp_span, 1)}, {
        "scope": lambda v, p: fields(v, p, {}, scope), "schemaUrl": text(),
    })  # fmt: skip


def _resource_spans(value: Any, path: str) -> None:
    fields(value, path, {"scopeSpans": items(_scope_spans, 1), "resource": lambda v, p: fields(
        v, p, {"attributes": _attributes}, {"droppedAttributesCount": whole(0, INT32)}
    )}, {"schemaUrl": text()})  # fmt: skip


def _plain(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    def value(said: dict[str, Any]) -> Any:
        return int(said["intValue"]) if "intValue" in said else next(iter(said.values()))

    return {pair["key"]: value(pair["value"]) for pair in pairs}


def otlp(body: bytes) -> list[Told]:
    """An `ExportTraceServiceRequest`, as opentelemetry-proto 1 and the specification of OTLP/HTTP have it in JSON."""
    document = fields(parsed(body), "document", {"resourceSpans": items(_resource_spans, 1)}, {})
    found = []
    for resource_spans in document["resourceSpans"]:
        resource = _plain(resource_spans["resource"]["attributes"])
        assert resource.get("service.name"), "a resource must say `service.name`"
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
                found.append(
                    Told(
                        span["traceId"],
                        span["spanId"],
                        span.get("parentSpanId", ""),
                        bool(span.get("flags", 0) & IS_REMOTE),
                        span["name"],
                        _OTLP_KINDS[span["kind"]],
                        start / 1e9,
                        (end - start) / 1e9,
                        span.get("status", {}).get("code") == 2,
                        resource["service.name"],
                        {**resource, **_plain(span.get("attributes", []))},
                    )
                )
    return found


# Zipkin -------------------------------------------------------------------------------------------


def _endpoint(value: Any, path: str, *needed: str) -> None:
    known = {
        "serviceName": text(r"[^A-Z]+"),
        "ipv4": address(IPv4Address),
        "ipv6": address(IPv6Address),
        "port": whole(1, 65535),
    }
    assert fields(value, path, {name: known[name] for name in needed}, known), f"{path} says nothing"


def _tags(value: Any, path: str) -> None:
    assert isinstance(value, dict), f"{path} must be an object"
    for name, said in value.items():
        text("[\\s\\S]+")(name, path)
        text()(said, f"{path}.{name}")


def _zipkin_span(value: Any, path: str) -> None:
    id = text(f"{NO_ZEROS}[a-f0-9]{{16}}")
    needed = {
        "traceId": text(f"{NO_ZEROS}[a-f0-9]{{16}}([a-f0-9]{{16}})?"),
        "id": id,
        "timestamp": whole(1, INT64),
        "duration": whole(1, INT64),
        "localEndpoint": lambda v, p: _endpoint(v, p, "serviceName"),
    }
    allowed = {
        "parentId": id,
        "name": text("[^A-Z]+"),
        "kind": one_of("CLIENT", "SERVER", "PRODUCER", "CONSUMER"),
        "debug": boolean,
        "shared": boolean,
        "remoteEndpoint": _endpoint,
        "annotations": items(
            lambda v, p: fields(v, p, {"timestamp": whole(1, INT64), "value": text()}, {}),
        ),
        "tags": _tags,
    }
    fields(value, path, needed, allowed)


def zipkin(body: bytes) -> list[Told]:
    """A `ListOfSpans` of zipkin-api's second version."""
    document = parsed(body)
    items(_zipkin_span, 1)(document, "document")
    return [
        Told(
            span["traceId"],
            span["id"],
            span.get("parentId", ""),
            bool(span.get("parentId")) and span.get("kind") == "SERVER",
            span.get("name", ""),
            span.get("kind", "internal").lower(),
            span["timestamp"] / 1e6,
            span["duration"] / 1e6,
            "error" in span.get("tags", {}),
            span["localEndpoint"]["serviceName"],
            span.get("tags", {}),
        )
        for span in document
    ]


# SkyWalking ---------------------------------------------------------------------------------------

_SKYWALKING_KINDS = {"Entry": "server", "Exit": "client", "Local": "internal"}
_some = text("[\\s\\S]+")


def _tag(value: Any, path: str) -> None:
    fields(value, path, {"key": text("[\\s\\S]+", 128), "value": text()}, {})


def _reference(value: Any, path: str) -> None:
    texts = (
        "traceId", "parentTraceSegmentId", "parentService", "parentServiceInstance", "parentEndpoint",
        "networkAddressUsedAtPeer",
    )  # fmt: skip
    needed: dict[str, Check] = dict.fromkeys(texts, _some)
    needed |= {"refType": one_of("CrossProcess", "CrossThread"), "parentSpanId": whole(0, INT32)}
    fields(value, path, needed, {})


def _skywalking_span(value: Any, path: str) -> None:
    needed = {
        "spanId": whole(0, INT32),
        "parentSpanId": whole(-1, INT32),
        "startTime": whole(1, INT64),
        "endTime": whole(1, INT64),
        "operationName": _some,
        "spanType": one_of("Entry", "Exit", "Local"),
        "spanLayer": one_of("Unknown", "Database", "RPCFramework", "Http", "MQ", "Cache", "FAAS"),
        "componentId": whole(0, INT32),
        "isError": boolean,
    }
    allowed = {
        "peer": _some,
        "tags": items(_tag),
        "refs": items(_reference, 1),
        "logs": items(lambda v, p: fields(v, p, {"time": whole(1, INT64), "data": items(_tag)}, {})),
        "skipAnalysis": boolean,
    }
    span = fields(value, path, needed, allowed)
    assert span["startTime"] <= span["endTime"], f"{path} ends before it starts"
    assert ("peer" in span) >= (span["spanType"] == "Exit"), f"{path} lacks `peer`, which an exit span has"
    once([tag["key"] for tag in span.get("tags", ())], f"{path}.tags")


def _segment(value: Any, path: str) -> None:
    needed = {
        "traceId": _some,
        "traceSegmentId": _some,
        "service": text("[\\s\\S]+", 50),
        "serviceInstance": text("[\\s\\S]+", 50),
        "spans": items(_skywalking_span, 1),
    }
    segment = fields(value, path, needed, {"isSizeLimited": boolean})
    numbers = [span["spanId"] for span in segment["spans"]]
    assert sorted(numbers) == list(range(len(numbers))), f"{path}.spans are not counted from 0: {numbers}"
    for span in segment["spans"]:
        parent = span["parentSpanId"]
        assert parent in (-1, *numbers), f"{path} has no span {parent}"
        assert (parent == -1) == (span["spanId"] == 0), f"{path}: the first span, and no other, has no parent here"
        assert "refs" not in span or parent == -1, f"{path}: only the first span refers to another segment"
        assert all(ref["traceId"] == segment["traceId"] for ref in span.get("refs", ())), f"{path} is of two traces"


def skywalking(body: bytes) -> list[Told]:
    """A list of `SegmentObject`s of its data collect protocol, version 3."""
    document = parsed(body)
    items(_segment, 1)(document, "document")
    once([segment["traceSegmentId"] for segment in document], "segments")
    found = []
    for segment in document:
        name = segment["traceSegmentId"]
        for span in segment["spans"]:
            refs = [f"{ref['parentTraceSegmentId']}/{ref['parentSpanId']}" for ref in span.get("refs", ())]
            parent = f"{name}/{span['parentSpanId']}" if span["parentSpanId"] >= 0 else "".join(refs)
            tags = {tag["key"]: tag["value"] for tag in span.get("tags", ())}
            found.append(
                Told(
                    segment["traceId"],
                    f"{name}/{span['spanId']}",
                    parent,
                    bool(refs),
                    span["operationName"],
                    _SKYWALKING_KINDS[span["spanType"]],
                    span["startTime"] / 1e3,
                    (span["endTime"] - span["startTime"]) / 1e3,
                    span["isError"],
                    segment["service"],
                    {**tags, "peer": span.get("peer", "")},
                )
            )
    return found


READERS: Mapping[str, Callable[[bytes], list[Told]]] = {"otlp": otlp, "zipkin": zipkin, "skywalking": skywalking}
PATHS = {"otlp": "/v1/traces", "zipkin": "/api/v2/spans", "skywalking": "/v3/segments"}


def related(spans: Sequence[Told]) -> None:
    """Each is there once, and has a parent among them, or one elsewhere, or none; what is below has one here."""
    once([f"{span.trace} {span.id}" for span in spans], "spans")
    known = {(span.trace, span.id) for span in spans}
    for span in spans:
        assert span.parent != span.id, f"{span.name} is its own parent"
        if span.kind == "server":
            here = (span.trace, span.parent) in known
            assert span.remote or here or not span.parent, f"{span.name}: nobody is its parent {span.parent}"
        else:
            assert not span.remote, f"{span.name} has a remote parent, which only a server has"
            assert (span.trace, span.parent) in known, f"{span.name}: nobody is its parent {span.parent}"


# Over HTTP ----------------------------------------------------------------------------------------


class Collector:
    """What is posted to it is read; what it could not read stands in `problems`."""

    def __init__(self, kind: str, host: str = "127.0.0.1") -> None:
        self.kind = kind
        self._host = host
        self.spans: list[Told] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        """Of each post, with names in lower case."""
        self.problems: list[str] = []
        self.status = 202 if kind == "zipkin" else 200
        """What it answers with."""
        self._news = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = LONGEST_WAIT

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                said = b"{}" if collector.kind == "otlp" else b""
                self.send_response(collector.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Without its path: that is for who posts to know."""
        return f"http://{self._host}:{self._server.server_address[1]}"

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(LONGEST_WAIT)
        self._server.server_close()

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self._news:
            self.bodies.append(body)
            self.headers.append(headers)
            try:
                assert path == PATHS[self.kind], f"posted to {path}, not to {PATHS[self.kind]}"
                assert headers.get("content-type") == "application/json", f"not JSON: {headers.get('content-type')}"
                found = READERS[self.kind](body)
                related(found)
                self.spans += found
            except (AssertionError, ValueError) as wrong:
                self.problems.append(f"{wrong}: {body[:2000]!r}")
            self._news.notify_all()

    def until(self, count: int) -> list[Told]:
        """That many spans; AssertionError: one that could not be read, or too few in time.  It blocks."""
        deadline = time.monotonic() + LONGEST_WAIT
        with self._news:
            while len(self.spans) < count and not self.problems and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
            assert not self.problems, self.problems[0]
            assert len(self.spans) >= count, f"{len(self.spans)} spans, not {count}: {self.spans}"
            return list(self.spans)
