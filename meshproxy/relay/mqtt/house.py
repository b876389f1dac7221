"""A broker of our own, as small as it can be: seats for clients, and where goes what they publish.

    house = Aside(outlet, Measure(in_flight=32, ...), clock, loop.call_soon)
    seat = house.seat(client)                    # then as with a connection to a broker
    seat.read_to(take); seat.start(); seat.write(packets)

Sessions end with their connection here, whatever a client asks for: its CONNACK says that no session was present and,
in 5.0, that it expires after 0 seconds.  A will is therefore published at once, whatever its delay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from meshproxy.core.mqtt.message import Message
from meshproxy.net.clock import Clock
from meshproxy.relay.mqtt.seat import Seat
from meshproxy.wire.mqtt import Code, Subscription

Done = Callable[[int], None]
"""Hears the code of 5.0 with which something was answered; from 0x80 on it was refused."""
Soon = Callable[[Callable[[], None]], Any]
"""Does it when the present turn of the loop is over."""


class Outlet(Protocol):
    """Where messages go."""

    @property
    def full(self) -> bool:
        """What is published now would be refused; `waiters` are called, once each, when that is over."""

    @property
    def waiters(self) -> set[Callable[[], None]]: ...

    def publish(self, message: Message, done: Done) -> None:
        """`done` is called at once or later: with QoS 1 and 2 when whoever takes the message has acknowledged it."""


class Guest(Protocol):
    """Whose seat it is."""

    @property
    def id(self) -> str: ...

    @property
    def level(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Measure:
    """How much of what a house takes from one client, and keeps for it."""

    packet: int
    """Bytes of the largest that a client may send."""
    in_flight: int
    """Messages of QoS 1 and 2 on their way, each way."""
    subscriptions: int
    queue: int
    """Bytes that wait for a client which is slow, as packets."""
    queued: int = 10_000
    """And how many messages."""
    patient: bool = True
    """What does not fit is dropped; otherwise the client is disconnected."""


@dataclass(slots=True)
class Tally:
    """What becomes of what is delivered."""

    delivered: int = 0
    overflowed: int = 0
    """Dropped, because its client was slow."""
    expired: int = 0
    oversized: int = 0
    """Larger than its client takes."""
    disconnected: int = 0
    """Clients, for being slow."""
    taken_over: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    """Subscriptions, by code: those too that were granted while the broker was away, and that it refused then."""

    def refuse(self, code: int) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


class House(ABC):
    """What all have in common."""

    def __init__(self, measure: Measure, clock: Clock, soon: Soon) -> None:
        self.measure = measure
        self.now = clock.now
        self.soon = soon
        self.tally = Tally()

    @abstractmethod
    def outlet(self, topic: bytes) -> Outlet:
        """Where messages of it go."""

    def came(self, seat: Seat) -> None:  # noqa: B027 - it is what there is to do
        """It has said who it is."""

    @abstractmethod
    def subscribe(self, seat: Seat, subscription: Subscription, number: int, done: Done) -> None:
        """`number` is the identifier that the messages shall carry, or 0."""

    @abstractmethod
    def unsubscribe(self, seat: Seat, filter: bytes) -> Code: ...

    def left(self, seat: Seat) -> None:  # noqa: B027 - it is what there is to do
        """It is over with it; `unsubscribe` was not called for what it still has."""


class Aside(House):
    """Takes what is published and gives nothing: to where only some of what a client publishes goes.

    Its clients have said who they are to somebody else, and get what they subscribe to from there.
    """

    def __init__(self, outlet: Outlet, measure: Measure, clock: Clock, soon: Soon) -> None:
        super().__init__(measure, clock, soon)
        self._outlet = outlet

    def seat(self, client: Guest) -> Seat:
        return Seat(self, client.id, client.level)

    def outlet(self, topic: bytes) -> Outlet:
        return self._outlet

    def subscribe(self, seat: Seat, subscription: Subscription, number: int, done: Done) -> None:
        done(subscription.qos)

    def unsubscribe(self, seat: Seat, filter: bytes) -> Code:
        return Code.SUCCESS
