"""A request that is over, made by hand: what `Record` asks for, with defaults that a test may say otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Text:
    text: bytes


@dataclass
class Head:
    method: bytes = b"GET"
    target: bytes = b"/books?token=secret"
    authority: Text = field(default_factory=lambda: Text(b"shop.local:8080"))
    fields: list[tuple[bytes, bytes]] = field(default_factory=lambda: [(b"User-Agent", b"curl/8")])

    told: Any = None

    @property
    def shape(self) -> tuple[bytes, ...]:
        return tuple(name.lower() for name, _ in self.fields)

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.fields if key.lower() == name), None)

    peek = get


@dataclass
class Who:
    client: str | None = "192.0.2.7"
    who: str = "192.0.2.7"
    peer: Any = None
    remote: str = "192.0.2.7:4711"
    local: str = "10.0.0.1:8080"
    told: dict[Any, Any] = field(default_factory=dict)


@dataclass
class Place:
    listener: str = "in"
    route: str = "web/0"


@dataclass
class Endpoint:
    name: str = "10.0.0.2:80"
    cluster: str = "books"


@dataclass
class Why:
    reason: str


@dataclass
class Over:
    """A `Record`."""

    protocol: str = "HTTP/1.1"
    request: Head = field(default_factory=Head)
    response: Head | None = field(default_factory=Head)
    origin: Who = field(default_factory=Who)
    handling: Place = field(default_factory=Place)
    endpoint: Endpoint = field(default_factory=Endpoint)
    failure: Why | None = None
    trace: Any = None
    session: Any = None
    status: int = 200
    flags: str = ""
    id: bytes = b"6f1c"
    drawn: bytes = b""
    attempts: int = 0
    tried: Sequence[Endpoint] = ()
    started: float = 1000.0
    asked: float = 1000.25
    answered: float = 1000.5
    seconds: float = 1.0
    received: int = 5
    sent: int = 7
