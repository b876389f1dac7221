"""Bridges, compiled: in one worker alone, for two with one client id would throw each other out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from meshproxy import model
from meshproxy.core.table import Claims
from meshproxy.model.bridge import Bridge, Passage
from meshproxy.net.doors import FIRST
from meshproxy.plan.group import Group
from meshproxy.plan.rim import Rim
from meshproxy.relay.mqtt.bridge import BridgeState, BridgeTerms, Crossing, Sides
from meshproxy.relay.mqtt.outgoing import OVERHEAD
from meshproxy.relay.mqtt.uplink import FOR_EVER, UplinkTerms
from meshproxy.wire.mqtt import V5, V311


@dataclass(frozen=True, slots=True)
class Span:
    live: BridgeState
    open: Callable[[], None]
    """What it is in this generation it is from now on."""


def spans(config: model.Config, groups: Mapping[str, Group], claims: Claims, rim: Rim) -> tuple[Span, ...]:
    if rim.guests.number != FIRST:
        return ()
    return tuple([_span(said, config.node, groups, claims, rim) for said in config.bridges])


def _span(said: Bridge, node: model.Node, groups: Mapping[str, Group], claims: Claims, rim: Rim) -> Span:
    state = claims.claim(
        ("bridge", said.name), lambda: BridgeState(said.name, rim.stats.bridges, rim.clock, rim.log)
    )
    local, remote = groups[said.local], groups[said.remote]
    terms = BridgeTerms(
        said.client_id or f"{node.service or 'meshproxy'}-{said.name}",
        said.local,
        said.remote,
        tuple(map(_crossing, said.push)),
        tuple(map(_crossing, said.pull)),
        _terms(said, local.config),
        _terms(said, remote.config),
    )
    return Span(state, partial(state.use, terms, Sides(local.cluster, remote.cluster)))


def _crossing(said: Passage) -> Crossing:
    return Crossing(said.filter.encode(), said.qos, said.prefix.encode(), said.strip.encode(), said.retain)


def _terms(said: Bridge, cluster: model.Cluster) -> UplinkTerms:
    """What one side may leave unacknowledged fits into the other, and as much of QoS 0."""
    mqtt = cluster.mqtt
    return UplinkTerms(
        V311 if mqtt.version == "3.1.1" else V5,
        mqtt.user,
        mqtt.secret,
        int(mqtt.keep_alive),
        clean=False,
        session_expiry=min(int(said.session), FOR_EVER),
        answered_within=mqtt.timeout,
        most_in_flight=said.in_flight,
        most_waiting=2 * said.in_flight,
        most_bytes=2 * (said.in_flight + 1) * (said.packet + OVERHEAD),
        most_heard=said.in_flight,
        most_packet=said.packet,
    )
