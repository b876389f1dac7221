"""A handling behind the filters of its rule, and what waits for one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from meshproxy.core.exchange import Exchange, Tell
from meshproxy.core.filter import Answer
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.relay.http.handling import NOTHING, Asked, Handling
from meshproxy.wire.h1 import RequestHead


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Filtered(Handling):
    """Every filter is asked, and then the handling has its turn."""

    inner: Handling
    tell: Tell
    """Of what filters answer."""

    def opening(self, head: RequestHead, path: bytes, target: bytes, without: frozenset[bytes] = NOTHING) -> bytes:
        return self.inner.opening(head, path, target, without)

    def begin(self, asked: Asked, x: Exchange) -> None:
        x.tell = self.tell
        self._ask(asked, x, 0)

    def _ask(self, asked: Asked, x: Exchange, at: int) -> None:
        hooks = self.pipeline.request
        for hook in hooks[at:]:
            at += 1
            answer = hook(x)
            if answer is not None:
                self._answered(asked, x, hook, answer, at)
                return
        if x.patience is not self.patience:
            asked.hasten(x)
        self.inner.begin(asked, x)

    def _answered(
        self, asked: Asked, x: Exchange, hook: Any, answer: Reply | Failure | Awaitable[Answer], at: int
    ) -> None:
        if isinstance(answer, Reply | Failure):
            asked.decide(x, answer)
        else:
            if self.tracer is not None:
                answer = self.tracer.timed(x, hook.__module__.rpartition(".")[2], answer)
            asked.wait(answer, lambda decided: self._ask(asked, x, at) if decided is None else asked.decide(x, decided))


def _nobody(_: Answer) -> None:
    """It has been cancelled."""


class Waiting:
    """The one task there is: while a filter is awaited."""

    __slots__ = ("_cancel", "_then")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, answer: Awaitable[Answer], then: Callable[[Answer], None]
    ) -> None:
        self._then = then
        task = loop.create_task(self._wait(answer))
        # Not before it has begun: what is never awaited is complained of when it is forgotten.
        self._cancel = partial(loop.call_soon, task.cancel)

    def cancel(self) -> None:
        self._then = _nobody
        self._cancel()

    async def _wait(self, answer: Awaitable[Answer]) -> None:
        self._then(await answer)
