"""What a server has answered, kept whole, to be told to all who ask the same.

    message = asking(id, asked.key)                     # the question, for a server
    kept = read_answer(data, id, asked.key, bounds)     # Malformed: it is from somebody else, or nonsense
    kept.to(asked, age=12)                              # the same, with the id, the case and the TTLs of now

Nothing of an answer is believed of another name than the one that was asked for: records that come along are told
with it, and to nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from meshproxy.wire.dns.question import SECURE, Asked, opt
from meshproxy.wire.dns.reader import (
    AUTHENTIC,
    AUTHORITATIVE,
    HEADER,
    MOST_RECORDS,
    NO_ERROR,
    NO_SUCH_NAME,
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
    UDP_SIZE,
    UNCHECKED,
    Malformed,
    Reader,
    seconds,
)

_TTL = Struct("!I")
_BEFORE_END = RECORD.size - 4
"""From the TTL of a record to its data."""
_ENTRY, _OFFSET = 800, 40
"""What an answer takes beside its bytes, and each of its records: about as many bytes."""


class Truncated(Exception):
    """It is the answer, and longer than a datagram."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """For how long answers are kept, in seconds."""

    least: int = 0
    most: int = 3600
    negative: int = 300
    """At most, that there is nothing."""


@dataclass(frozen=True, slots=True)
class Kept:
    rcode: int
    authentic: bool
    counts: tuple[int, int, int]
    """Answers, authorities, and others; EDNS0 is between two hosts, and not among them."""
    body: bytes
    """What comes after the question."""
    offsets: tuple[int, ...]
    """Of the TTLs in the body."""
    life: int
    """Seconds for which it may be told; 0: to those alone who wait for it."""

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return len(self.body) + _OFFSET * len(self.offsets) + _ENTRY

    @property
    def is_answer(self) -> bool:
        """Whether it says anything of the name; else the next server may."""
        return self.rcode in (NO_ERROR, NO_SUCH_NAME)

    def to(self, asked: Asked, age: int = 0) -> bytes:
        """Whether it is authentic is for those who ask for that."""
        flags = RESPONSE | RECURSIVE | asked.flags & (RECURSE | UNCHECKED) | self.rcode
        if self.authentic and (asked.secure or asked.flags & AUTHENTIC):
            flags |= AUTHENTIC
        answers, authorities, others = self.counts
        header = HEADER.pack(asked.id, flags, 1, answers, authorities, others + asked.edns)
        return b"".join((header, asked.question, _aged(self.body, self.offsets, age) if age else self.body, opt(asked)))


def _aged(body: bytes, offsets: tuple[int, ...], age: int) -> bytes:
    aged = bytearray(body)
    for at in offsets:
        (ttl,) = _TTL.unpack_from(body, at)
        _TTL.pack_into(aged, at, max(ttl - age, 0))
    return bytes(aged)


def asking(id: int, key: bytes) -> bytes:
    """With EDNS0; the key of a question is what is the same for all who ask it."""
    unchecked, secure = key[-1] & 2, key[-1] & 1
    return b"".join((
        HEADER.pack(id, RECURSE | (UNCHECKED if unchecked else 0), 1, 0, 0, 1),
        key[:-1],
        b"\0",
        RECORD.pack(OPT, UDP_SIZE, SECURE if secure else 0, 0),
    ))  # fmt: skip


def read_answer(data: bytes, id: int, key: bytes, bounds: Bounds) -> Kept:
    """What answers `asking(id, key)`, or `Truncated`."""
    reader = Reader(data)
    told, flags, questions, answers, authorities, extras = reader.unpack(HEADER)
    if told != id:
        raise Malformed("another id")
    if not flags & RESPONSE or flags & OPCODE:
        raise Malformed("no response to a query")
    question = reader.take(len(key) - 1)
    if questions != 1 or question[:-4].lower() + question[-4:] != key[:-1]:
        raise Malformed("another question")
    if flags & TRUNCATED:
        raise Truncated
    if answers + authorities + extras > MOST_RECORDS:
        raise Malformed(f"more than {MOST_RECORDS} records")
    return _Reading(reader, flags, (answers, authorities, extras)).kept(bounds)


class _Reading:
    """One walk over all records: where their TTLs are, and what they say of how long the answer holds."""

    def __init__(self, reader: Reader, flags: int, counts: tuple[int, int, int]) -> None:
        answers, authorities, others = counts
        self._start = reader.at
        self._flags = flags
        self._rcode = flags & RCODE
        self._offsets: list[int] = []
        self._lives: list[int] = []
        self._certain: list[int] = []
        self._end = 0
        for place in range(answers + authorities + others):
            in_answer, at = place < answers, reader.at
            reader.name()
            kind, _, ttl, size = reader.unpack(RECORD)
            if kind == OPT:
                if place < answers + authorities or self._end:
                    raise Malformed("EDNS0 twice, or where it has no place")
                # What stands behind it, if anything does, could be left out as well.
                self._end, others = at, place - answers - authorities
                self._rcode |= ttl >> 24 << 4
            elif not self._end:
                self._offsets.append(reader.at - _BEFORE_END - self._start)
                if in_answer:
                    self._lives.append(seconds(ttl))
            found = reader.take(size)
            if kind == SOA and not in_answer and size >= SOA_NUMBERS.size:
                self._certain.append(min(seconds(ttl), seconds(_TTL.unpack(found[-_TTL.size :])[0])))
        if reader.at != len(reader.data):
            raise Malformed("bytes after the last record")
        if self._rcode == NO_ERROR and not (answers or self._certain or flags & (AUTHORITATIVE | RECURSIVE)):
            # A referral, from a server that neither knows nor asks others.
            self._rcode = REFUSED
        self._counts = (answers, authorities, others)
        self._body = reader.data[self._start : self._end or reader.at]

    def kept(self, bounds: Bounds) -> Kept:
        body, least, most = bytearray(self._body), bounds.least, bounds.most
        for at in self._offsets:
            (ttl,) = _TTL.unpack_from(body, at)
            _TTL.pack_into(body, at, min(max(seconds(ttl), least), most))
        return Kept(
            self._rcode, bool(self._flags & AUTHENTIC), self._counts, bytes(body), tuple(self._offsets),
            self._life(bounds),
        )  # fmt: skip

    def _life(self, bounds: Bounds) -> int:
        """RFC 2308: that there is nothing holds for as long as the zone says, if there is one."""
        lives = self._lives + self._certain
        if not lives or (self._rcode == NO_SUCH_NAME and not self._certain):
            return 0
        life = min(max(min(lives), bounds.least), bounds.most)
        return min(life, bounds.negative) if self._certain or not self._lives else life
