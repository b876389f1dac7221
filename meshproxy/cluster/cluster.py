"""A named group of endpoints: `pick` gives the right to one attempt, or says why there is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

from meshproxy.cluster.balance import Asking, Pick
from meshproxy.cluster.endpoint import Endpoint, User
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.dial import OURS
from meshproxy.observe.metrics import ClusterStats
from meshproxy.wire.h1 import ResponseCodec

NO_ENDPOINT = Failure("no_endpoint", 503, "UH")
CONNECT_FAILED = Failure("connect_failed", 503, "UF")
CONNECT_TIMEOUT = Failure("connect_timeout", 504, "UF")

Heed = Callable[[Endpoint, Failure | None, int, float], None]
"""Hears how each attempt at an endpoint has gone: why it failed, or the status of the answer (0 where the protocol has
none), and the seconds until then."""


class Picker(Protocol):
    def refresh(self) -> None:
        """Pick among those who are fit now."""


class ClusterState:
    """Live: what a cluster counts goes on over reloads."""

    __slots__ = ("_held", "_registry", "_stale", "name", "pickers", "stats")

    def __init__(self, name: str, registry: dict[str, ClusterStats]) -> None:
        self.name = name
        self.stats = ClusterStats()
        self.pickers: WeakSet[Picker] = WeakSet()
        """Of each generation that is still there."""
        self._held = self._stale = False
        self._registry = registry
        registry[name] = self.stats

    def changed(self) -> None:
        """An endpoint has become fit to be picked, or unfit."""
        if self._held:
            self._stale = True
            return
        for picker in tuple(self.pickers):
            picker.refresh()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Many changes, after which who picks is told once: to begin anew takes as long as there are endpoints."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._stale:
                self._stale = False
                self.changed()

    def retire(self, grace: float) -> None:
        if self._registry.get(self.name) is self.stats:
            del self._registry[self.name]


class Lease:
    """One connection to one endpoint.  Whoever holds it says how it goes: `opened` or `failed`, and `done` once."""

    __slots__ = ("cluster", "endpoint", "user")

    def __init__(self, cluster: Cluster, endpoint: Endpoint, user: User) -> None:
        self.cluster = cluster
        self.endpoint = endpoint
        self.user = user

    def opened(self) -> None:
        self.endpoint.stats.connections_total += 1
        self.cluster.stats.connections_total += 1

    def failed(self, error: OSError) -> None:
        self.cluster.connect_failed(self.endpoint, error)

    def moved(self, sent: int, received: int) -> None:
        for stats in (self.endpoint.stats, self.cluster.stats):
            stats.bytes_sent_total += sent
            stats.bytes_received_total += received

    def pass_to(self, user: User) -> None:
        """The connection goes on as somebody else's, who is told from now on when to end it."""
        self.endpoint.users.discard(self.user)
        self.endpoint.users.add(user)
        self.user = user

    def done(self) -> None:
        self.endpoint.stats.connections_active -= 1
        self.cluster.stats.connections_active -= 1
        self.endpoint.users.discard(self.user)
        # Who has the lease is its user: a circle, which nobody would find in what a reload has frozen.
        del self.user


@dataclass(frozen=True, slots=True)
class Reuse:
    """How connections are used again; what is not limited is infinite."""

    most_idle: int
    idle: float
    lifetime: float
    requests: float


class Cluster:
    """Compiled: one generation's way to choose among live endpoints, which names may exchange while it is in force."""

    __slots__ = ("choose", "codec", "connect_timeout", "heed", "keepalive", "limit", "name", "reuse", "stats")

    def __init__(
        self,
        name: str,
        stats: ClusterStats,
        pick: Pick,
        limit: Stock,
        *,
        connect_timeout: float,
        keepalive: bool,
        reuse: Reuse,
        codec: ResponseCodec,
        heed: Heed | None = None,
    ) -> None:
        """Whoever leases has taken a unit of the limit before, and gives it back when nothing is leased any more."""
        self.name = name
        self.stats = stats
        self.connect_timeout = connect_timeout
        self.limit = limit
        self.keepalive = keepalive
        self.reuse = reuse
        self.codec = codec
        """How answers of HTTP are read."""
        self.heed = heed
        """None where nobody cares."""
        self.choose = pick
        """The endpoint to try now, given those that were tried; None is for the caller to count, by `nobody`."""

    def use(self, pick: Pick) -> None:
        """The endpoints are others."""
        self.choose = pick

    def nobody(self) -> Failure:
        self.stats.no_endpoint_total += 1
        return NO_ENDPOINT

    def lease(self, endpoint: Endpoint, user: User) -> Lease:
        """For a new connection."""
        self.stats.connections_active += 1
        endpoint.stats.connections_active += 1
        endpoint.users.add(user)
        return Lease(self, endpoint, user)

    def connect_failed(self, endpoint: Endpoint, error: OSError) -> None:
        for stats in (endpoint.stats, self.stats):
            if isinstance(error, TimeoutError):
                stats.connect_timeouts_total += 1
            else:
                stats.connect_failures_total += 1
        if self.heed is not None and error.errno not in OURS:
            timed_out = isinstance(error, TimeoutError)
            self.heed(endpoint, CONNECT_TIMEOUT if timed_out else CONNECT_FAILED, 0, 0.0)

    def pick(self, user: User, tried: Collection[Endpoint], asking: Asking) -> Lease | Failure:
        endpoint = self.choose(tried, asking)
        return self.nobody() if endpoint is None else self.lease(endpoint, user)
