"""HTTP/2 as bare frames, for what no library would say: a builder, and a client that reads what comes back.

    client = Raw(await w.connect())
    await client.send(START + headers(1, block(*GET), END_STREAM | END_HEADERS))
    await client.until(lambda: client[1].over)
    client[1].status, client[1].body
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.relay.conversation import WITHIN

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
WHOLE = END_STREAM | END_HEADERS

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, _, ENHANCE_YOUR_CALM = range(7, 12)

Field = tuple[str, str]

_STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def settings(*said: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(key.to_bytes(2, "big") + number(value) for key, value in said))


def text(said: bytes) -> bytes:
    """A string of HPACK, not coded."""
    size = len(said)
    if size < 127:
        return bytes((size,)) + said
    more, rest = b"", size - 127
    while rest >= 128:
        more += bytes((rest & 127 | 128,))
        rest >>= 7
    return b"\x7f" + more + bytes((rest,)) + said


def literal(name: str, value: str, form: int = 0x00) -> bytes:
    """A field that is in no table, and with 0x40 goes into one."""
    return bytes((form,)) + text(name.encode("latin-1")) + text(value.encode("latin-1"))


def block(*fields: Field) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def headers(stream: int, said: bytes, flags: int = WHOLE) -> bytes:
    return frame(HEADERS, flags, stream, said)


def data(stream: int, said: bytes = b"", flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, said)


def request(*more: Field, **pseudo: str | None) -> bytes:
    """A block: `GET /a` of `x` unless it is said otherwise; None leaves one out."""
    said = {"method": "GET", "scheme": "http", "authority": "x", "path": "/a", **pseudo}
    return block(*[(f":{name}", value) for name, value in said.items() if value is not None], *more)


HELLO = settings()
START = PREFACE + HELLO
ACKNOWLEDGED = frame(SETTINGS, ACK)
QUESTION = frame(PING, 0, 0, b"question")


class Heard:
    """Of one stream."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.body = b""
        self.ended = False
        self.reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def status(self) -> int:
        return self.statuses[-1] if self.statuses else 0


class Raw:
    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.streams: dict[int, Heard] = {}
        self.goaway: int | None = None
        """The code."""
        self.kinds: Counter[int] = Counter()
        self.gone = False
        """The connection has ended."""
        self._rest = b""

    def __getitem__(self, stream: int) -> Heard:
        return self.streams.setdefault(stream, Heard())

    async def send(self, said: bytes) -> None:
        await self.peer.send(said)

    async def read(self) -> None:
        try:
            said = await self.peer.recv(1 << 18)
        except ConnectionError:
            said = b""
        self.gone = not said
        self._rest += said
        while len(self._rest) >= 9:
            end = 9 + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < end:
                break
            self._take(self._rest[3], self._rest[4], int.from_bytes(self._rest[5:9], "big"), self._rest[9:end])
            self._rest = self._rest[end:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.kinds[kind] += 1
        if kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM:
            self[stream].reset = int.from_bytes(payload, "big")
        elif kind == HEADERS:
            if payload[0] in _STATUSES or payload[:2] == b"\x08\x03":
                self[stream].statuses.append(_STATUSES.get(payload[0]) or int(payload[2:5]))
            self[stream].ended = bool(flags & END_STREAM)
        elif kind == DATA:
            self[stream].body += payload
            self[stream].ended = bool(flags & END_STREAM)

    async def until(self, due: Callable[[], object]) -> None:
        """Whatever comes is read until then, or until the end."""
        async with asyncio.timeout(WITHIN):
            while not due() and not self.gone:
                await self.read()

    async def answers(self) -> None:
        """It has taken all that was said, or has gone."""
        before = self.kinds[PING]
        await self.send(QUESTION)
        await self.until(lambda: self.kinds[PING] > before)
