"""Traces in conversations: what goes on of what came, what is begun here, and what collectors hear of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.observe.collectors import Collector, Told
from tests.relay.conversation import config, head_of, heard

ONE_LOOP = True

Run = Callable[[Any], None]
World = Callable[[], Any]
Upstream = Callable[[], Any]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
NOWHERE = "http://127.0.0.1:1"

_w3c = re.compile(rb"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r\n")


def came(flags: bytes) -> bytes:
    return b"traceparent: 00-%b-%b-%b\r\n" % (TRACE, PARENT, flags)


def get(fields: bytes = b"", target: bytes = b"/") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, fields)


def tracing(said: dict[str, Any], to: str = NOWHERE, kind: str = "otlp", **more: Any) -> dict[str, Any]:
    return {"tracing": {"export": {kind: to}, "flush": "10ms", **said}, **more}


async def passed_on(w: Any, up: Any, fields: bytes = b"") -> bytes:
    """The head that an upstream gets."""
    client = await w.connect()
    await client.send(get(fields))
    server = await up.accept()
    head = await head_of(server)
    await server.send(OK)
    await heard(client, OK)
    client.close()
    server.close()
    return bytes(head)


async def told(w: Any, collector: Collector, count: int) -> list[Told]:
    w.clock.advance(1)
    return await asyncio.to_thread(collector.until, count)


def test_what_begins_here_is_told_to_the_next(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": {"share": 1.0}}))
        traces = set()
        for _ in range(2):
            (found,) = _w3c.findall(await passed_on(w, up))
            assert int(found[2], 16) & 1, "it is recorded"
            traces.add(found[0])
        assert len(traces) == 2

    run(scenario())


def test_what_is_not_drawn_is_drawn_nowhere_else(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": {"share": 0}, "propagate": ["w3c", "b3"]}))
        head = await passed_on(w, up)
        ((trace, _, flags),) = _w3c.findall(head)
        assert not int(flags, 16) & 1
        assert b"\r\nb3: 0\r\n" in head or re.search(rb"\r\nb3: %b-[0-9a-f]{16}-0\r\n" % trace, head)

    run(scenario())


@pytest.mark.parametrize(
    "fields",
    [
        came(b"00"),
        came(b"00") + b"tracestate: a=1\r\n",
        came(b"01")[:-4] + b"zz\r\n",
        b"b3: 0\r\n",
        b"b3: nonsense\r\n",
        b"traceparent: 00-%b-%b-00\r\n" % (b"0" * 32, PARENT),
    ],
    ids=["not recorded", "with a state", "malformed", "b3 says no", "b3 says nothing", "of nobody"],
)
def test_what_is_not_continued_goes_on_as_it_came(run: Run, world: World, upstream: Upstream, fields: bytes) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": {"share": 0}, "propagate": ["w3c", "b3"]}))
        head = await passed_on(w, up, fields)
        assert head == b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % fields

    run(scenario())


def test_what_is_continued_has_the_same_trace_and_another_span(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": {"share": 0}}))
        head = await passed_on(w, up, came(b"01") + b"tracestate: vendor=kept\r\n")
        ((trace, span, flags),) = _w3c.findall(head)
        assert (trace, flags) == (TRACE, b"01")
        assert span != PARENT
        assert head.count(b"tracestate: vendor=kept\r\n") == 1

    run(scenario())


@pytest.mark.parametrize("sample", [{"share": 0}, {"share": 1.0, "parent": False}], ids=["heeded", "drawn"])
def test_the_usual_line_is_replaced_where_it_stands(
    run: Run, world: World, upstream: Upstream, sample: dict[str, Any]
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": sample}))
        head = await passed_on(w, up, b"A: 1\r\nTraceParent: 00-%b-%b-01\r\nB: 2\r\n" % (TRACE, PARENT))
        found = re.fullmatch(rb"GET / HTTP/1\.1\r\nHost: x\r\nA: 1\r\n" + _w3c.pattern + rb"B: 2\r\n\r\n", head)
        assert found is not None
        assert (found[1], found[3]) == (TRACE, b"01")
        assert found[2] != PARENT

    run(scenario())


def test_of_several_lines_none_is_left(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": {"share": 0}, "propagate": ["b3", "w3c"]}))
        said = b"B3: %b-%b-1\r\nTraceParent: nonsense\r\nA: 1\r\nTRACESTATE: a=1\r\nTracestate: b=2\r\n"
        head = await passed_on(w, up, said % (TRACE, PARENT))
        ((trace, span, _),) = _w3c.findall(head)
        assert trace == TRACE
        assert head.startswith(b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n")
        assert head.lower().count(b"\r\nb3: %b-%b-1-" % (trace, span)) == 1
        assert head.lower().count(b"\r\ntrace") == 1

    run(scenario())


def test_one_that_is_broken_ends_where_another_begins(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | tracing({"sample": {"share": 1.0}}))
        head = await passed_on(w, up, b"traceparent: 00-0-0-1\r\ntracestate: a=1\r\n")
        ((trace, _, _),) = _w3c.findall(head)
        assert trace != TRACE
        assert b"tracestate" not in head, "it belongs to a trace that nobody can read"
        assert head.count(b"traceparent") == 1

    run(scenario())


@pytest.mark.parametrize("kind", ["otlp", "zipkin", "skywalking"])
def test_each_attempt_is_a_span_of_its_own(run: Run, world: World, upstream: Upstream, kind: str) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        retry = {"on": [503], "attempts": 2, "backoff": 0}
        with Collector(kind) as collector:
            said = config(a.address, b.address, rules=[{"cluster": "up", "retry": retry}])
            await w.apply(said | tracing({"sample": {"share": 1.0}}, collector.url, kind))
            client = await w.connect()
            await client.send(get(came(b"01"), b"/books?token=secret"))
            first = await a.accept()
            spans = _w3c.findall(await head_of(first))
            await first.send(NO)
            second = await b.accept()
            spans += _w3c.findall(await head_of(second))
            await second.send(OK)
            await heard(client, OK)
            request, *attempts = sorted(await told(w, collector, 3), key=lambda each: each.kind != "server")
            assert {each.trace for each in (request, *attempts)} == {TRACE.decode()}
            if kind != "skywalking":  # which numbers its spans
                assert request.parent == PARENT.decode()
                assert {each.id for each in attempts} == {span.decode() for _, span, _ in spans}
                assert {each.parent for each in attempts} == {request.id}
            assert not any(b"secret" in body for body in collector.bodies)

    run(scenario())


def test_what_the_proxy_answers_itself_is_a_span_too(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w = world()
        rules = [
            {"match": {"path": {"exact": "/late"}}, "reply": {}, "filters": [{"fault": {"delay": {"duration": "1s"}}}]},
            {"match": {"path": {"exact": "/no"}}, "cluster": "up"},
        ]
        with Collector("otlp") as collector:
            await w.apply(config(rules=rules) | tracing({"sample": {"share": 1.0}}, collector.url))
            client = await w.connect()
            await client.send(get(target=b"/none"))
            assert (await head_of(client)).startswith(b"HTTP/1.1 404 ")
            (lost,) = await told(w, collector, 1)
            assert lost.kind == "server"
            other = await w.connect()
            await other.send(get(target=b"/late"))
            answer = asyncio.ensure_future(head_of(other))
            while not answer.done():
                await asyncio.sleep(0.001)
                w.clock.advance(0.1)
            assert answer.result().startswith(b"HTTP/1.1 200 ")
            spans = await told(w, collector, 3)
            assert sorted(each.kind for each in spans[1:]) == ["internal", "server"]

    run(scenario())
