"""A new connection to an endpoint: a unit of the cluster's limit, then a dial, and what is spoken on it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from meshproxy.cluster.cluster import CONNECT_FAILED, CONNECT_TIMEOUT, Cluster, DialTo
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.net.tls import chosen
from meshproxy.relay.http.failures import OVERFLOW
from meshproxy.relay.http.link import Link
from meshproxy.relay.http.site import Site
from meshproxy.relay.http.upstream import Upstream


class Making(ABC):
    __slots__ = ("_cluster", "_dial", "_endpoint", "_over", "_since", "_site", "_unit")

    def __init__(self, site: Site, cluster: Cluster, endpoint: Endpoint) -> None:
        self._site = site
        self._cluster = cluster
        self._endpoint = endpoint
        self._unit: Stock | None = None
        self._dial: Dialling | None = None
        self._over = False
        """Nobody wants it any more."""

    def _take_unit(self) -> None:
        limit = self._cluster.limit
        if limit.take() or (self._close_one_that_waits(limit) and limit.take()):
            self._enter(True)
        else:
            limit.ask(self._enter)

    def _close_one_that_waits(self, limit: Stock) -> bool:
        """A connection in another endpoint's pool is worth less than the one that is wanted now."""
        spare = next((each for each in self._site.upstreams if each.waits_under(limit)), None)
        if spare is not None:
            spare.close()
        return spare is not None

    def _enter(self, granted: bool) -> None:
        if granted:
            self._unit = self._cluster.limit
        if self._over:
            self._give_back()  # cancelled while it waited
        elif granted:
            self._begin_dial()
        else:
            self._cluster.stats.overflow_total += 1
            self._failed(OVERFLOW)

    def _begin_dial(self) -> None:
        self._since = self._site.now()
        dial_to = self._dial_to
        dial = dial_to(self._endpoint.address, self._dialled)
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
            self._endpoint.dialling += 1
        else:
            self._dialled(outcome)

    @property
    def _dial_to(self) -> DialTo:
        many = self._cluster.many
        return self._cluster.dial if many is None else many.dial

    def _dialled(self, outcome: Outcome) -> None:
        if self._dial is not None:
            self._dial = None
            self._endpoint.dialling -= 1
        unit = self._unit
        assert unit is not None
        if isinstance(outcome, OSError):
            self._cluster.connect_failed(self._endpoint, outcome)
            self._failed(CONNECT_TIMEOUT if isinstance(outcome, TimeoutError) else CONNECT_FAILED)
            return
        self._cluster.stats.connect_seconds.observe(self._site.now() - self._since)
        self._unit = None
        self._made(self._carrier(outcome, unit))

    def _carrier(self, conn: Conn, unit: Stock) -> Upstream | Link:
        many, endpoint = self._cluster.many, self._endpoint
        if many is not None:
            endpoint.alone = not (many.always or chosen(conn) == "h2")
            if not endpoint.alone:
                return Link(self._site, self._cluster, many, endpoint, conn, unit)
        return Upstream(self._site, self._cluster, endpoint, conn, unit)

    def _give_up(self) -> None:
        self._over = True
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
            self._endpoint.dialling -= 1
        self._give_back()

    def _give_back(self) -> None:
        if self._unit is not None:
            self._unit.give()
            self._unit = None

    @abstractmethod
    def _made(self, carrier: Upstream | Link) -> None: ...

    @abstractmethod
    def _failed(self, failure: Failure) -> None: ...
