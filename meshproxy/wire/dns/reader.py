"""What every message of DNS is made of, and a reader that steps through one, bounded in what it takes."""

from __future__ import annotations

import struct

from meshproxy.model.host import LONGEST_LABEL, LONGEST_NAME, Name

A, CNAME, SOA, HINFO, AAAA, SRV, OPT = 1, 5, 6, 13, 28, 33, 41
INTERNET = 1

NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
RCODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH", 16: "BADVERS"}
"""What a server says instead of an answer."""

UDP_SIZE = 1232
"""What passes every network in one piece; servers that have more to say are asked again over TCP."""
MOST_RECORDS = 4096
"""As many addresses as one message over TCP has room for."""
MOST_LABELS = 1 << 16
"""In all names of a message: pointers make many of few bytes, and each takes its time."""
MOST_POINTERS = 16

HEADER = struct.Struct("!6H")
TYPE_CLASS = struct.Struct("!HH")
RECORD = struct.Struct("!HHIH")
SOA_NUMBERS = struct.Struct("!5I")
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSE, RECURSIVE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
AUTHENTIC, UNCHECKED = 0x0020, 0x0010
OPCODE, RCODE = 0x7800, 0x000F


class Malformed(ValueError):
    """What arrived is not an answer to the query, or not DNS at all."""


class Reader:
    __slots__ = ("_labels", "at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self._labels = 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) < size:
            raise Malformed("cut short")
        self.at += size
        return taken

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def name(self) -> Name:
        try:
            return self._name()
        except IndexError:
            raise Malformed("cut short") from None

    def _name(self) -> Name:
        """A pointer leads before the piece in which it stands, so a name has an end; they are few, so it is near."""
        data, at = self.data, self.at
        labels: list[bytes] = []
        length, pointers, piece, after = 1, 0, at, 0
        while size := data[at]:
            at += 1
            if size <= LONGEST_LABEL:
                labels.append(data[at : at + size].lower())
                at += size
                length += size + 1
                if length > LONGEST_NAME:
                    raise Malformed(f"a name of more than {LONGEST_NAME} bytes")
                continue
            if size < 0xC0:
                raise Malformed("a label of an unknown kind")
            target = (size & 0x3F) << 8 | data[at]
            after = after or at + 1
            pointers += 1
            if not HEADER.size <= target < piece:
                raise Malformed("a pointer that does not lead back")
            if pointers > MOST_POINTERS:
                raise Malformed(f"a name of more than {MOST_POINTERS} pointers")
            at = piece = target
        self.at = after or at + 1
        self._labels += len(labels)
        if self._labels > MOST_LABELS:
            raise Malformed(f"more than {MOST_LABELS} labels")
        return tuple(labels)


def spelled(name: Name) -> bytes:
    """As it stands in a message, if nothing in that is pointed to."""
    return b"".join([bytes((len(label),)) + label for label in name]) + b"\0"


def seconds(ttl: int) -> int:
    """RFC 2181: what would be negative, were it a signed number, counts as none."""
    return ttl if ttl < 1 << 31 else 0
