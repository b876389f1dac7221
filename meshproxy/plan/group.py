"""A cluster, compiled, and who is in it: the endpoints that are written, and those that names stand for at the moment.

When a name has other addresses a group changes in place, in the generation that is in force: who stays keeps its live
state, who is gone is retired, and from the next call on the cluster picks among those who are there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from random import random

from meshproxy import model
from meshproxy.cluster.balance import Means, Pick, Seat, balanced, key_of, listening, part_of, until_next
from meshproxy.cluster.cluster import Cluster, ClusterState, DialTo, Reuse
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.cluster.heed import together
from meshproxy.cluster.original import ORIGINAL, Original
from meshproxy.cluster.outlier import Outliers
from meshproxy.core.introduction import Introduction
from meshproxy.core.limit import Stock
from meshproxy.core.table import Claims, Table
from meshproxy.model import Address
from meshproxy.model.address import CLIENT, Named
from meshproxy.observe.metrics.clusters import EJECTED
from meshproxy.plan.answer import fixed
from meshproxy.plan.bounds import breaker_of, budget_of, pending_of, requests_of, stock
from meshproxy.plan.dialling import NOTHING, Offer, Reach, demands_of, dialling
from meshproxy.plan.introducing import to_endpoints
from meshproxy.plan.many import many
from meshproxy.plan.rim import Rim
from meshproxy.plan.through import in_turn
from meshproxy.plan.tunnels import Tunnels, server_of, tunnelled
from meshproxy.plan.verdicts import EVERYBODY, Verdicts, check_of, gate_of, judge_of
from meshproxy.wire.h1 import ResponseCodec

HEALTH = "health"
"""The doubt that checks have."""

Known = Mapping[str, tuple[str, ...]]
"""The addresses of names, of those that have any."""


class Members:
    """Who is in a cluster, and how to pick among them: what a cluster keeps for as long as anybody uses it."""

    __slots__ = ("_clock", "_config", "_key", "_state", "_zone", "found", "seats")

    def __init__(self, said: model.Cluster, state: ClusterState, rim: Rim, zone: str) -> None:
        self._config = said
        self._state = state
        self._clock = rim.clock
        self._zone = zone
        self._key = key_of(said.hash)
        self.seats = seats(said, rim.known)
        self.found: list[tuple[Endpoint, Seat]] = []

    def everybody(self) -> list[Endpoint]:
        return [endpoint for endpoint, _ in self.found]

    def pick(self, share: model.Share) -> Pick:
        """Among those who are fit now and have the labels that are asked for."""
        said, clock = self._config, self._clock
        members = part_of(self.found, share)
        everyone = tuple(float(seat.weight) for _, seat in self.found if seat.weight)
        pick = balanced(members, said, self._zone, Means(random, clock.now, self._key, everyone), share)
        again = until_next((endpoint for endpoint, _ in members), said.slow_start, clock.now())
        if again is not None:
            self._state.changes_in(again)
        return pick


class Group:
    """A cluster, and what was said of it."""

    __slots__ = (
        "_breaker", "_demands", "_members", "_outliers", "_parts", "_state", "check", "cluster", "config", "gate",
        "judge",
    )

    def __init__(
        self,
        said: model.Cluster,
        limit: Stock,
        claims: Claims,
        rim: Rim,
        node: model.Node,
        introduction: Introduction | None,
        made: Callable[[str, socket.socket], None] | None,
        tunnels: Tunnels,
    ) -> None:
        """`node` is who the proxy is, and where; `introduction` is for those who have proved who they are; `made`
        hears of each connection; `tunnels` are those by which some may be made."""
        self.config = said
        self._demands = demands_of(said, node.trust_domain, rim.papers)
        self._state = claims.claim(
            ("cluster", said.name), lambda: ClusterState(said.name, rim.stats.clusters, rim.clock)
        )
        self._members = Members(said, self._state, rim, node.zone)
        self._find(claims, rim)
        self._parts: dict[model.Share, Cluster] = {}
        """By what routes ask for, without who gets it."""
        self.check, self.judge, self.gate = check_of(said), judge_of(said), gate_of(said)
        self._outliers = self._watching(claims, rim)
        self._breaker = breaker = breaker_of(said, self._state, claims, rim)
        bounds = said.breaker
        reach = Reach(
            rim.loop, rim.clock, rim.http.deadlines, rim.log, rim.papers, node.trust_domain,
            made,
        )  # fmt: skip
        dial: Callable[..., DialTo] = partial(
            dialling, said, said.connect_timeout, reach, claims, lambda: self._members.seats, self._shaken
        )
        if said.tunnels:
            ways = {name: partial(_as_it_is, way) for name, way in tunnels.dials(said, rim).items()}
            for name, proxies in tunnels.proxies(said).items():
                via = in_turn(
                    proxies, said.name, said.connect_timeout, reach, claims, lambda each: server_of(each, rim),
                    tells=said.source == CLIENT,
                )  # fmt: skip
                ways[name] = partial(dial, via=via)
            dial = partial(tunnelled, self.via, ways, dial)
        self.cluster = Cluster(
            said.name,
            self._state.stats,
            self._onward(claims, rim) if said.original else partial(self._members.pick, model.Share(said.name)),
            limit,
            connect_timeout=said.connect_timeout,
            dial=dial(),
            reuse=Reuse(
                said.pool.max_idle, said.pool.idle or inf, said.pool.lifetime or inf, said.pool.requests or inf
            ),
            codec=ResponseCodec(),
            many=many(said, dial),
            heed=together(
                listening(rim.clock.now) if said.balance == "ewma" else None,
                breaker.heed if breaker is not None else None,
                self._outliers.heed if self._outliers is not None else None,
            ),
            requests=stock(requests_of(said.name), bounds.max_requests, claims, rim),
            pending=stock(pending_of(said.name), bounds.max_pending, claims, rim),
            degraded=fixed(bounds.reply) if bounds.reply is not None else None,
            breaker=breaker,
            budget=budget_of(said, claims),
            introduction=to_endpoints(introduction, said),
            everybody=self._members.everybody,
        )
        self._state.pickers.add(self.cluster)

    def via(self, address: Address) -> str | None:
        """The tunnel by which an endpoint is reached; None: directly."""
        seat = self._members.seats.get(address)
        return seat.via if seat is not None else self.config.via

    def part(self, share: model.Share) -> Cluster:
        """The cluster as a route has it: all endpoints, or those with some labels."""
        if not share.subset:
            return self.cluster
        asked = model.Share(share.cluster, subset=share.subset, no_subset=share.no_subset)
        part = self._parts.get(asked)
        if part is None:
            part = self._parts[asked] = self.cluster.part(partial(self._members.pick, asked))
            self._state.pickers.add(part)
        return part

    def renew(self, table: Table, rim: Rim, grace: float) -> None:
        """Be what the names say now."""
        members = self._members
        before, members.seats = members.seats, seats(self.config, rim.known)
        if members.seats == before:
            return
        self._find(table, rim)
        self.follow(rim.verdicts)
        for each in (self.cluster, *self._parts.values()):
            each.refresh()
        for key in self._keys(before) - self._keys(members.seats):
            table.drop(key, grace)

    def _keys(self, seats: Mapping[Address, Seat]) -> set[tuple[object, ...]]:
        return {self._key(address, seat) for address, seat in seats.items()}

    def follow(self, verdicts: Verdicts) -> None:
        """Doubt whom the checks of this generation find unfit, and nobody else; let its endpoints be judged, and do as
        other workers do with them."""
        everybody = self._members.everybody()
        for endpoint in everybody:
            unfit = bool(self.check) and self.check + endpoint.name in verdicts.unfit
            if unfit and HEALTH not in endpoint.doubts:
                endpoint.doubt(HEALTH)
                endpoint.close_idle()
            elif endpoint.doubts and not unfit:
                endpoint.trust(HEALTH)
        if self._outliers is not None:
            self._outliers.watch(everybody)
            for key, ejection in verdicts.ejected.items():
                if key.startswith(self.judge):
                    self._outliers.hear(key[len(self.judge) :], ejection)
        opened = verdicts.ejected.get(self.gate + EVERYBODY)
        if self._breaker is not None and opened is not None:
            self._breaker.hear(opened.until)
        self._state.stats.breaker_open = int(self._breaker is not None and self._breaker.state != "closed")

    def _shaken(self, result: str) -> None:
        self._state.stats.handshakes[result] += 1

    def _watching(self, claims: Claims, rim: Rim) -> Outliers | None:
        said, judge = self.config.outlier, self.judge
        if said is None:
            return None
        counted = self._state.stats.ejections
        counted.update({reason: counted.get(reason, 0) for reason in EJECTED})
        say = rim.verdicts.say

        def make() -> Outliers:
            return Outliers(said, rim.clock, counted, lambda endpoint, ejection: say(judge + endpoint.name, ejection))

        return claims.claim(("outlier", judge), make)

    def _onward(self, claims: Claims, rim: Rim) -> Callable[[], Pick]:
        state = self._state
        passage = claims.claim(
            ("original", self.config.via, *self._spoken()),
            lambda: Original(state.endpoint(ORIGINAL), rim.clock, partial(state.forget, ORIGINAL), state.name),
        )
        return lambda: passage.pick

    def _find(self, live: Claims | Table, rim: Rim) -> None:
        members = self._members
        members.found = [(self._endpoint(address, seat, live, rim), seat) for address, seat in members.seats.items()]

    def _endpoint(self, address: Address, seat: Seat, live: Claims | Table, rim: Rim) -> Endpoint:
        def make() -> Endpoint:
            name, state = str(address), self._state
            stats = state.endpoint(name)
            return Endpoint(address, stats, rim.clock, partial(state.forget, name), state.name, state.changed)

        return live.claim(self._key(address, seat), make)

    def _key(self, address: Address, seat: Seat) -> tuple[object, ...]:
        """With how it is reached and spoken to: other connections are not its own."""
        key = ("endpoint", address, seat.via, *self._spoken())
        return (*key, seat.host, seat.identity) if self._demands else key

    def _spoken(self) -> tuple[object, ...]:
        """From where it is reached, what is spoken, and what is to be proved: a connection on which less was proved, or
        something else, or that comes from elsewhere, is another one."""
        return (self.config.name, self.config.source, self.config.http.version, self._demands)


def _as_it_is(way: DialTo, offered: Offer = NOTHING) -> DialTo:  # noqa: ARG001 - within a tunnel nothing is offered
    return way


def seats(said: model.Cluster, known: Known) -> dict[Address, Seat]:
    """Who is in it.

    An address that has several names, or stands there as well, has the sum of their weights; else the first one counts.
    """
    found: dict[Address, Seat] = {}
    for endpoint in said.members:
        for address in addresses(endpoint, known):
            host = endpoint.address.host if isinstance(endpoint.address, Named) else ""
            seat = found.get(address) or Seat(
                0, endpoint.zone, endpoint.priority, endpoint.labels, host, endpoint.identity, endpoint.via or said.via
            )
            found[address] = replace(seat, weight=seat.weight + endpoint.weight)
    return found


def addresses(said: model.Endpoint, known: Known) -> tuple[Address, ...]:
    """What an endpoint stands for."""
    where = said.address
    if isinstance(where, Address):
        return (where,)
    hosts = known.get(where.host, ())
    return tuple(Address("ipv6" if ":" in host else "ipv4", host, where.port) for host in hosts)
