"""A fence around the hooks of a filter: what fails is counted and logged, and the connection survives.

An extension is code that somebody else wrote.  What it awaits has a deadline; a plain hook that holds up the loop, and
with it everybody's traffic, is counted, and after some times not called any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NoReturn

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer, DataHook, FailureHook, FilterFailed, Hook, Hooks
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.answers import FilterStats

SLOW = 0.005
"""Seconds that a plain hook may take."""
MOST_SLOW = 20
"""Times that one may take longer, before it is not called any more."""
LOG_EVERY = 10.0

@dataclass(frozen=True, slots=True)
class Guard:
    name: str
    stats: FilterStats
    log: Log
    deadline: float
    verdict: Failure | None
    """What stands in the place of an answer that a filter owes: a failure, or nothing, as if it were not there."""

    def around(self, hooks: Hooks) -> Hooks:
        return Hooks(
            request=hooks.request and self._hook(hooks.request),
            request_data=hooks.request_data and self._data(hooks.request_data),
            response=hooks.response and self._hook(hooks.response),
            response_data=hooks.response_data and self._data(hooks.response_data),
            failure=hooks.failure and self._failure(hooks.failure),
            done=hooks.done and self._done(hooks.done),
        )

    def _hook(self, hook: Hook) -> Hook:
        def guarded(x: Exchange) -> Answer | Awaitable[Answer]:
            if self.stats.off:
                return self.verdict
            answer, failed = self._called(hook, x)
            if failed:
                return self.verdict
            return answer if answer is None or isinstance(answer, Reply | Failure) else self._awaited(answer)

        return guarded

    def _data(self, hook: DataHook) -> DataHook:
        def guarded(x: Exchange, data: bytes, last: bool) -> bytes:
            if self.stats.off:
                return data if self.verdict is None else self._give_up()
            changed, failed = self._called(hook, x, data, last)
            if not failed and isinstance(changed, bytes):
                return changed
            return data if self.verdict is None else self._give_up()

        return guarded

    def _failure(self, hook: FailureHook) -> FailureHook:
        def guarded(x: Exchange, failure: Failure) -> Reply | None:
            reply, failed = (None, True) if self.stats.off else self._called(hook, x, failure)
            return reply if not failed and isinstance(reply, Reply) else None

        return guarded

    def _done(self, hook: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
        def guarded(x: Exchange) -> None:
            if not self.stats.off:
                self._called(hook, x)

        return guarded

    def _called(self, hook: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
        """What it returned, and whether it failed."""
        began = perf_counter()
        try:
            answer = hook(*args)
        except Exception as error:
            self._failed(error)
            return None, True
        if perf_counter() - began > SLOW:
            self._was_slow(perf_counter() - began)
        return answer, False

    async def _awaited(self, answer: Awaitable[Answer]) -> Answer:
        try:
            async with asyncio.timeout(self.deadline):
                decided = await answer
        except TimeoutError:
            self.stats.timeouts_total += 1
            self._tell("filter-timeout", deadline=self.deadline)
            return self.verdict
        except Exception as error:
            self._failed(error)
            return self.verdict
        if decided is None or isinstance(decided, Reply | Failure):
            return decided
        self._failed(TypeError(f"it answered with {type(decided).__name__}"))
        return self.verdict

    def _failed(self, error: Exception) -> None:
        self.stats.errors_total += 1
        self._tell("filter-failed", error=f"{type(error).__name__}: {error}")

    def _was_slow(self, seconds: float) -> None:
        self.stats.slow_total += 1
        self._tell("filter-slow", seconds=round(seconds, 6))
        if self.stats.slow_total >= MOST_SLOW:
            self.stats.off = 1
            self.log.error("filter-off", filter=self.name, slow=self.stats.slow_total)

    def _tell(self, event: str, **fields: object) -> None:
        self.log.limited(f"{event} {self.name}", LOG_EVERY, "error", event, filter=self.name, **fields)

    def _give_up(self) -> NoReturn:
        raise FilterFailed
