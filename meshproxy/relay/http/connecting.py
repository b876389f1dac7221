"""An exchange for which no connection is there: one is made for it, or it waits for one that others wait for as well.

    connect(site, asker, x, endpoint, data)       the asker is told: `begun`, or `lost`

HTTP/1.1 needs a connection for each (`Connecting`).  One of HTTP/2 carries many: of those who come while it is being
made only the first makes it, and all of them wait (`Joining`) until its endpoint has said how many it takes (`Coming`).
"""

from __future__ import annotations

from meshproxy.cluster.cluster import CONNECT_FAILED, CONNECT_TIMEOUT, Cluster, Many
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.exchange import Exchange
from meshproxy.errors import Failure
from meshproxy.relay.http.failures import OVERFLOW, STREAM_REFUSED
from meshproxy.relay.http.introducing import carry
from meshproxy.relay.http.link import Link
from meshproxy.relay.http.making import Making
from meshproxy.relay.http.site import Site
from meshproxy.relay.http.upstream import Asker, Upstream


def connect(site: Site, asker: Asker, x: Exchange, endpoint: Endpoint, data: bytes) -> None:
    many = x.cluster.many
    if many is None or endpoint.alone:
        Connecting(site, asker, x, endpoint, data).begin()
        return
    # Who asks again, or twice at a time, has not looked whether there is one.
    link = next((each for each in reversed(endpoint.idle) if isinstance(each, Link)), None)
    if link is not None:
        endpoint.idle.remove(link)
        carry(link, asker, x, data)
        asker.begun(x)
    else:
        Joining(site, asker, x, endpoint, data, many).begin()


class Connecting(Making):
    """The attempt to make a connection for one exchange."""

    __slots__ = ("_asker", "_data", "_pends", "_x")
    carries = False
    """Not yet; an `Upstream` does."""

    def __init__(self, site: Site, asker: Asker, x: Exchange, endpoint: Endpoint, data: bytes) -> None:
        super().__init__(site, x.cluster, endpoint)
        self._asker = asker
        self._x = x
        self._data = data
        self._pends = False
        """Whether it has taken one of those who may wait for a connection."""

    def begin(self) -> None:
        self._x.upstream = self
        pending = self._cluster.pending
        if pending is None:
            self._take_unit()
        elif pending.take():
            self._pends = True
            self._take_unit()
        else:
            pending.ask(self._may_pend)

    def _may_pend(self, granted: bool) -> None:
        self._pends = granted
        if self._over:
            self._give_back()
        elif granted:
            self._take_unit()
        else:
            self._cluster.stats.overflow_total += 1
            self._failed(OVERFLOW)

    def cancel(self, failure: Failure | None = None) -> None:
        self._give_up()

    def _made(self, carrier: Upstream | Link) -> None:
        self._give_back()
        carry(carrier, self._asker, self._x, self._data)
        self._asker.begun(self._x)

    def _failed(self, failure: Failure) -> None:
        self._give_back()
        if failure is CONNECT_FAILED or failure is CONNECT_TIMEOUT:
            self._x.tried += (self._endpoint,)
        self._asker.lost(self._x, failure, unheard=False)

    def _give_back(self) -> None:
        if self._pends and self._cluster.pending is not None:
            self._pends = False
            self._cluster.pending.give()
        super()._give_back()


class Joining:
    """An exchange that waits for a connection that is being made for several."""

    __slots__ = ("_asker", "_cluster", "_coming", "_data", "_endpoint", "_many", "_over", "_pends", "_site", "_x")
    carries = False

    def __init__(
        self, site: Site, asker: Asker, x: Exchange, endpoint: Endpoint, data: bytes, many: Many
    ) -> None:
        self._site = site
        self._asker = asker
        self._x = x
        self._cluster: Cluster = x.cluster
        self._endpoint = endpoint
        self._data = data
        self._many = many
        self._coming: Coming | None = None
        self._pends = False
        self._over = False

    def begin(self) -> None:
        self._x.upstream = self
        pending = self._cluster.pending
        if pending is None or pending.take():
            self._may_pend(True)
        else:
            pending.ask(self._may_pend)

    def _may_pend(self, granted: bool) -> None:
        self._pends = granted
        if self._over:
            self._leave()
        elif granted:
            self.join()
        else:
            self._cluster.stats.overflow_total += 1
            self.failed(OVERFLOW)

    @property
    def offers(self) -> bool:
        """Another protocol: whether the endpoint takes such an offer it has yet to say."""
        return self._x.request.upgrade is not None

    def join(self) -> None:
        """The one that is on its way, if that has room."""
        if self._over:
            return
        endpoint = self._endpoint
        coming = endpoint.coming
        if not isinstance(coming, Coming) or coming.full:
            coming = endpoint.coming = Coming(self._site, self._cluster, endpoint, self._many.limits.max_streams)
        self._coming = coming
        coming.join(self)

    def cancel(self, failure: Failure | None = None) -> None:
        self._over = True
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.left(self)
        self._leave()

    def go(self, carrier: Upstream | Link) -> None:
        """It is there."""
        if self._over:
            return  # by what became of one before it
        self._leave()
        carry(carrier, self._asker, self._x, self._data)
        self._asker.begun(self._x)

    def go_alone(self) -> None:
        """It carries one at a time, and not this one."""
        if self._over:
            return
        self._leave()
        Connecting(self._site, self._asker, self._x, self._endpoint, self._data).begin()

    def failed(self, failure: Failure) -> None:
        if self._over:
            return
        self._leave()
        if failure is CONNECT_FAILED or failure is CONNECT_TIMEOUT:
            self._x.tried += (self._endpoint,)
        self._asker.lost(self._x, failure, unheard=False)

    def _leave(self) -> None:
        self._coming = None
        if self._pends and self._cluster.pending is not None:
            self._pends = False
            self._cluster.pending.give()


class Coming(Making):
    """The attempt to make a connection for all who wait; of HTTP/2, until the endpoint has said how many it takes.

    The first is carried before that: somebody always is, whatever an endpoint says.
    """

    __slots__ = ("_link", "_most", "_waiting")

    def __init__(self, site: Site, cluster: Cluster, endpoint: Endpoint, most: int) -> None:
        super().__init__(site, cluster, endpoint)
        self._most = most
        self._waiting: dict[Joining, None] = {}
        """In their order."""
        self._link: Link | None = None

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self._most

    def join(self, who: Joining) -> None:
        self._waiting[who] = None
        if len(self._waiting) == 1 and self._link is None:
            self._take_unit()

    def left(self, who: Joining) -> None:
        self._waiting.pop(who, None)
        if not self._waiting and self._link is None:
            self._forgotten()
            self._give_up()

    def _made(self, carrier: Upstream | Link) -> None:
        first = next(iter(self._waiting))
        if isinstance(carrier, Link):
            self._link = carrier
            carrier.tell(self)
            if not first.offers:
                del self._waiting[first]
                first.go(carrier)
            return
        del self._waiting[first]
        self._forgotten()
        first.go(carrier)
        for who in self._taken():
            who.go_alone()

    def _failed(self, failure: Failure) -> None:
        self._give_back()
        self._forgotten()
        for who in self._taken():
            who.failed(failure)

    # From the link

    def settled(self, link: Link) -> None:
        """The endpoint has said how many it takes."""
        self._forgotten()
        waiting = self._taken()
        while waiting and link.takes:
            link.withdraw()
            waiting.pop(0).go(link)
        for who in waiting:
            if link.carries:
                who.join()
            else:
                who.failed(STREAM_REFUSED)  # it takes nothing at all

    def gone(self) -> None:
        """It has ended before that; nothing of those who wait was sent."""
        self._forgotten()
        for who in self._taken():
            who.failed(STREAM_REFUSED)

    def _taken(self) -> list[Joining]:
        """Those who still wait."""
        waiting, self._waiting = [*self._waiting], {}
        return waiting

    def _forgotten(self) -> None:
        if self._endpoint.coming is self:
            self._endpoint.coming = None
