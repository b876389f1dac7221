"""Many clients over few connections to their brokers.

    house = FanIn(make, 2, V5, 10_000, measure, clock, loop.call_soon)
    seat = house.seat(client)

`make(number, hear)` gives an uplink, which whoever makes it starts too.

Which of the uplinks: for a filter by the filter, so that what matches it comes over one of them; for a message by its
topic, so that those of one topic keep their order.  While an uplink is down the clients stay: what they subscribe to is
granted, and what they publish waits in the uplink as far as that has room.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from meshproxy.net.clock import Clock
from meshproxy.relay.mqtt.house import Done, Guest, House, Measure, Outlet, Soon
from meshproxy.relay.mqtt.seat import Seat
from meshproxy.relay.mqtt.trunk import Hear, Trunk, Uplink
from meshproxy.wire.mqtt import Code, Subscription


class FanIn(House):
    def __init__(
        self,
        make: Callable[[int, Hear], Uplink],
        connections: int,
        level: int,
        filters: int,
        measure: Measure,
        clock: Clock,
        soon: Soon,
    ) -> None:
        """`level` is what is spoken with the brokers; `filters` how many different ones all clients may have."""
        super().__init__(measure, clock, soon)
        self._clock = clock
        self._filters = filters
        self._seats: dict[str, Seat] = {}
        self._trunks = [Trunk(level, clock.now, self.tally.refuse) for _ in range(connections)]
        for number, trunk in enumerate(self._trunks):
            trunk.grow(make(number, trunk.hear))
        self._retiring = self._stopped = False

    def __len__(self) -> int:
        """Clients."""
        return len(self._seats)

    @property
    def filters(self) -> int:
        """Different ones that are subscribed to."""
        return sum(map(len, self._trunks))

    def seat(self, client: Guest) -> Seat:
        return Seat(self, client.id)

    def retire(self, grace: float) -> None:
        """Nobody comes any more; the uplinks end when the last has left, or after that time."""
        self._retiring = True
        if self._seats and grace > 0:
            self._clock.after(grace, self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        for seat in list(self._seats.values()):
            seat.retire()
        for trunk in self._trunks:
            trunk.uplink.stop()

    # What seats ask for

    def came(self, seat: Seat) -> None:
        older = self._seats.get(seat.id)
        if older is not None:
            older.take_over()
        self._seats[seat.id] = seat

    def outlet(self, topic: bytes) -> Outlet:
        return self._of(topic).uplink

    def subscribe(self, seat: Seat, subscription: Subscription, number: int, done: Done) -> None:
        trunk = self._of(subscription.filter)
        if subscription.filter not in trunk and self.filters >= self._filters:
            done(Code.QUOTA_EXCEEDED)
        else:
            trunk.subscribe(seat, subscription, number, done)

    def unsubscribe(self, seat: Seat, filter: bytes) -> Code:
        seat.drop(filter)
        return Code.SUCCESS if self._of(filter).unsubscribe(seat, filter) else Code.NO_SUBSCRIPTION

    def left(self, seat: Seat) -> None:
        for filter, trunk in seat.filters.items():
            trunk.unsubscribe(seat, filter)
        seat.filters.clear()
        if self._seats.get(seat.id) is seat:
            del self._seats[seat.id]
            if self._retiring and not self._seats:
                self._stop()

    def _of(self, text: bytes) -> Trunk:
        trunks = self._trunks
        return trunks[crc32(text) % len(trunks)]
