"""A request that is recorded: its ids, what whoever is asked hears, and the spans that it leaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshproxy.observe.exporters import Who as Teller
from meshproxy.observe.exporters import exporter_of
from meshproxy.observe.spans import address_of
from meshproxy.observe.trace import MOST_WAITS, Trace
from meshproxy.observe.trace_ids import LINES_AT_ONCE, Ids, Unsampled
from meshproxy.wire.trace import Context, propagation
from tests.observe.collectors import Told, otlp
from tests.observe.over import Endpoint, Head, Over, Place, Text, Who, Why

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
CAME = Context(TRACE, SPAN, True)
OFFSET = 1_700_000_000.0


def counting() -> Ids:
    """Ids in the order of numbers: three for each trace."""
    ids = Ids()
    ids.left = [(b"%032x" % number, b"%016x" % (number + 1), b"%016x" % (number + 2)) for number in range(97, 0, -3)]
    return ids


def traced(came: Context | None = None, *kinds: str) -> Trace:
    return Trace(came, counting(), propagation(kinds or ["w3c"]))


def of(trace: Trace, x: Over | None = None, **said: Any) -> list[Told]:
    """What a collector hears."""
    exporter = exporter_of("otlp", Teller("shop", "shop-1", "1.0"))
    return otlp(b"".join(exporter.join([exporter.render(trace, x or Over(**said), OFFSET)])))


def own(span: Told) -> dict[str, Any]:
    """What is said of it, and not of who tells it."""
    return {name: value for name, value in span.attributes.items() if not name.startswith("service.")}


def test_ids_are_random_and_none_is_nobody() -> None:
    ids = Ids()
    drawn = {id for _ in range(300) for id in (ids.left.pop() if ids.left else ids.draw())}
    assert len(drawn) == 900
    assert {len(id) for id in drawn} == {16, 32}
    answers = iter([b"\x01" * 2040 + bytes(8), b"\x02" * 2048])
    assert Ids(lambda size: next(answers)[:size]).draw() == (b"02" * 16, b"02" * 8, b"02" * 8)


def test_lines_for_what_is_not_recorded() -> None:
    carry = propagation(["w3c", "b3"])
    unsampled, seen = Unsampled(carry), set()
    for _ in range(2 * LINES_AT_ONCE + 1):
        lines = unsampled.left.pop() if unsampled.left else unsampled.draw()
        told = dict(line.split(b": ") for line in lines.split(b"\r\n")[:-1])
        found = carry.extract(told.get)
        assert found is not None
        assert found.sampled is False
        assert told[b"b3"] == b"%b-%b-0" % (found.trace_id, found.span_id)
        seen |= {found.trace_id, found.span_id}
    assert len(seen) == 2 * (2 * LINES_AT_ONCE + 1), "each is of a trace of its own"


def test_a_trace_goes_on() -> None:
    trace = traced(CAME)
    assert (trace.trace_id, trace.span_id) == (TRACE, b"%016x" % 2)
    assert trace.attempt(Over(), Endpoint(), 1000.25) == b"traceparent: 00-%b-%016x-01\r\n" % (TRACE, 3)
    server, client = of(trace)
    assert (server.parent, server.id) == (SPAN.decode(), trace.span_id.decode())
    assert (client.parent, client.id, client.trace) == (server.id, "0000000000000003", server.trace)


def test_a_trace_begins() -> None:
    trace = traced()
    assert (trace.trace_id, trace.span_id) == (b"%032x" % 1, b"%016x" % 2)
    assert trace.attempt(Over(), Endpoint(), 1000.25) == b"traceparent: 00-%b-%016x-03\r\n" % (trace.trace_id, 3)
    assert of(trace)[0].parent == ""


@pytest.mark.parametrize("debug", [False, True])
def test_a_decision_without_a_trace_begins_one(debug: bool) -> None:
    trace = traced(Context(b"", b"", True, debug=debug), "b3")
    assert trace.trace_id == b"%032x" % 1
    assert trace.attempt(Over(), Endpoint(), 0.0).split(b"-")[2] == (b"d" if debug else b"1")
    assert of(trace)[0].parent == ""


def test_each_attempt_is_a_span_of_its_own() -> None:
    trace, x = traced(), Over()
    first = trace.attempt(x, Endpoint("10.0.0.2:80"), 1000.1)
    trace.ended(1000.2, error="reset")
    trace.ended(1000.9, error="later")
    second = trace.attempt(x, Endpoint("10.0.0.3:80"), 1000.3)
    trace.ended(1000.4, status=503)
    third = trace.attempt(x, Endpoint("[::1]:8443", "others"), 1000.5)
    assert len({first, second, third}) == 3
    _, *clients = of(trace, x)
    assert [span.attributes["server.address"] for span in clients] == ["10.0.0.2", "10.0.0.3", "::1"]
    assert [span.attributes.get("http.response.status_code") for span in clients] == [None, 503, 200]
    assert [span.attributes.get("error.type") for span in clients] == ["reset", "503", None]
    assert [round(span.start - OFFSET, 3) for span in clients] == [1000.1, 1000.3, 1000.5]
    assert [round(span.seconds, 3) for span in clients] == [0.1, 0.1, 0.5], "the last one ends with its request"
    assert [span.attributes.get("http.request.resend_count") for span in clients] == [None, 1, 2]
    assert own(clients[2]) == {
        "http.request.method": "GET",
        "server.address": "::1",
        "server.port": 8443,
        "meshproxy.cluster": "others",
        "http.request.resend_count": 2,
        "http.response.status_code": 200,
    }
    assert of(trace, x) == of(trace, x), "to tell it changes nothing"


def test_the_only_attempt_may_be_over_before_its_request() -> None:
    trace, x = traced(), Over(status=503, response=None, failure=Why("no_answer"), flags="UF")
    trace.attempt(x, x.endpoint, 1000.1)
    trace.ended(1000.2, error="reset")
    _, client = of(trace, x)
    assert (client.attributes["error.type"], round(client.seconds, 3)) == ("reset", 0.1)


def test_an_attempt_that_nobody_has_ended_ends_with_the_next() -> None:
    trace, x = traced(), Over()
    trace.attempt(x, x.endpoint, 1000.1)
    trace.attempt(x, x.endpoint, 1000.3)
    _, first, _ = of(trace, x)
    assert round(first.seconds, 3) == 0.2


def test_what_the_last_attempt_failed_of() -> None:
    trace = traced()
    trace.attempt(Over(), Endpoint(), 1000.1)
    server, client = of(trace, response=None, status=503, failure=Why("connect_refused"), flags="UF")
    assert "http.response.status_code" not in client.attributes
    assert server.attributes["http.response.status_code"] == 503
    assert server.attributes["meshproxy.flags"] == "UF"
    assert server.attributes["error.type"] == client.attributes["error.type"] == "connect_refused"


@pytest.mark.parametrize(
    ("status", "failure", "of_server", "of_client"),
    [
        (200, None, "", ""),
        (404, None, "", "404"),
        (500, None, "500", "500"),
        (403, Why("denied"), "", "denied"),
        (0, Why("client_gone"), "client_gone", "client_gone"),
    ],
)
def test_what_is_an_error(status: int, failure: Why | None, of_server: str, of_client: str) -> None:
    trace = traced()
    trace.attempt(Over(), Endpoint(), 1000.1)
    server, client = of(trace, status=status, failure=failure)
    assert [span.attributes.get("error.type", "") for span in (server, client)] == [of_server, of_client]
    assert [span.error for span in (server, client)] == [bool(of_server), bool(of_client)]


def test_a_filter_that_waited_is_a_span() -> None:
    trace = traced()
    trace.attempt(Over(), Endpoint(), 1000.5)
    for number in range(MOST_WAITS + 1):
        trace.waited(f"filter {number}", 1000.0, 1000.25)
    _, _, *waits = of(trace)
    assert [wait.name for wait in waits] == [f"filter {number}" for number in range(MOST_WAITS)]
    assert (waits[0].kind, waits[0].seconds, waits[0].parent) == ("internal", 0.25, trace.span_id.decode())


def test_what_is_told_of_a_request() -> None:
    peer = SimpleNamespace(identity="spiffe://cluster.local/ns/shop/sa/web")
    [server] = of(traced(), origin=Who(peer=peer), protocol="HTTP/2")
    assert (server.name, server.kind, server.start, server.seconds) == ("GET web/0", "server", OFFSET + 1000.0, 1.0)
    assert own(server) == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "url.path": "/books",
        "network.protocol.version": "2",
        "http.request.body.size": 5,
        "http.response.body.size": 7,
        "meshproxy.listener": "in",
        "server.address": "shop.local",
        "server.port": 8080,
        "client.address": "192.0.2.7",
        "user_agent.original": "curl/8",
        "http.response.status_code": 200,
        "meshproxy.route": "web/0",
        "meshproxy.request_id": "6f1c",
        "meshproxy.identity": "spiffe://cluster.local/ns/shop/sa/web",
    }


def test_what_nobody_knows_is_not_told() -> None:
    head = Head(b"BREW", b"*", Text(b""), [])
    [server] = of(traced(), request=head, origin=Who(client=None), handling=Place("in", ""), status=0, id=b"")
    assert server.name == "HTTP"
    assert own(server) == {
        "http.request.method": "_OTHER",
        "url.scheme": "http",
        "url.path": "*",
        "network.protocol.version": "1.1",
        "http.request.body.size": 5,
        "http.response.body.size": 7,
        "meshproxy.listener": "in",
        "http.request.method_original": "BREW",
    }


def test_what_peers_say_is_bounded() -> None:
    head = Head(b"X" * 5000, b"/" + b"a" * 5000, Text(b"b" * 5000), [(b"user-agent", b"\xff" * 5000)])
    [server] = of(traced(), request=head)
    assert max(len(value) for value in server.attributes.values() if isinstance(value, str)) == 1024


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[fd00::1]:443", ("fd00::1", 443)),
        ("[fd00::1]", ("fd00::1", 0)),
        ("shop.local", ("shop.local", 0)),
        ("unix:/run/a:80", ("unix:/run/a:80", 0)),
        ("a:99999", ("a:99999", 0)),
        ("a:x", ("a:x", 0)),
        ("", ("", 0)),
    ],
)
def test_an_address_with_its_port(text: str, found: tuple[str, int]) -> None:
    assert address_of(text) == found
