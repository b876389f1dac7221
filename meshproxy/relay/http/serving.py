"""An exchange as it is served to a client: its body is taken in, and it is known how long it may take.

What carries it is a connection of HTTP/1.1, which has one at a time (`incoming.py`), or a stream of HTTP/2, of which a
connection has many (`stream.py`).  From here on both are the same: a head as HTTP/1.1 has it, and pieces of a body as
they go on to an endpoint of HTTP/1.1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import DataHook, through
from meshproxy.core.identity import Said
from meshproxy.errors import Failure
from meshproxy.net.conn import Feeder
from meshproxy.relay.http import failures
from meshproxy.relay.origin import Origin
from meshproxy.wire.h1 import BodyReader, encode

if TYPE_CHECKING:
    from meshproxy.relay.http.service import HttpService


class Gathered(NamedTuple):
    """A body, as far as it has come."""

    data: bytearray
    most: int
    then: Callable[[], None]
    """What is done when all of it is there."""


class Serving(ABC):
    __slots__ = ("_body", "_first", "_gathered", "_origin", "_said", "_service", "_site", "_x", "deadline", "feeder")

    feeder: Feeder
    """Who is held while an endpoint takes no more."""
    _service: HttpService
    _said: Said | None
    """What an endpoint is told of the client, once one has been asked."""

    def __init__(self, service: HttpService, origin: Origin) -> None:
        self._service = service
        self._origin = origin
        self._site = service.site
        self._x: Exchange | None = None
        self._body: BodyReader | None = None
        """What reads the body of the request, until that has all come."""
        self._first = b""
        """What of the body came with the head, or is kept so that it can be sent again."""
        self._gathered: Gathered | None = None
        """Where all of the body is kept before it goes on."""
        self.deadline = inf

    # The body

    def _took(self, x: Exchange, body: BodyReader, data: bytes) -> None:
        """A piece of it, as it goes on."""
        self._moved(x)
        x.taken += len(data)
        if self._gathered is not None:
            self._gather_more(x, self._gathered, data, body)
            return
        retry = x.handling.retry
        if retry is not None and not x.streamed and len(self._first) + len(data) <= retry.most_body:
            self._first += data
        else:
            x.streamed = True
        if body.done:
            self._body = None
            x.complete = True
        if data and x.upstream is not None:
            x.upstream.more(data)
            self._pour(x, body)
        if x.handling.mirror is not None and x.copy is not None:
            x.copy.more(data, x.complete)

    def gather(self, x: Exchange, most: int, then: Callable[[], None]) -> None:
        if len(self._first) > most:
            self.fail(x, failures.BODY_TOO_LARGE)
        elif x.complete:
            then()
        else:
            if x.request.expect_continue:
                # Nobody else can say it before all of it is there.
                x.request_changes.remove(b"expect")
                self._say_continue()
            self._gathered = Gathered(bytearray(self._first), most, then)
            self._first = b""
            self._read_on()

    def _gather_more(self, x: Exchange, gathered: Gathered, data: bytes, body: BodyReader) -> None:
        gathered.data.extend(data)
        if len(gathered.data) > gathered.most:
            self._gathered = None
            self.fail(x, failures.BODY_TOO_LARGE)
        elif body.done:
            self._gathered = self._body = None
            self._first = bytes(gathered.data)
            x.complete = True
            gathered.then()

    def begun(self, x: Exchange) -> None:
        """What there was of the request is on its way, and the rest may follow."""
        if self._body is not None and x.upstream is not None and x.upstream.carries:
            self._pour(x, self._body)
            self._read_on()

    def _pour(self, x: Exchange, body: BodyReader) -> None:  # noqa: B027 - most have none
        """What is left of a body need not come up here, if there is a shorter way."""

    @staticmethod
    def _rewritten(hooks: tuple[DataHook, ...], x: Exchange, data: bytes, last: bool) -> bytes:
        """What filters make of a piece of a body, in chunks."""
        if not data and not last:
            return b""
        piece = encode.chunk(through(hooks, x, data, last))
        return piece + encode.LAST_CHUNK if last else piece

    @abstractmethod
    def _read_on(self) -> None:
        """The client is to send what comes next of the body."""

    @abstractmethod
    def _read_no_more(self) -> None:
        """What comes of it has nobody to go to."""

    @abstractmethod
    def _say_continue(self) -> None:
        """The client waits for this before it sends the body."""

    # For who answers

    @abstractmethod
    def fail(self, x: Exchange, failure: Failure) -> None:
        """Answer that it has failed, or cut the answer that has begun."""

    # Time

    def _moved(self, x: Exchange) -> None:
        patience = x.patience
        self.deadline = min(self._site.now() + patience.idle, x.started + patience.total)

    def hasten(self, x: Exchange) -> None:
        self._expire_at(min(self.deadline, x.started + x.patience.total))

    @abstractmethod
    def _expire_at(self, deadline: float) -> None:
        """One that may be nearer than the one before."""

    @property
    @abstractmethod
    def _paced(self) -> bool:
        """Whether the client waits since it was fast, and not for anybody."""

    def expired(self) -> None:
        x = self._x
        assert x is not None
        now = self._site.now()
        in_time = now < x.started + x.patience.total
        if in_time and self._paced:
            # It is we who let it wait.
            self._expire_at(now + self._service.idle)
            return
        self.deadline = inf
        if not in_time:
            self.fail(x, x.patience.over)
        else:
            self.fail(x, failures.BODY_TIMEOUT if self._body is not None else failures.IDLE_TIMEOUT)
