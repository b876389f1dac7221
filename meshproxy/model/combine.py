"""Several documents become one configuration, or every reason why they cannot.

A document says only a part: what it names must exist in the union, and what two of them say must agree. Each problem
is reported at its place in the document that it came from.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshproxy.errors import Invalid, Problem
from meshproxy.model import balance, breaker, health, onward, routes, spoken
from meshproxy.model.access_log import access_log_problems
from meshproxy.model.address import Address, Named
from meshproxy.model.authorize import Callers, admission_problems
from meshproxy.model.bridge import bridge_problems
from meshproxy.model.config import PROCESS, Chain, Cluster, Config, Listener
from meshproxy.model.http import PLAIN_HTTP
from meshproxy.model.limits import MOST_BY_KEY
from meshproxy.model.loops import loops
from meshproxy.model.mqtt import MqttPolicy, mqtt_problems
from meshproxy.model.mqtt_upstream import upstream_mqtt_problems
from meshproxy.model.routes import RouteTable
from meshproxy.model.sidecar import sidecar_problems
from meshproxy.model.source import source_problems
from meshproxy.model.tls import ServerTls, client_problems, demands_of, server_problems
from meshproxy.model.tracing import tracing_problems
from meshproxy.schema.shapes import MOST_PROBLEMS, Names, Path, path_text

SECTIONS = ("node", *PROCESS, "drain", "overload", "dns", "metrics", "access_log", "tracing", "sidecar", "compat")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A policy in the words of a mesh, before it is put in ours."""

    dialect: str
    text: bytes
    """Compressed."""
    value: Any = field(default=None, compare=False, repr=False)
    """What stands in the text, as plain data, while it is new."""

    @classmethod
    def of(cls, dialect: str, content: str, value: Any) -> Foreign:
        return cls(dialect, zlib.compress(content.encode(), 1), value)

    @property
    def content(self) -> str:
        return zlib.decompress(self.text).decode()


@dataclass(frozen=True, slots=True)
class Document:
    """One decoded document. `said` are the top-level keys that stand in it; `line_of` finds the line of a path."""

    source: str
    config: Config
    said: frozenset[str]
    line_of: Callable[[Path], int | None]
    foreign: Foreign | None = None
    """What it says in other words than ours; then `config` says nothing."""

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(path_text(path), message, self.source, self.line_of(path))


@dataclass(frozen=True, slots=True)
class Item:
    """A listener, a table of routes or a cluster, and where it was said."""

    document: Document
    path: Path
    value: Any

    def problem(self, below: Path, message: str) -> Problem:
        return self.document.problem(self.path + below, message)


def combine(documents: Sequence[Document], running: Config | None = None) -> Config:
    """The union of the documents, or `Invalid`. What belongs to the process stays as it is in `running`, if given."""
    listeners = [
        Item(document, ("listeners", index), listener)
        for document in documents
        for index, listener in enumerate(document.config.listeners)
    ]
    clusters = [
        Item(document, ("clusters", cluster.name), cluster)
        for document in documents
        for cluster in document.config.clusters
    ]
    tables = [
        Item(document, ("routes", table.name), table) for document in documents for table in document.config.routes
    ]
    policies = [
        Item(document, ("mqtt", policy.name), policy) for document in documents for policy in document.config.mqtt
    ]
    bridges = [
        Item(document, ("bridges", index), bridge)
        for document in documents
        for index, bridge in enumerate(document.config.bridges)
    ]
    config = Config(
        listeners=_by_name(listeners),
        routes=_by_name(tables),
        mqtt=_by_name(policies),
        bridges=_by_name(bridges),
        clusters=_by_name(clusters),
    )
    if running:
        config = replace(config, **{name: getattr(running, name) for name in PROCESS})
    for document in documents:
        config = replace(config, **{name: getattr(document.config, name) for name in SECTIONS if name in document.said})
    known = Known(
        (item.value for item in clusters),
        (item.value for item in tables),
        {item.value.name: item.value for item in policies},
    )
    problems = [
        *_disagreements(documents),
        *(_restarts(documents, running) if running else ()),
        *_token(documents, config),
        *_section_problems(documents, [item.value.name for item in listeners]),
        *_duplicates("listener", listeners),
        *_duplicates("cluster", clusters),
        *_duplicates("table of routes", tables),
        *_duplicates("MQTT policy", policies),
        *_duplicates("bridge", bridges),
        *_clashes(documents, config, listeners),
        *_listener_problems(listeners, known),
        *_route_problems(tables, known),
        *_priority_problems(tables, config),
        *_policy_problems(policies, known),
        *_cluster_problems(clusters),
        *_bridge_problems(bridges, known),
        *_balance_problems(clusters),
        *_health_problems(clusters),
        *_limit_problems(tables),
        *_loop_problems(listeners, tables, policies, clusters),
    ]
    if problems:
        raise Invalid(bounded(problems))
    return config


def _by_name(items: Iterable[Item]) -> tuple[Any, ...]:
    return tuple(sorted((item.value for item in items), key=lambda value: str(value.name)))


def bounded(problems: list[Problem]) -> Iterable[Problem]:
    more = len(problems) - MOST_PROBLEMS
    return problems if more <= 0 else [*problems[:MOST_PROBLEMS], Problem("", f"and {more} more problems")]


def _disagreements(documents: Sequence[Document]) -> Iterator[Problem]:
    for name in SECTIONS:
        saying = [document for document in documents if name in document.said]
        for document in saying[1:]:
            if getattr(document.config, name) != getattr(saying[0].config, name):
                yield document.problem((name,), f"`{name}` is said differently in {saying[0].source}")


def _restarts(documents: Sequence[Document], running: Config) -> Iterator[Problem]:
    for document in documents:
        for name in PROCESS:
            if name in document.said and getattr(document.config, name) != getattr(running, name):
                yield document.problem(
                    (name,), f"`{name}` belongs to the process and cannot change while it runs: restart meshproxy"
                )


def _token(documents: Sequence[Document], config: Config) -> Iterator[Problem]:
    if config.admin.token is None and not config.admin.listen.is_local:
        for document in documents:
            if "admin" in document.said:
                yield document.problem(
                    ("admin", "listen"), f"`listen` {config.admin.listen} is not on loopback: `admin.token` is required"
                )


def _section_problems(documents: Sequence[Document], listeners: Collection[str]) -> Iterator[Problem]:
    for document in documents:
        for path, message in sidecar_problems(document.config.sidecar):
            yield document.problem(("sidecar", *path), message)
        for path, message in source_problems(document.config.sources):
            yield document.problem(("sources", *path), message)
        for path, message in access_log_problems(document.config.access_log, listeners):
            yield document.problem(("access_log", *path), message)
        if document.config.tracing is not None:
            for path, message in tracing_problems(document.config.tracing):
                yield document.problem(("tracing", *path), message)


def _duplicates(what: str, items: Iterable[Item]) -> Iterator[Problem]:
    first: dict[str, Item] = {}
    for item in items:
        name = item.value.name
        before = first.setdefault(name, item)
        if before is not item:
            where = before.problem((), "")
            place = f"{where.source}:{where.line}" if where.line else where.source
            below: Path = ("name",) if what in ("listener", "bridge") else ()
            yield item.problem(below, f"{what} `{name}` is defined twice: first in {place}, {where.path}")


def _clashes(documents: Sequence[Document], config: Config, listeners: Sequence[Item]) -> Iterator[Problem]:
    """Two on one address. `[::]` is IPv6 only, so it leaves `0.0.0.0` alone.

    Port 0 is another port for every socket, but listeners that say the same have one socket.
    """
    taken: dict[tuple[str, str, int, str], dict[str, Place]] = defaultdict(dict)
    for place in _places(documents, config, listeners):
        address = place.address
        alone = address.host if address.any_port else ""
        neighbours = taken[place.protocol, address.kind, address.port, alone]
        other = neighbours.get(address.host + address.path) or neighbours.get("*")
        if address.is_wildcard:
            other = other or next(iter(neighbours.values()), None)
        if other:
            message = f"`listen` {address} is already taken by {other.owner}, {other.address}"
            yield place.document.problem(place.path, message)
        else:
            neighbours["*" if address.is_wildcard else address.host + address.path] = place


@dataclass(frozen=True, slots=True)
class Place:
    """An address that somebody wants to listen on."""

    protocol: str
    owner: str
    address: Address
    document: Document
    path: Path


def _places(documents: Sequence[Document], config: Config, listeners: Sequence[Item]) -> Iterator[Place]:
    for name, section in (("admin", config.admin), ("status", config.status), ("broker", config.broker)):
        saying = [document for document in documents if name in document.said] or documents[:1]
        if section and saying and not section.listen.any_port:
            yield Place("tcp", f"`{name}`", section.listen, saying[0], (name, "listen"))
    for item in listeners:
        for index, address in enumerate(item.value.listen):
            path: Path = (*item.path, "listen", index) if len(item.value.listen) > 1 else (*item.path, "listen")
            yield Place(item.value.protocol, f"listener `{item.value.name}`", address, item.document, path)


class Known:
    """All that may be named, with what is asked of it for every listener."""

    def __init__(
        self, clusters: Iterable[Cluster], tables: Iterable[RouteTable], policies: dict[str, MqttPolicy]
    ) -> None:
        self.by_name = {cluster.name: cluster for cluster in clusters}
        self.names = Names(self.by_name)
        self.tables = {table.name for table in tables}
        self.table_names = Names(self.tables)
        self.policies = policies
        self.policy_names = Names(policies)
        self.unix = {
            cluster.name
            for cluster in self.by_name.values()
            if any(isinstance(it.address, Address) and it.address.kind == "unix" for it in cluster.members)
        }


def _listener_problems(listeners: Iterable[Item], known: Known) -> Iterator[Problem]:
    for item in listeners:
        listener: Listener = item.value
        key = _target_key(listener.protocol)
        if not _has_target(listener, listener.protocol, known) and not listener.chains:
            yield item.problem((), f"listener `{listener.name}` needs `{key}` or `chains`")
        elif listener.protocol == "auto" and listener.cluster and not (listener.routes or listener.mqtt):
            why = "`cluster` alone leaves nothing to be told apart"
            yield item.problem((), f"listener `{listener.name}` needs `{key}`: {why}")
        yield from _targets(item, (), listener, listener.protocol, known)
        if listener.protocol == "udp":
            yield from _udp_problems(item)
        yield from _transparency_problems(item)
        yield from _filter_problems(item)
        yield from _tls_problems(item)
        yield from _authorize_problems(item)
        yield from _proof_problems(item, known)
        for index, chain in enumerate(listener.chains):
            path = ("chains", index)
            whole = chain.of(listener)
            assert whole.protocol is not None, "an outcome says everything"
            yield from _targets(item, path, chain, whole.protocol, known)
            needed = _target_key(whole.protocol)
            if not _has_target(whole, whole.protocol, known):
                yield item.problem(path, f"the chain needs `{needed}`, for its listener has none")
            if whole.protocol == "udp" and listener.protocol != "udp":
                yield item.problem((*path, "protocol"), "`protocol` udp needs a listener of its own")
        if not listener.speaks_http and listener.http != PLAIN_HTTP:
            yield item.problem(("http",), f"`http` needs `protocol: http`, not {listener.protocol}")
        for below, message in spoken.windows(listener.http.http2):
            yield item.problem(below, message)
        for index, protocol in enumerate(listener.http.upgrades):
            if protocol.lower() == "h2c":
                why = "nobody can look into what goes on as HTTP/2, and a listener speaks that itself"
                yield item.problem(("http", "upgrades", index), f"`upgrades` cannot admit {protocol}: {why}")
        if not listener.speaks_http and listener.codec != "own":
            yield item.problem(("codec",), f"`codec` needs `protocol: http`, not {listener.protocol}")


def _target_key(protocol: str) -> str:
    """Where HTTP goes is decided for each request, where others go for each connection.

    Without routes there is nothing that `auto` could tell from anything.
    """
    return "routes" if protocol in ("http", "auto") else "cluster"


def _has_target(said: Listener | Chain, protocol: str, known: Known) -> bool:
    """A policy of MQTT may say it itself."""
    if protocol in ("mqtt", "auto") and said.mqtt:
        policy = known.policies.get(said.mqtt)
        return policy is None or bool(policy.sessions or said.cluster)
    return bool(getattr(said, _target_key(protocol)))


def _targets(item: Item, path: Path, said: Listener | Chain, protocol: str, known: Known) -> Iterator[Problem]:
    if said.cluster and protocol == "http":
        yield item.problem((*path, "cluster"), "`cluster` is for other protocols: `protocol: http` takes `routes`")
    elif said.cluster:
        yield from _target(item, (*path, "cluster"), said.cluster, protocol, known)
    if said.routes and protocol not in ("http", "auto"):
        yield item.problem((*path, "routes"), f"`routes` need `protocol` http or auto, not {protocol}")
    elif said.routes and said.routes not in known.tables:
        hint = known.table_names.nearest(said.routes)
        yield item.problem((*path, "routes"), f"no table of routes `{said.routes}`{hint}")
    if said.mqtt and protocol not in ("mqtt", "auto"):
        yield item.problem((*path, "mqtt"), f"`mqtt` needs `protocol` mqtt or auto, not {protocol}")
    elif said.mqtt and said.mqtt not in known.policies:
        hint = known.policy_names.nearest(said.mqtt)
        yield item.problem((*path, "mqtt"), f"no policy `{said.mqtt}` under `mqtt`{hint}")


def _route_problems(tables: Iterable[Item], known: Known) -> Iterator[Problem]:
    for item in tables:
        table: RouteTable = item.value
        for path, message in routes.problems(table):
            yield item.problem(path, message)
        for index, rule in enumerate(table.rules):
            for below, cluster in rule.clusters:
                if cluster not in known.by_name:
                    hint = known.names.nearest(cluster)
                    yield item.problem(("rules", index, *below), f"no cluster `{cluster}`{hint}")
                elif balance.of_sessions(known.by_name[cluster]):
                    message = f"cluster `{cluster}` hashes by client_id, which needs `protocol: mqtt`"
                    yield item.problem(("rules", index, *below), message)
                elif known.by_name[cluster].original:
                    message = f"cluster `{cluster}` is `original`, which is for chains of `protocol` tcp or tls"
                    yield item.problem(("rules", index, *below), message)
                elif known.by_name[cluster].proxy_protocol:
                    message = f"cluster `{cluster}` sends a PROXY protocol header, which needs `protocol: tcp`"
                    yield item.problem(("rules", index, *below), message)


def _policy_problems(policies: Iterable[Item], known: Known) -> Iterator[Problem]:
    for item in policies:
        policy: MqttPolicy = item.value
        for path, message in mqtt_problems(policy):
            yield item.problem(path, message)
        for path, cluster in policy.clusters:
            found = known.by_name.get(cluster)
            if found is None:
                yield item.problem(path, f"no cluster `{cluster}`{known.names.nearest(cluster)}")
            elif asks := balance.of_requests(found):
                yield item.problem(path, f"cluster `{cluster}` {asks}, which needs `protocol: http`")
            elif found.original:
                message = f"cluster `{cluster}` is `original`, which is for chains of `protocol` tcp or tls"
                yield item.problem(path, message)


def _priority_problems(tables: Iterable[Item], config: Config) -> Iterator[Problem]:
    if config.overload is not None:
        return
    for item in tables:
        for index, rule in enumerate(item.value.rules):
            if rule.priority != "normal":
                yield item.problem(
                    ("rules", index, "priority"),
                    f"`priority` {rule.priority} needs a section `overload`, which says when it counts",
                )


def _limit_problems(tables: Iterable[Item]) -> Iterator[Problem]:
    """What is bounded for all tables together, and what two of them say of one thing in Redis."""
    by_key = 0
    shared: set[tuple[str, str]] = set()
    in_redis: dict[tuple[object, ...], tuple[object, ...]] = {}
    for item in tables:
        for index, rule in enumerate(item.value.rules):
            for place, each in enumerate(rule.filters):
                rate = each.rate_limit
                below: Path = ("rules", index, "filters", place, "rate_limit")
                if rate is not None and rate.by is not None and (item.value.name, rate.shared) not in shared:
                    by_key += 1
                    if rate.shared is not None:
                        shared.add((item.value.name, rate.shared))
                    if by_key == MOST_BY_KEY + 1:
                        yield item.problem((*below, "by"), f"`by` stands in more than {MOST_BY_KEY} limits")
                if rate is not None and rate.redis is not None:
                    said = (rate.requests, rate.per, rate.burst)
                    redis = rate.redis
                    if in_redis.setdefault((redis.address, redis.database, redis.key), said) != said:
                        yield item.problem(
                            (*below, "redis", "key"), f"`key` {redis.key} is another limit already, with other numbers"
                        )


def _filter_problems(item: Item) -> Iterator[Problem]:
    seen = set()
    for index, each in enumerate(item.value.filters):
        if each.bandwidth is not None and item.value.protocol == "udp":
            yield item.problem(("filters", index), "`bandwidth` needs a connection: `protocol` tcp or http, not udp")
        if each.bandwidth is not None and each.bandwidth.up is None and each.bandwidth.down is None:
            yield item.problem(("filters", index), "`bandwidth` needs `up`, `down` or both")
        if each.kind in seen:
            yield item.problem(("filters", index), f"`{each.kind}` is there twice")
        seen.add(each.kind)
    for index, chain in enumerate(item.value.chains):
        for again in range(1, len(chain.filters)):
            yield item.problem(("chains", index, "filters", again), "`rate_limit` is there twice")


def _tls_problems(item: Item) -> Iterator[Problem]:
    listener: Listener = item.value
    if listener.protocol == "udp":
        if listener.tls:
            yield item.problem(("tls",), "`tls` needs a connection: `protocol` http, tcp or tls, not udp")
        return
    inheriting = (chain.protocol for chain in listener.chains if chain.tls is None)
    spoken = "http" if "http" in (listener.protocol, *inheriting) else listener.protocol
    said: list[tuple[Path, tuple[ServerTls, ...], str]] = [((), listener.tls, spoken)]
    said += [
        (("chains", index), chain.tls or (), chain.protocol or listener.protocol)
        for index, chain in enumerate(listener.chains)
    ]
    for path, several, protocol in said:
        for below, message in server_problems(several, protocol):
            yield item.problem((*path, "tls", *below), message)
    yield from _confusions(item)
    if listener.permissive and not any(several for _, several, _ in said):
        yield item.problem(("permissive",), "`permissive` needs `tls`")
    for index, chain in enumerate(listener.chains):
        if chain.permissive and not chain.tls and (chain.tls is not None or not listener.tls):
            yield item.problem(("chains", index, "permissive"), "`permissive` needs `tls`")


def _authorize_problems(item: Item) -> Iterator[Problem]:
    listener: Listener = item.value
    servers = (*listener.tls, *(server for chain in listener.chains for server in chain.tls or ()))
    said: list[tuple[Path, str, tuple[Callers, ...] | None, tuple[ServerTls, ...]]] = [
        ((), listener.protocol, listener.authorize, servers)
    ]
    for index, chain in enumerate(listener.chains):
        whole = chain.of(listener)
        assert whole.protocol is not None, "an outcome says everything"
        said.append((("chains", index), whole.protocol, chain.authorize, whole.tls or ()))
        if whole.protocol == "http" != listener.protocol and listener.authorize is not None:
            yield item.problem(
                ("chains", index, "protocol"),
                "`authorize` of the listener would not hold for this chain: `protocol: http` has it on rules of "
                "`routes`, so say it on the chains of other protocols",
            )
    for path, protocol, entries, servers in said:
        at = (*path, "authorize")
        if entries is None:
            continue
        if protocol == "http":
            yield item.problem(at, "`authorize` is for other protocols: `protocol: http` has it on rules of `routes`")
        elif protocol == "udp":
            yield item.problem(at, "`authorize` needs a connection: `protocol` tcp or tls, or http on rules, not udp")
        elif entries and not any(server.client_ca for server in servers):
            yield item.problem(at, "`authorize` needs `tls` with `client_ca`: nobody could prove who they are")
        for below, message in admission_problems(entries):
            yield item.problem((*at, *below), message)


def _proof_problems(item: Item, known: Known) -> Iterator[Problem]:
    """Policies of MQTT that know clients by what they prove."""
    listener: Listener = item.value
    said: list[tuple[Path, str | None, tuple[ServerTls, ...]]] = [((), listener.mqtt, listener.tls)]
    for index, chain in enumerate(listener.chains):
        said.append((("chains", index), chain.mqtt, chain.of(listener).tls or ()))
    for path, name, servers in said:
        policy = known.policies.get(name or "")
        by_proof = policy is not None and any(each.certificate for each in policy.authenticate or ())
        if by_proof and not any(server.client_ca for server in servers):
            message = f"policy `{name}` knows clients by `certificate`, which needs `tls` with `client_ca`"
            yield item.problem((*path, "mqtt"), message)


def _confusions(item: Item) -> Iterator[Problem]:
    """A client asks for the server name that it likes, and then for any host: what one chain demands of it must hold
    wherever the same routes serve it."""
    listener: Listener = item.value
    by_name = any(chain.match.sni or chain.match.alpn for chain in listener.chains)
    first: dict[str, tuple[int, object]] = {}
    for index, chain in enumerate(listener.outcomes if by_name else ()):
        if chain.routes is None:
            continue
        before, demands = first.setdefault(chain.routes, (index, demands_of(chain.tls)))
        if demands != demands_of(chain.tls):
            yield item.problem(
                ("chains", before, "routes"),
                f"`routes` {chain.routes} serve chains that ask other things of clients: by the server name a client "
                "may choose what it is asked, so give them tables of their own",
            )


def _udp_problems(item: Item) -> Iterator[Problem]:
    if item.value.proxy_protocol:
        yield item.problem(("proxy_protocol",), "`proxy_protocol` needs `protocol: tcp`, not udp")
    if item.value.chains:
        yield item.problem(("chains",), "`chains` need `protocol: tcp`, not udp: name a `cluster`")
    for address in item.value.listen:
        if address.kind == "unix":
            yield item.problem(("listen",), f"`listen` {address} needs `protocol: tcp`, not udp")


def _transparency_problems(item: Item) -> Iterator[Problem]:
    listener: Listener = item.value
    if listener.transparent and listener.protocol == "udp":
        yield item.problem(("transparent",), "`transparent` needs a connection: `protocol` http, tcp or tls, not udp")
    for address in listener.listen if listener.transparent else ():
        if address.kind == "unix":
            message = f"`listen` {address} is never redirected to: `transparent` needs IP addresses"
            yield item.problem(("listen",), message)


def _target(item: Item, below: Path, name: str, protocol: str, clusters: Known) -> Iterator[Problem]:
    cluster = clusters.by_name.get(name)
    if cluster is None:
        yield item.problem(below, f"no cluster `{name}`{clusters.names.nearest(name)}")
        return
    if balance.of_sessions(cluster) and protocol != "mqtt":
        yield item.problem(below, f"cluster `{name}` hashes by client_id, which needs `protocol: mqtt`, not {protocol}")
    if asks := balance.of_requests(cluster):
        yield item.problem(below, f"cluster `{name}` {asks}, which needs `protocol: http`, not {protocol}")
    if cluster.original and protocol == "udp":
        yield item.problem(below, f"cluster `{name}` is `original`, which needs `protocol` tcp or tls, not udp")
    elif cluster.original and not (item.value.transparent or item.value.proxy_protocol):
        yield item.problem(
            below,
            f"cluster `{name}` is `original`, which needs `transparent: true` or `proxy_protocol` on the listener: "
            "else every connection was made to the listener itself",
        )
    if protocol == "udp":
        if cluster.tls:
            yield item.problem(below, f"cluster `{name}` speaks TLS, which needs `protocol` http, tcp or tls, not udp")
        if cluster.proxy_protocol:
            yield item.problem(below, f"cluster `{name}` sends a PROXY protocol header, which needs `protocol: tcp`")
        if cluster.outlier:
            yield item.problem(below, f"cluster `{name}` has `outlier`, which needs `protocol: http` or tcp, not udp")
        if name in clusters.unix:
            yield item.problem(below, f"cluster `{name}` has a unix socket, which needs `protocol: tcp`")


def _cluster_problems(clusters: Iterable[Item]) -> Iterator[Problem]:
    for item in clusters:
        cluster: Cluster = item.value
        for path, message in breaker.problems(cluster.breaker):
            yield item.problem(("breaker", *path), message)
        for path, message in onward.problems(cluster):
            yield item.problem(path, message)
        for path, message in spoken.problems(cluster):
            yield item.problem(path, message)
        for path, message in upstream_mqtt_problems(cluster.mqtt):
            yield item.problem(("mqtt", *path), message)
        first: dict[Address | Named, int] = {}
        for index, endpoint in enumerate(cluster.members):
            before = first.setdefault(endpoint.address, index)
            if before != index:
                yield item.problem(
                    ("endpoints", index), f"endpoint {endpoint.address} is listed twice: first as `endpoints[{before}]`"
                )
            if endpoint.identity is not None and (cluster.tls is None or cluster.tls.verify != "name"):
                yield item.problem(
                    ("endpoints", index, "identity"), "`identity` needs `tls` on the cluster, with `verify: name`"
                )
            if cluster.tls is not None and cluster.tls.nameless(endpoint.address, endpoint.identity):
                yield item.problem(
                    ("endpoints", index),
                    f"endpoint {endpoint.address} has no name to verify: say `identity`, or `names` or `sni` in `tls`",
                )
        if cluster.tls is not None:
            for path, message in client_problems(cluster.tls):
                yield item.problem(("tls", *path), message)


def _bridge_problems(bridges: Iterable[Item], known: Known) -> Iterator[Problem]:
    for item in bridges:
        versions = []
        for side in ("local", "remote"):
            name = getattr(item.value, side)
            cluster = known.by_name.get(name)
            if cluster is None:
                yield item.problem((side,), f"no cluster `{name}`{known.names.nearest(name)}")
                continue
            versions.append(cluster.mqtt.version or "5")
            if cluster.original:
                yield item.problem((side,), f"cluster `{name}` is `original`: a bridge follows no connection")
            if cluster.proxy_protocol:
                yield item.problem((side,), f"cluster `{name}` sends a PROXY protocol header: a bridge has no client")
            if asks := balance.of_requests(cluster):
                yield item.problem((side,), f"cluster `{name}` {asks}, which needs `protocol: http`, not a bridge")
        if len(versions) == 2:
            for path, message in bridge_problems(item.value, *versions):
                yield item.problem(path, message)


def _balance_problems(clusters: Iterable[Item]) -> Iterator[Problem]:
    for item in clusters:
        for path, message in balance.problems(item.value):
            yield item.problem(path, message)


def _health_problems(clusters: Iterable[Item]) -> Iterator[Problem]:
    for item in clusters:
        for path, message in health.problems(item.value.health, item.value.outlier):
            yield item.problem(path, message)


def _loop_problems(
    listeners: Sequence[Item], tables: Sequence[Item], policies: Sequence[Item], clusters: Sequence[Item]
) -> Iterator[Problem]:
    targets = {
        item.value.name: {cluster for rule in item.value.rules for _, cluster in rule.clusters} for item in tables
    }
    of_policies = {item.value.name: {cluster for _, cluster in item.value.clusters} for item in policies}
    found = loops([item.value for item in listeners], targets, of_policies, [item.value for item in clusters])
    for number, index, listener in found:
        name, address = clusters[number].value.name, clusters[number].value.members[index].address
        yield clusters[number].problem(
            ("endpoints", index),
            f"endpoint {address} is listener `{listener.name}`, which leads back to cluster `{name}`: "
            "one connection would become thousands",
        )
