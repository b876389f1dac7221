"""What a listener says must be there, and must fit what it speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from meshproxy.errors import Problem
from meshproxy.model import balance, forward, onward, spoken
from meshproxy.model.address import CLIENT, Address
from meshproxy.model.authorize import Callers, admission_problems
from meshproxy.model.config import OF_TUNNELS, Chain, Cluster, Listener
from meshproxy.model.http import PLAIN_HTTP
from meshproxy.model.item import Item
from meshproxy.model.mqtt import MqttPolicy
from meshproxy.model.routes import RouteTable
from meshproxy.model.tls import ServerTls, demands_of, server_problems
from meshproxy.schema.shapes import Names, Path


class Known:
    """All that may be named, with what is asked of it for every listener."""

    def __init__(
        self, clusters: Iterable[Cluster], tables: Sequence[RouteTable], policies: dict[str, MqttPolicy]
    ) -> None:
        self.by_name = {cluster.name: cluster for cluster in clusters}
        self.names = Names(self.by_name)
        self.tables = {table.name for table in tables}
        self.going_on = onward.tables(tables, {name for name, cluster in self.by_name.items() if cluster.original})
        self.table_names = Names(self.tables)
        self.policies = policies
        self.policy_names = Names(policies)
        self.unix = {
            cluster.name
            for cluster in self.by_name.values()
            if any(isinstance(it.address, Address) and it.address.kind == "unix" for it in cluster.members)
        }


def listener_problems(listeners: Iterable[Item], known: Known) -> Iterator[Problem]:
    for item in listeners:
        listener: Listener = item.value
        if listener.protocol == "dns":
            yield from _filter_problems(item)
            continue
        key = _target_key(listener.protocol)
        if not _has_target(listener, listener.protocol, known) and not listener.chains:
            yield item.problem((), f"listener `{listener.name}` needs `{key}` or `chains`")
        elif listener.protocol == "auto" and listener.cluster and not (listener.routes or listener.mqtt):
            why = "`cluster` alone leaves nothing to be told apart"
            yield item.problem((), f"listener `{listener.name}` needs `{key}`: {why}")
        yield from _targets(item, (), listener, listener.protocol, known)
        if listener.protocol == "udp":
            yield from _udp_problems(item)
        for below, message in onward.listener_problems(listener):
            yield item.problem(below, message)
        yield from _filter_problems(item)
        yield from _tls_problems(item)
        if listener.protocol in OF_TUNNELS:
            yield from _tunnel_problems(item)
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
            if whole.protocol in ("udp", "dns", *OF_TUNNELS) and listener.protocol != whole.protocol:
                yield item.problem((*path, "protocol"), f"`protocol` {whole.protocol} needs a listener of its own")
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


def _tunnel_problems(item: Item) -> Iterator[Problem]:
    listener: Listener = item.value
    protocol = listener.protocol
    if not (listener.tls and all(each.client_ca for each in listener.tls)):
        why = "both ends of a tunnel prove who they are"
        yield item.problem(("tls",), f"`protocol` {protocol} needs `tls` with `client_ca`: {why}")
    if protocol == "quic":
        if len(listener.tls) > 1:
            yield item.problem(("tls",), "`protocol` quic has one certificate, whatever name it is asked for")
        for key in ("chains", "filters", "authorize", "proxy_protocol", "permissive", "transparent"):
            if getattr(listener, key):
                yield item.problem((key,), f"`{key}` needs a connection of TCP: `protocol` tunnel, not quic")


def _target_key(protocol: str) -> str:
    """Where HTTP goes is decided for each request, where others go for each connection.

    Without routes there is nothing that `auto` could tell from anything.
    """
    if protocol == "socks5":
        return "socks5"
    return "routes" if protocol in ("http", "auto") else "cluster"


def _has_target(said: Listener | Chain, protocol: str, known: Known) -> bool:
    """A policy of MQTT may say it itself."""
    if protocol in ("mqtt", "auto") and said.mqtt:
        policy = known.policies.get(said.mqtt)
        return policy is None or bool(policy.sessions or said.cluster)
    return protocol in OF_TUNNELS or bool(getattr(said, _target_key(protocol)))


def _targets(item: Item, path: Path, said: Listener | Chain, protocol: str, known: Known) -> Iterator[Problem]:
    if said.cluster and protocol in ("http", "socks5"):
        message = f"`cluster` is for other protocols: `protocol: {protocol}` takes `{_target_key(protocol)}`"
        yield item.problem((*path, "cluster"), message)
    elif said.cluster:
        yield from _target(item, (*path, "cluster"), said.cluster, protocol, known)
    if said.routes and protocol not in ("http", "auto"):
        yield item.problem((*path, "routes"), f"`routes` need `protocol` http or auto, not {protocol}")
    elif said.routes and said.routes not in known.tables:
        hint = known.table_names.nearest(said.routes)
        yield item.problem((*path, "routes"), f"no table of routes `{said.routes}`{hint}")
    else:
        for name in known.going_on.get(said.routes or "", ()):
            yield from _knows_where(item, (*path, "routes"), name)
    if said.mqtt and protocol not in ("mqtt", "auto"):
        yield item.problem((*path, "mqtt"), f"`mqtt` needs `protocol` mqtt or auto, not {protocol}")
    elif said.mqtt and said.mqtt not in known.policies:
        hint = known.policy_names.nearest(said.mqtt)
        yield item.problem((*path, "mqtt"), f"no policy `{said.mqtt}` under `mqtt`{hint}")


    if said.socks5 is not None and protocol != "socks5":
        yield item.problem((*path, "socks5"), f"`socks5` needs `protocol: socks5`, not {protocol}")
    elif said.socks5 is not None:
        for below, message in forward.problems(said.socks5):
            yield item.problem((*path, "socks5", *below), message)
        for message in forwarding_problems(said.socks5.cluster, protocol, known):
            yield item.problem((*path, "socks5", "cluster"), message)


def forwarding_problems(name: str, protocol: str, known: Known) -> Iterator[str]:
    """What is wrong with a cluster that connects to where clients name."""
    cluster = known.by_name.get(name)
    if cluster is None:
        if name != forward.DIRECT:
            yield f"no cluster `{name}`{known.names.nearest(name)}"
    elif balance.of_sessions(cluster):
        yield f"cluster `{name}` hashes by client_id, which needs `protocol: mqtt`"
    elif protocol == "http":
        if cluster.source == CLIENT:
            yield f"cluster `{name}` has `source: client`, which is for chains of `protocol` tcp, tls or socks5"
        if cluster.proxy_protocol:
            yield f"cluster `{name}` sends a PROXY protocol header, which needs `protocol` tcp or socks5"
    elif asks := balance.of_requests(cluster):
        yield f"cluster `{name}` {asks}, which needs `protocol: http`, not {protocol}"


def _filter_problems(item: Item) -> Iterator[Problem]:
    seen = set()
    for index, each in enumerate(item.value.filters):
        protocol = item.value.protocol
        if each.bandwidth is not None and protocol in ("udp", "dns"):
            message = f"`bandwidth` needs a connection: `protocol` tcp or http, not {protocol}"
            yield item.problem(("filters", index), message)
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
    if item.value.chains and not item.value.transparent:
        why = "with `protocol: udp` they match where what comes out of a tunnel goes"
        yield item.problem(("chains",), f"`chains` need `transparent: true`, and `listen: []`: {why}")
    for index, chain in enumerate(item.value.chains):
        yield from _flow_problems(item, ("chains", index), chain)
    for address in item.value.listen:
        if address.kind == "unix":
            yield item.problem(("listen",), f"`listen` {address} needs `protocol: tcp`, not udp")


def _flow_problems(item: Item, path: Path, chain: Chain) -> Iterator[Problem]:
    """Of a flow it is known from where to where it goes."""
    if chain.protocol not in (None, "udp"):
        message = f"`protocol` {chain.protocol} needs a connection, and the listener is of udp"
        yield item.problem((*path, "protocol"), message)
    for key in ("sni", "alpn", "speaks"):
        if getattr(chain.match, key):
            message = f"`{key}` needs a connection: flows of `protocol: udp` match by their addresses"
            yield item.problem((*path, "match", key), message)
    for key in ("tls", "permissive", "filters"):
        if getattr(chain, key):
            yield item.problem((*path, key), f"`{key}` needs a connection: `protocol` http, tcp or tls, not udp")


def _knows_where(item: Item, below: Path, name: str) -> Iterator[Problem]:
    """That a listener which leads to an original cluster is told where connections were made to."""
    if not (item.value.transparent or item.value.proxy_protocol):
        yield item.problem(
            below,
            f"cluster `{name}` is `original`, which needs `transparent: true` or `proxy_protocol` on the listener: "
            "else every connection was made to the listener itself",
        )


def _target(item: Item, below: Path, name: str, protocol: str, clusters: Known) -> Iterator[Problem]:
    cluster = clusters.by_name.get(name)
    if cluster is None:
        yield item.problem(below, f"no cluster `{name}`{clusters.names.nearest(name)}")
        return
    if balance.of_sessions(cluster) and protocol != "mqtt":
        yield item.problem(below, f"cluster `{name}` hashes by client_id, which needs `protocol: mqtt`, not {protocol}")
    if asks := balance.of_requests(cluster):
        yield item.problem(below, f"cluster `{name}` {asks}, which needs `protocol: http`, not {protocol}")
    of_connections = onward.of_connections(cluster)
    goes_on = cluster.original and cluster.source is None and item.value.transparent
    if of_connections and protocol == "udp" and not goes_on:
        yield item.problem(below, f"cluster `{name}` {of_connections}, which needs `protocol` tcp or tls, not udp")
    elif cluster.original:
        yield from _knows_where(item, below, name)
    if protocol == "udp":
        if cluster.tls:
            yield item.problem(below, f"cluster `{name}` speaks TLS, which needs `protocol` http, tcp or tls, not udp")
        if cluster.proxy_protocol:
            yield item.problem(below, f"cluster `{name}` sends a PROXY protocol header, which needs `protocol: tcp`")
        if cluster.outlier:
            yield item.problem(below, f"cluster `{name}` has `outlier`, which needs `protocol: http` or tcp, not udp")
        if name in clusters.unix:
            yield item.problem(below, f"cluster `{name}` has a unix socket, which needs `protocol: tcp`")
