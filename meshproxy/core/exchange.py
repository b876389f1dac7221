"""One request and its response: what a route, its filters and the access log see, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from meshproxy.core.client import Address
from meshproxy.core.peer import Peer
from meshproxy.errors import Failure
from meshproxy.wire.h1 import RequestHead, ResponseHead, encode


class Origin(Protocol):
    """Who connected."""

    @property
    def client(self) -> str | None:
        """The address, or None for a unix socket."""

    @property
    def address(self) -> Address | None:
        """The same to compare with."""

    @property
    def conn(self) -> Any:
        """The connection, for those who have to do with it."""

    @property
    def peer(self) -> Peer | None:
        """Who it is at the other end of TLS; None: it is a plain connection."""

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
        "attempts",
        "begun",
        "cluster",
        "copy",
        "failure",
        "handling",
        "held",
        "noted",
        "opening",
        "origin",
        "path",
        "patience",
        "request",
        "response",
        "seconds",
        "sent",
        "started",
        "stats",
        "status",
        "streamed",
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
        self.stats: Any = None
        """The counters of its route, once it is known who answers."""
        self.sent = True
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
        self.failure: Failure | None = None
        self.noted: Notes | None = None
        """What filters have left, if anything."""

    # Where its rule has a mirror, once it is sent

    copy: Any
    """What the mirror gets; None for a request that was not drawn."""

    # Where its rule holds answers, once there is one

    held: bytearray
    """What has come of its body."""

    # Where its client can be told of them

    trailers: Sequence[bytes]
    """Field lines after the body of the answer, without their ends, once that is whole."""

    # At its end

    status: int
    """What the client was told, or would have been."""
    seconds: float
    """How long it took."""

    # For filters

    @property
    def client(self) -> str | None:
        """The address of the client's end of the connection, if it has one."""
        return self.origin.client

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
