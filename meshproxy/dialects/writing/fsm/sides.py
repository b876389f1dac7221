"""The two listeners of a sidecar, as traffic by port.

    Inbound(config, said, clusters, papers).matches()       # {"80": {"Port": 8080, "Protocol": "http", ...}}
    Outbound(config, said, clusters, papers).matches()      # {"80": [{"DestinationIPRanges": ..., ...}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshproxy.dialects.writing.fsm.clusters import FULL, Clusters
from meshproxy.dialects.writing.fsm.papers import PATHS, Papers
from meshproxy.dialects.writing.fsm.rules import ANY_HOST, Rules, Service
from meshproxy.dialects.writing.fsm.units import seconds
from meshproxy.dialects.writing.names import account_of
from meshproxy.dialects.writing.said import Said
from meshproxy.model import Chain, Config, Listener

Data = dict[str, Any]

EVERYBODY = ("0.0.0.0/0", "::/0")
UNTOUCHED = {"forwarded": {"trusted": [*EVERYBODY], "headers": []}}
"""A sidecar adds nothing to what says who asked."""
NOBODY = "nobody"
"""A name that no certificate has: an empty list would be for everybody."""


class Side:
    name = ""

    def __init__(self, config: Config, said: Said, clusters: Clusters, papers: Papers | None) -> None:
        self.config = config
        self.said = said
        self.clusters = clusters
        self.papers = papers
        self.rules = Rules(config, clusters, inbound=self.name == "inbound")
        self._listener: Listener | None = None
        self.listener = Said(None)
        mine = set(getattr(config.sidecar, self.name))
        for listener, there in zip(config.listeners, said["listeners"], strict=True):
            if mine & set(listener.listen):
                self._listener, self.listener = listener, there

    def chains(self) -> Iterator[tuple[Chain, Said]]:
        """Each, in full, with the place where it was said; and the last where that is the listener itself."""
        if self._listener is None:
            return
        for key in ("name", "listen", "transparent", "protocol"):
            self.listener[key].take()
        if self.listener["http"].value == UNTOUCHED:
            self.listener["http"].take()
        for place, chain in enumerate(self._listener.outcomes):
            there = self.listener["chains"][place]
            if chain.protocol == "auto":
                (there or self.listener)["protocol"].lose("FSM says of each port what is spoken there")
                continue
            for key in ("protocol", "routes", "cluster"):
                (there if there[key] else self.listener)[key].take()
            yield chain, there or self.listener

    def offer(self, chain: Chain, port: int, *, mesh: bool) -> Data:
        """What is served there, in the words that both directions have."""
        found: Data = {"HttpHostPort2Service": None, "HttpServiceRouteRules": None, "TcpServiceRouteRules": None}
        if chain.protocol != "http":
            return {**found, "Protocol": "tcp", "TcpServiceRouteRules": self._tcp(chain, mesh=mesh)}
        table = next(table for table in self.config.routes if table.name == chain.routes)
        shares = [share for rule in table.rules for share in rule.shares]
        services = self.rules.services(table, self.said["routes"][table.name], mesh=mesh)
        return {
            **found,
            "Protocol": "grpc" if self.clusters.speak_h2(share.cluster for share in shares) else "http",
            "HttpHostPort2Service": dict(_hosts(services, port)),
            "HttpServiceRouteRules": {each.name: each.said for each in services},
        }

    def _tcp(self, chain: Chain, *, mesh: bool) -> Data:
        name = chain.cluster or ""
        if self.clusters.is_original(name):
            self.said["clusters"][name]["original"].take()
            return {"TargetClusters": None, "AllowedEgressTraffic": True}
        if self.clusters.is_nobody(name):
            self.said["clusters"][name].take()
            return {"TargetClusters": None}
        self.clusters.use(name, inbound=self.name == "inbound", mesh=mesh)
        return {"TargetClusters": {self.clusters.named(name, inbound=self.name == "inbound"): FULL}}


class Inbound(Side):
    name = "inbound"

    def __init__(self, config: Config, said: Said, clusters: Clusters, papers: Papers | None) -> None:
        super().__init__(config, said, clusters, papers)
        self.allowed: dict[str, None] = {}
        self._own: list[tuple[Said, list[str]]] = []

    def matches(self) -> Data:
        found: Data = {}
        self._take_papers()
        for chain, said in self.chains():
            ports = said["match"]["ports"].take([])
            if not ports or said["match"]["destinations"]:
                said.lose("FSM serves ports, each for all addresses of the workload")
                continue
            sources = said["match"]["sources"].take([])
            self.allowed |= dict.fromkeys(sources or EVERYBODY)
            for port in ports:
                outside = self._is_outside(chain)
                match = {"Port": port, "SourceIPRanges": None, **self.offer(chain, port, mesh=not outside)}
                match["RateLimit"] = self._limit(said["filters"])
                ranges = dict.fromkeys(sources or EVERYBODY, self._proof(chain, said)) if outside else {}
                if not outside and sources:
                    self._own.append((said["match"]["sources"], sources))
                self._merge(found.setdefault(str(port), match), match, ranges)
        for said, sources in self._own:
            if set(sources) != set(self.allowed):
                said.tell("FSM has one list of who may connect, for all ports")
        return found

    def _is_outside(self, chain: Chain) -> bool:
        """Whether it is for those who are not of the mesh: by their address, and whichever host they ask for."""
        if chain.protocol != "http":
            return chain.authorize is not None or bool(chain.match.sources and self.papers and not chain.tls)
        rules = next(table.rules for table in self.config.routes if table.name == chain.routes)
        leading = [rule for rule in rules if rule.shares]
        return bool(chain.match.sources and leading) and not any(rule.match.hosts for rule in leading)

    def _proof(self, chain: Chain, said: Said) -> Data | None:
        """What they have to prove: nothing, or by a certificate who they are."""
        if chain.tls == ():
            said["tls"].take()
            return None
        rules = [*self._rules(chain)] if chain.routes else []
        own = said["authorize"] or self.listener["authorize"]
        listed = [rule["authorize"] for rule in rules if not rule["reply"]] or [own]
        if any(each.value != listed[0].value for each in listed) or not listed[0]:
            return {"mTLS": True, "SkipClientCertValidation": True, "AuthenticatedPrincipals": None}
        principals: dict[str, None] = {}
        for each in listed:
            each.take()
        for entry in listed[0]:
            if set(entry.value) == {"identities"}:
                principals |= dict.fromkeys(map(self._principal, entry["identities"].value))
            else:
                entry.lose("FSM admits by identity alone: it lets in nobody")
        return {"mTLS": True, "SkipClientCertValidation": False, "AuthenticatedPrincipals": [*principals] or [NOBODY]}

    def _rules(self, chain: Chain) -> Said:
        table = self.said["routes"][chain.routes or ""]
        return table["rules"] if isinstance(table.value, dict) else table

    def _principal(self, identity: str) -> str:
        """As a name in a certificate."""
        domain = self.config.node.trust_domain
        account = account_of(identity, domain)
        return identity if account is None else f"{account.name}.{account.namespace}.{domain}"

    def _merge(self, before: Data, match: Data, outside: Data) -> None:
        """Of one port there is one entry, with what is for those outside the mesh under the host `*`."""
        if outside:
            before["SourceIPRanges"] = {**(before["SourceIPRanges"] or {}), **outside}
        for key in ("HttpHostPort2Service", "HttpServiceRouteRules"):
            if before is not match and match[key]:
                before[key] = {**(before[key] or {}), **match[key]}
        before["RateLimit"] = before["RateLimit"] or match["RateLimit"]

    def _limit(self, filters: Said) -> Data | None:
        for each in filters:
            limit = each["rate_limit"]
            if limit:
                found = {
                    "Connections": limit["connections"].take(), "StatTimeWindow": seconds(limit["per"].take("1s"))
                }
                return {"Local": {**found, "Burst": limit["burst"].take()} if limit["burst"] else found}
        return None

    def _take_papers(self) -> None:
        tls = self.listener["tls"]
        if tls and Papers.of(tls, "client_ca") is None:
            tls.lose(PATHS)
        for key in ("certificate", "key", "client_ca", "identity"):
            tls[key].take()


class Outbound(Side):
    name = "outbound"

    @property
    def egress(self) -> bool:
        """Whether what nothing is for goes on to where it was to go."""
        name = self.listener["cluster"].value
        return name is not None and self.clusters.is_original(name)

    def matches(self) -> Data:
        found: Data = {}
        if self.egress:
            self.said["clusters"][self.listener["cluster"].take()]["original"].take()
        for chain, said in self.chains():
            if said is self.listener and self.egress:
                continue
            ports = said["match"]["ports"].take([])
            destinations = said["match"]["destinations"].take([])
            if not ports:
                said.lose("FSM serves ports: a chain without them cannot be said")
            for port in ports:
                entry = {"DestinationIPRanges": dict.fromkeys(destinations) or None, "Port": port}
                found.setdefault(str(port), []).append({**entry, **self.offer(chain, port, mesh=bool(destinations))})
        return found


def _hosts(services: list[Service], port: int) -> Iterator[tuple[str, str]]:
    known = {host for service in services for host in service.hosts}
    for service in services:
        for host in service.hosts or (ANY_HOST,):
            yield host, service.name
            # A host of ours without a port is one with any port.
            if ":" not in host and host != ANY_HOST and f"{host}:{port}" not in known:
                yield f"{host}:{port}", service.name
