"""What all HTTP of a worker shares: its loop and clock, who is watched, and who moves bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol

from meshproxy.cluster.endpoint import User
from meshproxy.core.limit import Stock
from meshproxy.net.clock import Clock
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.splice import Pipes
from meshproxy.relay.http.dates import Dates
from meshproxy.relay.http.ids import Ids


class Carrier(Protocol):
    """A connection to an endpoint."""

    def account(self) -> None: ...

    def drain(self) -> None: ...

    def waits_under(self, limit: Stock, /) -> bool: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    loop: asyncio.AbstractEventLoop
    clock: Clock
    now: Callable[[], float]
    """Of the clock."""
    pipes: Pipes
    deadlines: Deadlines
    ids: Ids
    dates: Dates
    upstreams: set[Carrier]
    copies: set[User] = field(default_factory=set)
    """Of requests, on their way to a mirror."""

    def account(self) -> Generator[None, None, None]:
        """In steps."""
        for upstream in tuple(self.upstreams):
            upstream.account()
            yield

    def close(self) -> None:
        for copy in tuple(self.copies):
            copy.drain()
        for upstream in tuple(self.upstreams):
            upstream.drain()
