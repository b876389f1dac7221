"""MQTT as one generation of a listener serves it: compiled, walked by sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from meshproxy.cluster.cluster import Cluster
from meshproxy.core.mqtt.client import Client
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.observe.metrics.mqtt import MqttStats
from meshproxy.observe.telling import Edges
from meshproxy.relay.live import ListenerState
from meshproxy.relay.mqtt.arriving import Arriving
from meshproxy.relay.mqtt.asides import House
from meshproxy.relay.mqtt.authentication import Authenticator
from meshproxy.relay.mqtt.manners import Manners
from meshproxy.relay.mqtt.reaching import Means
from meshproxy.relay.origin import Origin
from meshproxy.relay.tcp import Announce

if TYPE_CHECKING:
    from meshproxy.relay.mqtt.rules import TopicRule
    from meshproxy.relay.mqtt.session import Session


class Store(House, Protocol):
    """A house that keeps what it is given, until it can be passed on."""

    @property
    def empty(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a client may do, and how long it may take."""

    versions: frozenset[int]
    packet: int
    in_flight: int
    subscriptions: int
    client_id: int
    topic_aliases: int
    connect: float
    answer: float
    """Seconds that a broker may owe one, before it is taken for lost."""
    keep_alive: float
    """Seconds between two packets at most; infinite where none is asked for."""
    slow: str
    """What is done with one that does not take what it gets."""


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Where some clients go."""

    matches: Callable[[Client], bool]
    cluster: Cluster
    edges: Edges
    means: Means
    announce: Announce | None
    level: int | None
    """The version that is spoken with the brokers; None: that of the client."""
    credentials: tuple[str, bytes | None] | None
    """What the brokers are told in the place of what clients say."""
    manners: Callable[[Client], Manners | None]
    """None: what it calls itself cannot stand in its topics."""
    lowered: tuple[House, House] | None
    """Where messages go whose QoS is to be 0, or 1; None: none has to be."""
    shared: House | None
    """Where they have a seat, in the place of a connection to a broker; None: each has one of its own."""
    store: Store | None
    """Who takes what is to be acknowledged while there is no broker, and until all of that is passed on."""


@dataclass(frozen=True, slots=True, eq=False)
class MqttService:
    clock: Clock
    deadlines: Deadlines
    now: Callable[[], float]
    chance: Callable[[], float]
    state: ListenerState
    stats: MqttStats
    bounds: Bounds
    authenticate: Authenticator | None
    """None: everybody is let in as whom they say."""
    ways: tuple[Way, ...]
    failover: float | None
    """Seconds for which a client may be without a broker; None: it has none of its own then."""
    rule_of: Callable[[bytes], TopicRule | None]
    """By topic, as the broker calls it."""
    nowhere: House
    """Who takes what nobody is to get."""
    name_client: Callable[[], str]
    """For a client that has not named itself."""
    log: Callable[[Session, str], None] | None

    def behind(self, origin: Origin) -> None:
        """What was begun goes on as it was."""

    def start(self, conn: Conn, origin: Origin) -> None:
        origin.called()
        Arriving(self, conn, origin).begin()
