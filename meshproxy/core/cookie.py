"""What a client keeps for whoever set it.

cookie(head, b"session")        # the value, of several the first; or None
"""

from __future__ import annotations

from typing import Protocol


class Head(Protocol):
    def all(self, name: bytes, /) -> list[bytes]:
        """Each value of a header, by its name in lower case."""


def cookie(head: Head, name: bytes) -> bytes | None:
    for line in head.all(b"cookie"):
        for pair in line.split(b";"):
            key, mark, value = pair.partition(b"=")
            if mark and key.strip() == name:
                return value.strip()
    return None
