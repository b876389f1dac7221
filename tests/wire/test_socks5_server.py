"""SOCKS5 as a server reads it: what RFC 1928 and RFC 1929 write, whole and byte by byte, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from meshproxy.wire import socks5_server as socks
from meshproxy.wire.socks5 import Code, Command, Malformed
from meshproxy.wire.socks5_server import Login, Request

Reader = Callable[[bytes], Any]

MESSAGES: list[tuple[Reader, bytes, object]] = [
    (socks.greeting, b"\x05\x01\x00", frozenset({0})),
    (socks.greeting, b"\x05\x03\x00\x01\x02", frozenset({0, 1, 2})),
    (socks.greeting, b"\x05\x00", frozenset()),
    (socks.login, b"\x01\x05alice\x06secret", Login("alice", b"secret")),
    (socks.login, b"\x01\x00\x00", Login("", b"")),
    (socks.login, b"\x01\xff" + b"a" * 255 + b"\xff" + b"b" * 255, Login("a" * 255, b"b" * 255)),
    (socks.request, b"\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb", Request(Command.CONNECT, "10.0.0.1", 443)),
    (socks.request, b"\x05\x01\x00\x03\x07db.shop\x15\x38", Request(Command.CONNECT, "db.shop", 5432)),
    (socks.request, b"\x05\x01\x00\x04" + b"\0" * 15 + b"\x01\0\x50", Request(Command.CONNECT, "::1", 80)),
    (socks.request, b"\x05\x02\x00\x01\0\0\0\0\0\0", Request(Command.BIND, "0.0.0.0", 0)),
    (socks.request, b"\x05\x03\x00\x03\x00\0\0", Request(Command.UDP, "", 0)),
]


@pytest.mark.parametrize(("read", "message", "said"), MESSAGES)
def test_a_message_whole_and_in_pieces(read: Reader, message: bytes, said: object) -> None:
    assert read(message + b"rest") == (said, len(message))
    for end in range(len(message)):
        assert read(message[:end]) is None, end
    assert len(message) <= socks.MOST


@pytest.mark.parametrize(
    ("read", "message", "code"),
    [
        (socks.greeting, b"\x04\x01", None),
        (socks.greeting, b"GET / HTTP/1.1", None),
        (socks.login, b"\x05\x01", None),
        (socks.login, b"\x01\x01\xff\x00", None),
        (socks.request, b"\x04", None),
        (socks.request, b"\x05\x01\x01", Code.FAILED),
        (socks.request, b"\x05\x01\x00\x02\x00", Code.UNKNOWN_ADDRESS),
        (socks.request, b"\x05\x01\x00\x03\x01\xff\x00\x50", Code.FAILED),
    ],
)
def test_what_is_none(read: Reader, message: bytes, code: int | None) -> None:
    with pytest.raises(Malformed) as fault:
        read(message)
    assert fault.value.code == code


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(socks.login(b"\x01\x05alice\x06secret"))


@given(some.sampled_from([socks.greeting, socks.login, socks.request]), some.binary(max_size=600))
def test_anything_is_read_refused_or_too_short(read: Reader, data: bytes) -> None:
    try:
        heard = read(data)
    except Malformed:
        return
    if heard is None:
        assert len(data) < socks.MOST
    else:
        assert 0 < heard[1] <= len(data)
        assert read(data[: heard[1]]) == heard
