"""Connections of the workload: to services of the mesh with TLS, and to others as egress policy says.

For each port there is a chain for each entry that names where a connection is to go, then one for the entry that does
not; what none is for goes on where it was to go if `EnableEgress` says so, or is refused. Each request says by a header
who asks; a server that knows better believes the certificate instead.

What is to leave through an egress gateway does not leave in another way, whatever is wrong with that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from meshproxy.dialects.fsm.clusters import ORIGINAL, PLAIN, Clusters, Hop
from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.gateways import ALL, Gateways
from meshproxy.dialects.fsm.networks import network
from meshproxy.dialects.fsm.offer import Offer, of_connections, put_listener, put_nobody
from meshproxy.dialects.fsm.papers import Papers, own_identity, trust_domain
from meshproxy.dialects.fsm.rules import IDENTITY, Placed, Rules, put_table, refused
from meshproxy.dialects.fsm.said import Certificate, OutboundMatch
from meshproxy.dialects.fsm.said import Outbound as SaidOutbound
from meshproxy.dialects.fsm.scripts import Scripts
from meshproxy.schema.kinds import show_duration
from meshproxy.schema.shapes import Path

SIDE = "outbound"
PATH: Path = ("Outbound",)
NO_GATEWAY: Data = {"reply": {"status": 503, "body": "No egress gateway"}}


@dataclass(frozen=True, slots=True)
class Entry:
    """Matches of a port that are one, since they are for the same destinations; each with its place."""

    matches: list[tuple[OutboundMatch, Path]]

    @property
    def first(self) -> OutboundMatch:
        return self.matches[0][0]

    @property
    def path(self) -> Path:
        return self.matches[0][1]

    def by_certificate(self) -> Iterator[tuple[Certificate | None, list[str]]]:
        """Its destinations, by what is to be shown to them."""
        found: dict[Certificate | None, list[str]] = {}
        for text, said in self.first.destinations or ():
            found.setdefault(said.certificate if said else None, []).append(network(text))
        yield from found.items() or [(None, [])]


class Outbound:
    def __init__(self, draft: Draft, papers: Papers | None, scripts: Scripts, said: SaidOutbound) -> None:
        self.draft = draft
        self.papers = papers
        self.said = said
        self.clusters = Clusters(
            draft,
            (*PATH, "ClustersConfigs"),
            dict(said.clusters),
            own=papers,
            trust_domain=trust_domain(draft),
            of_mesh=frozenset(
                theirs
                for _, matches in said.matches
                for match in matches
                if match.destinations
                for theirs in _asked(match)
            ),
        )
        self.rules = Rules(draft, self.clusters, scripts.filters[SIDE], scripts.last)
        self.identity = own_identity(draft)
        self.gateways = Gateways(draft)

    def put(self) -> None:
        chains = [
            each
            for port, matches in self.said.matches
            for each in self._chains(port, matches, (*PATH, "TrafficMatches", str(port)))
        ]
        self.clusters.put()
        more: Data = {}
        if self.draft.said.spec.traffic.enable_egress:
            path: Path = ("Spec", "Traffic", "EnableEgress")
            more = {"cluster": self._original(self._leaving(PLAIN, "", path), path)}
        put_listener(self.draft, SIDE, self.draft.setting.sidecar.outbound, chains, more, PATH)

    def _chains(self, port: int, matches: Sequence[OutboundMatch], path: Path) -> Iterator[Placed]:
        entries: dict[object, Entry] = {}
        for place, match in enumerate(matches):
            entry = entries.setdefault((match.protocol, match.destinations), Entry([]))
            entry.matches.append((match, (*path, place)))
        named = [entry for entry in entries.values() if entry.first.destinations]
        others = [entry for entry in entries.values() if entry.first.destinations is None]
        for entry in entries.values():
            if entry.first.destinations == ():
                self.draft.note("ignored", entry.path, "an entry whose `DestinationIPRanges` are empty is for none")
        for entry in others[1:]:
            self.draft.note("ignored", entry.path, "an entry before it is for all destinations already")
        number = 0
        for entry in [*named, *others[:1]]:
            for given, destinations in entry.by_certificate():
                name = f"{SIDE}/{port}/{number}" if number else f"{SIDE}/{port}"
                number += 1
                wanted: Data = {"ports": [port]}
                if destinations:
                    wanted["destinations"] = destinations
                yield {"match": wanted, **self._towards(name, entry, given)}, entry.path

    def _towards(self, name: str, entry: Entry, given: Certificate | None) -> Data:
        hop = self._hop(entry, given)
        if not entry.first.is_http:
            return {"cluster": self._tcp(name, entry, hop)}
        rules = self._rules(entry, replace(hop, grpc=entry.first.is_grpc))
        return {"protocol": "http", "routes": put_table(self.draft, name, rules, entry.path)}

    def _hop(self, entry: Entry, given: Certificate | None) -> Hop:
        if given is not None:
            at = (*entry.path, "DestinationIPRanges")
            return Hop(Papers.of_source(self.draft, given, self.papers, at))
        return Hop(self.papers, mesh=True) if entry.first.destinations else PLAIN

    def _rules(self, entry: Entry, hop: Hop) -> Iterator[Placed]:
        offer = Offer.of(self.draft, entry.matches)
        asked = self.draft.said.spec.flags.auto_default_route and offer.of_any is None
        default = offer.first if asked else None
        for virtual in offer.virtual_hosts(any_host=True):
            service, _, path = virtual.placed
            way = self._way(entry, service.gateway, hop, path)
            if way is None:
                yield refused(path, virtual.hosts, NO_GATEWAY)
                continue
            again = default is not None and service is default[0][0]
            yield from self.rules.of(
                virtual.hosts, *virtual.placed, way, self._saying(service.identity), again=again
            )
            if virtual.alone or default is not None:
                yield refused(path, virtual.hosts)
        if default is not None:
            placed, known = default
            way = self._way(entry, placed[0].gateway, hop, placed[2])
            saying = {**self._saying(placed[0].identity), "rewrite": {"host": known}}
            if way is not None:
                yield from self.rules.of((), *placed, way, saying, again=True)
        yield refused(entry.path)

    def _saying(self, identity: str) -> Data:
        """Who asks, whatever the application says of it."""
        said = identity or self.identity
        return {"request_headers": {"set": {IDENTITY: said}} if said else {"remove": [IDENTITY]}}

    def _tcp(self, name: str, entry: Entry, hop: Hop) -> str:
        said, path = entry.first.tcp, (*entry.path, "TcpServiceRouteRules")
        for _, other in entry.matches[1:]:
            self.draft.note("ignored", other, "an entry before it is for the same destinations already")
        way = self._way(entry, said.gateway, hop, path)
        if way is None:
            return put_nobody(self.draft, path)
        cluster = of_connections(self.clusters, said, f"tcp@{name}", way, path)
        if cluster is not None:
            return cluster
        if not (said.egress or self.draft.said.spec.traffic.enable_egress):
            return put_nobody(self.draft, path)
        return self._original(way if way.via is not None else self._leaving(hop, "", path), path)

    def _way(self, entry: Entry, gateway: str, hop: Hop, path: Path) -> Hop | None:
        """How its clusters are asked; None: by gateways, and there is none."""
        said = gateway or next((match.gateway for match, _ in entry.matches if match.gateway), "")
        return hop if entry.first.destinations and not said else self._leaving(hop, said, path)

    def _leaving(self, hop: Hop, said: str, path: Path) -> Hop | None:
        """The same where it leaves the mesh, through gateways if a rule of them is said, or is for everything."""
        rule = said or (ALL if self.gateways.for_all else "")
        if not rule:
            return hop
        way = self.gateways.way(rule, path)
        papers = None if hop.mesh else hop.papers
        return None if way is None else replace(hop, papers=papers, mesh=False, via=way)

    def _original(self, hop: Hop | None, path: Path) -> str:
        """A cluster for what goes on to where it was to go; for nobody, if there is no way."""
        if hop is None:
            return put_nobody(self.draft, path)
        found: Data = {"original": True}
        wait = self.draft.said.spec.sidecar_timeout
        if wait:
            found["connect_timeout"] = show_duration(wait)
        marks = []
        if hop.via is not None:
            found["via"] = hop.via
            marks.append(hop.via)
        if hop.papers is not None and not hop.mesh:
            # Nobody knows beforehand which name is right.
            found["tls"] = hop.papers.client(None, verified=False)
            marks.append(hop.papers.digest)
        name = ORIGINAL + "@".join(marks)
        self.draft.put("clusters", name, found, path)
        return name


def _asked(match: OutboundMatch) -> Iterator[str]:
    """The clusters that it names."""
    targets = [match.tcp.targets, *(rule.targets for _, service in match.services for rule in service.rules)]
    yield from (theirs for each in targets for theirs, _ in each)
