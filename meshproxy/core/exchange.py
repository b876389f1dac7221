"""One request and its response: what a route, its filters and the access log see, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from meshproxy.core.client import Address
from meshproxy.core.peer import Peer
from meshproxy.errors import Failure
from meshproxy.wire.h1 import RequestHead, ResponseHead, encode

ID_SIZE = 32
"""Of a request's id, where it is ours."""


VERSIONS = ("HTTP/1.0", "HTTP/1.1")


class Nobody:
    """In the place of an endpoint, while none was asked."""

    name = cluster = ""


NOBODY = Nobody()


class Origin(Protocol):
    """Who connected."""

    spoken: str
    """The protocol, unless it is HTTP/1."""

    @property
    def who(self) -> str:
        """The identity that was proved, else the address, else `unix`."""

    @property
    def remote(self) -> str:
        """The address with its port."""

    @property
    def local(self) -> str:
        """The address that was connected to, with its port."""

    @property
    def client(self) -> str | None:
        """The address, or None for a unix socket."""

    @property
    def address(self) -> Address | None:
        """The same to compare with."""

    @property
    def destination(self) -> tuple[str, int] | None:
        """Where the connection was made to, if a PROXY header or the kernel has said so."""

    def look(self) -> None:
        """At what only an open connection can tell, for who asks when it is over."""

    @property
    def conn(self) -> Any:
        """The connection, for those who have to do with it."""

    @property
    def peer(self) -> Peer | None:
        """Who it is at the other end of TLS; None: it is a plain connection."""

    @property
    def told(self) -> dict[Any, Any]:
        """What logs have written of it, for the next requests."""

    @property
    def kept(self) -> dict[Any, Any]:
        """What was chosen for its first request and holds for those after it."""


class Changes:
    """What filters want different in a head: names that are left out, in lower case, and lines that are written."""

    __slots__ = ("lines", "without")

    def __init__(self) -> None:
        self.without: frozenset[bytes] = frozenset()
        self.lines = b""

    def remove(self, name: bytes) -> None:
        self.without |= {name.lower()}

    def add(self, name: bytes, value: bytes) -> None:
        """A name or a value that could end its line is a ValueError."""
        self.lines += encode.line(name, value)

    def set(self, name: bytes, value: bytes) -> None:
        self.remove(name)
        self.add(name, value)


class Notes:
    """What filters and the balancer leave in an exchange."""

    __slots__ = ("cookie", "facts", "flags", "request", "response")

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.request = Changes()
        self.response = Changes()
        self.cookie = b""
        """The line that tells the client by which cookie it comes back to the endpoint that was picked."""
        self.flags = ""
        """For the access log and metrics, of what filters have done to it."""


class Exchange:
    __slots__ = (
        "answered",
        "asked",
        "attempts",
        "begun",
        "cluster",
        "complete",
        "copy",
        "drawn",
        "endpoint",
        "failure",
        "flags",
        "handling",
        "held",
        "led",
        "noted",
        "opening",
        "origin",
        "passed",
        "path",
        "patience",
        "protocol",
        "received",
        "request",
        "response",
        "seconds",
        "sent",
        "started",
        "status",
        "streamed",
        "taken",
        "tell",
        "trace",
        "traced",
        "trailers",
        "tried",
        "units",
        "upstream",
    )

    def __init__(
        self, request: RequestHead, path: bytes, origin: Origin, handling: Any, opening: bytes, started: float
    ) -> None:
        self.request = request
        self.path = path
        """As it was matched: regular, and without the query."""
        self.origin = origin
        self.handling = handling
        """What the route that was found does with it."""
        self.opening = opening
        """The beginning of the head that goes to the upstream."""
        self.started = started
        self.patience: Any = handling.patience
        """For how long it may go on."""
        self.cluster: Any = None
        """Where it goes; of a split, the cluster that was drawn."""
        self.upstream: Any = None
        """Who carries it now: a connection, or the attempt to make one."""
        self.tell: Any = None
        """A `Tell`, who is told of its end, once it is known who answers."""
        self.endpoint: Any = NOBODY
        """Who was asked last."""
        self.asked = 0.0
        """When the endpoint was, where that is of interest."""
        self.answered = 0.0
        """When its answer began."""
        self.drawn = b""
        """An id of ours, and the end of its line in the head."""
        self.passed = 0
        """Bytes of the body of the answer that came by here."""
        self.complete = True
        """Whether all of the request has come, and is sent or will be at once."""
        self.streamed = False
        """Whether a part of the body has gone to the upstream and is not kept."""
        self.attempts = 0
        self.tried: tuple[Any, ...] = ()
        """Endpoints that have failed it."""
        self.units: tuple[Any, ...] = ()
        """What it has taken of limits, and gives back at its end."""
        self.response: ResponseHead | None = None
        """Once it has begun."""
        self.begun = False
        """Whether the client has heard anything of an answer that is not ours."""
        self.traced: Any = None
        """Where it stands in a trace that is recorded; False: it is not; None: that is not decided."""
        self.passed = 0
        """Bytes of the body of the answer that came by here."""
        self.failure: Failure | None = None
        self.noted: Notes | None = None
        """What filters have left, if anything."""

    # Where its rule has a mirror, once it is sent

    copy: Any
    """What the mirror gets; None for a request that was not drawn."""

    # Where its rule holds answers, once there is one

    held: bytearray
    """What has come of its body."""

    # Where its client says where it goes

    led: tuple[tuple[str, int], ...]
    """The addresses, in their order, once they are known."""

    # Where its client can be told of them

    trailers: Sequence[bytes]
    """Field lines after the body of the answer, without their ends, once that is whole."""

    # Where its request has a body

    taken: int
    """Bytes of it that came by here."""

    # At its end

    status: int
    """What the client was told, or would have been."""
    seconds: float
    """How long it took."""
    flags: str
    """Envoy's words for what became of it, as far as somebody asks."""

    protocol: str
    trace: Any
    """Where it stands in a trace that is recorded."""
    session = None
    """It is none."""
    received: int
    sent: int
    """Bytes of the bodies.  What did not come by here went the short way, and its length was said before."""

    def end(self, status: int, flags: str, seconds: float) -> None:
        """All that is known of it only now: of use to those who write it down, so that nobody else pays for it."""
        request, response, sent = self.request, self.response, self.passed
        self.status = status
        self.flags = flags
        self.seconds = seconds
        if not flags:
            self.failure = None  # of an attempt before the one that went well
        self.protocol = self.origin.spoken or VERSIONS[request.minor]
        self.trace = self.traced or None
        self.received = self._received() if request.body else 0
        if response is None:
            self.answered = 0.0
        elif response.body > sent and self.failure is None:
            sent = response.body
        self.sent = sent

    def _received(self) -> int:
        taken: int = getattr(self, "taken", 0)
        return max(self.request.body, taken) if self.complete else taken

    @property
    def id(self) -> bytes:
        """By which the request is known, if it has an id."""
        drawn = self.drawn
        return drawn[:ID_SIZE] if drawn else self.request.get(b"x-request-id") or b""

    # For filters

    @property
    def client(self) -> str | None:
        """The address of the client's end of the connection, if it has one."""
        return self.origin.client

    @property
    def destination(self) -> tuple[str, int] | None:
        """Where it is led; else where its connection was made to, if that is known."""
        led = getattr(self, "led", ())
        return led[0] if led else self.origin.destination

    def elsewhere(self, tried: int) -> tuple[str, int] | None:
        """Where else it is led, where so many have failed."""
        led = getattr(self, "led", ())
        return led[tried] if tried < len(led) else None

    @property
    def identity(self) -> str:
        """Who the client has proved to be; nothing, if it has proved nothing."""
        peer = self.origin.peer
        return peer.identity if peer is not None else ""

    @property
    def notes(self) -> Notes:
        if self.noted is None:
            self.noted = Notes()
        return self.noted

    @property
    def facts(self) -> dict[str, Any]:
        """What one filter has found and another may use."""
        return self.notes.facts

    @property
    def request_changes(self) -> Changes:
        """Fields of the request on its way to the upstream, to be changed before that is asked."""
        return self.notes.request

    @property
    def response_changes(self) -> Changes:
        """Fields of the upstream's answer, to be changed before it is sent on."""
        return self.notes.response


Tell = Callable[[Exchange, int, str, float], None]
"""Hears that it is over: the status, the flags in Envoy's words, and the seconds it took."""
