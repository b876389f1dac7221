"""What a check says, word for word, and what it makes of answers that come whole, in pieces, or not as they should."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.cluster import talk
from meshproxy.model import Address, Health, decode
from meshproxy.wire.h1 import Malformed, ResponseCodec

V4 = Address("ipv4", "10.0.0.9", 80)


def health(**said: Any) -> Health:
    found: Health = decode(Health, said)
    return found


def test_a_request() -> None:
    assert talk.opening(health(path="/ready?a=1"), V4, None) == (
        b"GET /ready?a=1 HTTP/1.1\r\nHost: 10.0.0.9:80\r\nUser-Agent: meshproxy-health\r\nConnection: close\r\n\r\n"
    )
    said = health(path="/", method="POST", host="shop.local", headers={"user-agent": "me", "x-a": "b"})
    assert talk.opening(said, V4, None) == (
        b"POST / HTTP/1.1\r\nHost: shop.local\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"user-agent: me\r\nx-a: b\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (Address("ipv6", "::1", 80), "[::1]:80"),
        (Address("ipv6", "fe80::1%eth0", 80), "[fe80::1]:80"),
        (Address("unix", path="/run/a b.sock"), "localhost"),
    ],
)
def test_whose_address_stands_for_the_host(address: Address, host: str) -> None:
    assert talk.host_of(address) == host


def test_bytes_nothing_and_the_header_that_an_endpoint_waits_for() -> None:
    assert talk.opening(health(send="hex:00ff", expect="x"), V4, None) == b"\x00\xff"
    assert talk.opening(health(), V4, None) == b""
    assert talk.opening(health(send="PING", expect="x"), V4, "v1") == b"PROXY UNKNOWN\r\nPING"
    assert talk.begin(health(), ResponseCodec()) is None


def outcome(said: Health, answer: bytes, size: int) -> str:
    """Of an answer that comes in pieces of a size, and then ends."""
    conversation = talk.begin(said, ResponseCodec())
    assert conversation is not None
    try:
        for start in range(0, len(answer), size):
            result = conversation.feed(answer[start : start + size])
            if result is not None:
                return str(result)
        return str(conversation.end())
    except Malformed as fault:
        return f"malformed {fault.reason.value}"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall right"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n5\r\nright\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("said", "answer", "found"),
    [
        ({}, OK, "ok"),
        ({}, b"HTTP/1.0 204 No Content\r\n\r\n", "ok"),
        ({}, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK, "ok"),
        ({}, b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "malformed too_many_interim"),
        ({}, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503"),
        ({"expect": {"statuses": ["503", "400-404"]}}, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "ok"),
        ({"expect": {"statuses": [204]}}, OK, "status 200"),
        ({"method": "HEAD"}, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "ok"),
        ({"expect": "right"}, OK, "ok"),
        ({"expect": "ll ri"}, CHUNKED, "ok"),
        ({"expect": "wrong"}, OK, "mismatch body"),
        ({"expect": "wrong"}, CHUNKED, "mismatch body"),
        ({"expect": "l"}, b"HTTP/1.1 200 OK\r\n\r\nall", "ok"),
        ({"expect": "x"}, b"HTTP/1.1 200 OK\r\n\r\nall", "mismatch body"),
        ({"expect": "x"}, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "mismatch body"),
        ({"expect": "x"}, OK[:-3], "malformed cut_short"),
        ({"expect": "x"}, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed bad_chunk_size"),
        ({}, b"", "closed"),
        ({}, OK[:20], "closed"),
        ({}, b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "malformed bad_status_line"),
        ({}, CHUNKED.replace(b"OK", b"OK\r\nContent-Length: 1"), "malformed length_and_coding"),
        ({}, b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "malformed unasked_upgrade"),
        ({}, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "malformed head_too_large"),
    ],
)
def test_answers(said: dict[str, Any], answer: bytes, found: str, size: int) -> None:
    if size == 1 and len(answer) > 10_000:
        size = 100
    assert outcome(health(path="/", **said), answer, size) == found


@pytest.mark.parametrize("size", [1, 3, 100_000])
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"+PONG\r\n", "ok"),
        (b"-LOADING\r\n+PONG\r\n", "ok"),
        (b"+PONK\r\n", "closed"),
        (b"", "closed"),
    ],
)
def test_bytes_that_are_awaited(answer: bytes, found: str, size: int) -> None:
    assert outcome(health(send="PING\r\n", expect="+PONG"), answer, size) == found


@pytest.mark.parametrize("said", [{"expect": "+PONG"}, {"path": "/", "expect": "+PONG"}])
def test_what_never_ends_is_looked_at_up_to_a_bound(said: dict[str, Any]) -> None:
    conversation = talk.begin(health(**said), ResponseCodec())
    assert conversation is not None
    if "path" in said:
        assert conversation.feed(b"HTTP/1.1 200 OK\r\n\r\n") is None
    fed = 0
    while conversation.feed(b"+PON" * 256) is None:
        fed += 1024
        assert fed <= talk.MOST_READ
    assert fed == talk.MOST_READ


def test_a_find_of_one_byte() -> None:
    conversation = talk.begin(health(expect="x"), ResponseCodec())
    assert conversation is not None
    assert conversation.feed(b"abc") is None
    assert conversation.feed(b"x") == talk.OK
