"""What a client asks, and how it is answered: its own question comes back as it was written, in its own case.

    asked = read_question(data)                     # a Refusal is to be sent back; to None nothing is said
    answer(asked, answers=records(A, [b"\x0a\0\0\1"], ttl=30), authoritative=True)
    fitted(message, asked, asked.size)              # or, over UDP, the word that it is longer than the client takes

To nonsense nothing longer is said than it is itself: answers may go to somebody who has not asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from meshproxy.model.host import Name
from meshproxy.wire.dns.reader import (
    AUTHENTIC,
    AUTHORITATIVE,
    FORMAT_ERROR,
    HEADER,
    HINFO,
    INTERNET,
    NO_ERROR,
    NOT_IMPLEMENTED,
    OPCODE,
    OPT,
    RCODE,
    RECORD,
    RECURSE,
    RECURSIVE,
    REFUSED,
    RESPONSE,
    SOA,
    SOA_NUMBERS,
    TRUNCATED,
    TYPE_CLASS,
    UDP_SIZE,
    UNCHECKED,
    Malformed,
    Reader,
    spelled,
)

SMALLEST = 512
"""What every client takes over UDP."""
MOST_EXTRAS = 4
"""Beside a question: EDNS0, and a signature that nobody here can verify."""
SECURE = 0x8000
"""Of EDNS0: the client wants signatures too."""
BAD_VERSION = 16

ANY = 255
OF_ZONES = range(249, ANY)
"""Kinds that ask for a whole zone, or for keys to talk to a server: none of them has an answer here."""
_SERVICE = Struct("!3H")
TO_QUESTION = b"\xc0\x0c"
"""A pointer to the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Records:
    count: int
    data: bytes


NONE = Records(0, b"")


@dataclass(frozen=True, slots=True)
class Asked:
    id: int
    flags: int
    """Those that an answer depends on, or repeats."""
    question: bytes
    """As it was written."""
    name: Name
    kind: int
    size: int
    """Bytes that the client takes over UDP."""
    edns: bool = False
    secure: bool = False

    @property
    def key(self) -> bytes:
        """What is the same for all whom one answer serves: the question in small letters, and how it is asked."""
        question = self.question
        how = bool(self.flags & UNCHECKED) << 1 | self.secure
        return question[:-4].lower() + question[-4:] + bytes((how,))


class Refusal(NamedTuple):
    answer: bytes
    malformed: bool


def read_question(data: bytes) -> Asked | Refusal | None:
    """Responses are not answered, or two servers could talk for ever."""
    if len(data) < HEADER.size:
        return None
    id, flags, questions, answers, authorities, extras = HEADER.unpack_from(data)
    if flags & RESPONSE:
        return None
    if flags & OPCODE:
        return _refusal(id, flags, NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities or extras > MOST_EXTRAS:
        return _refusal(id, flags, FORMAT_ERROR)
    try:
        asked, family, version = _read(Reader(data), id, flags, extras)
    except Malformed:
        return _refusal(id, flags, FORMAT_ERROR)
    if version:
        return Refusal(answer(asked, BAD_VERSION), malformed=False)
    if asked.kind == OPT or not asked.kind:
        return Refusal(answer(asked, FORMAT_ERROR), malformed=True)
    if family != INTERNET or asked.kind in OF_ZONES:
        return Refusal(answer(asked, REFUSED), malformed=False)
    if asked.kind == ANY:
        # RFC 8482: something, so that nobody asks again, and of all that there may be the least.
        return Refusal(answer(asked, answers=records(HINFO, [b"\7RFC8482\0"], 3600)), malformed=False)
    return asked


def _refusal(id: int, flags: int, rcode: int) -> Refusal:
    """To what cannot be read, or is none of our business."""
    header = HEADER.pack(id, RESPONSE | flags & (OPCODE | RECURSE) | rcode, 0, 0, 0, 0)
    return Refusal(header, malformed=rcode == FORMAT_ERROR)


def _read(reader: Reader, id: int, flags: int, extras: int) -> tuple[Asked, int, int]:
    """With the class, and the version of EDNS."""
    reader.at = HEADER.size
    name = reader.name()
    kind, family = reader.unpack(TYPE_CLASS)
    question = reader.data[HEADER.size : reader.at]
    edns, size, rest = False, SMALLEST, 0
    for _ in range(extras):
        owner = reader.name()
        extra, told, more, length = reader.unpack(RECORD)
        reader.take(length)
        if extra == OPT:
            if edns or owner:
                raise Malformed("EDNS0 twice, or of a name")
            edns, size, rest = True, told, more
    if reader.at != len(reader.data):
        raise Malformed("bytes after the last record")
    kept = flags & (RECURSE | AUTHENTIC | UNCHECKED)
    size = min(max(size, SMALLEST), UDP_SIZE)
    return Asked(id, kept, question, name, kind, size, edns, bool(rest & SECURE)), family, rest >> 16 & 0xFF


def answer(
    asked: Asked,
    rcode: int = NO_ERROR,
    answers: Records = NONE,
    authority: Records = NONE,
    *,
    authoritative: bool = False,
) -> bytes:
    """An answer of our own."""
    flags = RESPONSE | RECURSIVE | asked.flags & (RECURSE | UNCHECKED) | rcode & RCODE
    return b"".join((
        HEADER.pack(
            asked.id, flags | AUTHORITATIVE if authoritative else flags, 1, answers.count, authority.count, asked.edns
        ),
        asked.question,
        answers.data,
        authority.data,
        opt(asked, rcode),
    ))  # fmt: skip


def opt(asked: Asked, rcode: int = NO_ERROR) -> bytes:
    """The record of EDNS0, for who has sent one; the upper bits of the rcode stand in it."""
    if not asked.edns:
        return b""
    return b"\0" + RECORD.pack(OPT, UDP_SIZE, rcode >> 4 << 24 | (SECURE if asked.secure else 0), 0)


def fitted(message: bytes, asked: Asked, size: int) -> bytes:
    """What is too long is asked for again over TCP; of a part of it nobody could tell what is missing."""
    if len(message) <= size:
        return message
    _, flags, *_ = HEADER.unpack_from(message)
    header = HEADER.pack(asked.id, flags | TRUNCATED, 1, 0, 0, asked.edns)
    return header + asked.question + opt(asked)


def records(kind: int, data: Iterable[bytes], ttl: int) -> Records:
    """All of one kind that the name has which is asked for."""
    found = [TO_QUESTION + RECORD.pack(kind, INTERNET, ttl, len(each)) + each for each in data]
    return Records(len(found), b"".join(found))


def nothing(ttl: int) -> Records:
    """What says for how long it is certain that there is nothing: a zone of that name alone."""
    return records(SOA, [b"\0\0" + SOA_NUMBERS.pack(1, ttl, ttl, ttl, ttl)], ttl)


def service(priority: int, weight: int, port: int, target: Name) -> bytes:
    """The data of an SRV record."""
    return _SERVICE.pack(priority, weight, port) + spelled(target)
