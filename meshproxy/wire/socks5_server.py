"""SOCKS5 (RFC 1928) as a server hears it, with names and passwords (RFC 1929).

    greeting(data)          # (frozenset({0, 2}), 4): how a client could say who it is, and the bytes of that
    login(data)             # (Login("alice", b"secret"), 14)
    request(data)           # (Request(CONNECT, "db.shop", 5432), 14)

Each is fed what has arrived so far, and answers what it has read with its length, or None for "need more"; it raises
`Malformed`, with the code that a client is told, if there is one.  None needs more than `MOST` bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

MOST = 1 + 1 + 255 + 1 + 255
"""A name and a password, both as long as they may be."""

NO_AUTHENTICATION, PASSWORD, NONE_OF_THESE = 0, 2, 0xFF

CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3
_IPV4, _NAME, _IPV6 = 1, 3, 4

SUCCEEDED = 0
FAILED = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
HOST_UNREACHABLE = 4
REFUSED = 5
COMMAND_NOT_SUPPORTED = 7
KIND_NOT_SUPPORTED = 8

LET_IN, NOT_LET_IN = b"\x01\x00", b"\x01\x01"
"""Answers to a name and a password."""

Read = TypeVar("Read")
Heard = tuple[Read, int] | None


class Malformed(ValueError):
    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """For an answer to a request; None: there is nobody to answer who would understand it."""


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
    _version(data, 5, "SOCKS5")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    end = 2 + data[1]
    return frozenset(data[2:end]), end


def chosen(method: int) -> bytes:
    """The answer to a greeting."""
    return bytes((5, method))


def login(data: bytes) -> Heard[Login]:
    _version(data, 1, "a name and a password")
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
    _version(data, 5, "SOCKS5")
    if len(data) > 2 and data[2]:
        raise Malformed("a reserved byte that is not 0", FAILED)
    if len(data) < 5:
        return None
    kind = data[3]
    if kind == _NAME:
        start, size = 5, data[4]
    elif kind in (_IPV4, _IPV6):
        start, size = 4, 4 if kind == _IPV4 else 16
    else:
        raise Malformed("an unknown kind of address", KIND_NOT_SUPPORTED)
    end = start + size + 2
    if len(data) < end:
        return None
    return Request(data[1], _host(kind, data[start : end - 2]), int.from_bytes(data[end - 2 : end])), end


def answer(code: int) -> bytes:
    """To a request.  The address from which a connection was made is for nobody outside to know."""
    return bytes((5, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


def _version(data: bytes, expected: int, what: str) -> None:
    if data and data[0] != expected:
        raise Malformed(f"it does not begin like {what}")


def _host(kind: int, data: bytes) -> str:
    if kind == _IPV4:
        return str(IPv4Address(data))
    if kind == _IPV6:
        return str(IPv6Address(data))
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("a name outside ASCII", FAILED) from None
