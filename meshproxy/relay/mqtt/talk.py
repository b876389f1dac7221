"""What a session is made of, and how it speaks to both sides: the ground on which both directions stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING

from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.deliveries import Deliveries
from meshproxy.core.mqtt.requests import Requests
from meshproxy.net.conn import Conn
from meshproxy.relay.mqtt.asides import Asides
from meshproxy.relay.mqtt.reaching import Line
from meshproxy.relay.mqtt.seating import Place
from meshproxy.relay.mqtt.stay import Stay
from meshproxy.relay.mqtt.subscriptions import Subscriptions
from meshproxy.relay.origin import Origin
from meshproxy.wire.mqtt import Connect, Frames, Packet, Property, Publish, Subscribe, Unsubscribe, encode
from meshproxy.wire.mqtt.carry import Bridge

if TYPE_CHECKING:
    from meshproxy.relay.mqtt.manners import Manners, Pace
    from meshproxy.relay.mqtt.rules import TopicRule
    from meshproxy.relay.mqtt.service import MqttService, Way

MOST_FROM_BROKER = 268_435_460
"""Brokers are believed in what is large: no packet of MQTT can be larger."""
NO_IDS: frozenset[int] = frozenset()
ASKING = (Publish, Subscribe, Unsubscribe)


class Talk(ABC):
    __slots__ = (
        "aliases", "aside", "began", "bridge", "client", "conn", "connack_owed", "connect", "deadline", "deliveries",
        "due", "frames", "frames_up", "hidden", "largest", "last", "level_up", "line", "manners", "messages_in",
        "messages_out", "over", "owed", "paces", "patience", "pinged", "queue", "requests", "room", "service", "slow",
        "stay", "stopped", "subscriptions", "way", "window",
    )  # fmt: skip

    def __init__(
        self,
        service: MqttService,
        way: Way,
        manners: Manners,
        conn: Conn,
        origin: Origin,
        client: Client,
        connect: Connect,
    ) -> None:
        self.service = service
        self.way = way
        self.conn = conn
        self.client = client
        self.stay = Stay(origin)
        self.connect = connect
        """As the broker gets it."""
        self.level_up = way.level or client.level
        self.bridge = Bridge(client.level, self.level_up) if self.level_up != client.level else None
        self.manners = manners
        self.line: Line | Place | None = None
        """To the broker; None while there is none."""
        self.requests = Requests()
        self.deliveries = Deliveries()
        self.hidden: dict[int, None] = {}
        """Packet ids of messages of QoS 2 that are kept from the client; an empty set would be three times as large."""
        self.subscriptions = Subscriptions(service.bounds.subscriptions)
        self.aside: Asides | frozenset[int] = NO_IDS
        """The ids of messages that others than the broker have."""
        self.aliases: dict[int, bytes] | None = None
        self.frames = Frames(service.bounds.packet)
        self.frames_up = Frames(MOST_FROM_BROKER)
        self.window = service.bounds.in_flight
        """How many messages of the client may wait for the broker's answer."""
        self.room: float = inf
        """How many messages the client takes before it has acknowledged one, where the broker does not know."""
        self.largest: float = connect.properties.get(Property.MAXIMUM_PACKET_SIZE, inf)
        """Bytes of the largest packet that the client takes; a broker that speaks to it itself knows that."""
        self.queue: list[Publish] | None = None
        """Those that wait for it."""
        self.paces: dict[TopicRule, Pace] | None = None
        """How fast the client has been with some topics."""
        self.patience = inf
        """Seconds between two packets of the client."""
        self.deadline = inf
        """When something may be overdue, of the client or of the broker."""
        self.last = 0.0
        """When the client said something."""
        self.due = inf
        """Until when the broker has to say something, for it owes an answer."""
        self.stopped = False
        """The client is not read: too much of what it said is not answered, or not taken, or it was too fast."""
        self.slow = False
        """The client does not take what it is sent, and what it can do without is not sent."""
        self.pinged = False
        """The broker has not answered the client's last PINGREQ."""
        self.owed = 0
        """Bytes of what it cannot do without that were sent since."""
        self.connack_owed = True
        self.messages_in = self.messages_out = 0
        self.began = service.clock.now()
        self.over = False

    @property
    def plain(self) -> bool:
        """Whether what the broker says can go to the client mostly as it comes.  The broker of now does not know what
        the client has not acknowledged of those before it."""
        crowded = self.room < inf and (self.queue or self.deliveries.orphans)
        return not (self.bridge is not None or self.slow or crowded)

    @property
    def broker_owes(self) -> bool:
        """Whether it has an answer to give."""
        return self.pinged or (bool(self.requests.kept) and self.requests.waiting > 0)

    # To the client

    def tell(self, packet: Packet) -> None:
        self.conn.write(encode(packet, self.client.level))

    def answer(self, packet: Packet) -> None:
        """In the place of a broker."""
        self.tell(packet)
        self.look_at_room()

    def look_at_room(self) -> None:
        """Who does not take what the relay itself has to say is not read any more."""
        if self.conn.full:
            self.stop()

    @abstractmethod
    def stop(self) -> None:
        """The client is not read for now."""

    # To the broker

    def ask(self, packet: Packet) -> None:
        """It is kept, if it is to be answered; where there is no broker that is all."""
        carried = packet if self.bridge is None else self.bridge.to_broker(packet)
        if carried is None:
            return
        data = encode(carried, self.level_up)
        if isinstance(packet, ASKING) and packet.id:
            self.requests.asked(packet.id, data)
        if self.line is not None:
            self.line.conn.write(data)

    def free_id(self) -> int:
        """A packet id that the client does not use; its own begin at the other end."""
        kept = self.requests.kept
        number = 65_535
        while number in kept or self.subscriptions.being_replayed(number):
            number -= 1
        return number

