"""What the tests of houses share: a client that is not there, an outlet and an uplink that do what a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshproxy.core.mqtt.message import Message
from meshproxy.core.mqtt.topic import matches
from meshproxy.relay.mqtt.house import Done, Measure
from meshproxy.relay.mqtt.seat import Seat
from meshproxy.relay.mqtt.trunk import Hear
from meshproxy.wire.mqtt import (
    V5,
    V311,
    Connack,
    Connect,
    Frames,
    Packet,
    Properties,
    Property,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
    decode,
    encode,
    share_of,
)

MANNERS = Measure(packet=1 << 20, in_flight=4, subscriptions=8, queue=4096, queued=16)


@dataclass
class Somebody:
    id: str = "boat"
    level: int = V311


class Turns:
    """What is to be done when the turn of the loop is over."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def soon(self, action: Callable[[], None]) -> None:
        self._due.append(action)

    def run(self) -> None:
        while self._due:
            self._due.pop(0)()


class FakeOutlet:
    def __init__(self) -> None:
        self.full = False
        self.waiters: set[Callable[[], None]] = set()
        self.heard: list[Message] = []
        self.dones: list[Done] = []

    def publish(self, message: Message, done: Done) -> None:
        self.heard.append(message)
        if message.qos:
            self.dones.append(done)
        else:
            done(0)

    def acknowledge(self, code: int = 0) -> None:
        self.dones.pop(0)(code)

    def relieve(self) -> None:
        self.full = False
        waiters = list(self.waiters)
        self.waiters.clear()
        for waiter in waiters:
            waiter()

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.heard]


@dataclass
class Subscribed:
    subscription: Subscription
    done: Done
    identifier: int


class FakeUplink(FakeOutlet):
    """A broker's end of it; what is subscribed is granted when a test says so."""

    def __init__(self, hear: Hear, up: bool) -> None:
        super().__init__()
        self.hear = hear
        self.up = up
        self.on_change: Callable[[bool], None] = lambda up: None
        self.subscribed: list[Subscribed] = []
        self.current: dict[bytes, Subscribed] = {}
        """What the broker has of it."""
        self.unsubscribed: list[bytes] = []
        self.acknowledged = 0
        self.stopped = False

    def start(self) -> None:
        """It is up from the beginning, or not."""

    def stop(self) -> None:
        self.stopped = True

    def subscribe(self, subscription: Subscription, done: Done, identifier: int = 0) -> None:
        asked = self.current[subscription.filter] = Subscribed(subscription, done, identifier)
        self.subscribed.append(asked)

    def unsubscribe(self, filter: bytes) -> None:
        self.unsubscribed.append(filter)
        del self.current[filter]

    def grant(self, code: int | None = None) -> list[Subscribed]:
        """Answer all that is asked for."""
        asked, self.subscribed = self.subscribed, []
        for each in asked:
            each.done(each.subscription.qos if code is None else code)
        return asked

    def grant_all(self) -> None:
        while self.subscribed:
            self.grant()

    def acknowledge_one(self) -> None:
        self.acknowledged += 1

    def say(self, topic: bytes, payload: bytes, qos: int = 0, ids: tuple[int, ...] = (), retain: bool = False) -> None:
        self.hear(Message(topic, payload, qos, retain), retain, ids, self.acknowledge_one)

    def spread(self, topic: bytes, payload: bytes, qos: int = 0, *, retain: bool = False) -> None:
        """As a broker does with what is published: one copy, with all identifiers."""
        found = [each for each in self.current.values() if matches(share_of(each.subscription.filter)[1], topic)]
        if found:
            ids = tuple([each.identifier for each in found if each.identifier])
            as_published = any(each.subscription.as_published for each in found)
            self.say(topic, payload, qos, ids, retain=retain and as_published)

    def replay(self, asked: Subscribed, topic: bytes, payload: bytes, qos: int = 0) -> None:
        """A retained message, because of this subscription."""
        self.say(topic, payload, qos, (asked.identifier,) if asked.identifier else (), retain=True)

    def change(self, up: bool) -> None:
        self.up = up
        self.on_change(up)


class Client:
    """Whoever has the seat: the packets that it gets, in order, and how it ended."""

    def __init__(self, seat: Seat, level: int = V311) -> None:
        self.seat = seat
        self.level = level
        self.heard: list[Packet] = []
        self.pieces: list[bytes] = []
        self.ended = 0
        self.lost: list[OSError | None] = []
        self.held = 0
        self._frames = Frames(1 << 24)
        self.asked = 0
        """The id of the last SUBSCRIBE."""
        seat.handler = self
        seat.fed_by = self
        seat.read_to(self._take)
        seat.start()

    def _take(self, data: bytes) -> None:
        self.pieces.append(data)
        data, cuts = self._frames.feed(data)
        self.heard += [decode(self.level, data, *cut) for cut in cuts]

    def on_end(self, seat: Any) -> None:
        assert seat is self.seat
        self.ended += 1

    def on_lost(self, seat: Any, error: OSError | None) -> None:
        assert seat is self.seat
        self.lost.append(error)

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1

    def tell(self, *packets: Packet) -> None:
        self.seat.write(b"".join([encode(packet, self.level) for packet in packets]))

    def say(self, *packets: Packet) -> list[Packet]:
        """And what is heard of it at once."""
        self.tell(*packets)
        return self.take()

    def take(self) -> list[Packet]:
        heard, self.heard = self.heard, []
        return heard

    def connect(self, will: Will | None = None, id: str = "boat", **properties: Any) -> Connack:
        said: Properties = properties.get("properties", {})
        (connack,) = self.say(Connect(self.level, id, will=will, properties=said))
        assert isinstance(connack, Connack)
        return connack

    def ask(self, *filters: bytes | Subscription, qos: int = 0, number: int = 0) -> None:
        self.asked += 1
        asked = tuple([each if isinstance(each, Subscription) else Subscription(each, qos) for each in filters])
        self.tell(Subscribe(self.asked, asked, {Property.SUBSCRIPTION_IDENTIFIER: (number,)} if number else {}))

    def subscribe(self, *filters: bytes | Subscription, qos: int = 0, number: int = 0) -> list[Packet]:
        self.ask(*filters, qos=qos, number=number)
        return self.take()

    @property
    def published(self) -> list[tuple[bytes, bytes, int, bool]]:
        """What was delivered since the last look."""
        return [
            (each.topic, each.payload, each.qos, each.retain) for each in self.take() if isinstance(each, Publish)
        ]


def codes(packets: list[Packet]) -> tuple[int, ...]:
    (suback,) = packets
    assert isinstance(suback, Suback)
    return suback.codes


LEVELS = (V311, V5)
