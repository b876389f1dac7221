"""What is compiled for HTTP on a listener: from a head to what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.core.client import Within
from meshproxy.core.exchange import Exchange
from meshproxy.core.identity import Identity, Said
from meshproxy.core.reply import Reply
from meshproxy.core.route import Router
from meshproxy.core.target import Irregular, Normalise
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.relay.http import grpc
from meshproxy.relay.http.downstream import Downstream
from meshproxy.relay.http.failures import NO_CONNECT, NO_ROUTE, NO_TRACE
from meshproxy.relay.http.handling import Answering, Handling, Refusing
from meshproxy.relay.http.multiplexed import Multiplexed
from meshproxy.relay.http.site import Site
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import UNREAD, RequestCodec, RequestHead
from meshproxy.wire.h2 import Engine, Hearer, Requests

Decision = tuple[Handling, bytes, bytes]
"""What becomes of a request, its path made regular, and the beginning of the head that an upstream would get."""


HOP_LIMITED = frozenset((b"OPTIONS", b"TRACE"))

_limit = re.compile(rb"[0-9]{1,9}").fullmatch


def _hops(head: RequestHead) -> int | None:
    """How often it may be forwarded, if it says so."""
    value = head.get(b"max-forwards")
    return int(value) if value is not None and _limit(value) else None


def _one_less(head: RequestHead, opening: bytes) -> bytes:
    hops = _hops(head)
    if hops is None:
        return opening
    first, *lines = opening.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() != b"max-forwards"]
    return b"\r\n".join((first, b"Max-Forwards: %d" % (hops - 1), *kept))


class Front:
    """How requests are read that come from peers who are believed, or from those who are not, and who is asked.

    Each has a codec of its own, since other fields go on, and heads are remembered with what was decided of them.
    """

    __slots__ = (
        "_find",
        "_no_connect",
        "_no_route",
        "_no_timeout",
        "_no_trace",
        "_options",
        "_refusing",
        "_regular",
        "_tunnel",
        "codec",
        "requests",
    )

    def __init__(
        self,
        codec: RequestCodec,
        requests: Requests | None,
        router: Router[Handling],
        tunnels: Router[Handling],
        regular: Normalise,
        refusing: Callable[[Failure], Refusing],
        answering: Callable[[Reply], Answering],
    ) -> None:
        self.codec = codec
        """Of HTTP/1.1."""
        self.requests = requests
        """How those of HTTP/2 are read."""
        self._find = router.find
        self._tunnel = tunnels.find
        """Of CONNECT: no other rule is for that, and no other request is for these rules."""
        self._regular = regular
        self._refusing = refusing
        self._no_route = refusing(NO_ROUTE)
        self._no_connect = refusing(NO_CONNECT)
        self._no_trace = refusing(NO_TRACE)
        self._no_timeout = refusing(grpc.BAD_TIMEOUT)
        self._options = answering(Reply(204))

    def decide(self, head: RequestHead) -> Decision:
        if b"grpc-timeout" in head.shape.positions and not grpc.in_time(head):
            return self._no_timeout, head.target, b""
        if head.method == b"CONNECT":
            return self._connect(head), head.target, b""
        sent, mark, query = head.target.partition(b"?")
        try:
            regular = self._regular
            path = regular(sent)
        except Irregular as why:
            return self._refusing(Failure(why.reason, 400, "DPE")), sent, b""
        limited = head.method in HOP_LIMITED
        if limited:
            last = self._at_the_end(head)
            if last is not None:
                return last, path, b""
        find = self._find
        route = find(head.authority.text, path, head.method, head)
        if route is None:
            return self._no_route, path, b""
        handling = route.outcome
        if handling.as_is and path is sent and not limited:
            return handling, path, head.plain
        target = head.target if path is sent else path + mark + query
        opening = handling.opening(head, path, target)
        return handling, path, _one_less(head, opening) if limited else opening

    def _connect(self, head: RequestHead) -> Handling:
        """To a protocol that nobody speaks here it has a path (RFC 8441), and that is no tunnel."""
        route = None
        if head.authority.port is not None and head.target[:1] != b"/":
            find = self._tunnel
            route = find(head.authority.text, b"/", head.method, head)
        return self._no_connect if route is None else route.outcome

    def _at_the_end(self, head: RequestHead) -> Handling | None:
        """What may not be forwarded any more ends here (RFC 9110 7.6.2)."""
        if _hops(head) == 0:
            return self._options if head.method == b"OPTIONS" else self._no_trace
        return None


Engines = Callable[[Hearer, Callable[[], float]], Engine]
"""Make the engine of a connection, for its owner and by a clock."""
FrontOf = Callable[[Origin], Front]
"""The one for a client, by what it has proved."""


def _agreed(origin: Origin) -> str | None:
    """On what, by ALPN."""
    return origin.peer.agreed.selected_alpn_protocol() if origin.peer is not None else None


@dataclass(frozen=True, slots=True, eq=False)
class HttpService:
    site: Site
    state: ListenerState
    unrouted: Refusing
    """What becomes of requests that no route is for, or that are none."""
    identity: Identity
    trusted: Within
    trust_unix: bool
    front: FrontOf
    believed: FrontOf
    """The same as `front` where nobody is believed."""
    engines: Engines | None
    """None: HTTP/2 is not spoken."""
    alone: bool
    """Whether nothing else is spoken."""
    head: float
    idle: float
    lifetime: float
    shortest: float
    """Of all the times for which an answer or the next request is awaited."""

    def unread(self, origin: Origin, failure: Failure) -> None:
        """Tell of a request that is none."""
        handling = self.unrouted
        x = Exchange(UNREAD, b"", origin, handling, b"", self.site.now())
        x.failure = failure
        tell, tracer = handling.tell, handling.tracer
        if tracer is None:
            tell(x, failure.status, failure.flag, 0.0)
        else:
            tracer.end(x, tell, failure.status, failure.flag, 0.0)

    def front_for(self, origin: Origin) -> Front:
        return self.believed(origin) if self._believes(origin) else self.front(origin)

    def said_of(self, origin: Origin) -> Said:
        """What is told to upstreams of who connected."""
        return self.identity.of(origin.client, believed=self._believes(origin), peer=origin.peer)

    def _believes(self, origin: Origin) -> bool:
        if self.believed is self.front:
            return False
        return self.trust_unix if origin.source is None else self.trusted(origin.address)

    def behind(self, origin: Origin) -> HttpService | None:
        return self if origin.peer is None else None

    def start(self, conn: Conn, origin: Origin) -> None:
        origin.called()
        if self.engines is not None and (self.alone or _agreed(origin) == "h2"):
            self.multiplex(conn, origin, b"")
        else:
            Downstream(self, conn, origin).begin()

    def multiplex(self, conn: Conn, origin: Origin, data: bytes) -> None:
        """Go on in HTTP/2, of which this has been read already."""
        assert self.engines is not None
        origin.spoken = "HTTP/2"
        Multiplexed(self, self.engines, conn, origin).begin(data or origin.early)
