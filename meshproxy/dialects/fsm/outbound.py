"""Connections of the workload: to services of the mesh with TLS, and to others as egress policy says.

For each port there is a chain for each entry that names where a connection is to go, then one for the entry that does
not; what none is for goes on where it was to go if `EnableEgress` says so, or is refused. Each request says by a header
who asks; a server that knows better believes the certificate instead.

What is to leave through an egress gateway, which is of a later version, does not leave in another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from meshproxy.dialects.fsm.clusters import ORIGINAL, PLAIN, Clusters, Hop
from meshproxy.dialects.fsm.draft import Data, Draft
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
EVERY_GATEWAY = "*"
NO_GATEWAY: Data = {"reply": {"status": 503, "body": "Egress gateways are of a later version"}}
GATEWAY = "egress gateways are of a later version: what is to go through one is refused"


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
        forward = draft.said.forward
        self.all_by_gateway = forward is not None and bool(dict(forward.matches).get(EVERY_GATEWAY))

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
            more = {"cluster": self._nobody(path) if self.all_by_gateway else self._original(PLAIN, path)}
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
        egress = not entry.first.destinations
        gateway = any(match.gateway for match, _ in entry.matches) or (egress and self.all_by_gateway)
        offer = Offer.of(self.draft, entry.matches)
        asked = self.draft.said.spec.flags.auto_default_route and offer.of_any is None
        default = offer.first if asked else None
        for virtual in offer.virtual_hosts(any_host=True):
            service, _, path = virtual.placed
            if gateway or service.gateway:
                self.draft.note("not-in-force", path, GATEWAY)
                yield refused(path, virtual.hosts, NO_GATEWAY)
                continue
            again = default is not None and service is default[0][0]
            yield from self.rules.of(
                virtual.hosts, *virtual.placed, hop, self._saying(service.identity), again=again
            )
            if virtual.alone or default is not None:
                yield refused(path, virtual.hosts)
        if default is not None and not (gateway or default[0][0].gateway):
            placed, known = default
            saying = {**self._saying(placed[0].identity), "rewrite": {"host": known}}
            yield from self.rules.of((), *placed, hop, saying, again=True)
        yield refused(entry.path)

    def _saying(self, identity: str) -> Data:
        """Who asks, whatever the application says of it."""
        said = identity or self.identity
        return {"request_headers": {"set": {IDENTITY: said}} if said else {"remove": [IDENTITY]}}

    def _tcp(self, name: str, entry: Entry, hop: Hop) -> str:
        said, path = entry.first.tcp, (*entry.path, "TcpServiceRouteRules")
        for _, other in entry.matches[1:]:
            self.draft.note("ignored", other, "an entry before it is for the same destinations already")
        if said.gateway or entry.first.gateway or (self.all_by_gateway and not entry.first.destinations):
            return self._nobody(path)
        cluster = of_connections(self.clusters, said, f"tcp@{name}", hop, path)
        if cluster is not None:
            return cluster
        if not (said.egress or self.draft.said.spec.traffic.enable_egress):
            return put_nobody(self.draft, path)
        return self._nobody(path) if self.all_by_gateway else self._original(hop, path)

    def _nobody(self, path: Path) -> str:
        self.draft.note("not-in-force", path, GATEWAY)
        return put_nobody(self.draft, path)

    def _original(self, hop: Hop, path: Path) -> str:
        """A cluster for what goes on to where it was to go."""
        found: Data = {"original": True}
        wait = self.draft.said.spec.sidecar_timeout
        if wait:
            found["connect_timeout"] = show_duration(wait)
        name = ORIGINAL
        if hop.papers is not None and not hop.mesh:
            # Nobody knows beforehand which name is right.
            found["tls"] = hop.papers.client(None, verified=False)
            name = f"{ORIGINAL}{hop.papers.digest}"
        self.draft.put("clusters", name, found, path)
        return name


def _asked(match: OutboundMatch) -> Iterator[str]:
    """The clusters that it names."""
    targets = [match.tcp.targets, *(rule.targets for _, service in match.services for rule in service.rules)]
    yield from (theirs for each in targets for theirs, _ in each)
