"""How HTTP begins, as far as it has come, and what looks like it and is not."""

from __future__ import annotations

import pytest

from meshproxy.wire.beginning import LONGEST_METHOD, is_http
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
