"""RESP, what Redis speaks (version 2 of it): commands written, replies read.

    command(b"PING")                            # b"*1\\r\\n$4\\r\\nPING\\r\\n"
    replies = Replies()
    replies.feed(b"+PONG\\r\\n:3")               # [b"PONG"]; the rest is kept
    replies.feed(b"\\r\\n*2\\r\\n:1\\r\\n$-1\\r\\n")  # [3, [1, None]]

A reply that is an error is a `Refused`, as a value.  What breaks the rules, or is larger than anything that is asked
for here, is Malformed: nothing after it can be understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_LINE = 1024
LARGEST_BULK = 16 * 1024
MOST_ITEMS = 64
"""Of one array; there are none within arrays."""

_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})").fullmatch
_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,31}").fullmatch
_END = b"\r\n"


class Malformed(Exception):
    """Not RESP, or too much of it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An error: its first word, which says what kind it is.  The rest may repeat what was sent, and that a secret."""

    word: str


Simple = bytes | int | Refused | None
Reply = Simple | list[Simple]


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class _Short(Exception):
    """More has to come."""


class Replies:
    """Reads replies out of what comes."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Reply]:
        self._data += data
        found: list[Reply] = []
        at = 0
        try:
            while at < len(self._data):
                reply, at = self._reply(at)
                found.append(reply)
        except _Short:
            pass
        self._data = self._data[at:]
        return found

    def _reply(self, at: int) -> tuple[Reply, int]:
        if not self._data.startswith(b"*", at):
            return self._simple(at)
        size, at = self._number(at + 1)
        if size == -1:
            return None, at
        if not 0 <= size <= MOST_ITEMS:
            raise Malformed
        items: list[Simple] = []
        for _ in range(size):
            item, at = self._simple(at)
            items.append(item)
        return items, at

    def _simple(self, at: int) -> tuple[Simple, int]:
        kind = self._data[at : at + 1]
        if kind == b":":
            return self._number(at + 1)
        if kind == b"$":
            return self._bulk(at + 1)
        if kind not in (b"+", b"-", b""):
            raise Malformed
        line, at = self._line(at + 1)
        if kind == b"+":
            return line, at
        word = line.partition(b" ")[0].decode("latin-1")
        return Refused(word if _WORD(word) else "unknown"), at

    def _bulk(self, at: int) -> tuple[bytes | None, int]:
        size, at = self._number(at)
        if size == -1:
            return None, at
        if not 0 <= size <= LARGEST_BULK:
            raise Malformed
        end = at + size
        if len(self._data) < end + 2:
            raise _Short
        if self._data[end : end + 2] != _END:
            raise Malformed
        return self._data[at:end], end + 2

    def _number(self, at: int) -> tuple[int, int]:
        line, at = self._line(at)
        if not _NUMBER(line):
            raise Malformed
        return int(line), at

    def _line(self, at: int) -> tuple[bytes, int]:
        end = self._data.find(_END, at, at + LONGEST_LINE + 2)
        if end < 0:
            if len(self._data) - at > LONGEST_LINE:
                raise Malformed
            raise _Short
        line = self._data[at:end]
        if b"\n" in line or b"\r" in line:
            raise Malformed
        return line, end + 2
