"""Records by hand: what a request leaves at its end, with what a test says differently.

    record()                                    # GET /v1/books of shop.local was answered 200 by 10.0.0.5:8080
    record(status=503, flags="UF", failure=Failed("connection refused"), endpoint=Asked())
    record(request=Request(fields=[(b"User-Agent", b"curl/8.5")]))
    record(origin=Who(peer=Peer(identity="spiffe://mesh/books")))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshproxy.observe.record import Record

STARTED = 1000.25
"""By the clock of a loop."""
OFFSET = 1_700_000_000 - STARTED
"""What that lacks to Unix time."""


@dataclass
class Authority:
    text: bytes = b"shop.local"


@dataclass
class Head:
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        values = [value for each, value in self.fields if each.lower() == name]
        return b", ".join(values) if values else None

    peek = get


@dataclass
class Request(Head):
    method: bytes = b"GET"
    target: bytes = b"/v1/books?page=2"
    authority: Authority = field(default_factory=Authority)
    told: Any = None

    @property
    def shape(self) -> tuple[bytes, ...]:
        return tuple(name.lower() for name, _ in self.fields)


@dataclass
class Certificate:
    serial: int = 0x1F2E
    subject: str = "CN=books,O=Shop"
    issuer: str = "CN=mesh"
    uris: tuple[str, ...] = ("spiffe://mesh/books",)
    dns: tuple[str, ...] = ("books.shop", "books")
    sha256: str = "ab" * 32


class Agreed:
    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256


@dataclass(eq=False)
class Peer:
    identity: str = "spiffe://mesh/books"
    name: str | None = "shop.local"
    certificate: Certificate | None = field(default_factory=Certificate)
    agreed: Agreed = field(default_factory=Agreed)


@dataclass
class Who:
    client: str | None = "192.0.2.7"
    who: str = "192.0.2.7"
    peer: Any = None
    remote: str = "192.0.2.7:41234"
    local: str = "10.0.0.1:8080"
    told: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Place:
    listener: str = "web"
    route: str = "shop/0"


@dataclass(eq=False)
class Asked:
    """An endpoint; nobody, unless it has a name."""

    name: str = ""
    cluster: str = "books"


@dataclass(eq=False)
class Failed:
    reason: str


@dataclass
class Traced:
    trace_id: bytes = b"4bf92f3577b34da6a3ce929d0e0e4736"
    span_id: bytes = b"00f067aa0ba902b7"


@dataclass
class Session:
    client_id: str = "press-7"
    user: str = "ann"
    messages_received: int = 3
    messages_sent: int = 0


@dataclass
class Known:
    """A `Record`."""

    protocol: str = "HTTP/1.1"
    request: Request = field(default_factory=Request)
    response: Head | None = field(default_factory=Head)
    origin: Who = field(default_factory=Who)
    handling: Place = field(default_factory=Place)
    endpoint: Asked = field(default_factory=lambda: Asked("10.0.0.5:8080"))
    failure: Failed | None = None
    trace: Traced | None = None
    session: Session | None = None
    status: int = 200
    flags: str = ""
    id: bytes = b"4f1c5b2e-2c3e-4c1a-9d0a-0123456789ab"
    drawn: bytes = b""
    attempts: int = 0
    tried: tuple[Asked, ...] = ()
    started: float = STARTED
    asked: float = 1000.251
    answered: float = 1000.2625
    seconds: float = 0.0135
    received: int = 0
    sent: int = 1234


def record(**said: Any) -> Record:
    return Known(**said)


def session(**said: Any) -> Record:
    """What a session of MQTT leaves."""
    return connection(**{"protocol": "MQTT/5.0", "session": Session(), **said})


def connection(**said: Any) -> Record:
    """What a connection of TCP leaves."""
    nothing = Request(method=b"", target=b"", authority=Authority(b""))
    return Known(
        **{"protocol": "TCP", "request": nothing, "response": None, "status": 0, "id": b"", "answered": 0.0, **said}
    )
