"""What collectors are told: documents that their schemas allow, whatever peers have said, and all tell the same."""

from __future__ import annotations

import json
import urllib.request
from base64 import b64encode
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.observe.exporters import Who, exporter_of
from meshproxy.observe.exporters.pairs import Pairs
from meshproxy.observe.exporters.parts import LONGEST_KEY, MOST_KEPT, Kept
from meshproxy.observe.trace import Trace
from meshproxy.observe.trace_ids import Ids
from meshproxy.wire.trace import KINDS, Context, Segment, propagation
from tests.examples import examples
from tests.observe import collectors
from tests.observe.collectors import PATHS, READERS, Collector, Told, related
from tests.observe.over import Endpoint, Head, Over, Place, Text, Why
from tests.observe.over import Who as Client

SHOP = Who("Shop", "shop-1", "1.0", (("zone", "a"),))
EXPORTS = ("otlp", "zipkin", "skywalking")
TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
PARENT = Segment("a4ec6fc8.74.1", "a4ec6fc8.74.0", 3, "front", "front-1", "/get", "shop:80")
CAME = Context(TRACE, SPAN, True, random=True, state=b"a=1, b=2", segment=None)
OFFSET = 1_700_000_000.0


Traced = tuple[Trace, Over]


def spans(came: Context | None = None, **said: Any) -> Traced:
    """A request that is asked twice, and that a filter has kept."""
    trace, x = Trace(came, Ids(), propagation(KINDS)), Over(**said)
    trace.waited("authorize", 1000.0, 1000.1)
    trace.attempt(x, x.endpoint, 1000.25)
    trace.ended(1000.3, error="reset")
    trace.attempt(x, x.endpoint, 1000.5)
    return trace, x


def document(kind: str, *requests: Traced, who: Who = SHOP) -> bytes:
    exporter = exporter_of(kind, who)
    return b"".join(exporter.join([exporter.render(trace, x, OFFSET) for trace, x in requests]))


def told(kind: str, *requests: Traced, who: Who = SHOP) -> list[Told]:
    found = READERS[kind](document(kind, *requests, who=who))
    related(found)
    return found


@pytest.mark.parametrize("kind", EXPORTS)
def test_all_tell_the_same(kind: str) -> None:
    first, second = spans(CAME), spans()
    found = told(kind, first, second)
    assert len(found) == 8
    server, failed, client, wait = found[:4]
    assert [span.kind for span in found[:4]] == ["server", "client", "client", "internal"]
    assert {span.service.lower() for span in found} == {"shop"}
    assert {span.trace for span in found[:4]} == {TRACE.decode()}
    assert {span.parent for span in (failed, client, wait)} == {server.id}
    assert [span.error for span in found[:4]] == [False, True, False, False]
    assert [round(span.start - OFFSET, 3) for span in found[:4]] == [1000.0, 1000.25, 1000.5, 1000.0]
    assert [round(span.seconds, 3) for span in found[:4]] == [1.0, 0.05, 0.5, 0.1]
    assert [span.name.lower() for span in found[:4]] == ["get web/0", "get web/0", "get web/0", "authorize"]
    assert all(span.attributes["zone"] == "a" for span in found)
    assert server.attributes["url.path"] == "/books"
    assert "secret" not in repr(found)
    assert found[4].trace != TRACE.decode()
    assert (found[4].parent, found[4].remote) == ("", False)


def test_otlp_knows_who_the_parent_is_and_what_the_state_was() -> None:
    [scope] = json.loads(document("otlp", spans(CAME)))["resourceSpans"][0]["scopeSpans"]
    assert [span["flags"] for span in scope["spans"]] == [0x303, 0x103, 0x103, 0x103]
    assert {span["traceState"] for span in scope["spans"]} == {"a=1,b=2"}
    [server, *_] = told("otlp", spans(CAME))
    assert (server.remote, server.parent) == (True, SPAN.decode())
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["service.instance.id"] == "shop-1"


def test_zipkin_knows_both_ends_and_debug() -> None:
    came = Context(b"0" * 16 + TRACE[16:], SPAN, True, debug=True, short=True)
    [server, _, client, wait] = json.loads(document("zipkin", spans(came)))
    assert server["traceId"] == TRACE[16:].decode(), "as it came"
    assert {span["debug"] for span in (server, client, wait)} == {True}
    assert server["remoteEndpoint"] == {"ipv4": "192.0.2.7"}
    assert client["remoteEndpoint"] == {"serviceName": "books", "ipv4": "10.0.0.2", "port": 80}
    assert "kind" not in wait
    assert "remoteEndpoint" not in wait
    assert server["tags"]["http.response.status_code"] == "200"
    [_, _, client, _] = json.loads(document("zipkin", spans(endpoint=Endpoint("[::1]:80", "B"))))
    assert client["remoteEndpoint"] == {"serviceName": "b", "ipv6": "::1", "port": 80}
    [_, _, client, _] = json.loads(document("zipkin", spans(endpoint=Endpoint("unix:/run/b", "b"))))
    assert client["remoteEndpoint"] == {"serviceName": "b"}


def test_skywalking_is_one_segment_with_its_parent() -> None:
    came = Context(TRACE, b"", True, segment=PARENT)
    trace, x = Trace(came, Ids(), propagation(["sw8"])), Over()
    line = trace.attempt(x, x.endpoint, 1000.25)
    [segment] = json.loads(document("skywalking", (trace, x)))
    assert (segment["traceId"], segment["service"], segment["serviceInstance"]) == (PARENT.trace, "Shop", "shop-1")
    [entry, out] = segment["spans"]
    assert entry["refs"] == [
        {
            "refType": "CrossProcess",
            "traceId": PARENT.trace,
            "parentTraceSegmentId": PARENT.id,
            "parentSpanId": 3,
            "parentService": "front",
            "parentServiceInstance": "front-1",
            "parentEndpoint": "/get",
            "networkAddressUsedAtPeer": "shop:80",
        }
    ]
    assert {"key": "http.status_code", "value": "200"} in entry["tags"]
    assert (out["spanType"], out["peer"], out["spanLayer"]) == ("Exit", "10.0.0.2:80", "Http")
    heard = propagation(["sw8"]).extract({b"sw8": line[5:-2]}.get)
    assert heard is not None
    assert heard.segment is not None
    assert (heard.segment.id, heard.segment.span) == (segment["traceSegmentId"], out["spanId"])
    assert (heard.segment.endpoint, heard.segment.peer) == (entry["operationName"], out["peer"])


def test_two_proxies_are_one_trace() -> None:
    for kind, carried in (("otlp", "w3c"), ("zipkin", "b3"), ("skywalking", "sw8")):
        carry = propagation([carried], service="front", instance="front-1")
        front, x = Trace(None, Ids(), carry), Over()
        lines = front.attempt(x, x.endpoint, 1000.25)
        heard = carry.extract(dict(line.split(b": ") for line in lines.split(b"\r\n")[:-1]).get)
        assert heard is not None
        behind = Trace(heard, Ids(), carry)
        found = told(kind, (front, x), (behind, x))
        assert [span.kind for span in found] == ["server", "client", "server"]
        assert len({span.trace for span in found}) == 1
        assert found[2].parent == found[1].id


texts = st.text(st.characters(codec="utf-8"), max_size=30)
some = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
octets = st.binary(max_size=60)
heads = st.builds(
    Head,
    method=st.one_of(st.sampled_from([b"GET", b"POST"]), octets),
    target=octets,
    authority=st.builds(Text, octets),
    fields=st.lists(st.tuples(st.just(b"user-agent"), octets), max_size=1),
)
records = st.builds(
    Over,
    request=heads,
    response=st.one_of(st.none(), st.just(Head())),
    origin=st.builds(Client, client=st.one_of(st.none(), st.just("::1"), texts)),
    handling=st.builds(Place, texts, texts),
    endpoint=st.builds(Endpoint, some, texts),
    failure=st.one_of(st.none(), st.builds(Why, texts)),
    status=st.sampled_from([0, 200, 404, 503]),
    flags=texts,
    id=octets,
    seconds=st.floats(0, 1e6),
    received=st.integers(0, 2**62),
    sent=st.integers(0, 2**62),
    protocol=st.sampled_from(["HTTP/1.1", "HTTP/2"]),
)
ids = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda text: "1" in text[:16] and "1" in text[16:])
parents = st.one_of(
    st.none(),
    st.builds(
        lambda id, state, debug, short: Context(
            (id[16:].rjust(32, "0") if short else id).encode(), id[16:].encode(), True, False, state, debug, short
        ),
        ids,
        st.one_of(st.none(), octets),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda id, segment: Context(id.encode(), b"", True, segment=segment),
        ids,
        st.builds(Segment, some, some, st.integers(0, 2**31 - 1), some, some, some, some),
    ),
)


@examples(150)
@given(records, parents, names)
def test_what_peers_say_makes_valid_documents(x: Over, came: Context | None, name: str) -> None:
    who = Who(name, name, name, (("a", name),))
    trace = Trace(came, Ids(), propagation(KINDS))
    trace.waited(name, x.started, x.started + 0.1)
    trace.attempt(x, x.endpoint, x.started)
    for kind in EXPORTS:
        server, client, wait = told(kind, (trace, x), who=who)
        assert wait.name == (name if kind != "zipkin" else name.lower())
        assert server.attributes["meshproxy.listener"] == x.handling.listener
        assert client.attributes["meshproxy.cluster"] == x.endpoint.cluster
        assert server.attributes["url.path"] == x.request.target.partition(b"?")[0].decode("utf-8", "replace")


@examples(50)
@given(records, parents)
def test_otlp_is_what_opentelemetry_reads(x: Over, came: Context | None) -> None:
    reason = "opentelemetry-proto is not installed"
    json_format = pytest.importorskip("google.protobuf.json_format", reason=reason)
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=reason)
    trace = Trace(came, Ids(), propagation(["w3c"]))
    trace.attempt(x, x.endpoint, x.started)
    said = json.loads(document("otlp", (trace, x)))
    for span in said["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):  # the one thing in which OTLP differs from plain protobuf
            if key in span:
                span[key] = b64encode(bytes.fromhex(span[key])).decode()
    request = json_format.ParseDict(said, service.ExportTraceServiceRequest())
    server, client = request.resource_spans[0].scope_spans[0].spans
    assert server.trace_id.hex().encode() == client.trace_id.hex().encode() == trace.trace_id
    assert client.parent_span_id == server.span_id == bytes.fromhex(trace.span_id.decode())
    assert (server.kind, client.kind) == (server.SPAN_KIND_SERVER, server.SPAN_KIND_CLIENT)
    assert server.end_time_unix_nano >= server.start_time_unix_nano > 0
    values = {pair.key: pair.value for pair in server.attributes}
    assert values["http.request.body.size"].int_value == x.received
    assert values["url.path"].string_value == x.request.target.partition(b"?")[0].decode("utf-8", "replace")


# What is kept -------------------------------------------------------------------------------------

few = st.builds(
    Over,
    request=st.builds(
        Head,
        method=st.sampled_from([b"GET", b"PUT", b"BREW"]),
        target=st.sampled_from([b"/a", b"/%b?c", b'/"']),
        authority=st.builds(Text, st.sampled_from([b"", b"a", b"%d:1"])),
        fields=st.sampled_from([[], [(b"user-agent", b"")], [(b"user-agent", b"%b")]]),
    ),
    response=st.sampled_from([None, Head()]),
    origin=st.builds(
        Client,
        client=st.sampled_from([None, "::1"]),
        peer=st.sampled_from([None, SimpleNamespace(identity=""), SimpleNamespace(identity="%s")]),
    ),
    handling=st.builds(Place, st.sampled_from(["in", "%b"]), st.sampled_from(["", "%"])),
    endpoint=st.builds(Endpoint, st.sampled_from(["a:1", "%d"]), st.sampled_from(["", "%b"])),
    failure=st.sampled_from([None, Why("a"), Why("%")]),
    status=st.sampled_from([0, 200, 404, 503]),
    flags=st.sampled_from(["", "UF"]),
    id=st.sampled_from([b"", b"1", b"%b"]),
    received=st.integers(0, 2),
    protocol=st.sampled_from(["HTTP/1.1", "HTTP/2"]),
)


@pytest.mark.parametrize("kind", EXPORTS)
@examples(100)
@given(st.lists(st.tuples(few, parents, st.integers(0, 2), st.booleans()), min_size=2, max_size=12))
def test_what_was_told_before_changes_nothing(kind: str, said: list[tuple[Over, Context | None, int, bool]]) -> None:
    who = Who("%b", "%", "1", (("a", "%d"),))
    one = exporter_of(kind, who)
    for x, came, attempts, over in said:
        trace = Trace(came, Ids(), propagation(["w3c"]))
        for _ in range(attempts):
            trace.attempt(x, x.endpoint, x.started + 0.1)
        if over:
            trace.ended(x.started + 0.2, 500)
        rendered = exporter_of(kind, who).render(trace, x, OFFSET)
        assert one.render(trace, x, OFFSET) == one.render(trace, x, OFFSET) == rendered


def test_what_is_kept_is_bounded() -> None:
    made: list[str] = []

    def make(word: str) -> bytes:
        made.append(word)
        return word.encode()

    kept = Kept(make)
    for _ in range(2):
        assert kept["a",] == b"a"
    assert made == ["a"]
    for number in range(3 * MOST_KEPT):
        assert kept[str(number),] == str(number).encode()
    assert len(kept) <= MOST_KEPT
    made.clear()
    for _ in range(2):
        assert len(kept["b" * (LONGEST_KEY + 1),]) == LONGEST_KEY + 1
    assert len(made) == 2


def test_attributes() -> None:
    pairs = Pairs("%s:%s", "%s:%s", {"b": "c"})
    assert pairs({'a"%s': '"', "b": 1}) == r',"a\"%s":"\"","c":1'
    assert pairs.of_text("a", "%b") % b"d" == b',"a":"d"'
    assert pairs.of_number("b") % 1 == b',"c":1'


# The stand-ins themselves -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("otlp", b'"kind":2', b'"kind":"SPAN_KIND_SERVER"'),
        ("otlp", b'"kind":2', b'"kind":true'),
        ("otlp", b'"traceId":"0a', b'"traceId":"0A'),
        ("otlp", b'"traceId":"0a', b'"traceId":"'),
        ("otlp", b'"spanId":', b'"span_id":'),
        ("otlp", b'"startTimeUnixNano":"1', b'"startTimeUnixNano":"-1'),
        ("otlp", b'{"intValue":"7"}', b'{"intValue":7}'),
        ("otlp", b'{"intValue":"7"}', b"{}"),
        ("otlp", b'"key":"url.path"', b'"key":"url.scheme"'),
        ("otlp", b'"service.name"', b'"service_name"'),
        ("zipkin", b'"kind":"SERVER"', b'"kind":"server"'),
        ("zipkin", b'"traceId":"0a', b'"traceId":"a'),
        ("zipkin", b'"serviceName":"shop"', b'"serviceName":"Shop"'),
        ("zipkin", b'"ipv4":"192.0.2.7"', b'"ipv4":"192.0.2"'),
        ("zipkin", b'"port":80', b'"port":0'),
        ("zipkin", b'"url.path":"/books"', b'"url.path":7'),
        ("zipkin", b'"url.path":', b'"url.scheme":'),
        ("zipkin", b'"duration":50000', b'"duration":0'),
        ("zipkin", b'"duration":1000000', b'"duration":NaN'),
        ("skywalking", b'"spanType":"Entry"', b'"spanType":"entry"'),
        ("skywalking", b'"spanId":1,', b'"spanId":7,'),
        ("skywalking", b'"parentSpanId":-1', b'"parentSpanId":0'),
        ("skywalking", b'"peer":"10.0.0.2:80",', b""),
        ("skywalking", b'"isError":false', b'"isError":0'),
        ("skywalking", b'"componentId":49', b'"componentId":"49"'),
        ("skywalking", b'"serviceInstance":"shop-1"', b'"serviceInstance":""'),
    ],
)
def test_a_collector_refuses_what_its_schema_does_not_allow(kind: str, before: bytes, after: bytes) -> None:
    said = document(kind, spans(CAME))
    assert said.count(before) >= 1
    READERS[kind](said)
    with pytest.raises((AssertionError, ValueError)):
        READERS[kind](said.replace(before, after))


def test_a_parent_that_nobody_is_is_found() -> None:
    found = told("otlp", spans(CAME))
    related(found)
    with pytest.raises(AssertionError, match="nobody is its parent"):
        related(found[1:])
    with pytest.raises(AssertionError, match="there twice"):
        related([*found, found[0]])


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_collector_over_http(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectors, "LONGEST_WAIT", 0.2)
    exporter = exporter_of(kind, SHOP)

    def post(body: bytes, path: str = PATHS[kind]) -> int:
        request = urllib.request.Request(collector.url + path, body, {"content-type": exporter.content_type})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)

    with Collector(kind) as collector:
        assert post(document(kind, spans(CAME))) == collector.status
        assert len(collector.until(4)) == 4
        with pytest.raises(AssertionError, match="4 spans, not 5"):
            collector.until(5)
        post(b"[]" if kind != "otlp" else b"{}", "/elsewhere")
        with pytest.raises(AssertionError, match="posted to /elsewhere"):
            collector.until(4)
