"""An owner of an engine, and users of its streams, that write down all they hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.wire.h2 import Engine, Fault, Limits, Role, StreamFault
from meshproxy.wire.h2.frames import ACK, END_HEADERS, HEADERS, PREFACE, PREFIX, SETTINGS
from meshproxy.wire.hpack import STATUS, Block, field

GET = b"\x82\x86\x84"
"""A block: GET, http, `/`."""
OK = STATUS[200]
TRAILER = field(b"grpc-status", b"0")

Heard = tuple[Any, ...]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return PREFIX.pack(len(payload) << 8 | kind, flags, stream) + payload


def number(value: int) -> bytes:
    return value.to_bytes(4)


def settings(**values: int) -> bytes:
    """`_4=100`: what stands for the number as the RFC has it."""
    said = b"".join(int(name[1:]).to_bytes(2) + number(value) for name, value in values.items())
    return frame(SETTINGS, 0, 0, said)


def head(stream: int, flags: int = END_HEADERS, block: bytes = GET) -> bytes:
    return frame(HEADERS, flags, stream, block)


HELLO = settings()
ACKNOWLEDGED = frame(SETTINGS, ACK)


def frames_of(data: bytes) -> list[Heard]:
    """Kind, flags, stream, payload."""
    found: list[Heard] = []
    while data:
        first, flags, stream = PREFIX.unpack_from(data)
        size = 9 + (first >> 8)
        found.append((first & 0xFF, flags, stream, data[9:size]))
        data = data[size:]
    return found


class User:
    def __init__(self, stream: int, heard: list[Heard]) -> None:
        self.stream = stream
        self.heard = heard
        self.fault: StreamFault | None = None
        """What this user has against the next that comes."""
        self.held = False

    def _hears(self, word: str, *more: object) -> None:
        self.heard.append((word, self.stream, *more))
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault

    def headed(self, block: Block, last: bool) -> None:
        self._hears("headed", [field[:2] for field in block.fields], last)

    def taken(self, data: bytes, last: bool) -> None:
        self._hears("taken", data, last)

    def trailed(self, block: Block) -> None:
        self._hears("trailed", [field[:2] for field in block.fields])

    def reset(self, code: int) -> None:
        self.heard.append(("reset", self.stream, int(code)))

    def refused(self) -> None:
        self.heard.append(("refused", self.stream))

    def hold(self) -> None:
        assert not self.held
        self.held = True

    def release(self) -> None:
        assert self.held
        self.held = False


class Owner:
    """`opening` is called within `opened`, and may raise what it has against the stream."""

    def __init__(
        self,
        role: Role = Role.SERVER,
        limits: Limits | None = None,
        now: Callable[[], float] = lambda: 0.0,
        engine: type[Engine] = Engine,
    ) -> None:
        self.heard: list[Heard] = []
        self.counts: list[str] = []
        self.users: dict[int, User] = {}
        self.faults: list[Fault] = []
        self.opening: Callable[[int], None] = lambda stream: None
        self.engine = engine(role, self, limits or Limits(), now)

    def opened(self, stream: int, block: Block, last: bool) -> User:
        self.heard.append(("opened", stream, [field[:2] for field in block.fields], last))
        self.opening(stream)
        user = self.users[stream] = User(stream, self.heard)
        return user

    def open(self, block: bytes = GET, last: bool = False) -> int:
        user = User(0, self.heard)
        user.stream = stream = self.engine.open(block, last, user)
        self.users[stream] = user
        return stream

    def went(self, last_id: int, code: int) -> None:
        self.heard.append(("went", last_id, code))

    def settled(self) -> None:
        self.heard.append(("settled",))

    def pong(self) -> None:
        self.heard.append(("pong",))

    def broken(self, fault: Fault) -> None:
        self.faults.append(fault)

    def counted(self, word: str) -> None:
        self.counts.append(word)

    def written(self) -> bytes:
        data = b"".join(self.engine.out)
        self.engine.out.clear()
        return data

    def says(self) -> list[Heard]:
        return frames_of(self.written())


def server(limits: Limits | None = None, now: Callable[[], float] = lambda: 0.0, hello: bytes = HELLO) -> Owner:
    """A server to which the client has said its preface, and that has nothing left to say."""
    owner = Owner(Role.SERVER, limits, now)
    owner.engine.feed(PREFACE + hello + ACKNOWLEDGED)
    owner.written()
    owner.heard.clear()
    return owner


def client(limits: Limits | None = None, now: Callable[[], float] = lambda: 0.0, hello: bytes = HELLO) -> Owner:
    owner = Owner(Role.CLIENT, limits, now)
    owner.engine.feed(hello + ACKNOWLEDGED)
    owner.written()
    owner.heard.clear()
    return owner
