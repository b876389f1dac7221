"""Sessions of our own that outlive a generation: an uplink, what is stored for one, and many clients over a few."""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.cluster.cluster import Cluster
from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.message import Message
from meshproxy.net.clock import Clock
from meshproxy.net.journal import Journal
from meshproxy.relay.mqtt.asides import Seat
from meshproxy.relay.mqtt.fan_in import FanIn
from meshproxy.relay.mqtt.house import Aside, Measure, Soon
from meshproxy.relay.mqtt.incoming import Hear
from meshproxy.relay.mqtt.spool import Forwarder, Spool
from meshproxy.relay.mqtt.trunk import Hear as Heard
from meshproxy.relay.mqtt.uplink import Uplink, UplinkService


class Own:
    """An uplink; it begins with the first generation that is in force."""

    __slots__ = ("_service", "uplink")

    def __init__(self, service: UplinkService, client_id: str, hear: Hear) -> None:
        self._service = service
        self.uplink = Uplink(service, client_id, hear)

    def use(self, cluster: Cluster) -> None:
        self._service.cluster = cluster
        self.uplink.start()

    def retire(self, grace: float) -> None:
        self.uplink.stop()


class Stored:
    """A house that keeps what it is given on disk until a broker has it."""

    __slots__ = ("_forwarder", "_house", "_journal", "_own")

    def __init__(
        self, journal: Journal, own: Own, clock: Clock, measure: Measure, soon: Soon, expiry: float
    ) -> None:
        self._journal = journal
        self._own = own
        self._house = Aside(Spool(journal, clock), measure, clock, soon)
        self._forwarder = Forwarder(journal, own.uplink, clock, expiry=expiry, emptied=_nobody_waits)
        own.uplink.on_change = self._forwarder.changed

    @property
    def empty(self) -> bool:
        return self._journal.empty

    def seat(self, client: Client) -> Seat:
        return self._house.seat(client)

    def use(self, cluster: Cluster) -> None:
        self._own.use(cluster)

    def retire(self, grace: float) -> None:
        self._forwarder.stop()
        self._own.retire(grace)
        self._journal.close(_nobody_waits)


class Shared:
    """A house whose clients share a few uplinks."""

    __slots__ = ("_house", "_owns")

    def __init__(self, make: Callable[[Heard], Own], house: Callable[[Callable[[int, Heard], Uplink]], FanIn]) -> None:
        self._owns: list[Own] = []

        def uplink(_number: int, hear: Heard) -> Uplink:
            own = make(hear)
            self._owns.append(own)
            return own.uplink

        self._house = house(uplink)

    def seat(self, client: Client) -> Seat:
        return self._house.seat(client)

    def use(self, cluster: Cluster) -> None:
        for own in self._owns:
            own.use(cluster)

    def retire(self, grace: float) -> None:
        """The uplinks end with the last client."""
        self._house.retire(grace)


def deaf(_message: Message, _retained: bool, _ids: tuple[int, ...], acknowledge: Callable[[], None]) -> None:
    """Nothing is subscribed to."""
    acknowledge()


def _nobody_waits() -> None:
    """Whether it is empty is asked for with each message."""
