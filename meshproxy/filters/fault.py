"""Faults made on purpose: a share of requests waits, a share fails, to see what becomes of those who meet that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import random

from meshproxy.core.condition import conditions, together
from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer, Hooks
from meshproxy.errors import Failure
from meshproxy.model.filters import Fault
from meshproxy.model.matching import RouteMatch

Pause = Callable[[float], Awaitable[None]]

DELAYED = "DI"
"""What Envoy says of a request that was held up."""


def build(said: Fault, pause: Pause, chance: Callable[[], float] = random) -> Hooks:
    holds = together(conditions(RouteMatch(headers=said.headers)))
    delay, abort = said.delay, said.abort
    delays = delay.share if delay is not None else 0.0
    aborts = abort.share if abort is not None else 0.0
    seconds = delay.duration if delay is not None else 0.0
    injected = Failure("fault_injected", abort.status if abort is not None else 503, "FI")

    def request(x: Exchange) -> Answer | Awaitable[Answer]:
        if holds is not None and not holds(x.request.method, x.request):
            return None
        answer = injected if aborts and chance() < aborts else None
        if not delays or chance() >= delays:
            return answer
        x.notes.flags = DELAYED
        return delayed(answer)

    async def delayed(answer: Answer) -> Answer:
        await pause(seconds)
        return answer

    return Hooks(request=request)
