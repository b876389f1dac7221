"""From what an operator said to what traffic needs: `Config` + claims on live state + sockets -> `Snapshot`.

Names become objects here, once.  The request path walks what this module builds and looks nothing up.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from math import inf

from meshproxy import model
from meshproxy.core.client import within
from meshproxy.core.introduction import Introduction
from meshproxy.core.ledger import FlowTerms, SharedTerms, StockTerms, Terms
from meshproxy.core.limit import Flow
from meshproxy.core.table import Claims
from meshproxy.model.config import DETECT_WITHIN, HANDSHAKE_WITHIN, OF_TUNNELS
from meshproxy.model.limits import RateLimit
from meshproxy.model.mqtt import MqttPolicy
from meshproxy.net.doors import FIRST
from meshproxy.net.listener import Acceptor
from meshproxy.plan.announce import ANNOUNCE
from meshproxy.plan.bandwidth import SHARED_METERS, connecting, shares_meters
from meshproxy.plan.bounds import pending_of, requests_of
from meshproxy.plan.bridge import Span, spans
from meshproxy.plan.dns import dns_doors
from meshproxy.plan.doors import Door as Door
from meshproxy.plan.doors import Share as Share
from meshproxy.plan.doors import acceptor
from meshproxy.plan.doors import places as places
from meshproxy.plan.filters import request_rates
from meshproxy.plan.forward import forwarding, steering
from meshproxy.plan.group import Group
from meshproxy.plan.http import http_service
from meshproxy.plan.introducing import introduction_of, to_clients
from meshproxy.plan.mqtt import mqtt_service
from meshproxy.plan.observers import Observers
from meshproxy.plan.quic import quic_doors
from meshproxy.plan.refusals import of_identity
from meshproxy.plan.rim import Rim
from meshproxy.plan.rules import rule_of, virtual_of
from meshproxy.plan.telling import Telling
from meshproxy.plan.tls import securing
from meshproxy.plan.tunnels import Tunnels
from meshproxy.plan.udp import udp_doors
from meshproxy.relay.authorized import Authorized, admitting
from meshproxy.relay.auto import AutoService, Looks
from meshproxy.relay.entry import Entry, ProxyHeader, Service, chooser
from meshproxy.relay.expecting import expecting
from meshproxy.relay.live import ListenerState
from meshproxy.relay.onward import Onward
from meshproxy.relay.rated import Rated
from meshproxy.relay.socks5 import Socks5Service
from meshproxy.relay.tcp import TcpService
from meshproxy.wire.beginning import is_http
from meshproxy.wire.mqtt import looks_like_connect


@dataclass(frozen=True, slots=True)
class Listener:
    config: model.Listener
    doors: tuple[Door, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything traffic needs, one generation."""

    config: model.Config
    listeners: tuple[Listener, ...]
    named: Mapping[str, Sequence[Group]]
    """By the name of a host: which clusters change when it has other addresses."""
    groups: Mapping[str, Group]
    """By the name of a cluster."""
    bridges: tuple[Span, ...]
    """Of this worker."""
    tunnels: Tunnels


def terms(config: model.Config) -> dict[str, Terms]:
    """The limits that hold for all workers together."""
    found: dict[str, Terms] = {}
    for listener in config.listeners:
        found[connections_of("listener", listener.name)] = StockTerms(listener.max_connections)
        for each in listener.filters:
            if each.rate_limit is not None:
                found[rate_of(listener.name)] = _flow(each.rate_limit)
        for chain in listener.chains:
            for way in chain.filters:
                if way.rate_limit is not None:
                    # Of two that match the same, the second is never asked.
                    found.setdefault(rate_of_chain(listener.name, chain), _flow(way.rate_limit))
    for key, rate in request_rates(config):
        flow = FlowTerms(rate.requests, rate.per, rate.burst or rate.requests)
        if rate.redis is not None:
            found[key] = SharedTerms(flow, rate.redis)
        elif rate.by is None:
            found[key] = flow
    for cluster in config.reached:
        bounds = cluster.breaker
        found[connections_of("cluster", cluster.name)] = StockTerms(bounds.max_connections)
        if bounds.max_requests is not None:
            found[requests_of(cluster.name)] = StockTerms(bounds.max_requests)
        if bounds.max_pending is not None:
            found[pending_of(cluster.name)] = StockTerms(bounds.max_pending)
    return found


def shelved(config: model.Config) -> set[str]:
    """The limits that hold for each value of something, and where meters are that many share."""
    found = {key for key, rate in request_rates(config) if rate.by is not None}
    return found | {SHARED_METERS} if shares_meters(config) else found


def connections_of(what: str, name: str) -> str:
    """What the limit of connections at a time is called."""
    return f"{what}/{name}/connections"


def rate_of(listener: str) -> str:
    return f"listener/{listener}/rate"


def rate_of_chain(listener: str, chain: model.Chain) -> str:
    """A chain has no name: it is known by what it matches, wherever it stands."""
    match = json.dumps(model.encode(chain.match), sort_keys=True)
    return f"listener/{listener}/chain/{sha256(match.encode()).hexdigest()[:32]}/rate"


def _led_to(said: model.Listener, tables: Mapping[str, model.RouteTable]) -> frozenset[str]:
    """The clusters that what comes to a listener may go on to."""
    rules = [rule for chain in said.outcomes if chain.routes for rule in tables[chain.routes].rules]
    straight = {chain.cluster for chain in said.outcomes if chain.cluster}
    straight |= {rule.connect.cluster for rule in rules if rule.connect is not None}
    straight |= {chain.socks5.cluster for chain in said.outcomes if chain.socks5 is not None}
    return frozenset(straight.union(name for rule in rules for _, name in rule.clusters))


def _flow(said: RateLimit) -> FlowTerms:
    return FlowTerms(said.connections, said.per, said.burst or said.connections)


def compile_config(
    config: model.Config, claims: Claims, rim: Rim, share: Share
) -> Generator[None, None, Snapshot]:
    """In steps, between which traffic goes on."""
    clusters: dict[str, Group] = {}
    named: dict[str, list[Group]] = {}
    introduction = introduction_of(config, rim)
    tunnels = Tunnels.of(config, claims, rim)
    made = rim.abroad.made if any(listener.transparent for listener in config.listeners) else None
    for part in config.reached:
        clusters[part.name] = _group(part, claims, rim, config.node, introduction, made, tunnels)
        for name in part.names:
            named.setdefault(name, []).append(clusters[part.name])
        yield
    listeners = []
    tables = {table.name: table for table in config.routes}
    policies = {policy.name: policy for policy in config.mqtt}
    observers = Observers.of(config, claims, rim)
    for said in config.listeners:
        listeners.append(
            (yield from _listener(said, config, clusters, tables, policies, claims, rim, share, observers, tunnels))
        )
        yield
    return Snapshot(config, tuple(listeners), named, clusters, spans(config, clusters, claims, rim), tunnels)


def _group(
    said: model.Cluster,
    claims: Claims,
    rim: Rim,
    node: model.Node,
    introduction: Introduction | None,
    made: Callable[[str, socket.socket], None] | None,
    tunnels: Tunnels,
) -> Group:
    key = connections_of("cluster", said.name)
    limit = claims.claim(("limit", key), lambda: rim.limits.stock(key))
    return Group(said, limit, claims, rim, node, introduction, made, tunnels)


def _listener(
    said: model.Listener,
    config: model.Config,
    clusters: Mapping[str, Group],
    tables: Mapping[str, model.RouteTable],
    policies: Mapping[str, MqttPolicy],
    claims: Claims,
    rim: Rim,
    share: Share,
    observers: Observers,
    tunnels: Tunnels,
) -> Generator[None, None, Listener]:
    key = connections_of("listener", said.name)
    limit = claims.claim(("limit", key), lambda: rim.limits.stock(key))
    state = claims.claim(
        ("listener", said.name),
        lambda: ListenerState(said.name, rim.stats.listeners, rim.guests, rim.clock, limit, rim.watch),
    )
    if said.protocol in OF_TUNNELS and rim.guests.number != FIRST:
        return Listener(said, ())
    if said.protocol == "udp":
        rate = _rate(said, claims, rim)
        doors = udp_doors(said, config.dns, state, clusters, claims, rim, share, observers, rate, tunnels)
        return Listener(said, doors)
    if said.protocol == "quic":
        return Listener(said, quic_doors(said, tunnels.gate(state, rim, HANDSHAKE_WITHIN), claims, rim, share))
    if said.protocol == "dns":
        return Listener(said, dns_doors(said, config, state, claims, rim, share, _rate(said, claims, rim)))
    doors = yield from _tcp_doors(
        said, config, state, clusters, tables, policies, claims, rim, share, observers, tunnels
    )
    return Listener(said, doors)


def _tcp_doors(
    said: model.Listener,
    config: model.Config,
    state: ListenerState,
    clusters: Mapping[str, Group],
    tables: Mapping[str, model.RouteTable],
    policies: Mapping[str, MqttPolicy],
    claims: Claims,
    rim: Rim,
    share: Share,
    observers: Observers,
    tunnels: Tunnels,
) -> Generator[None, None, tuple[Door, ...]]:
    trust_domain = config.node.trust_domain
    introduction = introduction_of(config, rim)
    telling = Telling(said.name, state, claims, rim, observers)
    opening: list[Callable[[], None]] = []
    """What else is to be done when this is put in force."""
    acceptors = [acceptor(place, claims, rim, share) for place in places(said)]
    listening = tuple(replace(where, port=live.port or 0) for where, live in zip(said.listen, acceptors, strict=True))

    forward = forwarding(config, said.name, listening, clusters, claims, rim)
    # Where a stream of a tunnel goes is what somebody elsewhere says.
    near = (*listening, *steering(config)) if tunnels.lead_to(said.name) else listening

    def by_routes(chain: model.Chain) -> Generator[None, None, Service]:
        assert chain.routes is not None
        table = tables[chain.routes]
        inner = yield from http_service(
            said, chain, table, clusters, state, claims, rim, config.overload, trust_domain, observers,
            to_clients(introduction, chain), forward,
        )  # fmt: skip
        goes_on = any(clusters[name].config.original for rule in table.rules for _, name in rule.clusters)
        return Onward(inner, state, near) if goes_on else inner

    def by_cluster(chain: model.Chain) -> Service:
        assert chain.cluster is not None
        group = clusters[chain.cluster]
        inner = _tcp_service(group, chain.timeouts, state, rim, telling)
        return Onward(inner, state, near) if group.config.original else inner

    def by_request(chain: model.Chain) -> Service:
        assert chain.socks5 is not None
        inner = _tcp_service(clusters[chain.socks5.cluster], chain.timeouts, state, rim, telling)
        within = chain.timeouts.handshake or HANDSHAKE_WITHIN
        return Socks5Service(rim.http, forward(chain.socks5, f"listeners.{said.name}.socks5"), inner, within)

    def by_policy(chain: model.Chain) -> Generator[None, None, Service]:
        return (yield from mqtt_service(
            said, chain, policies, clusters, state, claims, rim, config.node, opening, telling
        ))  # fmt: skip

    def by_beginning(chain: model.Chain) -> Generator[None, None, Service]:
        told: list[tuple[Looks, Service]] = []
        if chain.mqtt:
            told.append((looks_like_connect, (yield from by_policy(chain))))
        if chain.routes:
            told.append((is_http, (yield from by_routes(chain.told("http")))))
        tcp = by_cluster(chain.told("tcp")) if chain.cluster else None
        within = chain.timeouts.detect
        assert within is not None, "an outcome says everything"
        return AutoService(state, rim.clock, within, tuple(told), tcp)

    def service(place: int, chain: model.Chain) -> Generator[None, None, Service]:
        if chain.protocol == "auto":
            inner = yield from by_beginning(chain)
        elif chain.protocol == "mqtt":
            inner = yield from by_policy(chain)
        elif chain.protocol == "tunnel":
            inner = tunnels.gate(state, rim, said.timeouts.handshake or HANDSHAKE_WITHIN)
        elif chain.routes:
            inner = yield from by_routes(chain)
        elif chain.socks5 is not None:
            inner = by_request(chain)
        else:
            inner = by_cluster(chain)
        if chain.authorize is not None:
            inner = Authorized(admitting(chain.authorize, trust_domain), inner, state, of_identity(rim.log, said.name))
        secured = securing(inner, said, place, chain, state, claims, rim)
        rate = _rate_of_chain(said, chain, claims, rim)
        return secured if rate is None else Rated(secured, state, rate)

    # What a request is worth is only known when it has been read.
    urgent = any(
        rule.priority == "high" for chain in said.outcomes if chain.routes for rule in tables[chain.routes].rules
    )
    virtual = virtual_of(said, config.dns)
    rules = []
    for place, chain in enumerate(said.outcomes):
        rules.append(rule_of(chain, (yield from service(place, chain)), virtual))
    entry = Entry(
        connecting(said, tables, rim),
        rim.clock,
        state,
        _rate(said, claims, rim),
        _header(said.proxy_protocol),
        expecting(
            rules, said.timeouts.handshake or HANDSHAKE_WITHIN, said.timeouts.detect or DETECT_WITHIN
        ),
        chooser(rules),
        partial(rim.abroad.back, _led_to(said, tables)) if said.transparent else None,
    )

    def put_in_force() -> None:
        state.entry = entry
        telling.use()
        for open_too in opening:
            open_too()
        state.clusters = clusters

    def door(live: Acceptor) -> Door:
        accept = entry.accept_redirected if said.transparent else partial(entry.accept, live.port)
        shed = partial(entry.shed, live.port)

        def open_it() -> None:
            put_in_force()
            live.serve(accept, entry.accept_failed)

        return Door(live, open_it, None if urgent else lambda: live.serve(shed, entry.accept_failed))

    opening.append(tunnels.serving(said.name, entry.accept_stream))
    return tuple(map(door, acceptors)) or (Door(None, put_in_force),)


def _rate(said: model.Listener, claims: Claims, rim: Rim) -> Flow | None:
    if not any(each.rate_limit for each in said.filters):
        return None
    key = rate_of(said.name)
    return claims.claim(("limit", key), lambda: rim.limits.flow(key))


def _rate_of_chain(said: model.Listener, chain: model.Chain, claims: Claims, rim: Rim) -> Flow | None:
    if not chain.filters:
        return None
    key = rate_of_chain(said.name, chain)
    return claims.claim(("limit", key), lambda: rim.limits.flow(key))


def _header(said: model.ProxyProtocol | None) -> ProxyHeader | None:
    if said is None:
        return None
    networks = (peer for peer in said.trusted if peer != "unix")
    return ProxyHeader(within(networks), "unix" in said.trusted, said.timeout, said.optional)


def _tcp_service(
    group: Group,
    timeouts: model.Timeouts,
    state: ListenerState,
    rim: Rim,
    telling: Telling,
) -> TcpService:
    return TcpService(
        rim.clock,
        state,
        group.cluster,
        idle=timeouts.idle or inf,
        lifetime=timeouts.lifetime or inf,
        # Nobody looks at the bytes of a TCP connection, so all of them may be spliced, unless they are counted.
        pipes=rim.pipes,
        announce=ANNOUNCE[group.config.proxy_protocol],
        edges=telling.edges(group.config.name),
    )
