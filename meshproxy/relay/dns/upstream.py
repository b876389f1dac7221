"""Who is asked what is not known here: each question once, however many wait for the answer, and that is remembered.

    waiting = upstream.ask(asked.key, hear)     # None: too many wait already, or it is over
    waiting.drain()                             # who has left hears nothing; what nobody waits for is not asked further

A question that a server asks back, since it is the proxy itself, waits for its own answer, and is never asked again:
so a circle ends by the timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.relay.dns.attempt import Attempt
from meshproxy.relay.dns.cache import Cache
from meshproxy.wire.dns import SERVER_FAILURE, Bounds, Kept

ROUNDS = 2
"""Times that all servers are asked: a datagram may be lost."""
FAILED = Kept(SERVER_FAILURE, False, (0, 0, 0), b"", (), 1)
"""No server would say anything.  That, too, is kept for a second (RFC 9520): who asks again at once learns no more."""

Hear = Callable[[Kept, "Waiting"], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one generation."""

    timeout: float
    pending: int
    entries: int
    size: int
    bounds: Bounds


class Upstream:
    """Live, keyed by the servers: over reloads that leave these what was said stays known."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, servers: tuple[Address, ...]) -> None:
        self.loop = loop
        self.clock = clock
        self.servers = servers
        self.cache = Cache()
        self.terms: Terms
        self.waiting = 0
        self._flights: dict[bytes, Flight] = {}

    def use(self, terms: Terms) -> None:
        """From now on."""
        self.terms = terms
        self.cache.bound(terms.entries, terms.size)

    def known(self, key: bytes) -> tuple[Kept, int] | None:
        return self.cache.get(key, self.clock.now())

    def asks(self, key: bytes) -> bool:
        """Whether that is being asked."""
        return key in self._flights

    @property
    def full(self) -> bool:
        return self.waiting >= self.terms.pending

    def ask(self, key: bytes, hear: Hear) -> Waiting | None:
        """`hear` may be told at once; then there is nobody who waits."""
        flight = self._flights.get(key)
        waiting = Waiting(hear)
        if flight is not None:
            flight.join(waiting)
            return waiting
        flight = self._flights[key] = Flight(self, key)
        flight.join(waiting)
        flight.begin()
        return waiting if waiting.flight is not None else None

    def landed(self, flight: Flight) -> None:
        del self._flights[flight.key]

    def retire(self, grace: float) -> None:
        """Whoever waits still gets an answer; all of them leave with the doors through which they came."""


class Flight:
    """One question on its way."""

    __slots__ = ("_attempt", "_left", "_upstream", "_waiting", "key")

    def __init__(self, upstream: Upstream, key: bytes) -> None:
        self.key = key
        self._upstream = upstream
        self._left = [*upstream.servers] * ROUNDS
        self._waiting: dict[Waiting, None] = {}
        self._attempt: Attempt | None = None

    def join(self, waiting: Waiting) -> None:
        waiting.flight = self
        self._waiting[waiting] = None
        self._upstream.waiting += 1

    def leave(self, waiting: Waiting) -> None:
        del self._waiting[waiting]
        self._upstream.waiting -= 1
        if not self._waiting:
            if self._attempt is not None:
                self._attempt.cancel()
            self._upstream.landed(self)

    def begin(self) -> None:
        if not self._left:
            self._over(FAILED)
            return
        upstream, terms = self._upstream, self._upstream.terms
        self._attempt = Attempt(
            upstream.loop, upstream.clock, self._left.pop(0), self.key, terms.bounds, terms.timeout, self._heard
        )
        self._attempt.begin()

    def _heard(self, kept: Kept | None) -> None:
        """A server that cannot say anything of the name is no reason not to ask the next one."""
        if kept is not None and kept.is_answer:
            self._over(kept)
        else:
            self.begin()

    def _over(self, kept: Kept) -> None:
        upstream, waiting = self._upstream, self._waiting
        upstream.landed(self)
        upstream.waiting -= len(waiting)
        upstream.cache.put(self.key, kept, upstream.clock.now())
        self._waiting = {}
        for each in waiting:
            each.flight = None
        for each in waiting:
            each.hear(kept, each)


class Waiting:
    """One who has asked; a user of the door through which it came."""

    __slots__ = ("flight", "hear")

    def __init__(self, hear: Hear) -> None:
        self.hear = hear
        self.flight: Flight | None = None

    def drain(self) -> None:
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.leave(self)
