"""The first message of a TLS connection, read without answering it: whom the client asks for, and what it would speak.

    parse(data)     # ClientHello(name="books.shop", alpn=(b"h2", b"http/1.1")); None: more bytes are needed

`data` is all that has arrived so far; what follows the hello is not looked at.  `NotTls` is for what was never meant to
be TLS, plain text say, and shows with the first byte, or the fifth where it could be SSLv2.  What begins like TLS and
is none, or asks for something in two ways, is `Malformed`, for one of these reasons:

    version     SSLv2 or SSLv3, or a version that TLS does not have
    record      a record that is empty, larger than 16 KiB or not of a handshake, while the hello has not ended
    message     the handshake does not begin with a ClientHello
    length      one length contradicts another, or the hello does not end where its record does
    name        server names twice, none or several in the list, or what is no host name
    alpn        protocols offered twice, or a list that is empty, has an empty entry or more than 32 of them
    too_long    more than `MOST` bytes, or more than `MOST_RECORDS` records

RFC 6066 allows no address as a server name, so there a number at the end makes it none.  It allows no final dot
either, but that is harmless, and some clients pass on what their user typed: it is taken off.

Whoever feeds this piece by piece calls it with all of the pieces again: until the hello is whole, a call looks at the
headers of its records and copies nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, get_args

from meshproxy.model.host import labels

Reason = Literal["version", "record", "message", "length", "name", "alpn", "too_long"]
REASONS: tuple[Reason, ...] = get_args(Reason)

MOST = 16 * 1024
"""A hello takes 200 to 600 bytes, with a post-quantum key share 2 KiB; what makes one longer is a ticket that holds the
client's certificates.  Other proxies have room for as much as this, so nobody sends more."""
MOST_RECORDS = 32
"""As many as the smallest fragments that OpenSSL can be told to send (512 bytes) make of the longest hello."""
MOST_PROTOCOLS = 32
LARGEST_RECORD = 1 << 14

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_HEADER = 4
"""Of a message: its kind, and its length in three bytes."""
_SERVER_NAME, _ALPN = 0, 16
_HOST_NAME = 0
_SSL2 = b"\1\0\2", b"\1\3\0", b"\1\3\1", b"\1\3\2", b"\1\3\3"
"""What follows two bytes of length, the first of them above 127: the kind of the message, and the best version."""

_record = struct.Struct("!BBBH").unpack_from
_extension = struct.Struct("!HH").unpack_from
_short = struct.Struct("!H").unpack_from
_names = struct.Struct("!HBH").unpack_from


@dataclass(frozen=True, slots=True)
class ClientHello:
    name: str | None
    """In small letters and without a final dot."""
    alpn: tuple[bytes, ...]
    """In the order of the client, who likes the first best."""


class NotTls(ValueError):
    """Plain text or something else."""


class Malformed(ValueError):
    """Begins like TLS, and no server should answer it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def parse(data: bytes) -> ClientHello | None:
    _check_opening(data)
    message = _message(data)
    return None if message is None else _read(message)


def _check_opening(data: bytes) -> None:
    """Raise as soon as the first bytes show that this is no TLS."""
    if not data:
        return
    if data[0] == _HANDSHAKE:
        if len(data) > 1 and data[1] != 3:
            raise NotTls
        return
    begins = data[2:5]
    if data[0] < 0x80 or not any(hello.startswith(begins) for hello in _SSL2):
        raise NotTls
    if len(begins) == 3:
        raise Malformed("version")


def _message(data: bytes) -> bytes | None:
    """The hello without the headers of its records.  Until it is whole, this steps from one of them to the next."""
    size, at = len(data), 0
    found, wanted = 0, _HEADER
    pieces: list[tuple[int, int]] = []
    while found < wanted:
        if size < at + 5:
            return None
        kind, major, minor, length = _record(data, at)
        if kind != _HANDSHAKE or not 0 < length <= LARGEST_RECORD:
            raise Malformed("record")
        if major != 3 or not 1 <= minor <= 4:
            raise Malformed("version")
        start = at + 5
        at = start + length
        pieces.append((start, at))
        found += length
        if at > MOST or len(pieces) > MOST_RECORDS:
            raise Malformed("too_long")
        if size < at:
            return None
        if wanted == _HEADER <= found:
            header = b"".join([data[start : min(stop, start + _HEADER)] for start, stop in pieces])
            if header[0] != _CLIENT_HELLO:
                raise Malformed("message")
            wanted += int.from_bytes(header[1:_HEADER], "big")
            if wanted > MOST:
                raise Malformed("too_long")
    if found > wanted:
        raise Malformed("length")
    return b"".join([data[start:stop] for start, stop in pieces])


def _read(message: bytes) -> ClientHello:
    """A length that leads out of the message does so where the next one is read."""
    try:
        return _extensions(message, _before_extensions(message))
    except (struct.error, IndexError):
        raise Malformed("length") from None


def _before_extensions(message: bytes) -> int:
    if message[4] != 3 or not 1 <= message[5] <= 4:
        raise Malformed("version")
    at = _HEADER + 2 + 32  # the version, and what the client drew at random
    session = message[at]
    at += 1 + session
    ciphers = message[at] << 8 | message[at + 1]
    at += 2 + ciphers
    compressions = message[at]
    if session > 32 or not ciphers or ciphers % 2 or not compressions:
        raise Malformed("length")
    return at + 1 + compressions


def _extensions(message: bytes, at: int) -> ClientHello:
    name: str | None = None
    alpn: tuple[bytes, ...] = ()
    end = len(message)
    if at == end:
        return ClientHello(name, alpn)  # TLS 1.2 and older can do without any
    if at + 2 + _short(message, at)[0] != end:
        raise Malformed("length")
    at += 2
    while at < end:
        kind, size = _extension(message, at)
        start = at + 4
        at = start + size
        if at > end:
            raise Malformed("length")
        if kind == _SERVER_NAME:
            if name is not None:
                raise Malformed("name")
            name = _host_name(message[start:at])
        elif kind == _ALPN:
            if alpn:
                raise Malformed("alpn")
            alpn = _protocols(message[start:at])
    return ClientHello(name, alpn)


def _host_name(listed: bytes) -> str:
    size = len(listed)
    if size < 5 or _names(listed) != (size - 2, _HOST_NAME, size - 5):
        raise Malformed("name")
    try:
        name = listed[5:].decode("ascii").lower()
        labels(name)
    except ValueError:
        raise Malformed("name") from None
    return name.removesuffix(".")


def _protocols(listed: bytes) -> tuple[bytes, ...]:
    size, at = len(listed), 2
    if size < 4 or _short(listed)[0] != size - 2:
        raise Malformed("alpn")
    found: list[bytes] = []
    while at < size:
        start = at + 1
        at = start + listed[at]
        if at == start or at > size or len(found) == MOST_PROTOCOLS:
            raise Malformed("alpn")
        found.append(listed[start:at])
    return tuple(found)
