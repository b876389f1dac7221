"""Where each connection goes on to where its client wanted to go: one endpoint at ever other addresses.

    passage = Original(stats, clock, forget)
    passage.pick((), origin).address        # of origin.destination

What all of them do is counted in one place, or counters would be as many as addresses in the world.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from meshproxy.cluster.endpoint import Endpoint, User, drain_after
from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.metrics import EndpointStats

ORIGINAL = "original"
"""What they are called where there would be an address."""


class Original:
    """Live: those who are on their way, wherever they go."""

    __slots__ = ("_clock", "_cluster", "_forget", "_stats", "_users")

    def __init__(self, stats: EndpointStats, clock: Clock, forget: Callable[[], None], cluster: str = "") -> None:
        self._stats = stats
        self._clock = clock
        self._forget = forget
        self._cluster = cluster
        self._users: set[User] = set()

    def pick(self, tried: Collection[Endpoint], asking: Any) -> Endpoint | None:
        """`asking` is a connection.  Where one attempt has failed there is nobody else to try."""
        if tried:
            return None
        host, port = asking.destination
        address = Address("ipv6" if ":" in host else "ipv4", host, port)
        endpoint = Endpoint(address, self._stats, self._clock, _nothing, self._cluster)
        endpoint.users = self._users
        return endpoint

    def retire(self, grace: float) -> None:
        self._forget()
        drain_after(self._clock, grace, self._users)


def _nothing() -> None:
    """Who is there for one connection is forgotten with it."""
