"""CONNECT as who asks a forward proxy speaks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.asking import Refused, Why
from meshproxy.wire.connect import LIMITS, Connect, authority, basic, connect_block, forwarded
from meshproxy.wire.hpack import Decoder
from tests.examples import examples

TO = b"10.1.0.5:80"
AGREED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_what_is_asked() -> None:
    assert Connect(TO).opening() == b"CONNECT 10.1.0.5:80 HTTP/1.1\r\nHost: 10.1.0.5:80\r\n\r\n"
    fields = basic("edge", "secret"), forwarded("10.9.0.1")
    assert Connect(authority("2001:db8::5%eth0", 443), fields).opening() == (
        b"CONNECT [2001:db8::5]:443 HTTP/1.1\r\nHost: [2001:db8::5]:443\r\n"
        b"Proxy-Authorization: Basic ZWRnZTpzZWNyZXQ=\r\nForwarded: for=10.9.0.1\r\n\r\n"
    )
    assert forwarded("2001:db8::5%eth0") == (b"Forwarded", b'for="[2001:db8::5]"')
    with pytest.raises(ValueError, match="colon"):
        basic("a:b", "secret")


def test_a_block_has_neither_a_scheme_nor_a_path() -> None:
    block = Decoder().decode(connect_block(TO, (basic("edge", "secret"),)))
    assert [(name, value) for name, value, _ in block.fields] == [
        (b":method", b"CONNECT"),
        (b":authority", TO),
        (b"proxy-authorization", b"Basic ZWRnZTpzZWNyZXQ="),
    ]


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize(
    "head",
    [
        AGREED,
        b"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + AGREED,
    ],
)
def test_any_2xx_is_a_tunnel_and_has_no_body(head: bytes, size: int) -> None:
    asking, behind = Connect(TO), b""
    script = head + b"220 hello"
    for at in range(0, len(script), size):
        piece = script[at : at + size]
        if asking.rest is None:
            assert asking.feed(piece) == b""
        else:
            behind += piece
    assert asking.rest is not None
    assert asking.rest + behind == b"220 hello"


@pytest.mark.parametrize(
    ("script", "why", "said"),
    [
        (b"HTTP/1.1 407 secret\r\nContent-Length: 0\r\n\r\n", Why.UNKNOWN, "407 Proxy Authentication Required"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Why.FORBIDDEN, "403 Forbidden"),
        (b"HTTP/1.1 405 No\r\n\r\n", Why.UNSUPPORTED, "405 Method Not Allowed"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Why.UNREACHABLE, "502 Bad Gateway"),
        (b"HTTP/1.1 503 x\r\n\r\n", Why.REFUSED, "503 Service Unavailable"),
        (b"HTTP/1.1 504 x\r\n\r\n", Why.EXPIRED, "504 Gateway Timeout"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Why.REFUSED, "302 Found"),
        (b"HTTP/1.1 599 \r\n\r\n", Why.REFUSED, "599"),
        (b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Why.MALFORMED, "unasked_upgrade"),
        (b"HTTP/2.0 200 OK\r\n\r\n", Why.MALFORMED, "unsupported_version"),
        (b"SSH-2.0-OpenSSH\r\n", Why.MALFORMED, "bad_status_line"),
        (b"\x15\x03\x01\x00\x02\x02\x46", Why.MALFORMED, "control_byte"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", Why.MALFORMED, "space_before_colon"),
        (b"HTTP/1.1 200 " + b"x" * LIMITS.line, Why.MALFORMED, "line_too_long"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000, Why.MALFORMED, "head_too_large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5, Why.MALFORMED, "too_many_interim"),
    ],
)
def test_what_is_refused(script: bytes, why: Why, said: str) -> None:
    with pytest.raises(Refused) as refused:
        Connect(TO).feed(script)
    assert refused.value.why is why
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@examples(300)
@given(st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n"]), st.binary(max_size=200), st.integers(1, 40))
def test_any_bytes_are_taken_or_refused_in_whatever_pieces(before: bytes, data: bytes, size: int) -> None:
    def outcome(pieces: list[bytes]) -> object:
        asking, behind = Connect(TO), b""
        try:
            for piece in pieces:
                if asking.rest is None:
                    asking.feed(piece)
                else:
                    behind += piece
        except Refused:
            return "refused"
        return None if asking.rest is None else asking.rest + behind

    script = before + data
    assert outcome([script]) == outcome([script[at : at + size] for at in range(0, len(script), size)])
