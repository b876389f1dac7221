"""One topic filter that a trunk has subscribed to, and the seats that want it.

    branch.seats[seat] = Wish(qos=1, ...)
    spread(parcel, [branch, other])        # each seat gets it once, with the highest QoS and all its identifiers

Of a shared subscription (`$share/group/filter`) the house is one member, and one of the seats gets each message: in
turn, those that would have to wait for it left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from meshproxy.relay.mqtt.echoes import Echoes
from meshproxy.relay.mqtt.parcel import Parcel
from meshproxy.relay.mqtt.seat import Seat
from meshproxy.wire.mqtt import share_of

Wish = tuple[int, bool, tuple[int, ...], Echoes | None, int]
"""How a seat wants a filter: QoS, retain as published, identifiers, what it has published itself, retain handling."""

Asked = list[tuple[Seat, int, Callable[[int], None]]]
"""Who waits for the answer to a subscription: the seat, its QoS, and how it is told."""


class Fetch:
    """Retained messages that are on their way to those who have asked for them."""

    __slots__ = ("branch", "number", "seats", "seen", "until")

    def __init__(self, branch: Branch, number: int, until: float) -> None:
        self.branch = branch
        self.number = number
        self.seats: dict[Seat, None] = {}
        self.seen: set[bytes] = set()
        """Topics that have come, where nothing else tells whose they are."""
        self.until = until


class Branch:
    __slots__ = (
        "answered", "asked", "asks", "fetches", "fetching", "filter", "granted", "number", "plain", "qos", "seats",
        "shared", "then",
    )  # fmt: skip

    def __init__(self, filter: bytes, number: int) -> None:
        self.filter = filter
        group, self.plain = share_of(filter)
        self.shared = bool(group)
        self.number = number
        """By which messages say that they are for it, and whether they are."""
        self.qos = 0
        """The highest that has been asked for."""
        self.granted: int | None = None
        self.seats: OrderedDict[Seat, Wish] = OrderedDict()
        self.asked: Asked = []
        self.asks = 0
        """How often the broker was asked for it, and which of these it has answered last."""
        self.answered = 0
        self.fetches: list[Fetch] = []
        self.fetching: Fetch | None = None
        """Which the broker has not answered yet, and which of those who have come too late for it."""
        self.then: Fetch | None = None

    def spread(self, parcel: Parcel) -> None:
        """As `spread`, to these alone: nearly always there are no others."""
        if self.shared:
            self._to_one(parcel)
            return
        message = parcel.message
        most, published = message.qos, message.retain
        packet = parcel.packet
        for seat, (qos, as_published, ids, echoes, _) in list(self.seats.items()):
            if echoes is not None and echoes.came(message):
                continue
            if seat.flowing and not ids and not (qos and most):
                seat.pass_by(packet(seat.level, published and as_published))
            else:
                seat.deliver(parcel, qos if qos < most else most, published and as_published, ids)

    def _to_one(self, parcel: Parcel) -> None:
        seats, message = self.seats, parcel.message
        for seat in seats:
            if seat.eager:
                break
        else:
            seat = next(iter(seats))
        qos, as_published, ids, _, _ = seats[seat]
        seats.move_to_end(seat)
        seat.deliver(parcel, min(qos, message.qos), message.retain and as_published, ids)


def spread(parcel: Parcel, branches: Iterable[Branch]) -> None:
    message = parcel.message
    most, published = message.qos, message.retain
    wishes: dict[Seat, tuple[int, bool, tuple[int, ...]]] = {}
    for branch in branches:
        if branch.shared:
            branch.spread(parcel)
            continue
        for seat, (qos, as_published, ids, echoes, _) in branch.seats.items():
            if echoes is not None and echoes.came(message):
                continue
            if (wish := wishes.get(seat)) is not None:
                qos = max(qos, wish[0])
                as_published = as_published or wish[1]
                ids = wish[2] + ids
            wishes[seat] = (qos, as_published, ids)
    for seat, (qos, as_published, ids) in wishes.items():
        seat.deliver(parcel, min(qos, most), published and as_published, ids)


def give(parcel: Parcel, fetches: Iterable[Fetch]) -> None:
    """A retained message to those who wait for it."""
    most = parcel.message.qos
    waiting: dict[Seat, tuple[int, tuple[int, ...]]] = {}
    for fetch in fetches:
        wishes = fetch.branch.seats
        for seat in fetch.seats:
            qos, _, ids, _, _ = wishes[seat]
            if (other := waiting.get(seat)) is not None:
                qos = max(qos, other[0])
                ids = other[1] + ids
            waiting[seat] = (qos, ids)
    for seat, (qos, ids) in waiting.items():
        seat.deliver(parcel, min(qos, most), True, ids)
