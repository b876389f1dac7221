"""How HTTP begins, as far as it has come, and what looks like it and is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.beginning import LONGEST_METHOD, is_http, spoken
from meshproxy.wire.preface import PREFACE

MOST_LOOKED_AT = LONGEST_METHOD + len(" https://")


@pytest.mark.parametrize(
    "begins",
    [
        b"GET /", b"DELETE /a HTTP/1.1", b"OPTIONS *", b"M-SEARCH *", b"VERSION-CONTROL /", b"GET http://a/",
        b"GET HTTPS://a/", b"CONNECT a:443", b"CONNECT [::1]:443", PREFACE, b"A" * LONGEST_METHOD + b" /",
    ],
)  # fmt: skip
def test_http_is_known_as_soon_as_it_can_be(begins: bytes) -> None:
    told = [is_http(begins[:size]) for size in range(len(begins) + 1)]
    assert told[-1] is True
    assert False not in told
    assert told.index(True) <= MOST_LOOKED_AT
    assert all(told[told.index(True) :])


@pytest.mark.parametrize(
    "begins",
    [
        b"get /", b"HELO me", b"EHLO me", b"USER httpd", b"GET  /", b"GET\t/", b"GET\r\n", b"QUIT\r\n", b" GET /",
        b"\r\nGET /", b"SSH-2.0-x", b"*1\r\n$4\r\n", b"\x16\x03\x01", b"\x10\x0c\x00\x04MQTT", b"GET ftp://a",
        b"GET http//a", b"GET httpx://", b"A" * (LONGEST_METHOD + 1), b"G\x00T /", b"\xff",
    ],
)  # fmt: skip
def test_what_is_not_http_is_known_too(begins: bytes) -> None:
    told = [is_http(begins[:size]) for size in range(len(begins) + 1)]
    assert told[-1] is False
    assert True not in told
    assert told.index(False) <= MOST_LOOKED_AT


@pytest.mark.parametrize(
    ("begins", "name"),
    [
        (b"GET / HTTP/1.1\r\n", "http1"), (b"PRI * HTTP/1.1\r\n", "http1"), (b"POST /", "http1"), (PREFACE, "http2"),
        (b"\x10\x0c\x00\x04MQTT\x04", "mqtt"), (b"\x10\x0e\x00\x06MQIsdp", "mqtt"), (b"*1\r\n$4\r\nPING\r\n", "redis"),
        (b"*1234567\r\n$3", "redis"), (b"*0\r\n$4", "other"), (b"*12345678", "other"), (b"*1\n$4", "other"),
        (b"*1\r\n:4", "other"), (b"PING\r\n", "other"), (b"SSH-2.0-x", "other"), (b"\x10\x0c\x00\x04HTTP", "other"),
        (b"EHLO me", "other"), (b"\x00", "other"), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", "http1"),
    ],
)  # fmt: skip
def test_what_is_spoken_is_told_once_and_for_all(begins: bytes, name: str) -> None:
    told = [spoken(begins[:size]) for size in range(len(begins) + 1)]
    assert told[-1] == name
    assert set(told) <= {None, name}


@given(st.binary(max_size=80))
def test_anything_is_told_sooner_or_later(begins: bytes) -> None:
    told = [spoken(begins[:size]) for size in range(len(begins) + 1)]
    first = next((at for at, name in enumerate(told) if name is not None), None)
    assert first is None or len(set(told[first:])) == 1
    assert spoken(begins + b"\x00" * MOST_LOOKED_AT) is not None
