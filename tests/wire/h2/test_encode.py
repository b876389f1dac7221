"""Heads of HTTP/1.1 become blocks, as any decoder reads them."""

from __future__ import annotations

import pytest

from meshproxy.wire.h1 import RequestCodec, ResponseCodec
from meshproxy.wire.h2 import encode
from meshproxy.wire.h2.encode import request_block, response_block, trailer_block
from meshproxy.wire.hpack import Decoder
from meshproxy.wire.hpack.encoder import MOST_KEPT, SKIPS, Lines

Pair = tuple[bytes, bytes]


def said(block: bytes) -> list[Pair]:
    return [(name, value) for name, value, _ in Decoder().decode(block).fields]


class TestResponses:
    def test_a_head(self) -> None:
        assert said(response_block(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-A:b\r\nX-B: \r\n")) == [
            (b":status", b"200"), (b"content-type", b"a/b"), (b"x-a", b"b"), (b"x-b", b""),
        ]

    def test_a_head_without_fields(self) -> None:
        assert said(response_block(b"HTTP/1.1 418 I'm a Teapot\r\n")) == [(b":status", b"418")]
        assert said(response_block(b"HTTP/1.1 103 \r\n")) == [(b":status", b"103")]

    def test_what_is_for_one_connection_is_left_out(self) -> None:
        opening = (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\na: b\r\n"
            b"Upgrade: h2c\r\nProxy-Connection: close\r\n"
        )
        assert said(response_block(opening)) == [(b":status", b"200"), (b"a", b"b")]

    def test_what_a_head_forwards(self) -> None:
        head = ResponseCodec().parse(b"HTTP/1.1 200 OK\r\nServer: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
        assert said(response_block(head.plain)) == [(b":status", b"200"), (b"server", b"a"), (b"content-length", b"5")]

    def test_long_values(self) -> None:
        for size in (0, 1, 126, 127, 128, 254, 255, 256, 20_000):
            value = b"x" * size
            assert said(response_block(b"HTTP/1.1 200 OK\r\na: %b\r\n" % value))[1] == (b"a", value)


class TestRequests:
    def test_a_head(self) -> None:
        assert said(request_block(b"GET /x?y HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n", b"https")) == [
            (b":method", b"GET"), (b":path", b"/x?y"), (b":scheme", b"https"), (b":authority", b"a.example"),
            (b"accept", b"*/*"),
        ]

    @pytest.mark.parametrize("name", [b"Host", b"host", b"HOST"])
    def test_host_may_stand_anywhere(self, name: bytes) -> None:
        opening = b"POST / HTTP/1.1\r\nAccept: */*\r\nX-Host: b\r\n%b: a.example\r\n" % name
        assert said(request_block(opening, b"http")) == [
            (b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a.example"),
            (b"accept", b"*/*"), (b"x-host", b"b"),
        ]

    def test_of_nobody(self) -> None:
        head = RequestCodec().parse(b"GET / HTTP/1.0\r\n\r\n")
        assert said(request_block(head.plain, b"http")) == [
            (b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http"),
        ]

    def test_what_is_for_one_connection_is_left_out(self) -> None:
        opening = (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: gzip\r\nHTTP2-Settings: a\r\nUpgrade: h2c\r\nb: c\r\n"
        )
        assert said(request_block(opening, b"http"))[4:] == [(b"b", b"c")]

    def test_te_that_may_be_said(self) -> None:
        block = request_block(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n", b"http")
        assert said(block)[4:] == [(b"te", b"trailers")]

    def test_an_offer_becomes_an_extended_connect(self) -> None:
        head = RequestCodec().parse(
            b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert said(request_block(head.plain, b"https", head.upgrade)) == [
            (b":method", b"CONNECT"), (b":path", b"/chat"), (b":scheme", b"https"), (b":protocol", b"websocket"),
            (b":authority", b"a"), (b"sec-websocket-version", b"13"),
        ]


def test_trailers() -> None:
    block = trailer_block([b"Grpc-Status: 0", b"grpc-message:"])
    assert said(block) == [(b"grpc-status", b"0"), (b"grpc-message", b"")]


class TestMemory:
    def test_secrets_are_not_kept(self) -> None:
        for line in (b"Authorization: secret-1", b"cookie: secret-2", b"X-Api-Key: secret-3", b"Set-Cookie: secret-4"):
            block = response_block(b"HTTP/1.1 200 OK\r\n%b\r\n" % line)
            assert said(block)[1][1] == line.partition(b": ")[2]
        request_block(b"GET /?secret-5 HTTP/1.1\r\nHost: a\r\n", b"https")
        for memory in (encode._lines, encode._firsts):
            assert not [key for key in memory if b"secret" in key]

    def test_secrets_are_for_no_table(self) -> None:
        for name in (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"):
            assert Lines()[b"%b: a" % name][0] & 0xF0 == 0x10

    def test_ever_new_values_do_not_drive_others_out(self) -> None:
        lines = Lines()
        usual = lines[b"server: a"]
        for number in range(5000):
            assert lines[b"x-request-id: %d" % number].endswith(b"%d" % number)
        assert len(lines) == 1 + MOST_KEPT
        assert lines[b"server: a"] is usual
        for _ in range(SKIPS + 1):
            assert lines[b"x-request-id: a date"].endswith(b"a date")
        assert b"x-request-id: a date" in lines, "it comes again for a while"

    def test_ever_new_names_are_bounded(self) -> None:
        lines = Lines()
        for number in range(5000):
            lines[b"x-%d: a" % number]
        assert len(lines) <= 1024
        assert len(lines._names) <= 1024

    def test_long_lines_are_not_kept(self) -> None:
        lines = Lines()
        assert lines[b"a: " + b"b" * 300].endswith(b"b" * 300)
        assert not lines
