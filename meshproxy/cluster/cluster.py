"""A named group of endpoints: `pick` gives the right to one attempt, or says why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from weakref import WeakSet, ref

from meshproxy.cluster.balance import Asking, Pick
from meshproxy.cluster.breaker import Breaker, Gate
from meshproxy.cluster.endpoint import Endpoint, User
from meshproxy.cluster.retry import Budget
from meshproxy.core.introduction import Introduction
from meshproxy.core.limit import Stock
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.model import Address
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.dial import OURS, Dialling, Outcome
from meshproxy.net.tls import Broken
from meshproxy.observe.metrics.clusters import ClusterStats, EndpointStats
from meshproxy.wire import h2
from meshproxy.wire.h1 import ResponseCodec

NO_ENDPOINT = Failure("no_endpoint", 503, "UH")
BREAKER_OPEN = Failure("breaker_open", 503, "UO")
CONNECT_FAILED = Failure("connect_failed", 503, "UF")
CONNECT_TIMEOUT = Failure("connect_timeout", 504, "UF")

Heed = Callable[[Endpoint, Failure | None, int, float], None]
"""Hears how each attempt at an endpoint has gone: why it failed, or the status of the answer (0 where the protocol has
none), and the seconds until then."""


class Caller(Protocol):
    """For whom a connection is made, if it is for one."""

    @property
    def source(self) -> tuple[str, int] | None: ...

    @property
    def client(self) -> str | None:
        """The address."""

    @property
    def identity(self) -> str | None: ...


class DialTo(Protocol):
    """Begins an attempt to connect to an endpoint."""

    def __call__(
        self, address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /
    ) -> Dialling: ...


class ClusterState:
    """Live: what a cluster counts goes on over reloads."""

    __slots__ = ("_clock", "_holders", "_registry", "_timer", "name", "pickers", "stats")

    def __init__(self, name: str, registry: dict[str, ClusterStats], clock: Clock) -> None:
        self.name = name
        self.stats = ClusterStats()
        self.pickers: WeakSet[Cluster] = WeakSet()
        """Of each generation that is still there."""
        self._clock = clock
        self._timer: Timer | None = None
        self._registry = registry
        self._holders = Counter[str]()
        registry[name] = self.stats

    def endpoint(self, name: str) -> EndpointStats:
        """What one counts; the next one at the same address, of which more is demanded say, counts on."""
        self._holders[name] += 1
        return self.stats.endpoints.setdefault(name, EndpointStats())

    def forget(self, name: str) -> None:
        """Once for each time that it was asked for."""
        self._holders[name] -= 1
        if not self._holders[name]:
            del self._holders[name], self.stats.endpoints[name]

    def changed(self) -> None:
        """An endpoint has become fit to be picked, or unfit."""
        for picker in tuple(self.pickers):
            picker.refresh()

    def changes_in(self, seconds: float) -> None:
        """An endpoint is going to be fit for more by then; whoever picks asks for this again if need be."""
        if self._timer is None:
            self._timer = self._clock.after(seconds, self._changes)

    def _changes(self) -> None:
        self._timer = None
        self.changed()

    def retire(self, grace: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
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


@dataclass(frozen=True, slots=True)
class Many:
    """How one connection carries many exchanges, which is HTTP/2."""

    dial: DialTo
    """Offers it, where that can be said."""
    always: bool
    """Whether it is spoken in any case, or only where the endpoint has chosen it."""
    scheme: bytes
    limits: h2.Limits
    ping: float
    """Seconds; infinite for never."""
    responses: h2.Responses


class Cluster:
    """Compiled: one generation's way to choose among live endpoints, which names may exchange while it is in force."""

    __slots__ = (
        "__weakref__", "_breaker", "_build", "_everybody", "budget", "choose", "codec", "connect_timeout", "degraded",
        "dial", "gate", "guarded", "heed", "introduction", "limit", "many", "name", "pending", "requests", "reuse",
        "stats",
    )

    def __init__(
        self,
        name: str,
        stats: ClusterStats,
        build: Callable[[], Pick],
        limit: Stock,
        *,
        connect_timeout: float,
        dial: DialTo,
        reuse: Reuse,
        codec: ResponseCodec,
        many: Many | None = None,
        heed: Heed | None = None,
        requests: Stock | None = None,
        pending: Stock | None = None,
        degraded: Reply | None = None,
        breaker: Breaker | None = None,
        budget: Budget,
        introduction: Introduction | None = None,
        everybody: Callable[[], Sequence[Endpoint]],
    ) -> None:
        """`build` makes the way to choose among those who are fit now.

        Whoever leases has taken a unit of the limit before, and gives it back when nothing is leased any more.
        """
        self.name = name
        self.stats = stats
        self.connect_timeout = connect_timeout
        self.limit = limit
        self.dial = dial
        """Begins an attempt to connect."""
        self.reuse = reuse
        self.codec = codec
        """How answers of HTTP are read."""
        self.many = many
        """None where each exchange has a connection for itself."""
        self.heed = heed
        """None where nobody cares."""
        self.requests = requests
        """Those under way, where they are limited."""
        self.pending = pending
        """Those that wait for a connection, where they are limited."""
        self.degraded = degraded
        """What is answered where the breaker does not let pass, if anything special."""
        self.budget = budget
        """For retries."""
        self.introduction = introduction
        """What is said first on each connection; None: its endpoints are not to know who we are."""
        self._breaker = breaker
        self.gate: Gate | None
        """Of the breaker: None while that is closed."""
        self.guarded: bool
        """Whether anything has to be asked before an endpoint is."""
        self._everybody = everybody
        self._build = build
        self.choose: Pick
        """The endpoint to try now, given those that were tried; None is for the caller to count, by `nobody`."""
        self.refresh()

    def refresh(self) -> None:
        """The breaker has turned, the endpoints are others, or others of them are fit.

        Of a hundred changes only the last is built.
        """
        self.gate = self._breaker.gate if self._breaker is not None else None
        self.guarded = self.gate is not None or self.requests is not None
        self.choose = partial(_choose_anew, ref(self))

    def part(self, build: Callable[[], Pick]) -> Cluster:
        """The same, but for who is chosen."""
        part = copy(self)
        part._build = build
        part.refresh()
        return part

    @property
    def size(self) -> int:
        return len(self._everybody())

    @property
    def live(self) -> int:
        """Connections and streams that have something to do, of all endpoints."""
        everybody = self._everybody()
        return sum(
            endpoint.stats.connections_active + endpoint.stats.streams_active - len(endpoint.idle)
            for endpoint in everybody
        )

    def lets_pass(self) -> bool:
        """Whether the breaker does."""
        gate = self.gate
        if gate is None or gate():
            return True
        self.stats.refused_total += 1
        return False

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
        if isinstance(error, Broken):
            self.stats.handshakes[error.word] += 1
        for stats in (endpoint.stats, self.stats):
            if isinstance(error, TimeoutError):
                stats.connect_timeouts_total += 1
            else:
                stats.connect_failures_total += 1
        if self.heed is not None and error.errno not in OURS:
            timed_out = isinstance(error, TimeoutError)
            self.heed(endpoint, CONNECT_TIMEOUT if timed_out else CONNECT_FAILED, 0, 0.0)

    def pick(self, user: User, tried: Collection[Endpoint], asking: Asking) -> Lease | Failure:
        if not self.lets_pass():
            return BREAKER_OPEN
        endpoint = self.choose(tried, asking)
        return self.nobody() if endpoint is None else self.lease(endpoint, user)


def _choose_anew(which: ref[Cluster], tried: Collection[Endpoint], asking: Asking) -> Endpoint | None:
    cluster = which()
    assert cluster is not None, "who asks has it"
    pick = cluster.choose = cluster._build()
    return pick(tried, asking)
