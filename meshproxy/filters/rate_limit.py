"""So many requests in a time, for all workers together; more are refused, and told when to come again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from math import ceil

from meshproxy.core.buckets import Buckets
from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer, Hook, Hooks, Reply
from meshproxy.core.limit import Flow
from meshproxy.errors import Failure
from meshproxy.filters.value import Value
from meshproxy.model import RequestRate

Wait = Callable[[Callable[[Callable[[bool], None]], None]], Awaitable[bool]]
"""What a function that takes a callback will be told."""

REASON = "rate_limited"
MOST_REMEMBERED = 64


class Refusal:
    """What a request is told that is one too many."""

    def __init__(self, said: RequestRate) -> None:
        self.failure = Failure(REASON, said.status, "RL")
        self._fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in said.headers]
        self._limit = said.requests if said.announce else None
        self.reply = lru_cache(MOST_REMEMBERED)(self._reply)
        """By the seconds until there is one again."""

    def _reply(self, seconds: int) -> Reply:
        fields = [(b"Content-Type", b"text/plain"), *self._fields]
        if self._limit is not None:
            after = b"%d" % seconds
            fields += [
                (b"RateLimit-Limit", b"%d" % self._limit),
                (b"RateLimit-Remaining", b"0"),
                (b"RateLimit-Reset", after),
                (b"Retry-After", after),
            ]
        return Reply(self.failure.status, fields, b"rate limited\n")

    def hooks(self, request: Hook, wait: Callable[[Exchange], float]) -> Hooks:
        """`wait`: how many seconds there will be none."""

        def failed(x: Exchange, failure: Failure) -> Reply | None:
            return self.reply(max(1, ceil(wait(x)))) if failure is self.failure else None

        return Hooks(request=request, failure=failed)


def whole(rate: Flow, wait: Wait, refusal: Refusal) -> Hooks:
    """All requests have one limit."""
    refused = refusal.failure

    def request(_: Exchange) -> Answer | Awaitable[Answer]:
        return None if rate.take() else asked()

    async def asked() -> Answer:
        return None if await wait(rate.ask) else refused

    return refusal.hooks(request, lambda _: rate.wait)


def by_value(buckets: Buckets, value: Value, now: Callable[[], float], refusal: Refusal) -> Hooks:
    """Each value has a limit of its own."""
    take, refused = buckets.take, refusal.failure

    def request(x: Exchange) -> Answer:
        return refused if take(value(x), now()) else None

    return refusal.hooks(request, lambda x: buckets.wait(value(x), now()))
