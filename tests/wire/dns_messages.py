"""DNS messages as a server writes them: by hand, without the codec that is tested with them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

A, CNAME, SOA, TXT, AAAA, OPT = 1, 5, 6, 16, 28, 41
RESPONSE, TRUNCATED = 0x8180, 0x0200
NO_SUCH_NAME = 3
QUESTION_AT = 12
TO_QUESTION = b"\xc0\x0c"
"""A pointer to the name that was asked for."""


def name(text: str) -> bytes:
    labels = [label.encode() for label in text.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner: bytes, kind: int, ttl: int, data: bytes, family: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", kind, family, ttl, len(data)) + data


def address(owner: str, text: str, ttl: int = 60) -> bytes:
    ip = ipaddress.ip_address(text)
    return record(name(owner), A if ip.version == 4 else AAAA, ttl, ip.packed)


def alias(owner: str, target: str, ttl: int = 60) -> bytes:
    return record(name(owner), CNAME, ttl, name(target))


def zone(owner: str, minimum: int, ttl: int = 3600) -> bytes:
    return record(name(owner), SOA, ttl, name("ns") + name("who") + struct.pack("!5I", 1, 2, 3, 4, minimum))


def edns(rcode: int = 0) -> bytes:
    return record(b"\0", OPT, rcode >> 4 << 24, b"", family=1232)


def question(text: str, kind: int, family: int = 1) -> bytes:
    return name(text) + struct.pack("!HH", kind, family)


def message(
    id: int,
    asked: bytes,
    answers: Sequence[bytes] = (),
    authority: Sequence[bytes] = (),
    extra: Sequence[bytes] = (),
    *,
    flags: int = RESPONSE,
    questions: int = 1,
) -> bytes:
    header = struct.pack("!6H", id, flags, questions, len(answers), len(authority), len(extra))
    return b"".join((header, asked, *answers, *authority, *extra))
