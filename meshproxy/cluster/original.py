"""Where each connection goes on to where its client wanted to go: one endpoint at ever other addresses.

    passage = Original(stats, clock, forget)
    passage.pick((), asking).address        # of asking.destination

What all of them do is counted in one place, or counters would be as many as addresses in the world.  An address is
remembered for as long as there is room, so that a connection of HTTP to it is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from meshproxy.cluster.endpoint import Endpoint, User, drain_after
from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.metrics.clusters import EndpointStats

ORIGINAL = "original"
"""What they are called where there would be an address."""

MOST_ADDRESSES = 1024
"""Remembered; of one that was forgotten a connection that waits is used no more."""


class Original:
    """Live: those who are on their way, wherever they go."""

    __slots__ = ("_clock", "_cluster", "_forget", "_known", "_stats", "_users")

    def __init__(self, stats: EndpointStats, clock: Clock, forget: Callable[[], None], cluster: str = "") -> None:
        self._stats = stats
        self._clock = clock
        self._forget = forget
        self._cluster = cluster
        self._users: set[User] = set()
        self._known: dict[tuple[str, int], Endpoint] = {}

    def pick(self, tried: Collection[Endpoint], asking: Any) -> Endpoint | None:
        """`asking` is a connection or an exchange.

        Where one attempt has failed there is nobody else to try, unless it is led to several.
        """
        destination = asking.elsewhere(len(tried)) if tried else asking.destination
        if destination is None:
            return None
        return self._known.get(destination) or self._met(destination)

    def _met(self, destination: tuple[str, int]) -> Endpoint:
        known = self._known
        if len(known) >= MOST_ADDRESSES:
            _leave(known.pop(next(iter(known))))
        host, port = destination
        address = Address("ipv6" if ":" in host else "ipv4", host, port)
        known[destination] = endpoint = Endpoint(address, self._stats, self._clock, _nothing, self._cluster)
        endpoint.users = self._users
        return endpoint

    def retire(self, grace: float) -> None:
        self._forget()
        for endpoint in self._known.values():
            _leave(endpoint)
        drain_after(self._clock, grace, self._users)


def _leave(endpoint: Endpoint) -> None:
    """None of its connections is used again."""
    endpoint.retired = True
    endpoint.close_idle()


def _nothing() -> None:
    """All of them count in one place, which outlives them."""
