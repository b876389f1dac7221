"""Connections for the workload: a chain for each port, and before it one for each kind of clients outside the mesh.

Those of the mesh have to prove who they are, and ask for a host that is named. Those of `SourceIPRanges` (an ingress,
or whom an AccessControl lets in) are served the rules of the host `*`, with or without TLS as is said of them. Nobody
is let in whose address is not among the `AllowedEndpoints`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from meshproxy.dialects.fsm import limits
from meshproxy.dialects.fsm.clusters import PLAIN, PLAIN_GRPC, Clusters, Hop, name_of
from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.networks import Networks
from meshproxy.dialects.fsm.offer import Offer, of_connections, put_listener, put_nobody
from meshproxy.dialects.fsm.papers import Papers, put_trust_domain, trust_domain
from meshproxy.dialects.fsm.rules import IDENTITY, Placed, Rules, put_table, refused
from meshproxy.dialects.fsm.said import Inbound as SaidInbound
from meshproxy.dialects.fsm.said import InboundMatch, SourceSpec
from meshproxy.dialects.fsm.scripts import Scripts
from meshproxy.schema.shapes import Path

SIDE = "inbound"
PATH: Path = ("Inbound",)
NO_SPEC = SourceSpec()


class Inbound:
    def __init__(self, draft: Draft, papers: Papers | None, scripts: Scripts, said: SaidInbound) -> None:
        self.draft = draft
        self.papers = papers
        self.said = said
        outbound = draft.said.outbound
        taken = frozenset(name_of(name) for name, _ in outbound.clusters) if outbound else frozenset()
        self.clusters = Clusters(draft, (*PATH, "ClustersConfigs"), dict(said.clusters), taken, local=True)
        claim: list[Data] = []
        if papers is not None and draft.compat.identity == "certificate":
            claim = [{"claim": {"header": IDENTITY}}]
            put_trust_domain(draft)
        self.rules = Rules(draft, self.clusters, [*claim, *scripts.filters[SIDE]], scripts.last, trust_domain(draft))
        self.allowed = Networks(address for address, _ in draft.said.allowed or ())

    def put(self) -> None:
        if self.draft.said.allowed is None and self.said.matches:
            self.draft.note("ignored", PATH, "nobody is let in: there are no `AllowedEndpoints`")
        chains = [
            each
            for port, match in self.said.matches
            for each in self._chains(port, match, (*PATH, "TrafficMatches", str(port)))
        ]
        self.clusters.put()
        more: Data = {}
        if self.papers is not None:
            more["tls"] = self.papers.server()
        put_listener(self.draft, SIDE, self.draft.setting.sidecar.inbound, chains, more, PATH)

    def _chains(self, port: int, match: InboundMatch, path: Path) -> Iterator[Placed]:
        allowed = self.allowed if match.endpoints is None else Networks(address for address, _ in match.endpoints)
        limit = limits.of_connections(match.limits)
        filters: Data = {"filters": limit} if limit else {}
        for place, (spec, group) in enumerate(groupby(match.sources, lambda each: each[1] or NO_SPEC)):
            ranges = [network for network, _ in group]
            at = (*path, "SourceIPRanges", ranges[0])
            if spec.mtls and self.papers is None:
                self.draft.problem(at, "`mTLS` needs the `Certificate` of the workload, and there is none")
            if any("*" in principal for principal in spec.principals):
                # Of ours it would be a pattern, for more than was meant.
                self.draft.problem((*at, "AuthenticatedPrincipals"), "a principal is a name without `*`")
            if sources := allowed.within(ranges):
                self.draft.make(len(sources), at)
                said = self._of_others(f"{SIDE}/{port}/{place}", match, spec, path)
                yield {"match": {"ports": [port], "sources": sources}, **said, **filters}, at
            else:
                self.draft.note("ignored", at, "nobody is let in: none of `AllowedEndpoints` is in this range")
        if allowed.all:
            self.draft.make(len(allowed.all), path)
            said = self._of_mesh(f"{SIDE}/{port}", match, path)
            if self.papers is not None and self.draft.setting.sidecar.permissive:
                said["permissive"] = True
            yield {"match": {"ports": [port], "sources": allowed.all}, **said, **filters}, path

    def _of_mesh(self, name: str, match: InboundMatch, path: Path) -> Data:
        if not match.is_http:
            return self._tcp(name, match, path)
        return {"protocol": "http", "routes": put_table(self.draft, name, self._mesh_rules(match, path), path)}

    def _mesh_rules(self, match: InboundMatch, path: Path) -> Iterator[Placed]:
        offer = Offer.of(self.draft, [(match, path)])
        for virtual in offer.virtual_hosts(any_host=False):
            yield from self.rules.of(virtual.hosts, *virtual.placed, _hop(match), {})
            if virtual.alone:
                yield refused(path, virtual.hosts)
        yield refused(path)

    def _of_others(self, name: str, match: InboundMatch, spec: SourceSpec, path: Path) -> Data:
        chain: Data = {"tls": []} if self.papers is not None and not spec.mtls else {}
        checked = spec.mtls and not spec.skip and spec.principals
        admitted: Data = {"authorize": [{"identities": list(spec.principals)}]} if checked else {}
        if not match.is_http:
            return {**chain, **admitted, **self._tcp(name, match, path)}
        rules = self._rules_of_any(match, admitted, path)
        return {**chain, "protocol": "http", "routes": put_table(self.draft, name, rules, path)}

    def _rules_of_any(self, match: InboundMatch, admitted: Data, path: Path) -> Iterator[Placed]:
        """Those of the host `*`, whichever was asked for."""
        placed = Offer.of(self.draft, [(match, path)]).of_any
        if placed is not None:
            yield from self.rules.of((), *placed, _hop(match), admitted)
        yield refused(path)

    def _tcp(self, name: str, match: InboundMatch, path: Path) -> Data:
        at = (*path, "TcpServiceRouteRules")
        found = of_connections(self.clusters, match.tcp, f"tcp@{name}", PLAIN, at)
        return {"cluster": found or put_nobody(self.draft, at)}


def _hop(match: InboundMatch) -> Hop:
    return PLAIN_GRPC if match.is_grpc else PLAIN
