"""One name, kept resolved: its addresses are told when they change, and what was good stays until there is better."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from meshproxy.discovery.dns.resolver import Answer, ResolveError, in_order
from meshproxy.net.clock import Clock, Timer


class Resolves(Protocol):
    async def resolve(self, name: str) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two questions: after an answer its TTL, within bounds; after a failure more each time."""

    shortest: float = 1
    longest: float = 3600
    first_retry: float = 1
    longest_retry: float = 60


class Watch:
    """Asks at once, and until `stop`.  Both callbacks are told from the loop, never from within the constructor."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        resolver: Resolves,
        name: str,
        told: Callable[[tuple[str, ...]], None],
        failed: Callable[[ResolveError], None],
        *,
        pace: Pace = Pace(),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.addresses: tuple[str, ...] = ()
        """The last good ones; none before the first answer."""
        self.failure: ResolveError | None = None
        """Why there was no answer the last time it asked."""
        self._loop = loop
        self._clock = clock
        self._resolver = resolver
        self._told = told
        self._failed = failed
        self._pace = pace
        self._jitter = jitter
        self._failures = 0
        self._timer: Timer | None = None
        self._look()

    def stop(self) -> None:
        """After this nothing is heard of it."""
        self._task.cancel()
        if self._timer:
            self._timer.cancel()

    def _look(self) -> None:
        self._task = self._loop.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            answer = await self._resolver.resolve(self.name)
        except ResolveError as error:
            self.failure = error
            self._again_after(self._retry(error))
            self._failed(error)
            return
        self.failure = None
        self._failures = 0
        self._again_after(self._refresh(answer))
        addresses = in_order((*answer.addresses, *self._kept(answer)))
        if addresses != self.addresses:
            self.addresses = addresses
            self._told(addresses)

    def _again_after(self, seconds: float) -> None:
        """Set before anybody is told, so that `told` may stop the watch, and may not end it by an exception."""
        self._timer = self._clock.after(seconds, self._look)

    def _refresh(self, answer: Answer) -> float:
        """Never before the TTL is over: a server would only say again what it remembers."""
        ttl = min(max(answer.ttl, self._pace.shortest), self._pace.longest)
        return ttl * (1 + self._jitter() / 10)

    def _retry(self, error: ResolveError) -> float:
        """Between half and all of a time that doubles; no earlier than the answer can be another one."""
        whole = min(self._pace.first_retry * (1 << min(self._failures, 30)), self._pace.longest_retry)
        self._failures += 1
        return max(whole * (1 + self._jitter()) / 2, min(error.certain, self._pace.longest_retry))

    def _kept(self, answer: Answer) -> list[str]:
        """Of a family of which nothing was heard this time, what was good before."""
        return [address for address in self.addresses if ip_address(address).version == answer.missing]
