"""A policy of MQTT, compiled: the service that a listener hands its clients to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from math import inf
from random import random
from secrets import token_hex
from typing import Any

from meshproxy import model
from meshproxy.core.by_identity import ByIdentity
from meshproxy.core.mqtt.access import Access
from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.glob import ByName
from meshproxy.core.mqtt.message import Message
from meshproxy.core.mqtt.rewrite import Rewriting
from meshproxy.core.mqtt.ruling import Judge
from meshproxy.core.mqtt.template import LONGEST_TOPIC, template
from meshproxy.core.server_name import by_name
from meshproxy.core.table import Claims
from meshproxy.model.mqtt import MqttLimits, MqttPolicy, Pace, Sessions, Whose
from meshproxy.observe.metrics.mqtt import MqttStats, TopicStats
from meshproxy.observe.telling import Edges
from meshproxy.plan.announce import ANNOUNCE
from meshproxy.plan.authenticate import authenticator
from meshproxy.plan.group import Group
from meshproxy.plan.rim import Rim
from meshproxy.plan.telling import Telling
from meshproxy.plan.uplinks import Uplinks
from meshproxy.plan.websocket import websocket
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState, OfPolicy
from meshproxy.relay.mqtt.house import Aside, Measure, Outlet
from meshproxy.relay.mqtt.manners import Manners, Speed
from meshproxy.relay.mqtt.outlets import Nowhere
from meshproxy.relay.mqtt.reaching import Means
from meshproxy.relay.mqtt.rules import TopicRule
from meshproxy.relay.mqtt.service import Bounds, MqttService, Way
from meshproxy.relay.mqtt.session import Session
from meshproxy.schema.shapes import Path
from meshproxy.wire.mqtt import V5, V311, Publish, check_topic

LEVELS = {"3.1.1": V311, "5": V5}
NOTHING_SAID = MqttPolicy("")


def mqtt_service(
    said: model.Listener,
    chain: model.Chain,
    policies: Mapping[str, MqttPolicy],
    clusters: Mapping[str, Group],
    state: ListenerState,
    claims: Claims,
    rim: Rim,
    node: model.Node,
    opening: list[Callable[[], None]],
    telling: Telling,
) -> Generator[None, None, Service]:
    """In steps, for a file of users may be large."""
    policy = policies[chain.mqtt] if chain.mqtt else NOTHING_SAID
    stats = claims.claim(
        ("mqtt", said.name, policy.name), lambda: OfPolicy(state.stats.mqtt, policy.name, MqttStats())
    ).stats
    uplinks = Uplinks(policy, _measure(policy), node, claims, rim, opening)
    judge = _judge(policy, stats, clusters, uplinks)
    access = Access(policy.authorize, node.trust_domain) if policy.authorize is not None else None
    ways = policy.sessions or (Sessions(chain.cluster or ""),)
    at: Path = ("mqtt", policy.name, "authenticate")
    service = MqttService(
        clock=rim.clock,
        deadlines=rim.http.deadlines,
        now=rim.clock.now,
        chance=random,
        state=state,
        stats=stats,
        bounds=_bounds(policy, policy.limits),
        authenticate=(yield from authenticator(policy.authenticate, policy.name, at, claims, rim)),
        ways=tuple(
            _way(
                way, clusters[way.cluster], policy, judge, access, rim, node.trust_domain, uplinks,
                telling.edges(way.cluster),
            )
            for way in ways
        ),
        failover=policy.failover.within if policy.failover is not None else None,
        rule_of=judge.rule,
        nowhere=Aside(Nowhere(), _measure(policy), rim.clock, rim.loop.call_soon),
        name_client=lambda: f"meshproxy-{token_hex(8)}",
        log=partial(_log, rim, said.name) if policy.log else None,
    )
    if policy.websocket is None:
        return service
    return websocket(policy.websocket, service, state, rim, policy.limits.connect)


def _bounds(policy: MqttPolicy, limits: MqttLimits) -> Bounds:
    return Bounds(
        versions=frozenset(LEVELS[version] for version in policy.versions),
        packet=limits.packet,
        in_flight=limits.in_flight,
        subscriptions=limits.subscriptions,
        client_id=limits.client_id,
        topic_aliases=limits.topic_aliases,
        connect=limits.connect,
        answer=limits.answer,
        keep_alive=limits.keep_alive or inf,
        slow=limits.slow,
    )


def _measure(policy: MqttPolicy) -> Measure:
    limits = policy.limits
    queue = policy.fan_in.queue if policy.fan_in is not None else 0
    # What a client has said in `limits.packet` may be longer by what its topic is called there.
    packet = limits.packet + LONGEST_TOPIC
    return Measure(packet, limits.in_flight, limits.subscriptions, queue, patient=limits.slow != "disconnect")


def _judge(
    policy: MqttPolicy, stats: MqttStats, clusters: Mapping[str, Group], uplinks: Uplinks
) -> Judge[TopicRule]:
    rules = []
    for rule in policy.topics:
        compiled = TopicRule(
            stats.topics.setdefault(rule.name, TopicStats()),
            rule.retain,
            uplinks.aside(clusters[rule.cluster], rule.max_qos) if rule.cluster is not None else None,
            rule.max_qos,
            rule.spool,
            _speed(rule.rate),
            _copying(uplinks.outlet(clusters[rule.mirror])) if rule.mirror is not None else None,
        )
        rules.append((rule.filters, compiled))
    for name in stats.topics.keys() - {rule.name for rule in policy.topics}:
        del stats.topics[name]
    return Judge(check_topic, Rewriting(policy.rewrite) if policy.rewrite else None, rules)


def _speed(said: Pace | None) -> Speed | None:
    if said is None:
        return None
    return Speed(said.messages and said.messages / said.per, said.bytes and said.bytes / said.per)


def _copying(outlet: Outlet) -> Callable[[Publish], None]:
    def copy(packet: Publish) -> None:
        outlet.publish(Message(packet.topic, packet.payload, 0, packet.retain, packet.properties), _whatever)

    return copy


def _whatever(code: int) -> None:
    """Nobody waits for a copy."""


def _way(
    way: Sessions,
    group: Group,
    policy: MqttPolicy,
    judge: Judge[TopicRule],
    access: Access | None,
    rim: Rim,
    trust_domain: str,
    uplinks: Uplinks,
    edges: Edges,
) -> Way:
    prefix = template(way.prefix) if way.prefix is not None else None
    speed = _speed(policy.rate)
    mqtt = group.config.mqtt
    capped = any(rule.max_qos < 2 and rule.cluster is None for rule in policy.topics)

    def manners(client: Client) -> Manners | None:
        before = prefix(client) if prefix is not None else b""
        if before is None:
            return None
        granted = access.of(client) if access is not None else None
        return Manners(
            judge.rulings(granted, before),
            judge.heard(before),
            judge.naming(before),
            granted,
            speed.begin() if speed is not None else None,
        )

    return Way(
        matches=_matching(way.match, trust_domain),
        cluster=group.cluster,
        edges=edges,
        means=Means(rim.clock, policy.limits.connect),
        announce=ANNOUNCE[group.config.proxy_protocol],
        level=LEVELS[mqtt.version] if mqtt.version is not None else None,
        credentials=(mqtt.user, mqtt.secret) if mqtt.user is not None else None,
        manners=manners,
        lowered=(uplinks.aside(group, 0), uplinks.aside(group, 1)) if capped else None,
        shared=uplinks.shared(group),
        store=uplinks.store(group),
    )


def _matching(said: Whose, trust_domain: str) -> Callable[[Client], bool]:
    """Everything that is said must hold."""
    tests: list[Callable[[Client], Any]] = []
    if said.clients:
        clients = ByName([(said.clients, True)])
        tests.append(lambda client: clients.of(client.id))
    if said.users:
        users = ByName([(said.users, True)])
        tests.append(lambda client: users.of(client.user))
    if said.identities:
        identities = ByIdentity([(said.identities, True)], trust_domain)
        tests.append(lambda client: identities[client.identity])
    if said.server_names:
        names = by_name((name, True) for name in said.server_names)
        tests.append(lambda client: names(client.server_name or None))
    return lambda client: all(test(client) for test in tests)


def _log(rim: Rim, listener: str, session: Session, reason: str) -> None:
    client = session.client
    rim.log.info(
        "mqtt-session",
        listener=listener,
        client=client.id,
        user=client.user,
        identity=client.identity,
        address=client.client or "",
        cluster=session.way.cluster.name,
        reason=reason,
        seconds=round(rim.clock.now() - session.began, 3),
    )
