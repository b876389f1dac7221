"""DNS messages as a server writes them: by hand, without the codec that is tested with them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, CNAME, SOA, HINFO, MX, TXT, AAAA, SRV, OPT, HTTPS, AXFR, ANY = 1, 5, 6, 13, 15, 16, 28, 33, 41, 65, 252, 255
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


def query(
    text: str, kind: int = A, *, id: int = 7, size: int | None = None, secure: bool = False, flags: int = 0x0100
) -> bytes:
    """As a client asks; with EDNS0, if it says a size."""
    extra = [] if size is None else [record(b"\0", OPT, 0x8000 if secure else 0, b"", family=size)]
    return message(id, question(text, kind), extra=extra, flags=flags)


@dataclass(frozen=True)
class Heard:
    """A response as a client reads it."""

    id: int
    flags: int
    asked: bytes
    answers: list[tuple[str, int, int, bytes]]
    authority: list[tuple[str, int, int, bytes]]
    extra: list[tuple[str, int, int, bytes]]
    """Names, kinds, TTLs and data."""

    @property
    def rcode(self) -> int:
        upper = next((ttl >> 24 << 4 for _, kind, ttl, _ in self.extra if kind == OPT), 0)
        return self.flags & 15 | upper

    @property
    def truncated(self) -> bool:
        return bool(self.flags & TRUNCATED)

    @property
    def addresses(self) -> list[str]:
        return [str(ipaddress.ip_address(data)) for _, kind, _, data in self.answers if kind in (A, AAAA)]


def heard(data: bytes) -> Heard:
    id, flags, questions, *counts = struct.unpack_from("!6H", data)
    assert questions in (0, 1)
    at = QUESTION_AT
    if questions:
        _, at = _name_at(data, at)
        at += 4
    asked = data[QUESTION_AT:at]
    sections: list[list[tuple[str, int, int, bytes]]] = []
    for count in counts:
        sections.append([])
        for _ in range(count):
            owner, at = _name_at(data, at)
            kind, _, ttl, size = struct.unpack_from("!HHIH", data, at)
            at += 10 + size
            sections[-1].append((owner, kind, ttl, data[at - size : at]))
    assert at == len(data)
    return Heard(id, flags, asked, *sections)


def _name_at(data: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    while size := data[at]:
        if size >= 0xC0:
            rest, _ = _name_at(data, (size & 0x3F) << 8 | data[at + 1])
            return ".".join([*labels, rest]), at + 2
        labels.append(data[at + 1 : at + 1 + size].decode("latin-1"))
        at += size + 1
    return ".".join(labels), at + 1
