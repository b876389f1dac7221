"""Who is told of the end of each request: its counters, whoever watches, and the logs.

    telling = Telling("web", state, claims, rim, observers)
    telling.of("web/0", "books")        # one function, for what this route has from that cluster
    telling.edges("books")              # where connections to it are counted
    telling.use()                       # from now on connections that end are told of as this generation says

What is absent is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshproxy.core.exchange import Exchange, Tell
from meshproxy.core.table import Claims
from meshproxy.observe.telling import Edges, Hear, Teller
from meshproxy.plan.observers import Observers
from meshproxy.plan.rim import Rim
from meshproxy.relay.http.opening import ESTABLISHED
from meshproxy.relay.http.tunnel import SWITCHED
from meshproxy.relay.live import ListenerState, OfAnswers, OfEdges


@dataclass(frozen=True, slots=True)
class Telling:
    listener: str
    state: ListenerState
    claims: Claims
    rim: Rim
    observers: Observers

    @property
    def times(self) -> bool:
        """Whether somebody wants to know how long everything took."""
        return bool(self.observers.hears(self.listener))

    def of(self, route: str, cluster: str) -> Tell:
        """Either of these may be empty."""
        tell: Tell = nobody
        if self.observers.counts:
            teller = self._teller(route, cluster)
            tell = teller.tell
        hears = self.observers.hears(self.listener)
        return logged(tell, hears) if hears else tell

    def use(self) -> None:
        told = self.state.told
        told.hears = self.observers.hears(self.listener)
        told.hears_sessions = self.observers.hears_sessions(self.listener)

    def _teller(self, route: str, cluster: str) -> Teller:
        registry, rim = self.state.stats.answers, self.rim

        def first() -> OfAnswers:
            return OfAnswers(registry, rim.tellers, route, cluster, Teller(self.edges(cluster), rim.watch))

        return self.claims.claim(("answers", self.listener, route, cluster), first).teller

    def edges(self, cluster: str) -> Edges:
        """Who talks to whom there."""
        key = ("edges", self.listener, cluster)
        return self.claims.claim(key, lambda: OfEdges(self.rim.stats.edges, self.listener, cluster)).edges


def nobody(x: Exchange, status: int, flags: str, seconds: float) -> None:
    """Is told."""


def logged(inner: Tell, hears: Sequence[Hear]) -> Tell:
    """What has become a tunnel is told of at the end of that."""
    hear, *others = hears

    def tell(x: Exchange, status: int, flags: str, seconds: float) -> None:
        inner(x, status, flags, seconds)
        if status == SWITCHED or x.response is ESTABLISHED:
            return
        x.end(status, flags, seconds)
        hear(x)
        if others:
            for other in others:
                other(x)

    return tell
