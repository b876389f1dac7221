"""A named group of endpoints: `pick` gives the right to one attempt, or says why there is none."""

from __future__ import annotations

from collections.abc import Collection

from meshproxy.cluster.balance import Pick
from meshproxy.cluster.endpoint import Endpoint, User
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.observe.metrics import ClusterStats

NO_ENDPOINT = Failure("no_endpoint")


class ClusterState:
    """Live: what a cluster counts goes on over reloads."""

    __slots__ = ("_registry", "name", "stats")

    def __init__(self, name: str, registry: dict[str, ClusterStats]) -> None:
        self.name = name
        self.stats = ClusterStats()
        self._registry = registry
        registry[name] = self.stats

    def retire(self, grace: float) -> None:
        if self._registry.get(self.name) is self.stats:
            del self._registry[self.name]


class Lease:
    """One attempt at one endpoint.  Whoever holds it says how it goes: `opened` or `failed`, and `done` once."""

    __slots__ = ("cluster", "endpoint", "user")

    def __init__(self, cluster: Cluster, endpoint: Endpoint, user: User) -> None:
        self.cluster = cluster
        self.endpoint = endpoint
        self.user = user

    def opened(self) -> None:
        self.endpoint.stats.connections_total += 1
        self.cluster.stats.connections_total += 1

    def failed(self, error: OSError) -> None:
        for stats in (self.endpoint.stats, self.cluster.stats):
            if isinstance(error, TimeoutError):
                stats.connect_timeouts_total += 1
            else:
                stats.connect_failures_total += 1

    def moved(self, sent: int, received: int) -> None:
        for stats in (self.endpoint.stats, self.cluster.stats):
            stats.bytes_sent_total += sent
            stats.bytes_received_total += received

    def done(self) -> None:
        self.endpoint.stats.connections_active -= 1
        self.cluster.stats.connections_active -= 1
        self.endpoint.users.discard(self.user)


class Cluster:
    """Compiled: one generation's way to choose among live endpoints."""

    __slots__ = ("_pick", "connect_timeout", "keepalive", "limit", "name", "stats")

    def __init__(
        self,
        name: str,
        stats: ClusterStats,
        pick: Pick,
        limit: Stock,
        *,
        connect_timeout: float,
        keepalive: bool,
    ) -> None:
        """Whoever picks has taken a unit of the limit before, and gives it back when nothing is picked any more."""
        self.name = name
        self.stats = stats
        self.connect_timeout = connect_timeout
        self.limit = limit
        self.keepalive = keepalive
        self._pick = pick

    def pick(self, user: User, tried: Collection[Endpoint] = ()) -> Lease | Failure:
        stats = self.stats
        endpoint = self._pick(tried)
        if endpoint is None:
            stats.no_endpoint_total += 1
            return NO_ENDPOINT
        stats.connections_active += 1
        endpoint.stats.connections_active += 1
        endpoint.users.add(user)
        return Lease(self, endpoint, user)
