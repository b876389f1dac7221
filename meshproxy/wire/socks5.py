"""SOCKS5 (RFC 1928, and RFC 1929 for user and password), as both sides need it, and as who asks speaks it.

    asking = Socks5(("10.1.0.5", 80), Credentials("edge", "secret"))
    socket.write(asking.opening())
    socket.write(asking.feed(data))         until asking.rest is not None: what came behind the reply; raises Refused

A message says itself how long it is, so what is kept is never more than the longest, and nothing is searched.  Only
CONNECT is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshproxy.wire.asking import Refused, Why

VERSION = 5
AUTH_VERSION = 1
LONGEST_TEXT = 255
"""Bytes of a name, a user or a password: their length is one byte."""
LONGEST_REPLY = 4 + 1 + LONGEST_TEXT + 2

Host = str
Destination = tuple[Host, int]


class Method(IntEnum):
    NOTHING = 0
    PASSWORD = 2
    NONE_OF_THESE = 0xFF


class Command(IntEnum):
    CONNECT = 1
    BIND = 2
    UDP = 3


class Kind(IntEnum):
    """Of an address."""

    IPV4 = 1
    NAME = 3
    IPV6 = 4


class Code(IntEnum):
    """What a request comes to."""

    DONE = 0
    FAILED = 1
    FORBIDDEN = 2
    NO_NETWORK = 3
    UNREACHABLE = 4
    REFUSED = 5
    EXPIRED = 6
    UNKNOWN_COMMAND = 7
    UNKNOWN_ADDRESS = 8


class Malformed(ValueError):
    """These bytes are not what may stand here, whatever follows."""

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        self.code = code
        """For an answer to a request; None: there is nobody to answer who would understand it."""


# Addresses, which requests and replies have alike ------------------------------------------------------


def address(host: Host, port: int) -> bytes:
    """An IP address as what it is, and anything else as a name.  Raises ValueError."""
    if not 0 <= port <= 0xFFFF:
        raise ValueError("a port has 16 bits")
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        name = host.encode("ascii")
        if not 0 < len(name) <= LONGEST_TEXT:
            raise ValueError(f"a name has 1 to {LONGEST_TEXT} bytes") from None
        return bytes((Kind.NAME, len(name))) + name + port.to_bytes(2)
    return bytes((Kind.IPV4 if ip.version == 4 else Kind.IPV6,)) + ip.packed + port.to_bytes(2)


def read_address(data: bytes, at: int) -> tuple[Destination, int] | None:
    """An address that begins there, and where it ends; None: more is needed.  Raises Malformed."""
    if data[at : at + 2] == bytes((Kind.NAME, 0)):
        raise Malformed("a name of no bytes")
    found = span(data, at)
    if found is None:
        return None
    kind, raw, port, end = found
    return ((_name(raw) if kind == Kind.NAME else ip_text(raw)), port), end


def span(data: bytes, at: int) -> tuple[Kind, bytes, int, int] | None:
    """The kind of an address that begins there, its bytes, its port, and where it ends; None: more is needed.

    Raises Malformed.
    """
    if len(data) < at + 2:
        return None
    start = at + 1
    match data[at]:
        case Kind.IPV4:
            size = 4
        case Kind.IPV6:
            size = 16
        case Kind.NAME:
            size, start = data[start], start + 1
        case kind:
            raise Malformed(f"no kind of address is {kind}", Code.UNKNOWN_ADDRESS)
    end = start + size + 2
    if len(data) < end:
        return None
    return Kind(data[at]), data[start : end - 2], int.from_bytes(data[end - 2 : end]), end


def ip_text(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _name(raw: bytes) -> str:
    """Whatever else a name may be: it can be shown."""
    name = raw.decode("latin-1")
    if not name.isascii() or not name.isprintable() or " " in name:
        raise Malformed("a name of bytes that no name has")
    return name


# Who asks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str = field(repr=False)

    def __bytes__(self) -> bytes:
        """As they are sent.  Raises ValueError."""
        parts = [part.encode() for part in (self.user, self.password)]
        if not all(0 < len(part) <= LONGEST_TEXT for part in parts):
            raise ValueError(f"a user and a password have 1 to {LONGEST_TEXT} bytes each")
        return bytes((AUTH_VERSION,)) + b"".join([bytes((len(part),)) + part for part in parts])


_WHY: dict[int, tuple[Why, str]] = {
    Code.FAILED: (Why.REFUSED, "general failure"),
    Code.FORBIDDEN: (Why.FORBIDDEN, "not allowed by its rules"),
    Code.NO_NETWORK: (Why.NO_NETWORK, "network unreachable"),
    Code.UNREACHABLE: (Why.UNREACHABLE, "host unreachable"),
    Code.REFUSED: (Why.REFUSED, "connection refused"),
    Code.EXPIRED: (Why.EXPIRED, "TTL expired"),
    Code.UNKNOWN_COMMAND: (Why.UNSUPPORTED, "command not supported"),
    Code.UNKNOWN_ADDRESS: (Why.UNSUPPORTED, "address type not supported"),
}


class Socks5:
    """Satisfies `Asking`."""

    __slots__ = ("_credentials", "_due", "_held", "_request", "rest")

    def __init__(self, to: Destination, credentials: Credentials | None = None) -> None:
        """Raises ValueError where something is too long to be said."""
        self._credentials = None if credentials is None else bytes(credentials)
        self._request = bytes((VERSION, Command.CONNECT, 0)) + address(*to)
        self._held = b""
        self._due: Callable[[], bytes | None] = self._chosen
        """Reads the message that is due, and answers it; None: more is needed."""
        self.rest: bytes | None = None

    def opening(self) -> bytes:
        """Who has a password is content with a proxy that does not want one."""
        methods = (Method.NOTHING,) if self._credentials is None else (Method.NOTHING, Method.PASSWORD)
        return bytes((VERSION, len(methods), *methods))

    def feed(self, data: bytes) -> bytes:
        self._held += data
        said = b""
        try:
            while self.rest is None and (answer := self._due()) is not None:
                said += answer
        except Malformed as fault:
            raise Refused(Why.MALFORMED, f"not SOCKS5: {fault}") from None
        return said

    def _two(self, version: int) -> int | None:
        """The second byte of a message of two."""
        held = self._held
        if held and held[0] != version:
            raise Malformed(f"the version is {held[0]}")
        if len(held) < 2:
            return None
        self._held = held[2:]
        return held[1]

    def _chosen(self) -> bytes | None:
        method = self._two(VERSION)
        if method is None:
            return None
        if method == Method.NOTHING:
            self._due = self._replied
            return self._request
        if method == Method.PASSWORD and self._credentials is not None:
            self._due = self._judged
            return self._credentials
        if method in (Method.NONE_OF_THESE, Method.PASSWORD):
            raise Refused(Why.UNKNOWN, "it wants another way to know who asks")
        raise Malformed(f"method {method} was not offered")

    def _judged(self) -> bytes | None:
        verdict = self._two(AUTH_VERSION)
        if verdict is None:
            return None
        if verdict:
            raise Refused(Why.UNKNOWN, "user and password are not accepted")
        self._due = self._replied
        return self._request

    def _replied(self) -> bytes | None:
        held = self._held
        if held and held[0] != VERSION:
            raise Malformed(f"the version is {held[0]}")
        if len(held) < 2:
            return None
        if held[1] != Code.DONE:
            # Who refuses may say no more than this, and what an address is then nobody needs to know.
            raise Refused(*_WHY.get(held[1], (Why.REFUSED, f"code {held[1]}")))
        if len(held) < 3:
            return None
        if held[2]:
            raise Malformed("a reserved byte is used")
        found = read_address(held, 3)
        if found is None:
            return None
        self._held, self.rest = b"", held[found[1] :]
        return b""
