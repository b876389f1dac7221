"""DNS messages: ask which addresses a name has, and read what comes back.

    query = Query(4711, name("books.shop"), A)
    reply = parse(data, query)      # what answers `encode(query)`; anything else is Malformed
    found(query, reply)             # Found(addresses=("10.0.0.1",), ttl=30)

Replies come from the network, perhaps not from whom they seem to: names are bounded and so are the pointers in them,
and what is not the answer to this very query is refused before its records are read.  A record of a kind that nobody
here needs is stepped over; to read another kind takes a dataclass and a line in `_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from meshproxy.model.host import Name, labels
from meshproxy.schema.kinds import shown
from meshproxy.wire.dns.reader import (
    AAAA,
    AUTHORITATIVE,
    CNAME,
    HEADER,
    INTERNET,
    MOST_RECORDS,
    NO_ERROR,
    NO_SUCH_NAME,
    OPCODE,
    OPT,
    RCODE,
    RECORD,
    RECURSE,
    RECURSIVE,
    RESPONSE,
    SOA,
    SOA_NUMBERS,
    TRUNCATED,
    TYPE_CLASS,
    UDP_SIZE,
    A,
    Malformed,
    Reader,
    seconds,
    spelled,
)

MOST_ALIASES = 16


@dataclass(frozen=True, slots=True)
class Query:
    """The id is the caller's to choose: one that nobody can guess."""

    id: int
    name: Name
    kind: int


@dataclass(frozen=True, slots=True)
class Address:
    name: Name
    ttl: int
    kind: int
    address: str


@dataclass(frozen=True, slots=True)
class Alias:
    name: Name
    ttl: int
    target: Name


@dataclass(frozen=True, slots=True)
class Zone:
    """The SOA of a zone; `minimum` is for how long it is certain that something is absent."""

    name: Name
    ttl: int
    minimum: int


Record = Address | Alias | Zone


@dataclass(frozen=True, slots=True)
class Reply:
    rcode: int
    truncated: bool = False
    """Then there are no records: which of them are whole, nobody can tell."""
    authoritative: bool = False
    recursive: bool = False
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()

    @property
    def is_referral(self) -> bool:
        """From a server that neither knows nor asks others: it says nothing of the name."""
        return (
            self.rcode == NO_ERROR
            and not (self.authoritative or self.recursive or self.answers)
            and not any(isinstance(record, Zone) for record in self.authority)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a name has of one kind.  Nothing is an answer as well, and `exists` tells whether there is such a name."""

    addresses: tuple[str, ...]
    ttl: int
    """For how long that is certain; not at all where there is nothing and the server did not say."""
    exists: bool = True


def name(text: str) -> Name:
    """The labels of a host name, with or without its final dot; ValueError in words that follow the name of a key."""
    try:
        return labels(text)
    except ValueError as why:
        raise ValueError(f"must be a host name such as books.shop.local, not {shown(text)}: {why}") from None


def encode(query: Query) -> bytes:
    """With EDNS0, so that the reply need not fit into 512 bytes."""
    return b"".join(
        (
            HEADER.pack(query.id, RECURSE, 1, 0, 0, 1),
            spelled(query.name),
            TYPE_CLASS.pack(query.kind, INTERNET),
            b"\0",
            RECORD.pack(OPT, UDP_SIZE, 0, 0),
        )
    )


def parse(data: bytes, query: Query) -> Reply:
    reader = Reader(data)
    id, flags, questions, answers, authorities, extras = reader.unpack(HEADER)
    if id != query.id:
        raise Malformed("another id")
    if not flags & RESPONSE or flags & OPCODE:
        raise Malformed("no response to a query")
    if questions != 1 or (reader.name(), *reader.unpack(TYPE_CLASS)) != (query.name, query.kind, INTERNET):
        raise Malformed("another question")
    rcode = flags & RCODE
    if flags & TRUNCATED:
        return Reply(rcode, truncated=True)
    if answers + authorities + extras > MOST_RECORDS:
        raise Malformed(f"more than {MOST_RECORDS} records")
    answer, authority = _section(reader, answers), _section(reader, authorities)
    rcode |= _extended_rcode(reader, extras)
    if reader.at != len(data):
        raise Malformed("bytes after the last record")
    return Reply(rcode, False, bool(flags & AUTHORITATIVE), bool(flags & RECURSIVE), answer, authority)


def found(query: Query, reply: Reply) -> Found:
    """Follow the aliases within the reply, in whatever order they stand, and keep what holds for the whole way."""
    if reply.rcode == NO_SUCH_NAME:
        return _nothing(reply, [], exists=False)
    aliases: dict[Name, Alias] = {}
    for record in reply.answers:
        if isinstance(record, Alias) and aliases.setdefault(record.name, record).target != record.target:
            raise Malformed("two aliases of one name")
    at, ttls = query.name, list[int]()
    for _ in range(MOST_ALIASES + 1):
        here = [r for r in reply.answers if isinstance(r, Address) and r.name == at and r.kind == query.kind]
        if here:
            addresses = tuple(dict.fromkeys(record.address for record in here))
            return Found(addresses, min(ttls + [record.ttl for record in here]))
        if at not in aliases:
            return _nothing(reply, ttls, exists=True)
        ttls.append(aliases[at].ttl)
        at = aliases[at].target
    raise Malformed(f"more than {MOST_ALIASES} aliases in a row")


def _nothing(reply: Reply, ttls: list[int], *, exists: bool) -> Found:
    """RFC 2308: what is absent stays so for as long as the zone says, if there is one."""
    certain = [min(zone.ttl, zone.minimum) for zone in reply.authority if isinstance(zone, Zone)]
    return Found((), min(ttls + certain) if certain else 0, exists)


def _section(reader: Reader, count: int) -> tuple[Record, ...]:
    records = []
    for _ in range(count):
        owner = reader.name()
        kind, family, ttl, size = reader.unpack(RECORD)
        end = reader.at + size
        if family == INTERNET and kind in _KINDS:
            records.append(_KINDS[kind](reader, owner, seconds(ttl), size))
        else:
            reader.take(size)
        if reader.at != end:
            raise Malformed("a record that is not as long as it says")
    return tuple(records)


def _extended_rcode(reader: Reader, count: int) -> int:
    """The upper bits of the rcode stand where the one record of EDNS0 has no use for a TTL."""
    found = []
    for _ in range(count):
        reader.name()
        kind, _, ttl, size = reader.unpack(RECORD)
        reader.take(size)
        if kind == OPT:
            found.append(ttl >> 24 << 4)
    if len(found) > 1:
        raise Malformed("two records of EDNS0")
    return sum(found)


def _ipv4(reader: Reader, owner: Name, ttl: int, size: int) -> Address:
    if size != 4:
        raise Malformed(f"an IPv4 address of {size} bytes")
    return Address(owner, ttl, A, str(IPv4Address(reader.take(4))))


def _ipv6(reader: Reader, owner: Name, ttl: int, size: int) -> Address:
    if size != 16:
        raise Malformed(f"an IPv6 address of {size} bytes")
    return Address(owner, ttl, AAAA, str(IPv6Address(reader.take(16))))


def _alias(reader: Reader, owner: Name, ttl: int, _: int) -> Alias:
    return Alias(owner, ttl, reader.name())


def _zone(reader: Reader, owner: Name, ttl: int, _: int) -> Zone:
    reader.name()  # the server that the zone comes from
    reader.name()  # who answers for it
    return Zone(owner, ttl, seconds(reader.unpack(SOA_NUMBERS)[-1]))


_KINDS: dict[int, Callable[[Reader, Name, int, int], Record]] = {A: _ipv4, AAAA: _ipv6, CNAME: _alias, SOA: _zone}
