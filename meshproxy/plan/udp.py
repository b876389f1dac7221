"""Listeners of UDP: sessions with the endpoints of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf

from meshproxy import model
from meshproxy.core.limit import Flow
from meshproxy.core.table import Claims
from meshproxy.net.doors import Place
from meshproxy.plan.doors import Door, Share, datagrams, places
from meshproxy.plan.group import Group
from meshproxy.plan.observers import Observers
from meshproxy.plan.rim import Rim
from meshproxy.plan.telling import Telling
from meshproxy.relay.live import ListenerState
from meshproxy.relay.udp import UdpService, UdpSessions


def udp_doors(
    said: model.Listener,
    state: ListenerState,
    clusters: Mapping[str, Group],
    claims: Claims,
    rim: Rim,
    share: Share,
    observers: Observers,
    rate: Flow | None,
) -> tuple[Door, ...]:
    (only,) = said.outcomes
    assert only.cluster is not None
    telling = Telling(said.name, state, claims, rim, observers)
    service = UdpService(
        rim.loop,
        rim.clock,
        state,
        claims.claim(("sessions", said.name), UdpSessions),
        clusters[only.cluster].cluster,
        telling.edges(only.cluster),
        idle=only.timeouts.idle or inf,
        lifetime=only.timeouts.lifetime or inf,
        rate=rate,
    )

    def door(place: Place) -> Door:
        live = datagrams(place, claims, rim, share)

        def open_it() -> None:
            telling.use()
            live.serve(partial(service.receive, live))

        return Door(live, open_it)

    return tuple(map(door, places(said)))
