"""Listeners of dns, and chains for connections to names: both stand on the table of names."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import ip_network
from math import inf

from meshproxy import model
from meshproxy.core.client import Address, Within, within
from meshproxy.core.limit import Flow
from meshproxy.core.table import Claims
from meshproxy.model.naming import own_servers
from meshproxy.net.conn import Conn
from meshproxy.net.doors import Place
from meshproxy.plan.doors import Door, Share, acceptor, datagrams, places
from meshproxy.plan.rim import Rim
from meshproxy.relay.dns.service import DnsService
from meshproxy.relay.dns.table import Table
from meshproxy.relay.dns.tcp import DnsConnections
from meshproxy.relay.dns.udp import DnsDatagrams
from meshproxy.relay.dns.upstream import Terms, Upstream
from meshproxy.relay.entry import Entry
from meshproxy.relay.live import ListenerState
from meshproxy.wire.dns import Bounds

Virtual = Mapping[str, Sequence[Address]]
"""The addresses that names alone have."""


def destinations(match: model.Match, virtual: Virtual) -> Within | None:
    """Where a connection has to be made to: a name is the addresses that it alone has."""
    if not match.names:
        return within(match.destinations) if match.destinations else None
    addresses = [address for name in match.names for address in virtual[name]]
    if match.destinations:
        meant = within(match.destinations)
        addresses = [address for address in addresses if meant(address)]
    return within(map(ip_network, addresses))


def dns_doors(
    said: model.Listener,
    config: model.Config,
    state: ListenerState,
    claims: Claims,
    rim: Rim,
    share: Share,
    rate: Flow | None,
) -> tuple[Door, ...]:
    dns, cache = config.dns, config.dns.cache
    servers = _servers(config, rim) if dns.unknown == "forward" else ()
    upstream = claims.claim(("dns", servers), lambda: Upstream(rim.loop, rim.clock, servers))
    bounds = Bounds(cache.least, cache.most, cache.negative)
    terms = Terms(dns.timeout, dns.pending, cache.entries, cache.size, bounds)
    service = DnsService(Table(dns), upstream, dns.unknown == "forward", dns.ttl, state.stats.asked())
    over_udp = DnsDatagrams(service, state, rate)
    timeouts = said.timeouts
    idle = model.IDLE["dns"] if timeouts.idle is None else timeouts.idle
    over_tcp = DnsConnections(rim.loop, rim.clock, state, service, idle or inf, timeouts.lifetime or inf)
    entry = Entry(partial(Conn, rim.loop), rim.clock, state, rate, None, None, lambda _: over_tcp)

    def datagram_door(place: Place) -> Door:
        live = datagrams(place, claims, rim, share)

        def open_it() -> None:
            upstream.use(terms)
            live.serve(partial(over_udp.receive, live))

        return Door(live, open_it)

    def stream_door(place: Place) -> Door:
        live = acceptor(place, claims, rim, share)
        accept, shed = partial(entry.accept, live.port), partial(entry.shed, live.port)

        def open_it() -> None:
            state.entry = entry
            live.serve(accept, entry.accept_failed)

        return Door(live, open_it, lambda: live.serve(shed, entry.accept_failed))

    return tuple(
        (datagram_door if place.kind == socket.SOCK_DGRAM else stream_door)(place) for place in places(said)
    )


def _servers(config: model.Config, rim: Rim) -> tuple[model.Address, ...]:
    """Of the system's, those that are not this proxy."""
    if config.dns.servers:
        return config.dns.servers
    from meshproxy.discovery.dns import system_servers

    try:
        found = system_servers()
    except (OSError, ValueError) as error:
        rim.log.error("system-names-not-read", error=error)
        return ()
    listening = [address for each in config.listeners if each.protocol == "dns" for address in each.listen]
    own = set(own_servers(found, listening))
    return tuple(server for index, server in enumerate(found) if index not in own)
