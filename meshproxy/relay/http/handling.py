"""What becomes of a request, by the route that was found for it: each rule compiled into one of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

from meshproxy.cluster.cluster import Cluster
from meshproxy.cluster.retry import Retry
from meshproxy.core.exchange import Exchange, Tell
from meshproxy.core.filter import NO_FILTERS, Answer, Pipeline
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.relay.http.failures import REQUEST_TIMEOUT
from meshproxy.relay.http.mirror import Mirror
from meshproxy.relay.http.traced import Tracer
from meshproxy.wire.h1 import Limits, RequestHead

NOTHING: frozenset[bytes] = frozenset()

More = Callable[[Exchange], bytes]


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes to the fields of a head: names that are left out, in lower case, and lines that are written."""

    without: frozenset[bytes] = NOTHING
    lines: bytes = b""
    more: More | None = None
    """Lines that depend on the exchange."""
    last: bool = False
    """Whether of repeated fields but cookies the last alone goes on."""


NO_EDIT = Edit()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; what is not limited is infinite."""

    idle: float
    """Of silence in the middle of an exchange."""
    total: float
    first: float
    """Whichever is over first, from the beginning."""
    over: Failure = REQUEST_TIMEOUT
    """What it is when the total is over."""

    @classmethod
    def of(cls, idle: float, total: float, over: Failure = REQUEST_TIMEOUT) -> Patience:
        return cls(idle, total, min(idle, total), over)


class Asked(Protocol):
    """The connection that an exchange belongs to."""

    def reply(self, x: Exchange, reply: Reply) -> None: ...

    def fail(self, x: Exchange, failure: Failure) -> None: ...

    def decide(self, x: Exchange, answer: Reply | Failure) -> None:
        """Either of these."""

    def leave(self) -> None:
        """The connection is to end with this answer."""

    def attempt(self, x: Exchange) -> None:
        """Send it to an endpoint of its cluster."""

    def gather(self, x: Exchange, most: int, then: Callable[[], None]) -> None:
        """Keep its body until all of that is there, and then go on; refuse it if it is larger."""

    def begin_anew(self, x: Exchange) -> None:
        """Send it to another cluster, as if it had just come."""

    def hasten(self, x: Exchange) -> None:
        """Its patience is another, and may be over sooner."""

    def wait(self, answer: Awaitable[Answer], then: Callable[[Answer], None]) -> None:
        """`then` is told, unless the exchange is over before."""


Fallback = Callable[[Asked, Exchange, Failure], bool]
"""Whether it has taken an exchange on that has failed."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Handling(ABC):
    """A rule, compiled."""

    listener: str = ""
    route: str = ""
    """What it is called where it is seen; empty: no route was found."""
    patience: Patience
    request: Edit = NO_EDIT
    """Changes to what an upstream is asked."""
    response: Edit = NO_EDIT
    """Changes to its answer."""
    pipeline: Pipeline = NO_FILTERS
    fallback: Fallback | None = None
    """Asked before it is said that nobody answers."""
    limits: Limits | None = None
    """Of a body, where they are not the listener's."""
    asks_plainly: bool = True
    """Whether all that is to be changed of a request is known from its head alone, but for what filters note."""
    answers_plainly: bool = True
    """Whether nothing is to be changed of an answer and nobody is to be told of it, but for what filters note."""
    retry: Retry | None = None
    """When it is asked again."""
    mirror: Mirror | None = None
    """Who is sent copies of what an upstream is asked."""
    holds: int | None = None
    """The bytes of an answer that goes on when all of it is there."""
    tracer: Tracer | None = None
    """Who tells endpoints of traces, and records some."""
    timed: bool = False
    """Whether somebody wants to know when an endpoint was asked."""
    tunnels: bool = False
    """Whether an endpoint gets what the client sends, and no request."""
    as_is: bool = False
    """Whether an upstream is asked with the request's own target and fields."""

    def opening(self, head: RequestHead, path: bytes, target: bytes, without: frozenset[bytes] = NOTHING) -> bytes:
        """The beginning of the head for an upstream: the path is made regular, and the target has it and the query.

        Nothing, where nobody will be asked.
        """
        return b""

    @abstractmethod
    def begin(self, asked: Asked, x: Exchange) -> None: ...


def common(handling: Handling) -> dict[str, Any]:
    """What one that stands before it shows of it."""
    return {field.name: getattr(handling, field.name) for field in fields(Handling)}


class Share(NamedTuple):
    """A cluster that gets a part of the requests of a route, and who is told of that."""

    cluster: Cluster
    tell: Tell


Draw = Callable[[Exchange], Share]


def nobody_else(_: Exchange) -> Share:
    """Draws where one gets all."""
    raise AssertionError("nothing is drawn")


NewPath = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Forwarding(Handling):
    """An upstream answers."""

    only: Share | None
    """The one that gets all."""
    draw: Draw
    new_path: NewPath | None

    def opening(self, head: RequestHead, path: bytes, target: bytes, without: frozenset[bytes] = NOTHING) -> bytes:
        if self.new_path is not None:
            target = self.new_path(path) + target[len(path) :]
        edit = self.request
        if edit.without:
            without = without | edit.without
        opening = head.opening(target=target, without=without, last=edit.last)
        return opening + edit.lines if edit.lines else opening

    def begin(self, asked: Asked, x: Exchange) -> None:
        x.cluster, x.tell = self.only or self.draw(x)
        asked.attempt(x)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answering(Handling):
    """The proxy answers."""

    make: Callable[[Exchange], Reply]
    tell: Tell

    def begin(self, asked: Asked, x: Exchange) -> None:
        x.tell = self.tell
        asked.reply(x, self.make(x))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Refusing(Handling):
    """Nobody answers: there is no route, or the request is none that may go on."""

    failure: Failure
    tell: Tell

    def begin(self, asked: Asked, x: Exchange) -> None:
        x.tell = self.tell
        asked.fail(x, self.failure)
