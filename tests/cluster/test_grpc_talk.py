"""A check by gRPC's own protocol: what an endpoint hears, and what is made of all that it may say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from meshproxy.cluster.grpc_talk import GrpcTalk
from meshproxy.cluster.probe import Probe
from meshproxy.cluster.talk import Result
from meshproxy.model.address import parse
from meshproxy.model.health import GrpcCheck
from meshproxy.net.dial import Dial, Way
from meshproxy.wire.grpc import frame
from tests.conftest import FakeClock
from tests.relay.http2 import Speaker

h2 = pytest.importorskip("h2.connection", reason="the h2 library is not installed: nobody answers checks")
h2_config = pytest.importorskip("h2.config")

Run = Callable[[Coroutine[Any, Any, None]], None]
Upstream = Callable[..., Any]
Say = Callable[[Any], None]

HEAD = [(":status", "200"), ("content-type", "application/grpc")]
SERVING = frame(b"\x08\x01")


def answering(
    *messages: bytes, status: str | None = "0", head: list[tuple[str, str]] = HEAD, last: bool = False
) -> Say:
    def say(endpoint: Any) -> None:
        endpoint.send_headers(1, head, end_stream=last)
        for at, message in enumerate(messages):
            endpoint.send_data(1, message, end_stream=status is None and at == len(messages) - 1)
        if status is not None and not last:
            endpoint.send_headers(1, [("grpc-status", status)], end_stream=True)

    return say


def heard(say: Say, size: int = 65536, service: str | None = "books.Books") -> tuple[list[Any], str]:
    """The events of an endpoint that says this, and what comes of it."""
    talk = GrpcTalk(GrpcCheck(service), b"books:80", b"http", lambda: 0.0)
    endpoint = h2.H2Connection(h2_config.H2Configuration(client_side=False, header_encoding="utf-8"))
    endpoint.initiate_connection()
    events = endpoint.receive_data(talk.says())
    say(endpoint)
    data = endpoint.data_to_send()
    for start in range(0, len(data), size):
        result = talk.feed(data[start : start + size])
        if result is not None:
            return events, str(result)
        events += endpoint.receive_data(talk.says())
    return events, str(talk.end())


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_a_service_that_serves(size: int) -> None:
    events, found = heard(answering(SERVING), size)
    assert found == "ok"
    by_name = {type(event).__name__: event for event in events}
    assert by_name["RequestReceived"].headers == [
        (":method", "POST"), (":path", "/grpc.health.v1.Health/Check"), (":scheme", "http"), (":authority", "books:80"),
        ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "meshproxy-health"),
    ]  # fmt: skip
    assert by_name["DataReceived"].data == frame(b"\x0a\x0bbooks.Books")
    assert "StreamEnded" in by_name


def test_the_server_as_a_whole() -> None:
    events, found = heard(answering(SERVING), service=None)
    assert next(event.data for event in events if type(event).__name__ == "DataReceived") == frame(b"")
    assert found == "ok"


def test_settings_are_acknowledged() -> None:
    events, _ = heard(answering(SERVING[:3], SERVING[3:]), 1)
    assert "SettingsAcknowledged" in {type(event).__name__ for event in events}


@pytest.mark.parametrize(
    ("say", "found"),
    [
        (answering(frame(b"\x08\x02")), "status not-serving"),
        (answering(frame(b"\x08\x03")), "status service-unknown"),
        (answering(frame(b"")), "status unknown"),
        (answering(status="5"), "status not-found"),
        (answering(head=[*HEAD, ("grpc-status", "12")], last=True), "status unimplemented"),
        (answering(head=[*HEAD, ("grpc-status", "0")], last=True), "malformed no_message"),
        (answering(head=HEAD, last=True), "status unknown"),
        (answering(head=[(":status", "503")], last=True), "status 503"),
        (answering(head=[(":status", "200"), ("content-type", "text/html")]), "malformed no_grpc"),
        (answering(status="0"), "malformed no_message"),
        (answering(SERVING, SERVING), "malformed no_message"),
        (answering(frame(b"\x08\x01", 1)), "malformed no_message"),
        (answering(frame(b"\x08")), "malformed no_message"),
        (answering(SERVING, status=None), "malformed no_status"),
        (answering(SERVING, status="soon"), "status unknown"),
        (answering(frame(b"x" * 1025)), "malformed too_long"),
        (lambda endpoint: endpoint.reset_stream(1), "closed"),
        (lambda endpoint: endpoint.close_connection(last_stream_id=0), "closed"),
        (lambda endpoint: None, "closed"),
    ],
)
def test_all_else_is_no_good_answer(say: Say, found: str) -> None:
    assert heard(say)[1] == found


def test_who_speaks_no_http2() -> None:
    talk = GrpcTalk(GrpcCheck(), b"x", b"http", lambda: 0.0)
    result = talk.feed(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert result is not None
    assert result.word == "malformed"


def test_an_interim_head_is_passed_over() -> None:
    def say(endpoint: Any) -> None:
        endpoint.send_headers(1, [(":status", "103"), ("link", "x")])
        answering(SERVING)(endpoint)

    assert heard(say)[1] == "ok"


def test_a_check_of_a_real_port(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        results: list[str] = []

        def dial(done: Any) -> Dial:
            return Dial(asyncio.get_running_loop(), clock, parse(up.address), 1.0, done, Way(keepalive=False))

        talk = GrpcTalk(GrpcCheck("books.Books"), b"x", b"http", clock.now)
        Probe(clock, dial, b"", talk, 1.0, lambda result: results.append(str(result))).begin()
        server = Speaker(await up.accept(), client=False)
        await server.event("RequestReceived")
        # Which says before anything else that it has understood how the endpoint begins
        await server.event("SettingsAcknowledged")
        answering(SERVING)(server.h2)
        await server.flush()
        async with asyncio.timeout(5):
            while not results:  # noqa: ASYNC110 - what is watched is a plain list
                await asyncio.sleep(0.001)
        assert results == ["ok"]
        assert clock.pending == 0

    run(scenario())


def test_the_service_of_grpc_itself(run: Run, clock: FakeClock) -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed: its own service is not checked")
    health = pytest.importorskip("grpc_health.v1.health", reason="grpcio-health-checking is not installed")
    messages = pytest.importorskip("grpc_health.v1.health_pb2").HealthCheckResponse
    servicer = health.HealthServicer()
    servicer.set("well", messages.SERVING)
    servicer.set("ill", messages.NOT_SERVING)
    server = grpc.server(ThreadPoolExecutor(2))
    pytest.importorskip("grpc_health.v1.health_pb2_grpc").add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def told(to: asyncio.Future[str], found: Result) -> None:
        to.set_result(str(found))

    async def scenario() -> None:
        async with asyncio.timeout(10):
            for service, found in (("well", "ok"), ("ill", "status not-serving"), ("absent", "status not-found")):
                result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

                def dial(done: Any) -> Dial:
                    where = parse(f"127.0.0.1:{port}")
                    return Dial(asyncio.get_running_loop(), clock, where, 1.0, done, Way(keepalive=False))

                talk = GrpcTalk(GrpcCheck(service), b"x", b"http", clock.now)
                Probe(clock, dial, b"", talk, 1.0, partial(told, result)).begin()
                assert await result == found

    try:
        run(scenario())
    finally:
        server.stop(None).wait()
