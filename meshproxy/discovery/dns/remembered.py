"""Names that clients say, resolved for them: each is asked for once at a time, and remembered for as long as it says.

    remembered = Remembered(loop, clock, resolver)
    addresses = await remembered("books.shop")          # raises ResolveError

Clients may say whatever they like: so many are asked for at a time, and so many are remembered, those that cannot be
resolved among them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meshproxy.discovery.dns.resolver import ResolveError
from meshproxy.discovery.dns.watch import Resolves
from meshproxy.net.clock import Clock

MOST_REMEMBERED = 4096
MOST_ASKED = 256
"""At a time."""
SHORTEST, LONGEST = 1.0, 300.0
"""Seconds for which addresses are remembered, whatever the TTL."""
MOST_WITHOUT = 10.0
"""The same where there are none."""


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: tuple[str, ...]
    failure: str
    until: float


class Remembered:
    """Live, one for a worker and the servers that it asks."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, resolver: Callable[[], Awaitable[Resolves]]
    ) -> None:
        """`resolver` is made when the first name is asked for."""
        self._loop = loop
        self._clock = clock
        self._make = resolver
        self._resolver: Resolves | None = None
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asked: dict[str, asyncio.Task[_Known]] = {}

    async def __call__(self, name: str) -> tuple[str, ...]:
        known = self._known.get(name)
        if known is None or known.until <= self._clock.now():
            known = await asyncio.shield(self._ask(name))
        if not known.addresses:
            raise ResolveError(known.failure)
        return known.addresses

    def _ask(self, name: str) -> asyncio.Task[_Known]:
        task = self._asked.get(name)
        if task is None:
            if len(self._asked) >= MOST_ASKED:
                raise ResolveError("too many names are being asked for")
            task = self._asked[name] = self._loop.create_task(self._resolve(name))
            task.add_done_callback(lambda _: self._asked.pop(name, None))
        return task

    async def _resolve(self, name: str) -> _Known:
        now = self._clock.now
        try:
            if self._resolver is None:
                self._resolver = await self._make()
            answer = await self._resolver.resolve(name)
            known = _Known(answer.addresses, "", now() + min(max(answer.ttl, SHORTEST), LONGEST))
        except ResolveError as error:
            known = _Known((), str(error), now() + min(max(error.certain, SHORTEST), MOST_WITHOUT))
        self._known[name] = known
        self._known.move_to_end(name)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return known

    def retire(self, grace: float) -> None:
        """What is under way is answered; nobody asks for more."""
