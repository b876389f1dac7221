"""SOCKS5 (RFC 1928) as a server hears it, with names and passwords (RFC 1929).

    greeting(data)          # (frozenset({0, 2}), 4): how a client could say who it is, and the bytes of that
    login(data)             # (Login("alice", b"secret"), 14)
    request(data)           # (Request(Command.CONNECT, "db.shop", 5432), 14)

Each is fed what has arrived so far, and answers what it has read with its length, or None for "need more"; it raises
`Malformed`, with the code that a client is told, if there is one.  None needs more than `MOST` bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from meshproxy.wire.socks5 import AUTH_VERSION, VERSION, Code, Kind, Malformed, ip_text, span

MOST = 1 + 1 + 255 + 1 + 255
"""A name and a password, both as long as they may be."""

LET_IN, NOT_LET_IN = b"\x01\x00", b"\x01\x01"
"""Answers to a name and a password."""

Read = TypeVar("Read")
Heard = tuple[Read, int] | None


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    command: int
    host: str
    """A name as it was said, or an address."""
    port: int


def greeting(data: bytes) -> Heard[frozenset[int]]:
    _version(data, VERSION, "SOCKS5")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    end = 2 + data[1]
    return frozenset(data[2:end]), end


def chosen(method: int) -> bytes:
    """The answer to a greeting."""
    return bytes((VERSION, method))


def login(data: bytes) -> Heard[Login]:
    _version(data, AUTH_VERSION, "a name and a password")
    if len(data) < 2 or len(data) < 3 + data[1]:
        return None
    after = 2 + data[1]
    end = after + 1 + data[after]
    if len(data) < end:
        return None
    try:
        user = data[2:after].decode()
    except UnicodeDecodeError:
        raise Malformed("a name that is not UTF-8") from None
    return Login(user, data[after + 1 : end]), end


def request(data: bytes) -> Heard[Request]:
    _version(data, VERSION, "SOCKS5")
    if len(data) > 2 and data[2]:
        raise Malformed("a reserved byte that is not 0", Code.FAILED)
    found = span(data, 3)
    if found is None:
        return None
    kind, raw, port, end = found
    return Request(data[1], _name(raw) if kind == Kind.NAME else ip_text(raw), port), end


def answer(code: int) -> bytes:
    """To a request.  The address from which a connection was made is for nobody outside to know."""
    return bytes((VERSION, code, 0, Kind.IPV4, 0, 0, 0, 0, 0, 0))


def _version(data: bytes, expected: int, what: str) -> None:
    if data and data[0] != expected:
        raise Malformed(f"it does not begin like {what}")


def _name(raw: bytes) -> str:
    """Whether it is one is found out by whoever looks it up."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("a name outside ASCII", Code.FAILED) from None
