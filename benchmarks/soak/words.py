"""What clients and upstreams of the soak agree on: a target says how it is to be answered."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from typing import NamedTuple

FRAMINGS = ("length", "chunks", "close")
GOOD = ("plain", "slow", "interim", "extra")
"""What must be answered right, whatever happens beside it."""
BAD: dict[str, set[int | None]] = {
    "early": {413, 502, None},
    "die": {502},
    "reset": {502},
    "stall": {502, 504},
    "cut": {502, None},
    "garbage": {502, None},
    "odd": {502, None},
}
"""What a client may see of an upstream that does so; None is an answer that was cut."""
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
_target = re.compile(rf"/\w+/({'|'.join((*GOOD, *BAD))})/({'|'.join(FRAMINGS)})/(\d{{1,12}})/(\d{{1,6}})").fullmatch
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Wish(NamedTuple):
    kind: str
    framing: str
    seed: int
    size: int

    def target(self, group: str) -> str:
        return f"/{group}/{self.kind}/{self.framing}/{self.seed}/{self.size}"

    @classmethod
    def of(cls, target: str) -> Wish | None:
        """What a target wishes, unless that has been damaged."""
        found = _target(target)
        return cls(found[1], found[2], int(found[3]), int(found[4])) if found else None

    @property
    def body(self) -> bytes:
        """Of `extra` it fits into one read with what follows: what comes later may meet the next request."""
        return random.Random(self.seed).randbytes(min(self.size, 1000) if self.kind == "extra" else self.size)


def pieces(body: bytes, chance: random.Random, most: int = 5) -> list[bytes]:
    places = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(most)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True) if b > a]


def chunked(each: list[bytes]) -> list[bytes]:
    return [*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in each), b"0\r\n\r\n"]


def reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()
