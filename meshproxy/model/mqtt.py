"""What an operator can say about clients of MQTT: who they are, what they may do, and which brokers serve them.

    mqtt:
      plant:
        authenticate: [{users: mqtt-users}]
        sessions: [{match: {clients: ["press-*"]}, cluster: presses}, {cluster: brokers}]
        authorize: [{publish: ["plant/%c/#"], subscribe: ["plant/%c/orders/+"]}]
        failover: {within: 30s}

Listeners of `protocol: mqtt` name one of these, or a cluster to which everything is relayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from meshproxy.model.authenticate import Credential, credential_problems
from meshproxy.model.matching import Found, at_most
from meshproxy.model.tls import ServerName
from meshproxy.model.topics import (
    Glob,
    TopicAccess,
    TopicFilter,
    TopicPrefix,
    TopicRewrite,
    access_problems,
    rewrite_problems,
)
from meshproxy.model.websocket import WebSocket
from meshproxy.model.websocket import problems as websocket_problems
from meshproxy.model.whom import MOST_IDENTITIES, Whom
from meshproxy.schema.kinds import Bool, Duration, Name, PositiveDuration, Text, choice, size, whole
from meshproxy.schema.shapes import AT_LEAST_ONE, Path

MOST_SESSIONS = 256
MOST_RULES = 1024
MOST_NAMES = 1024
KIB, MIB = 1 << 10, 1 << 20

Version = Annotated[Literal["3.1.1", "5"], choice("3.1.1", "5")]
Slow = Annotated[Literal["wait", "drop", "disconnect"], choice("wait", "drop", "disconnect")]
Full = Annotated[Literal["drop_oldest", "refuse"], choice("drop_oldest", "refuse")]
Qos = Annotated[int, whole(0, 2)]
PacketSize = Annotated[int, size(1 * KIB, 256 * MIB)]
QueueSize = Annotated[int, size(1 * KIB, 1024 * MIB)]
Messages = Annotated[int, whole(1, 10_000_000)]
Bytes = Annotated[int, size(1 * KIB, 1 << 40)]


@dataclass(frozen=True, slots=True)
class Whose:
    """Which clients; everything that is said must hold."""

    clients: Annotated[tuple[Glob, ...], AT_LEAST_ONE, "its client id is any of these; absent: any"] = ()
    users: Annotated[tuple[Glob, ...], AT_LEAST_ONE, "who it is let in as is any of these; absent: anybody"] = ()
    identities: Annotated[
        tuple[Whom, ...], AT_LEAST_ONE, "who it has proved to be is any of these; absent: anybody"
    ] = ()
    server_names: Annotated[
        tuple[ServerName, ...], AT_LEAST_ONE, "its TLS hello asks for any of these; absent: any, or none"
    ] = ()


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where some clients go."""

    cluster: Annotated[Name, "the brokers, a name under `clusters`"]
    match: Annotated[Whose, "which clients; empty: all of them"] = Whose()
    prefix: Annotated[
        TopicPrefix | None,
        "stands before all their topics at the broker, and they see no others; `%c`, `%u`, `%i`: client id, user and "
        "identity; absent: nothing does",
    ] = None


@dataclass(frozen=True, slots=True)
class Pace:
    """So much in a time; who is faster is read more slowly, and loses nothing."""

    messages: Annotated[Messages | None, "messages; absent: any number"] = None
    bytes: Annotated[Bytes | None, "bytes; absent: any number"] = None
    per: Annotated[PositiveDuration, "in which time"] = 1.0


@dataclass(frozen=True, slots=True)
class TopicRule:
    """What is special about the messages that clients publish to some topics."""

    name: Annotated[Name, "what they are called in metrics"]
    filters: Annotated[tuple[TopicFilter, ...], AT_LEAST_ONE, "which topics, as the broker calls them"]
    cluster: Annotated[Name | None, "another cluster of brokers gets them; absent: the session's"] = None
    max_qos: Annotated[Qos, "a higher QoS is lowered to this one on the way to the broker"] = 2
    retain: Annotated[Bool, "whether they may be retained; else they go on as any other message"] = True
    rate: Annotated[Pace | None, "for each client; absent: no limit"] = None
    mirror: Annotated[Name | None, "a cluster of brokers that gets a copy, with QoS 0; absent: none"] = None
    spool: Annotated[Bool, "with `spool`: whether they are stored while there is no broker"] = True


@dataclass(frozen=True, slots=True)
class MqttLimits:
    """How much a client may do."""

    packet: Annotated[PacketSize, "the largest packet"] = 1 * MIB
    in_flight: Annotated[
        Annotated[int, whole(1, 65535)], "messages that wait to be acknowledged; then no more are read"
    ] = 32
    subscriptions: Annotated[Annotated[int, whole(1, 100_000)], "filters that it has subscribed at a time"] = 256
    client_id: Annotated[Annotated[int, whole(1, 65535)], "characters of its client id"] = 128
    topic_aliases: Annotated[Annotated[int, whole(0, 65535)], "topic aliases of 5.0"] = 16
    connect: Annotated[PositiveDuration, "how long its CONNECT may take, and the broker's answer"] = 10.0
    answer: Annotated[PositiveDuration, "how long a broker may owe an answer, before it is taken for lost"] = 20.0
    keep_alive: Annotated[
        Duration, "the longest keep-alive: clients of 5.0 are told; 0: none is too long, and none at all is allowed"
    ] = 0.0
    slow: Annotated[
        Slow,
        "what is done with one that does not take what it is sent: its broker has to `wait`, messages of QoS 0 are "
        "dropped, or it is disconnected",
    ] = "wait"


@dataclass(frozen=True, slots=True)
class MqttFailover:
    """A client keeps its connection when its broker is lost, and gets another."""

    within: Annotated[PositiveDuration, "how long one is looked for, before the connection ends"] = 30.0


@dataclass(frozen=True, slots=True)
class Spool:
    """What clients publish with QoS 1 or 2 while there is no broker is stored, and passed on when there is one."""

    dir: Annotated[Text, "the directory"]
    size: Annotated[QueueSize, "how many bytes each worker may store"] = 64 * MIB
    full: Annotated[Full, "when it is full: the oldest are dropped, or no more are taken"] = "refuse"
    expiry: Annotated[Duration, "how long a message is worth passing on, 0: for ever"] = 0.0


@dataclass(frozen=True, slots=True)
class FanInSaid:
    """Clients share connections to their brokers: the proxy speaks with the brokers in its own name."""

    connections: Annotated[Annotated[int, whole(1, 64)], "to each cluster, from each worker"] = 2
    queue: Annotated[QueueSize, "bytes that may wait for one client that is slow"] = 1 * MIB


@dataclass(frozen=True, slots=True)
class MqttPolicy:
    """How clients of MQTT are served."""

    RESERVED: ClassVar[dict[str, str]] = {}

    name: Annotated[Name, "the key under `mqtt`"]
    versions: Annotated[tuple[Version, ...], AT_LEAST_ONE, "that clients may speak; absent: both"] = ("3.1.1", "5")
    websocket: Annotated[
        WebSocket | None, "clients may come in over WebSocket too; absent: they may not"
    ] = None
    authenticate: Annotated[
        tuple[Credential, ...] | None,
        "how it is found out who clients are, the first that knows one decides; absent: they are whom they say",
    ] = None
    sessions: Annotated[
        tuple[Sessions, ...], "which clients go where, the first that matches decides; absent: the listener's cluster"
    ] = ()
    authorize: Annotated[
        tuple[TopicAccess, ...] | None,
        "which topics clients may use; what any of these admits, and nothing else; absent: any",
    ] = None
    rewrite: Annotated[
        tuple[TopicRewrite, ...], "what topics of clients are called at the broker, both ways; the first that matches"
    ] = ()
    topics: Annotated[tuple[TopicRule, ...], "what is special about some topics; the first that matches decides"] = ()
    rate: Annotated[Pace | None, "how much a client may publish; absent: no limit"] = None
    limits: Annotated[MqttLimits, "how much a client may do"] = MqttLimits()
    failover: Annotated[
        MqttFailover | None, "absent: a client's connection ends with that of its broker"
    ] = None
    spool: Annotated[Spool | None, "absent: nothing is stored"] = None
    fan_in: Annotated[FanInSaid | None, "absent: each client has a connection to its broker"] = None
    log: Annotated[Bool, "whether each session that ends leaves a line in the log"] = False

    @property
    def clusters(self) -> Iterator[tuple[Path, str]]:
        """Those that are named, each with its place."""
        for index, way in enumerate(self.sessions):
            yield ("sessions", index, "cluster"), way.cluster
        for index, rule in enumerate(self.topics):
            if rule.cluster is not None:
                yield ("topics", index, "cluster"), rule.cluster
            if rule.mirror is not None:
                yield ("topics", index, "mirror"), rule.mirror


def mqtt_problems(said: MqttPolicy) -> Found:
    """What does not fit together, each with its place below the policy."""
    if said.websocket is not None:
        for path, words in websocket_problems(said.websocket):
            yield ("websocket", *path), words
    for path, words in credential_problems(said.authenticate) if said.authenticate is not None else ():
        yield ("authenticate", *path), words
    yield from at_most(MOST_SESSIONS, "sessions", said.sessions)
    yield from at_most(MOST_RULES, "topics", said.topics)
    for index, way in enumerate(said.sessions):
        for key in ("clients", "users", "identities", "server_names"):
            most = MOST_IDENTITIES if key == "identities" else MOST_NAMES
            for path, words in at_most(most, key, getattr(way.match, key)):
                yield ("sessions", index, "match", *path), words
        if way.match == Whose() and index < len(said.sessions) - 1:
            yield ("sessions", index), "`match` is empty: those after it are never asked"
    names: dict[str, int] = {}
    for index, rule in enumerate(said.topics):
        before = names.setdefault(rule.name, index)
        if before != index:
            yield ("topics", index, "name"), f"`name` {rule.name} is that of `topics[{before}]`"
        for path, words in at_most(MOST_NAMES, "filters", rule.filters):
            yield ("topics", index, *path), words
        if rule.rate is not None and rule.rate.messages is None and rule.rate.bytes is None:
            yield ("topics", index, "rate"), "`rate` needs `messages`, `bytes` or both"
    if said.rate is not None and said.rate.messages is None and said.rate.bytes is None:
        yield ("rate",), "`rate` needs `messages`, `bytes` or both"
    for path, words in access_problems(said.authorize or ()):
        yield ("authorize", *path), words
    for path, words in rewrite_problems(said.rewrite):
        yield ("rewrite", *path), words
    if said.fan_in is not None and said.failover is not None:
        yield ("failover",), "`fan_in` has connections of its own, which come back by themselves"
    if said.fan_in is not None and said.spool is not None:
        yield ("spool",), "`spool` needs sessions of their own at the broker, not `fan_in`"
