"""Listeners of UDP: sessions with the endpoints of a cluster, for who comes by a socket or out of a tunnel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

from meshproxy import model
from meshproxy.core.limit import Flow
from meshproxy.core.table import Claims
from meshproxy.model import Address
from meshproxy.net.doors import Place
from meshproxy.net.udp import DatagramPeer, Peer
from meshproxy.plan.doors import Door, Share, datagrams, places
from meshproxy.plan.group import Group
from meshproxy.plan.observers import Observers
from meshproxy.plan.rim import Rim
from meshproxy.plan.rules import rule_of, virtual_of
from meshproxy.plan.telling import Telling
from meshproxy.plan.tunnels import Tunnels
from meshproxy.relay.entry import chooser
from meshproxy.relay.live import ListenerState
from meshproxy.relay.mux.door import Flows
from meshproxy.relay.udp import Over, Talk, UdpService, UdpSessions


def udp_doors(
    said: model.Listener,
    dns: model.Dns,
    state: ListenerState,
    clusters: Mapping[str, Group],
    claims: Claims,
    rim: Rim,
    share: Share,
    observers: Observers,
    rate: Flow | None,
    tunnels: Tunnels,
) -> tuple[Door, ...]:
    telling = Telling(said.name, state, claims, rim, observers)
    sessions = claims.claim(("sessions", said.name), UdpSessions)

    def service(chain: model.Chain) -> UdpService:
        assert chain.cluster is not None
        group = clusters[chain.cluster]
        return UdpService(
            _talk(group, tunnels, rim),
            rim.clock,
            state,
            sessions,
            group.cluster,
            telling.edges(chain.cluster),
            idle=chain.timeouts.idle or inf,
            lifetime=chain.timeouts.lifetime or inf,
            rate=rate,
        )

    services = [service(chain) for chain in said.outcomes]
    virtual = virtual_of(said, dns)
    rules = [rule_of(chain, each, virtual) for chain, each in zip(said.outcomes, services, strict=True)]
    out_of_tunnels = tunnels.serving_flows(said.name, Flows(state, chooser(rules)).serve)

    def put_in_force() -> None:
        telling.use()
        out_of_tunnels()

    def door(place: Place) -> Door:
        live = datagrams(place, claims, rim, share)

        def open_it() -> None:
            put_in_force()
            # Who comes by a socket does not say where to: then there are no chains.
            (only,) = services
            live.serve(partial(only.receive, live))

        return Door(live, open_it)

    return tuple(map(door, places(said))) or (Door(None, put_in_force),)


def _talk(group: Group, tunnels: Tunnels, rim: Rim) -> Talk:
    """Each endpoint by the tunnel that it, or its cluster, has; those without one directly."""
    ways = tunnels.talks(group.config)

    def talk(address: Address, client: tuple[str, int], take: Callable[[bytes], None], over: Over, /) -> Peer:
        name = group.via(address)
        if name is not None:
            way = ways[name]
            return way(address, client, take, over)
        return DatagramPeer(rim.loop, address, take, over)

    return talk
