"""Checks over HTTP/2: the answer of an endpoint, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("h2")

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from meshproxy.cluster import talk
from meshproxy.cluster.h2_talk import H2Talk
from meshproxy.model import Address, Health, decode
from meshproxy.wire.h1 import ResponseCodec

AT = Address("ipv4", "127.0.0.1", 80)
LENGTH = ("content-length", "5")


def begun(**said: Any) -> tuple[H2Talk, H2Connection, RequestReceived]:
    health = decode(Health, {"path": "/ready", **said})
    method = (health.method or "GET").encode()
    inner = talk.begin(health, ResponseCodec())
    assert inner is not None
    conversation = H2Talk(talk.request(health, AT), method, inner, b"http", lambda: 0.0)
    server = H2Connection(H2Configuration(False, validate_outbound_headers=False, normalize_outbound_headers=False))
    server.initiate_connection()
    (request,) = [e for e in server.receive_data(conversation.says()) if isinstance(e, RequestReceived)]
    return conversation, server, request


def test_what_is_asked() -> None:
    _, _, request = begun(host="books.shop", headers={"x-check": "1"})
    assert dict(request.headers) == {
        b":method": b"GET", b":scheme": b"http", b":path": b"/ready", b":authority": b"books.shop",
        b"user-agent": b"meshproxy-health", b"x-check": b"1",
    }


@pytest.mark.parametrize(
    ("said", "head", "body", "found"),
    [
        ({}, [(":status", "200")], b"", "ok"),
        ({}, [(":status", "200"), LENGTH], b"ready", "ok"),
        ({}, [(":status", "503")], b"", "status 503"),
        ({"expect": "ready"}, [(":status", "200")], b"all ready", "ok"),
        ({"expect": "ready"}, [(":status", "200")], b"not yet", "mismatch body"),
        ({"method": "HEAD"}, [(":status", "200"), LENGTH], b"", "ok"),
        ({}, [(":status", "200"), ("connection", "close")], b"", "malformed connection_field"),
        ({"expect": "ready"}, [(":status", "200"), LENGTH], b"rea", "malformed cut_short"),
    ],
)
def test_what_is_answered(said: dict[str, Any], head: list[tuple[str, str]], body: bytes, found: str) -> None:
    conversation, server, request = begun(**said)
    stream = request.stream_id
    assert stream is not None
    server.send_headers(stream, head, end_stream=not body)
    if body:
        server.send_data(stream, body[:2])
        server.send_data(stream, body[2:], end_stream=True)
    result = None
    for byte in server.data_to_send():
        result = result or conversation.feed(bytes((byte,)))
    assert str(result) == found
    server.receive_data(conversation.says())


def test_who_ends_it_or_speaks_something_else() -> None:
    conversation, server, request = begun()
    assert request.stream_id is not None
    server.reset_stream(request.stream_id, 7)
    assert conversation.feed(server.data_to_send()) is talk.CLOSED
    conversation, _, _ = begun()
    assert str(conversation.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")).startswith("malformed ")
    assert begun()[0].end() is talk.CLOSED
