"""What an operator can say: the native configuration, as data.

Every class is frozen and hashable: `==` means that there is nothing to do. The annotations are the format; the
documentation of each key, the JSON Schema and the decoder are all made of them. `RESERVED` names what a later version
will take, so that it is refused by name and never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, ClassVar, Literal

from meshproxy.model.access_log import AccessLog
from meshproxy.model.address import Address, EndpointAddress, ListenAddress, Named, SourceAddress
from meshproxy.model.authorize import Callers
from meshproxy.model.balance import Balance, HashKey, Labels, Priority, Sticky
from meshproxy.model.breaker import PLAIN_BREAKER, Breaker
from meshproxy.model.bridge import Bridge
from meshproxy.model.broker import Broker
from meshproxy.model.dns import PLAIN_DNS, Dns, HostName
from meshproxy.model.forward import DIRECT, Forward
from meshproxy.model.fronts import Front
from meshproxy.model.health import Health, Outlier
from meshproxy.model.http import PLAIN_HTTP, PLAIN_UPSTREAM_HTTP, Http, Peer, UpstreamHttp
from meshproxy.model.limits import Bandwidth, Count, RateLimit
from meshproxy.model.metrics import PLAIN_METRICS, Metrics
from meshproxy.model.mqtt import MqttPolicy
from meshproxy.model.mqtt_upstream import PLAIN_UPSTREAM_MQTT, UpstreamMqtt
from meshproxy.model.overload import Overload
from meshproxy.model.probes import Probes
from meshproxy.model.routes import RouteTable
from meshproxy.model.sidecar import PLAIN_COMPAT, PLAIN_SIDECAR, Compat, Sidecar
from meshproxy.model.source import Source
from meshproxy.model.tls import AlpnName, ClientTls, Identity, ServerName, ServerTls
from meshproxy.model.tracing import Tracing
from meshproxy.model.tunnels import Tunnel
from meshproxy.model.workloads import Workload
from meshproxy.schema.kinds import (
    LARGEST_INTEGER,
    Bool,
    Duration,
    Name,
    Network,
    Port,
    PositiveDuration,
    Ratio,
    Scalar,
    SecretText,
    Text,
    choice,
    refuse,
    same,
    whole,
)
from meshproxy.schema.shapes import AT_LEAST_ONE, Items, Keyed

OF_TUNNELS = ("tunnel", "quic")
"""Protocols of listeners at which tunnels arrive."""
IDLE = {"tcp": 3600.0, "tls": 3600.0, "socks5": 3600.0, "udp": 60.0, "http": 60.0, "mqtt": 0.0, "dns": 30.0}
"""How long a connection or session may be silent where nothing is said."""
HEAD_WITHIN = 10.0
HANDSHAKE_WITHIN = 10.0
DETECT_WITHIN = 3.0

_LATER_PROTOCOLS = {
    "redis": "the Redis proxy",
}

Protocol = Annotated[
    Literal["http", "tcp", "tls", "udp", "mqtt", "auto", "dns", "socks5", "tunnel", "quic"],
    choice("http", "tcp", "tls", "udp", "mqtt", "auto", "dns", "socks5", "tunnel", "quic", reserved=_LATER_PROTOCOLS),
]
Spoken = Annotated[
    Literal["http1", "http2", "tls", "mqtt", "redis", "other"],
    choice("http1", "http2", "tls", "mqtt", "redis", "other"),
]
Codec = Annotated[Literal["own", "h11", "h2"], choice("own", "h11", "h2")]
ProxyVersion = Annotated[Literal["v1", "v2"], choice("v1", "v2")]
Weight = Annotated[int, whole(0, 65535)]


def _read_workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS:
        return value
    raise refuse(f"a number from 1 to {MOST_WORKERS}, or `auto`", value)


MOST_WORKERS = 256
LOOPBACK = Address("ipv4", "127.0.0.1", 15000)

Workers = Annotated[
    int | Literal["auto"],
    Scalar(
        "number \\| `auto`",
        _read_workers,
        same,
        {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MOST_WORKERS}]},
    ),
]


@dataclass(frozen=True, slots=True)
class Node:
    """Who this proxy is."""

    service: Annotated[Text, "the service that the proxy stands beside"] = ""
    namespace: Annotated[Text, "its namespace"] = ""
    service_account: Annotated[Text, "its service account"] = ""
    trust_domain: Annotated[Text, "the trust domain of its identity"] = "cluster.local"
    zone: Annotated[Text, "where it runs"] = ""
    labels: Annotated[tuple[tuple[str, Text], ...], "free labels, shown in `/server_info`"] = ()


@dataclass(frozen=True, slots=True)
class Admin:
    """The side from which the proxy is observed and steered."""

    listen: Annotated[ListenAddress, "where the admin API answers; off loopback it needs a token"] = LOOPBACK
    token: Annotated[SecretText | None, "the bearer token that the admin API asks for"] = None


@dataclass(frozen=True, slots=True)
class Status:
    """A read-only listener for probes and scrapers: `/ready`, `/live` and `/metrics`."""

    listen: Annotated[ListenAddress, "where it answers"]


@dataclass(frozen=True, slots=True)
class State:
    """What is kept over a restart: the last good configuration and the history."""

    dir: Annotated[
        Text | None, "the directory; absent: `$XDG_STATE_HOME/meshproxy` if set, else nothing is kept on disk"
    ] = None


@dataclass(frozen=True, slots=True)
class Drain:
    """How connections end that have no future: at the end of the process, or when a reload removes what they use."""

    delay: Annotated[Duration, "how long listeners stay open after readiness has failed"] = 5.0
    timeout: Annotated[Duration, "how long connections may take to end before they are cut"] = 30.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may live, and what happens on it may take."""

    idle: Annotated[
        Duration | None,
        "silence in both directions that ends it, 0: never; absent: 1h for tcp, tls and socks5, 60s for udp and http, "
        "30s for dns",
    ] = None
    lifetime: Annotated[
        Duration | None, "the longest life of a connection, 0 or absent: no limit; of http, the answer under way ends"
    ] = None
    head: Annotated[Duration | None, "for http: how long the head of a request may take, 0: for ever; absent: 10s"] = (
        None
    )
    request: Annotated[
        Duration | None, "for http: how long all of an exchange may take, 0 or absent: no limit; a route may differ"
    ] = None

    handshake: Annotated[
        PositiveDuration | None,
        "for TLS: how long the handshake may take, and the first bytes of a client that tell what it speaks; "
        "for socks5: until it is known where a client wants to go; absent: 10s",
    ] = None
    detect: Annotated[
        PositiveDuration | None,
        "for auto, and where `speaks` is matched: how long the first bytes may take that tell what is spoken; then it "
        "is taken for tcp; absent: 3s",
    ] = None

    def over(self, default: Timeouts) -> Timeouts:
        """These, with what is absent taken from `default`."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(default, **{name: value for name, value in said.items() if value is not None})


@dataclass(frozen=True, slots=True)
class ProxyProtocol:
    """A PROXY protocol header (v1 or v2) is required of these peers; any other peer is refused."""

    trusted: Annotated[
        tuple[Peer, ...], AT_LEAST_ONE, "who may send one, and connect: networks, or `unix` for unix sockets"
    ]
    timeout: Annotated[PositiveDuration, "how long the header may take to arrive"] = 5.0
    optional: Annotated[
        Bool,
        "who sends none is let in as who he is, and so is who says nothing for as long as `timeout`; of others than "
        "the trusted none is looked for",
    ] = False


@dataclass(frozen=True, slots=True)
class Filter:
    """One thing that is done to all connections of a listener, called by its only key."""

    CHOICE: ClassVar[bool] = True

    rate_limit: Annotated[RateLimit | None, "refuses what comes too fast, whatever the number of workers"] = None
    bandwidth: Annotated[Bandwidth | None, "so many bytes each second and no more"] = None

    @property
    def kind(self) -> str:
        return next(field.name for field in fields(self) if getattr(self, field.name) is not None)


@dataclass(frozen=True, slots=True)
class Match:
    """What a chain applies to; everything that is said must hold."""

    ports: Annotated[
        tuple[Port, ...], "any of these ports, of what was connected to (see `transparent`); empty: any port"
    ] = ()
    sources: Annotated[tuple[Network, ...], "any of these client networks; empty: any client"] = ()
    sni: Annotated[
        tuple[ServerName, ...], "any of these server names in a TLS hello, `name` or `*.suffix`; empty: any, or none"
    ] = ()
    alpn: Annotated[tuple[AlpnName, ...], "a TLS hello offers any of these protocols; empty: any, or none"] = ()
    destinations: Annotated[
        tuple[Network, ...], "any of these networks, of what was connected to (see `transparent`); empty: any address"
    ] = ()
    speaks: Annotated[
        tuple[Spoken, ...],
        "its first bytes say that any of these is spoken; `other`: none of them, or the client says nothing within "
        "`timeouts.detect` of the listener; empty: anything, and nothing is waited for",
    ] = ()
    names: Annotated[
        tuple[HostName, ...],
        "connections to any of these names, which are `virtual` under `dns.names`; empty: any address",
    ] = ()


@dataclass(frozen=True, slots=True)
class ChainFilter:
    """One thing that is done to all connections of a chain, called by its only key."""

    CHOICE: ClassVar[bool] = True

    rate_limit: Annotated[RateLimit | None, "refuses what comes too fast, whatever the number of workers"] = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a part of a listener's connections goes."""

    match: Annotated[Match, "which connections; empty: all of them"] = Match()
    protocol: Annotated[
        Protocol | None, "what is spoken on them: http, tcp, tls, socks5 or auto; absent: as on the listener"
    ] = None
    cluster: Annotated[Name | None, "for tcp, tls and auto: where they go; absent: the listener's cluster"] = None
    routes: Annotated[Name | None, "for http and auto: the table that decides; absent: the listener's"] = None
    tls: Annotated[
        Annotated[tuple[ServerTls, ...], Items(one=True)] | None,
        "TLS ends here; a list: by server name; an empty list: it does not; absent: as on the listener",
    ] = None
    permissive: Annotated[Bool | None, "plain connections are served too; absent: as on the listener"] = None
    timeouts: Annotated[Timeouts, "what is absent is taken from the listener"] = Timeouts()
    authorize: Annotated[
        tuple[Callers, ...] | None,
        "for tcp, tls, socks5 and auto: who is let in, by identity; absent: as on the listener",
    ] = None
    filters: Annotated[tuple[ChainFilter, ...], "what is done to every connection; each kind once"] = ()
    mqtt: Annotated[Name | None, "for mqtt and auto: the policy that decides; absent: the listener's"] = None
    socks5: Annotated[Forward | None, "for socks5: where clients may go; absent: as on the listener"] = None

    def of(self, listener: Listener) -> Chain:
        """In full: what is absent is taken from its listener, where the protocol has a use for it."""
        protocol = self.protocol or listener.protocol
        http = protocol == "http"
        own = Timeouts(IDLE.get(protocol), 0.0, HEAD_WITHIN, 0.0, HANDSHAKE_WITHIN, DETECT_WITHIN)
        return replace(
            self,
            protocol=protocol,
            cluster=self.cluster if protocol in ("http", "socks5") else self.cluster or listener.cluster,
            routes=self.routes or listener.routes if http or protocol == "auto" else self.routes,
            mqtt=self.mqtt or listener.mqtt if protocol in ("mqtt", "auto") else self.mqtt,
            socks5=self.socks5 or listener.socks5 if protocol == "socks5" else self.socks5,
            tls=listener.tls if self.tls is None else self.tls,
            permissive=listener.permissive if self.permissive is None else self.permissive,
            timeouts=self.timeouts.over(listener.timeouts).over(own),
            authorize=listener.authorize if self.authorize is None and not http else self.authorize,
        )

    def told(self, protocol: Literal["http", "tcp"]) -> Chain:
        """One in full of `auto`, for those of whom it is known what they speak."""
        return replace(self, protocol=protocol, timeouts=self.timeouts.over(Timeouts(IDLE[protocol])))


@dataclass(frozen=True, slots=True)
class Listener:
    """An address, or several, on which connections or datagrams are accepted."""

    name: Annotated[Name, "a unique name, used in logs and metrics"]
    listen: Annotated[
        tuple[ListenAddress, ...],
        Items(one=True),
        "`host:port`, `[v6]:port`, `unix:/path` or `unix:@name`, or a list; an empty one where only tunnels lead to it",
    ]
    protocol: Annotated[Protocol, "what is spoken; a chain may differ"]
    cluster: Annotated[Name | None, "where connections go that no chain has matched; absent: they are refused"] = None
    routes: Annotated[Name | None, "for http and auto: the table of routes that decides, a name under `routes`"] = None
    mqtt: Annotated[Name | None, "for mqtt and auto: the policy that decides, a name under `mqtt`"] = None
    socks5: Annotated[Forward | None, "for socks5: where clients may go"] = None
    tls: Annotated[
        tuple[ServerTls, ...],
        Items(one=True),
        "TLS ends here; a list: by server name, the first one for all others; absent: it does not",
    ] = ()
    permissive: Annotated[Bool, "with `tls`: plain connections are served too, told apart by their first bytes"] = False
    max_handshakes: Annotated[
        Count, "TLS handshakes at a time that each worker makes for this listener; more wait for their turn"
    ] = 256
    chains: Annotated[tuple[Chain, ...], "the first whose match holds decides"] = ()
    max_connections: Annotated[Count, "connections at a time (for udp: sessions); more are refused"] = 16384
    filters: Annotated[tuple[Filter, ...], "what is done to every connection; each kind once"] = ()
    timeouts: Annotated[Timeouts, "the default for all chains"] = Timeouts()
    proxy_protocol: Annotated[ProxyProtocol | None, "absent: no header is looked for"] = None
    http: Annotated[Http, "how HTTP is spoken, on chains of http as well"] = PLAIN_HTTP
    codec: Annotated[
        Codec, "for http: who reads the requests; `h11` and `h2`, the libraries, are slow, and there for comparison"
    ] = "own"
    authorize: Annotated[
        tuple[Callers, ...] | None,
        "for tcp, tls, socks5 and auto: who is let in, by identity; what any of these admits, and nobody else; "
        "absent: everybody",
    ] = None
    transparent: Annotated[
        Bool,
        "connections are redirected to it: chains match where they were made to; else, and where the kernel knows of "
        "no redirection, the local address; for udp: chains match where flows of a tunnel go",
    ] = False
    tproxy: Annotated[
        Bool,
        "with `transparent`: rules of TPROXY bring it connections, with the addresses that they have; takes "
        "CAP_NET_ADMIN",
    ] = False

    @property
    def outcomes(self) -> tuple[Chain, ...]:
        """Every chain in full, with the listener's own cluster or routes as the last: the first match wins."""
        said = self.cluster or self.routes or self.mqtt or self.socks5 or self.protocol in OF_TUNNELS
        last = (Chain(),) if said else ()
        return tuple(chain.of(self) for chain in (*self.chains, *last))

    @property
    def transports(self) -> tuple[Literal["tcp", "udp"], ...]:
        """What it needs sockets for, at each of its addresses."""
        if self.protocol == "dns":
            return ("udp", "tcp")
        return ("udp",) if self.protocol in ("udp", "quic") else ("tcp",)

    @property
    def speaks_http(self) -> bool:
        """Itself, or on any chain."""
        return not {"http", "auto"}.isdisjoint((self.protocol, *(chain.protocol for chain in self.chains)))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that serves a cluster; a plain address is short for one of weight 1."""

    SHORTHAND: ClassVar[str] = "address"

    address: Annotated[
        EndpointAddress, "`host:port`, where the host may be a name, `[v6]:port`, `unix:/path` or `unix:@name`"
    ]
    weight: Annotated[Weight, "its share of new connections, of a name for each of its addresses; 0: it gets none"] = 1
    zone: Annotated[Text, "where it runs; that of `node.zone` is preferred"] = ""
    priority: Annotated[Priority, "0 first; the next one takes what those before it are not fit for"] = 0
    labels: Annotated[Labels, "what a route may ask for by `subset`"] = ()
    identity: Annotated[
        Identity | None, "who it must prove to be, where its cluster speaks TLS and verifies names; absent: see there"
    ] = None
    via: Annotated[
        Name | None, "the tunnel through which it is connected to, in clear within that; absent: as its cluster is"
    ] = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Connections to an endpoint that are kept for the next request; each worker keeps its own."""

    max_idle: Annotated[int, whole(0, 65535), "how many wait at a time; 0: none is used twice"] = 256
    idle: Annotated[Duration, "how long one may wait, 0: for ever"] = 30.0
    lifetime: Annotated[Duration, "the age at which one is not used again, 0: no limit"] = 0.0
    requests: Annotated[int, whole(0, LARGEST_INTEGER), "how often one is used, 0: no limit"] = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Endpoints that are equals."""

    RESERVED: ClassVar[Mapping[str, str]] = {
        "timeouts": "timeouts of a cluster",
        "discovery": "discovery",
    }

    name: Annotated[Name, "the key under `clusters`"]
    endpoints: Annotated[
        tuple[Endpoint, ...] | None,
        "who serves it; an empty list is allowed, and serves nobody; absent only with `original`",
    ] = None
    balance: Annotated[
        Balance,
        "who is next: by turns, who has the fewest connections, who answers fastest, by a key on a ring or in a table, "
        "by chance; each by weight",
    ] = "round_robin"
    connect_timeout: Annotated[PositiveDuration, "how long one attempt to connect may take"] = 1.0
    breaker: Annotated[Breaker, "how much is asked of it, and when it is left alone"] = PLAIN_BREAKER
    http: Annotated[UpstreamHttp, "how HTTP is spoken to endpoints"] = PLAIN_UPSTREAM_HTTP
    pool: Annotated[Pool, "for http: connections that are used again"] = Pool()
    mqtt: Annotated[UpstreamMqtt, "how the proxy itself speaks MQTT to endpoints"] = PLAIN_UPSTREAM_MQTT
    keepalive: Annotated[Bool, "whether idle connections to endpoints are probed by TCP keep-alive"] = True
    proxy_protocol: Annotated[ProxyVersion | None, "the PROXY protocol header to send; absent: none"] = None
    hash: Annotated[
        tuple[HashKey, ...], Items(one=True), "for `ring_hash` and `maglev`: the key, the first of these that is there"
    ] = ()
    sticky: Annotated[Sticky | None, "for http: a client keeps its endpoint while that is fit"] = None
    stay: Annotated[
        Bool, "for http: a connection of a client keeps the endpoint that it was given first, while that is fit"
    ] = False
    panic: Annotated[Ratio, "the share of fit endpoints below which all are used, fit or not; 0: never"] = 0.5
    slow_start: Annotated[Duration, "for so long the weight of an endpoint that is new or fit again grows"] = 0.0
    health: Annotated[Health | None, "how endpoints are checked; absent: they are not"] = None
    outlier: Annotated[Outlier | None, "how endpoints are judged by the traffic; absent: they are not"] = None
    tls: Annotated[ClientTls | None, "TLS is spoken to endpoints, and how; absent: it is not"] = None
    original: Annotated[
        Bool, "each connection goes on to where it was made to (see `transparent`), in the place of `endpoints`"
    ] = False
    via: Annotated[Name | None, "the tunnel through which endpoints are connected to; absent: directly"] = None
    lane: Annotated[Name | None, "with `via`: the class of its streams; absent: the first"] = None
    source: Annotated[
        SourceAddress | None,
        "the local address from which endpoints are connected to; `client`, for tcp and tls: that of the client, which "
        "takes CAP_NET_ADMIN, and rules that lead the answers back; absent: the system chooses",
    ] = None

    @property
    def tunnels(self) -> tuple[str, ...]:
        """Through which any of its endpoints is reached."""
        found = (self.via, *(endpoint.via for endpoint in self.members))
        return tuple(dict.fromkeys(name for name in found if name is not None))

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that have to be resolved, each once."""
        found = (endpoint.address.host for endpoint in self.members if isinstance(endpoint.address, Named))
        return tuple(dict.fromkeys(found))

    @property
    def members(self) -> tuple[Endpoint, ...]:
        """The endpoints that are written."""
        return self.endpoints or ()


GOES_DIRECT = Cluster(DIRECT, original=True)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that an operator said."""

    node: Annotated[Node, "who this proxy is"] = Node()
    workers: Annotated[
        Workers, "how many processes carry traffic; `auto`: one for each CPU that the container may use"
    ] = 1
    admin: Annotated[Admin, "the admin API"] = Admin()
    status: Annotated[Status | None, "the read-only listener for probes and scrapers; absent: none"] = None
    probes: Annotated[Probes | None, "the listener for probes of the application; absent: none"] = None
    fronts: Annotated[tuple[Front, ...], "ports at which the proxy answers as another sidecar does"] = ()
    state: Annotated[State, "what is kept over a restart"] = State()
    drain: Annotated[Drain, "how connections end that have no future"] = Drain()
    overload: Annotated[Overload | None, "when there is too much to do; absent: never"] = None
    dns: Annotated[Dns, "who is asked for names, and which ones are answered here"] = PLAIN_DNS
    sources: Annotated[tuple[Source, ...], "control planes that are asked for more, each for a layer of its own"] = ()
    metrics: Annotated[Metrics, "what is counted, told and kept"] = PLAIN_METRICS
    access_log: Annotated[
        tuple[AccessLog, ...], Items(one=True), "who is told of each request, connection and session"
    ] = ()
    tracing: Annotated[Tracing | None, "requests as spans of traces; absent: none"] = None
    broker: Annotated[Broker | None, "a broker of MQTT that runs beside the proxy; absent: none"] = None
    sidecar: Annotated[Sidecar, "where policy in the words of a mesh is put in force, and by whom"] = PLAIN_SIDECAR
    workloads: Annotated[
        tuple[Workload, ...], "who lives behind a proxy of several, each with its own policy; empty: `node` is the one"
    ] = ()
    compat: Annotated[Compat, "the ways of other sidecars"] = PLAIN_COMPAT
    include: Annotated[tuple[Text, ...], "more files or directories, relative to this file; files only"] = ()
    listeners: Annotated[tuple[Listener, ...], "where traffic comes in"] = ()
    routes: Annotated[tuple[RouteTable, ...], Keyed("name"), "which HTTP request goes where, by name"] = ()
    mqtt: Annotated[tuple[MqttPolicy, ...], Keyed("name"), "how clients of MQTT are served, by name"] = ()
    bridges: Annotated[tuple[Bridge, ...], "topics of MQTT that go from one cluster of brokers to another"] = ()
    clusters: Annotated[tuple[Cluster, ...], Keyed("name"), "where traffic goes, by name"] = ()
    tunnels: Annotated[
        tuple[Tunnel, ...], Keyed("name"), "connections that many streams share, and proxies that are gone through"
    ] = ()

    @property
    def forwards(self) -> Iterator[Forward]:
        """Where clients may name where they want to go."""
        for listener in self.listeners:
            yield from (chain.socks5 for chain in listener.outcomes if chain.socks5 is not None)
        for table in self.routes:
            yield from (rule.connect for rule in table.rules if rule.connect is not None)

    @property
    def reached(self) -> tuple[Cluster, ...]:
        """Clusters as they are written, and the one that needs not be."""
        wanted = any(said.cluster == DIRECT for said in self.forwards)
        written = any(cluster.name == DIRECT for cluster in self.clusters)
        return (*self.clusters, GOES_DIRECT) if wanted and not written else self.clusters

    @property
    def names(self) -> Iterator[str]:
        """The hosts that have to be resolved."""
        for cluster in self.clusters:
            yield from cluster.names
        for tunnel in self.tunnels:
            yield from tunnel.names
        for table in self.routes:
            for redis in table.redis:
                yield from redis.names


PROCESS = ("workers", "admin", "status", "fronts", "state", "sources", "broker")
"""The sections that belong to the process: a running one keeps them."""
