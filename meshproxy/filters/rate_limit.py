"""So many requests in a time, for all workers together; more are answered 429."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer, Hooks
from meshproxy.core.limit import Flow
from meshproxy.errors import Failure

LIMITED = Failure("rate_limited", 429, "RL")

Wait = Callable[[Callable[[Callable[[bool], None]], None]], Awaitable[bool]]
"""What a function that takes a callback will be told."""


def build(rate: Flow, wait: Wait) -> Hooks:
    def request(_: Exchange) -> Answer | Awaitable[Answer]:
        return None if rate.take() else asked()

    async def asked() -> Answer:
        return None if await wait(rate.ask) else LIMITED

    return Hooks(request=request)
