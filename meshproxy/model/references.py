"""What tables of routes, policies, clusters and bridges name must be there, and must be of use to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from meshproxy.errors import Problem
from meshproxy.model import balance, breaker, health, onward, routes, spoken
from meshproxy.model.address import CLIENT, Address, Named
from meshproxy.model.bridge import bridge_problems
from meshproxy.model.config import Cluster, Config, Listener
from meshproxy.model.fitting import Known, forwarding_problems
from meshproxy.model.item import Item
from meshproxy.model.limits import MOST_BY_KEY
from meshproxy.model.loops import loops
from meshproxy.model.mqtt import MqttPolicy, mqtt_problems
from meshproxy.model.mqtt_upstream import upstream_mqtt_problems
from meshproxy.model.routes import RouteTable
from meshproxy.model.tls import client_problems
from meshproxy.model.tunnels import Tunnel
from meshproxy.model.ways import among_problems, way_problems
from meshproxy.schema.shapes import Names, Path


def route_problems(tables: Iterable[Item], known: Known) -> Iterator[Problem]:
    for item in tables:
        table: RouteTable = item.value
        for path, message in routes.problems(table):
            yield item.problem(path, message)
        for index, rule in enumerate(table.rules):
            if rule.connect is not None:
                for message in forwarding_problems(rule.connect.cluster, "http", known):
                    yield item.problem(("rules", index, "connect", "cluster"), message)
            for below, cluster in rule.clusters:
                if cluster not in known.by_name:
                    hint = known.names.nearest(cluster)
                    yield item.problem(("rules", index, *below), f"no cluster `{cluster}`{hint}")
                elif balance.of_sessions(known.by_name[cluster]):
                    message = f"cluster `{cluster}` hashes by client_id, which needs `protocol: mqtt`"
                    yield item.problem(("rules", index, *below), message)
                elif known.by_name[cluster].source == CLIENT:
                    message = f"cluster `{cluster}` has `source: client`, which is for chains of `protocol` tcp or tls"
                    yield item.problem(("rules", index, *below), message)
                elif known.by_name[cluster].proxy_protocol:
                    message = f"cluster `{cluster}` sends a PROXY protocol header, which needs `protocol: tcp`"
                    yield item.problem(("rules", index, *below), message)


def policy_problems(policies: Iterable[Item], known: Known) -> Iterator[Problem]:
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
            elif of_connections := onward.of_connections(found):
                message = f"cluster `{cluster}` {of_connections}, which is for chains of `protocol` tcp or tls"
                yield item.problem(path, message)


def tunnel_problems(
    tunnels: Sequence[Item], listeners: Sequence[Item], clusters: Iterable[Item]
) -> Iterator[Problem]:
    by_name: dict[str, Tunnel] = {item.value.name: item.value for item in tunnels}
    names = Names(by_name)
    listening = {item.value.name: item.value.protocol for item in listeners}
    led_to = {name for item in tunnels for name in (item.value.listener, item.value.datagrams)}
    for item in tunnels:
        for path, message in (*way_problems(item.value, listening), *among_problems(item.value, by_name)):
            yield item.problem(path, message)
    for item in listeners:
        if not item.value.listen and item.value.name not in led_to:
            yield item.problem(("listen",), "`listen` is empty, and no tunnel leads to this listener")
        if item.value.protocol == "udp":
            yield from _undeliverable(item, by_name, clusters)
    for item in clusters:
        cluster: Cluster = item.value
        said = [(("via",), cluster.via), *((("endpoints", at, "via"), e.via) for at, e in enumerate(cluster.members))]
        for below, name in said:
            if name is not None and name not in by_name:
                yield item.problem(below, f"no tunnel `{name}`{names.nearest(name)}")
        used = [by_name[name] for name in cluster.tunnels if name in by_name]
        if cluster.lane is not None and not any(cluster.lane in tunnel.lanes for tunnel in used):
            known = ", ".join(lane for tunnel in used for lane in tunnel.lanes) or "no tunnel"
            yield item.problem(("lane",), f"`lane` {cluster.lane} is no class of its tunnels, which have {known}")
        if cluster.via is not None and cluster.source is not None:
            yield item.problem(("source",), "`source` is of no use with `via`: connections are made elsewhere")
        if cluster.via in by_name and not by_name[cluster.via].by_proxies and cluster.tls is not None:
            yield item.problem(("tls",), "`tls` cannot be spoken through a tunnel: the other end may, to its endpoints")


def _undeliverable(item: Item, tunnels: Mapping[str, Tunnel], clusters: Iterable[Item]) -> Iterator[Problem]:
    """Where a listener of datagrams leads to a proxy that makes connections."""
    listener: Listener = item.value
    by_name: dict[str, Cluster] = {each.value.name: each.value for each in clusters}
    said: list[tuple[Path, str | None]] = [(("cluster",), listener.cluster)]
    said += [(("chains", index, "cluster"), chain.cluster) for index, chain in enumerate(listener.chains)]
    for path, name in said:
        for way in by_name[name].tunnels if name in by_name else ():
            if way in tunnels and tunnels[way].by_proxies:
                made = f"through: {tunnels[way].through}" if tunnels[way].through else "among"
                why = f"`via: {way}`, which is `{made}` and carries no datagrams"
                yield item.problem(path, f"cluster `{name}` has {why}: `protocol: udp` needs another way")


def priority_problems(tables: Iterable[Item], config: Config) -> Iterator[Problem]:
    if config.overload is not None:
        return
    for item in tables:
        for index, rule in enumerate(item.value.rules):
            if rule.priority != "normal":
                yield item.problem(
                    ("rules", index, "priority"),
                    f"`priority` {rule.priority} needs a section `overload`, which says when it counts",
                )


def limit_problems(tables: Iterable[Item]) -> Iterator[Problem]:
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


def cluster_problems(clusters: Iterable[Item]) -> Iterator[Problem]:
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


def bridge_references(bridges: Iterable[Item], known: Known) -> Iterator[Problem]:
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


def balance_problems(clusters: Iterable[Item]) -> Iterator[Problem]:
    for item in clusters:
        for path, message in balance.problems(item.value):
            yield item.problem(path, message)


def health_problems(clusters: Iterable[Item]) -> Iterator[Problem]:
    for item in clusters:
        for path, message in health.problems(item.value.health, item.value.outlier):
            yield item.problem(path, message)


def loop_problems(
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
