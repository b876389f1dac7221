"""A filter: a few plain functions that look at an exchange, and may answer it.

    @dataclass(frozen=True)
    class Teapot:
        path: str = "/tea"

        def build(self, scope: Scope) -> Hooks:
            def request(x: Exchange) -> Reply | None:
                return Reply(418, body=b"short and stout\\n") if x.path == self.path.encode() else None

            return Hooks(request=request)

That is all of one.  `build` is called once for each route and generation; what it returns is called for each request,
in the order in which filters are written, and backwards for answers.  A hook that is absent costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from meshproxy.core.exchange import Exchange as Exchange
from meshproxy.core.reply import Reply as Reply
from meshproxy.errors import Failure as Failure

T = TypeVar("T")

Answer = Reply | Failure | None
"""What a hook decides: to answer, to fail, or nothing, and then the next one is asked."""
Hook = Callable[[Exchange], Answer | Awaitable[Answer]]
DataHook = Callable[[Exchange, bytes, bool], bytes]
"""A piece of a body, and whether it is the last, which may be empty; what is returned goes on in its place."""


FailureHook = Callable[[Exchange, Failure], Reply | None]

FILTER_ERROR = Failure("filter_error", 500, "FE")


class FilterFailed(Exception):
    """In the middle of a body, where nothing can be answered any more."""


class Hooks(NamedTuple):
    request: Hook | None = None
    """Before an endpoint is chosen."""
    request_data: DataHook | None = None
    response: Hook | None = None
    """The head of the answer is there (`x.response`), and nothing of it is sent."""
    response_data: DataHook | None = None
    failure: FailureHook | None = None
    """Nothing was sent: say it in other words."""
    done: Callable[[Exchange], None] | None = None
    """It is over, however it went: `x.status`, `x.failure`, `x.seconds`."""
    silent: bool = False
    """It leaves nothing in an exchange, so that what is let through goes on as if nobody had been asked."""


class Scope(Protocol):
    """Where a filter is built."""

    @property
    def route(self) -> str:
        """Its name."""

    def now(self) -> float:
        """Seconds that only grow."""

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What was made under this name by the generation before, or a new one: state that a reload leaves alone."""


class Filter(Protocol):
    def build(self, scope: Scope, /) -> Hooks: ...


class Pipeline:
    """The hooks of all filters of a route, flat: those that exist, in the order in which they are called."""

    __slots__ = ("done", "failure", "request", "request_data", "response", "response_data", "silent")

    def __init__(self, hooks: list[Hooks]) -> None:
        self.request = _existing(each.request for each in hooks)
        self.request_data = _existing(each.request_data for each in hooks)
        self.response = _existing(each.response for each in reversed(hooks))
        self.response_data = _existing(each.response_data for each in reversed(hooks))
        self.failure = _existing(each.failure for each in reversed(hooks))
        self.done = _existing(each.done for each in reversed(hooks))
        self.silent = all(each.silent for each in hooks)
        """Asked about requests, and about nothing else."""


def _existing(hooks: Any) -> tuple[Any, ...]:
    return tuple(hook for hook in hooks if hook is not None)


NO_FILTERS = Pipeline([])


def ask(hooks: tuple[Hook, ...], x: Exchange, at: int) -> tuple[Answer | Awaitable[Answer], int]:
    """From this place on: the first that decides or has to be awaited, and the place to go on at after it."""
    for place in range(at, len(hooks)):
        answer = hooks[place](x)
        if answer is not None:
            return answer, place + 1
    return None, len(hooks)


def through(hooks: tuple[DataHook, ...], x: Exchange, data: bytes, last: bool) -> bytes:
    for hook in hooks:
        data = hook(x, data, last)
    return data
