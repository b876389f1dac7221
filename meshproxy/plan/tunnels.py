"""Tunnels, compiled: what is live of them, how clusters dial through them, and who serves their streams.

    tunnels = Tunnels.of(config, claims, rim)
    tunnels.dials(cluster)                  # a DialTo for each tunnel that it uses
    tunnels.gate(state, rim, within)        # the service of a listener that accepts them
    tunnels.serving("edges", serve)         # has streams that lead to this listener served, once it is in force
    tunnels.talks(cluster)                  # the same two for flows of datagrams
    tunnels.serving_flows("names", serve)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from meshproxy import model
from meshproxy.cluster.cluster import Caller, DialTo
from meshproxy.core.table import Claims
from meshproxy.model import Address
from meshproxy.model.address import Named
from meshproxy.model.tls import full_identity
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.net.doors import FIRST
from meshproxy.net.mux.conn import StreamConn
from meshproxy.net.mux.flow import Flow
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.plan.dialling import NOTHING, Offer, Reach, demands_of, dialling
from meshproxy.plan.quic import quic_dial, racing
from meshproxy.plan.rim import Rim
from meshproxy.plan.squeezing import codings_of
from meshproxy.relay.live import ListenerState
from meshproxy.relay.mux.dialler import Course, Dial, Dialler
from meshproxy.relay.mux.gate import Accepted, Gate
from meshproxy.relay.mux.indoors import Indoor, indoor
from meshproxy.relay.mux.opening import Opening, unreachable
from meshproxy.relay.mux.tunnel import Serve, ServeFlow, Tunnel, Way, refuse_flow
from meshproxy.relay.udp import Over, Talk
from meshproxy.wire.mux.classes import Class
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.metadata import Purpose, Where
from meshproxy.wire.mux.terms import Role, Terms

CONNECT_WITHIN = 5.0
PINGS_PER_DEATH = 3
WITHIN = Address("unix")
"""Where the first worker is, for the others: there is only one way to it."""


class Live:
    """A tunnel to another meshproxy, and what keeps it."""

    def __init__(self, tunnel: Tunnel, dialler: Dialler | None, rim: Rim) -> None:
        self.tunnel = tunnel
        self._dialler = dialler
        self._clock = rim.clock
        self._stats = rim.stats.tunnels
        self._every = tunnel.way.dead / PINGS_PER_DEATH
        self._timer = rim.clock.after(self._every, self._ping)

    def begin(self, course: Course | None) -> None:
        """It is put in force, with what we show from now on."""
        if self._dialler is not None and course is not None:
            self._dialler.go_by(course)

    def retire(self, grace: float) -> None:
        if self._dialler is not None:
            self._dialler.halt()
        self._timer.cancel()
        self._timer = self._clock.after(grace, self.tunnel.close)
        if self._stats.get(self.tunnel.way.name) is self.tunnel.stats:
            del self._stats[self.tunnel.way.name]

    def _ping(self) -> None:
        self._timer = self._clock.after(self._every, self._ping)
        self.tunnel.ping()


@dataclass(frozen=True, slots=True)
class Tunnels:
    config: model.Config
    by_name: Mapping[str, Live]
    courses: Mapping[str, Course]
    """How each is dialled that this end dials, or this worker."""

    @classmethod
    def of(cls, config: model.Config, claims: Claims, rim: Rim) -> Tunnels:
        ours = [said for said in config.tunnels if not said.by_proxies]
        courses: dict[str, Course]
        if rim.guests.number == FIRST:
            courses = {said.name: _course(said, config, claims, rim) for said in ours if said.dial}
        else:
            courses = {said.name: Course(rim.indoors.dial, lambda: (WITHIN,)) for said in ours}
        lives = {said.name: _live(said, said.name in courses, config, claims, rim) for said in ours}
        return cls(config, lives, courses)

    def dials(self, cluster: model.Cluster, rim: Rim) -> dict[str, DialTo]:
        """By the name of each tunnel to another meshproxy that it uses."""
        return {said.name: self._dial(said, cluster, rim) for said in self._used(cluster) if not said.by_proxies}

    def talks(self, cluster: model.Cluster) -> dict[str, Talk]:
        """The same for datagrams."""
        return {said.name: self._talk(said, cluster) for said in self._used(cluster) if not said.by_proxies}

    def proxies(self, cluster: model.Cluster) -> dict[str, list[tuple[model.Tunnel, int]]]:
        """By the name of each of its other tunnels, those that make its connections in turn, with their weights."""
        known = {said.name: said for said in self.config.tunnels}
        return {
            said.name: [(known[each.tunnel], each.weight) for each in said.among] or [(said, 1)]
            for said in self._used(cluster)
            if said.by_proxies
        }

    def _used(self, cluster: model.Cluster) -> Iterator[model.Tunnel]:
        return (said for said in self.config.tunnels if said.name in cluster.tunnels)

    def _dial(self, said: model.Tunnel, cluster: model.Cluster, rim: Rim) -> DialTo:
        live = self.by_name[said.name]
        lane = said.lanes.get(cluster.lane or "", 0)

        def dial(address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /) -> Dialling:
            return Opening(rim.clock, live.tunnel, address, client, lane, cluster.connect_timeout, done)

        return dial

    def _talk(self, said: model.Tunnel, cluster: model.Cluster) -> Talk:
        live = self.by_name[said.name]
        lane = said.lanes.get(cluster.lane or "", 0)

        def talk(address: Address, client: Where, take: Callable[[bytes], None], over: Over, /) -> Flow:
            # Nobody has the port 0, but who wants no answer.
            purpose = Purpose((address.host, address.port), client if client[1] else None, datagrams=True)
            flow = live.tunnel.talk(purpose, lane)
            if flow is None:
                raise unreachable(said.name)
            flow.on_data, flow.on_over = take, over
            return flow

        return talk

    def account(self) -> None:
        for live in self.by_name.values():
            live.tunnel.account()

    def gate(self, state: ListenerState, rim: Rim, within: float) -> Gate:
        trust_domain = self.config.node.trust_domain
        accepted = {
            said.name: Accepted(
                self.by_name[said.name].tunnel, frozenset(full_identity(each, trust_domain) for each in said.accept)
            )
            for said in self.config.tunnels
            if said.accept is not None
        }
        return Gate(state, rim.clock, accepted, within)

    def serving(self, listener: str, serve: Serve) -> Callable[[], None]:
        """Has streams served there that lead to this listener, once it is put in force."""
        leading = [self.by_name[said.name].tunnel for said in self._leading_to(listener)]

        def begin() -> None:
            for tunnel in leading:
                tunnel.serve = serve

        return begin

    def serving_flows(self, listener: str, serve: ServeFlow) -> Callable[[], None]:
        """The same for flows."""
        leading = [self.by_name[said.name].tunnel for said in self.config.tunnels if said.datagrams == listener]

        def begin() -> None:
            for tunnel in leading:
                tunnel.serve_flow = serve

        return begin

    def lead_to(self, listener: str) -> bool:
        """Whether it serves streams that other proxies open."""
        return any(self._leading_to(listener))

    def _leading_to(self, listener: str) -> Iterator[model.Tunnel]:
        return (said for said in self.config.tunnels if said.listener == listener)

    def close(self) -> None:
        """At once, in words."""
        for live in self.by_name.values():
            live.tunnel.close()

    def begin(self) -> None:
        """They are in force; streams that nobody serves are refused."""
        for said in self.config.tunnels:
            live = self.by_name.get(said.name)
            if live is not None:
                if said.listener is None:
                    live.tunnel.serve = refuse
                if said.datagrams is None:
                    live.tunnel.serve_flow = refuse_flow
                live.begin(self.courses.get(said.name))


def tunnelled(
    via: Callable[[Address], str | None],
    ways: Mapping[str, Callable[..., DialTo]],
    direct: Callable[..., DialTo],
    offered: Offer = NOTHING,
) -> DialTo:
    """Each endpoint by the tunnel that it, or its cluster, has; those without one directly."""
    straight = direct(offered=offered)
    through = {name: way(offered=offered) for name, way in ways.items()}

    def dial(address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /) -> Dialling:
        name = via(address)
        way = through[name] if name is not None else straight
        return way(address, done, client)

    return dial


def refuse(conn: StreamConn, _purpose: Purpose) -> None:
    conn.refuse(Reason.REFUSED)


def _course(said: model.Tunnel, config: model.Config, claims: Claims, rim: Rim) -> Course:
    dial = _dial(said, config, claims, rim)
    return Course(dial, lambda: _addresses(said.dial, rim), said.links, (said.dial, said.transport))


def _dial(said: model.Tunnel, config: model.Config, claims: Claims, rim: Rim) -> Dial:
    reach = Reach(rim.loop, rim.clock, rim.http.deadlines, rim.log, rim.papers, config.node.trust_domain)
    where = ("tunnels", said.name, "tls")
    by_tcp: Dial = dialling(_other(said), CONNECT_WITHIN, reach, claims, dict, lambda _: None, where=where)
    if said.transport == "tcp":
        return by_tcp
    by_quic = quic_dial(said, reach, CONNECT_WITHIN)
    return by_quic if said.transport == "quic" else racing(by_quic, by_tcp)


def _other(said: model.Tunnel) -> model.Cluster:
    """Who is at the other end, as an endpoint."""
    return model.Cluster(f"tunnel/{said.name}", tls=said.tls)


def _live(said: model.Tunnel, dialled: bool, config: model.Config, claims: Claims, rim: Rim) -> Live:
    classes = tuple(
        Class(each.name, each.tier, each.weight, each.rate, each.compress) for each in said.classes
    ) or (Class("default"),)
    role = Role.ACCEPTS if said.accept is not None else Role.DIALS
    way = Way(said.name, role, Terms(streams=said.streams, classes=classes), said.resume, said.dead, said.mode)
    codings = codings_of(said, rim.papers)

    demands = demands_of(_other(said), config.node.trust_domain, rim.papers)
    # Who is there is the same; by what ways, at how many connections, may change while it lives.
    whole = repr((way, bool(said.dial), said.accept, demands, tuple(codings)))
    key = sha256(whole.encode()).hexdigest()[:32]

    def inside() -> Live:
        tunnel = Indoor(rim.loop, rim.clock, indoor(key, Role.DIALS), refuse, TunnelStats())
        tunnel.lanes = tuple(said.lanes)
        return Live(tunnel, Dialler(rim.clock, tunnel), rim)

    def make() -> Live:
        stats = rim.stats.tunnels[said.name] = TunnelStats()
        tunnel = Tunnel(rim.loop, rim.clock, way, refuse, stats, codings)
        return Live(tunnel, Dialler(rim.clock, tunnel) if dialled else None, rim)

    return claims.claim(("tunnel", key), make if rim.guests.number == FIRST else inside)


def server_of(said: model.Tunnel, rim: Rim) -> Address | None:
    """Where the proxy is now."""
    assert said.server is not None
    return next(iter(_addresses((said.server,), rim)), None)


def _addresses(several: Iterable[Address | Named], rim: Rim) -> list[Address]:
    found = []
    for where in several:
        if isinstance(where, Named):
            hosts = rim.known.get(where.host, ())
            found += [Address("ipv6" if ":" in host else "ipv4", host, where.port) for host in hosts]
        else:
            found.append(where)
    return found
