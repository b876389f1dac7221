"""A request that is recorded, while it goes on: its span, and one for each time that somebody is asked.

    trace = Trace(came, ids, carry)                 # `came`: the context that it brought, or None
    trace.trace_id, trace.span_id                   # for logs
    lines = trace.attempt(x, endpoint, clock.now()) # for who is asked now, in the place of all fields in `carry.names`
    trace.ended(clock.now(), error="reset")         # where it is asked again; the last attempt ends with its request
    trace.waited("authorize", begun, clock.now())   # a filter that has kept it
    exporter.render(trace, x, offset)               # at its end: see `exporters`

Most requests have one attempt, and that ends with them: so the one that is under way is no object of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.observe.record import Endpoint, Place, Record
from meshproxy.observe.trace_ids import Ids
from meshproxy.wire.trace import Context, Propagation

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"QUERY"))
MOST_WAITS = 32
"""Of filters that are spans of their own."""


class Nobody:
    """In the place of an endpoint."""

    name = cluster = ""


NOBODY = Nobody()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that an endpoint was asked."""

    id: bytes
    number: int
    endpoint: Endpoint
    started: float
    ended: float
    status: int
    """That it was answered with, if anybody has said so."""
    error: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A filter that has kept the request."""

    id: bytes
    name: str
    started: float
    ended: float


class Trace(Context):
    """The context of the span of the request; and the `Hop` that is under way."""

    __slots__ = (
        "_carry", "_ids", "asked", "attempts", "below", "endpoint", "method", "number", "parent", "place", "waits",
    )  # fmt: skip

    asked: float
    """When the endpoint was."""
    method: bytes
    place: Place

    def __init__(self, came: Context | None, ids: Ids, carry: Propagation) -> None:
        self._ids = ids
        self._carry = carry
        self.number = 0
        """Of the last attempt; 0: there was none."""
        self.endpoint: Endpoint = NOBODY
        """Who is asked."""
        self.attempts: tuple[Attempt, ...] = ()
        """Those that are over."""
        self.waits: tuple[Wait, ...] = ()
        left = ids.left
        trace_id, span_id, self.below = left.pop() if left else ids.draw()
        if came is None:
            self.parent = b""
            Context.__init__(self, trace_id, span_id, True, True)
        elif came.trace_id:
            self.parent = came.span_id
            Context.__init__(
                self, came.trace_id, span_id, True, came.random, came.state, came.debug, came.short, came.segment
            )
        else:
            self.parent = b""
            Context.__init__(self, trace_id, span_id, True, True, debug=came.debug)

    def attempt(self, x: Record, endpoint: Endpoint, now: float) -> bytes:
        """Lines for the endpoint that is asked now; an attempt before it is over."""
        if self.number:
            self.ended(now)
            self.below = self._another()
        self.number += 1
        self.endpoint = endpoint
        self.asked = now
        self.method = x.request.method
        self.place = x.handling
        inject = self._carry.inject
        return inject(self, self)

    def ended(self, now: float, status: int = 0, error: str = "") -> None:
        """What became of the last attempt; the first word counts."""
        if self.endpoint is not NOBODY:
            self.attempts += (Attempt(self.below, self.number, self.endpoint, self.asked, now, status, error),)
            self.endpoint = NOBODY

    def finish(self, x: Record) -> None:
        """The last attempt ends with its request, if it has not before."""
        status = x.status if x.response is not None else 0
        self.ended(x.started + x.seconds, status, "" if x.failure is None else x.failure.reason)

    def waited(self, name: str, started: float, ended: float) -> None:
        if len(self.waits) < MOST_WAITS:
            self.waits += (Wait(self._another(), name, started, ended),)

    def _another(self) -> bytes:
        ids = self._ids
        _, span_id, _ = ids.left.pop() if ids.left else ids.draw()
        return span_id

    # As a `Hop`

    @property
    def operation(self) -> str:
        return name_of(self.method, self.place.route)

    @property
    def peer(self) -> str:
        return self.endpoint.name


def name_of(method: bytes, route: str) -> str:
    """Of these there are few, whatever is asked for."""
    spoken = method.decode("ascii") if method in METHODS else "HTTP"
    return f"{spoken} {route}" if route else spoken
