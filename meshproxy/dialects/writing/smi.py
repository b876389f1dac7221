"""A configuration as resources of SMI: who may ask whom, and how traffic is split.

    resources = write(config, said)     # TrafficTarget, HTTPRouteGroup, TCPRoute, TrafficSplit
    said.lost, said.left()              # what was lost: with a reason, and for want of words

SMI adds up what is allowed, and has no word for what is not. So an entry of which it can say only a part is left out
as a whole, which lets in fewer; and where a rule is overlapped by another that lets in more, that is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshproxy.core.route import considered
from meshproxy.dialects.writing import expressions
from meshproxy.dialects.writing.names import Account, Names, accounts, service_of_cluster, service_of_hosts
from meshproxy.dialects.writing.overlap import wider
from meshproxy.dialects.writing.said import Said
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Address, Config, Rule

ACCESS = "access.smi-spec.io/v1alpha3"
SPECS = "specs.smi-spec.io/v1alpha4"
SPLIT = "split.smi-spec.io/v1alpha4"

WHOSE = "SMI says whom a service account lets in: say it in `node`, or with --as sidecar --service-account"

Resource = dict[str, Any]
Conditions = list[dict[str, Any]]
"""Matches of a group of routes, any of which holds; an empty mapping: any request."""

EVERYTHING: Conditions = [{}]


def write(config: Config, said: Said) -> list[Resource]:
    policy = _Policy(config, said)
    policy.routes()
    policy.connections()
    policy.surroundings()
    return policy.resources


@dataclass
class _Policy:
    config: Config
    said: Said
    resources: list[Resource] = field(default_factory=list)
    names: Names = field(default_factory=Names)

    @property
    def namespace(self) -> str:
        return self.config.node.namespace or "default"

    # Requests -------------------------------------------------------------------------------------

    def routes(self) -> None:
        for table, (name, there) in zip(self.config.routes, self.said["routes"].items(), strict=True):
            rules = there["rules"] if isinstance(there.value, dict) else there
            if isinstance(there.value, dict):
                there["order"].take()
            for (called, rule), said in zip(table.named(), rules, strict=True):
                said["name"].take()
                self._rule(called, rule, said, self._served(name))
            order = considered(((rule.match, rule) for rule in table.rules), written=table.order == "written")
            places = {id(rule): place for place, rule in enumerate(table.rules)}
            for here, other in wider([rule for _, rule in order]):
                also = table.rules[places[id(other)]].name or f"{name}/{places[id(other)]}"
                rules[places[id(here)]].tell(f"SMI adds up what is allowed: whom `{also}` lets in may ask this too")

    def _served(self, table: str | None = None) -> tuple[int, ...]:
        """The ports on which HTTP is served, by a table or by any."""
        found = {
            port
            for listener in self.config.listeners
            if not set(listener.listen) & set(self.config.sidecar.outbound)
            for chain in listener.outcomes
            if chain.protocol == "http" and table in (None, chain.routes)
            for port in chain.match.ports or [address.port for address in listener.listen]
        }
        return tuple(sorted(found))

    def _only(self, name: str, ports: tuple[int, ...]) -> list[Resource]:
        """What keeps a target from being for all ports of the workload."""
        if ports == self._served():
            return []
        return [self._resource(SPECS, "TCPRoute", name, {"matches": {"ports": [*ports]}})]

    def _rule(self, name: str, rule: Rule, said: Said, ports: tuple[int, ...]) -> None:
        if rule.authorize is not None or rule.match.identities:
            self._access(name, rule, said, ports)
        if rule.split:
            self._split(name, said)
        elif self._is_plain(rule):
            said["cluster"].take()
            said["match"]["hosts"].take()

    def _is_plain(self, rule: Rule) -> bool:
        """Whether it only says what everybody knows: that a service is asked by its name, or the workload itself."""
        if not rule.cluster:
            return False
        hosts = service_of_hosts(rule.match.hosts, self.namespace)
        return hosts == service_of_cluster(rule.cluster, self.namespace) or self._is_local(rule.cluster)

    def _is_local(self, name: str | None) -> bool:
        found = [cluster.members for cluster in self.config.clusters if cluster.name == name]
        addresses = [endpoint.address for members in found for endpoint in members]
        return bool(addresses) and all(isinstance(each, Address) and each.is_local for each in addresses)

    def _access(self, name: str, rule: Rule, said: Said, ports: tuple[int, ...]) -> None:
        entries = [*said["authorize"]] if said["authorize"] else [said["match"]]
        if not said["authorize"].value:
            # Nobody, or whom the rule itself is for.
            said["authorize"].take()
        if rule.match.identities and rule.authorize is not None:
            said["authorize"].lose("SMI cannot say two lists of identities that must both hold: it lets in nobody")
            return
        asked = self._conditions(said["match"])
        if asked is None:
            said["authorize"].lose("SMI cannot say all of what is asked of a request here: it lets in nobody")
            return
        for entry in entries:
            also = EVERYTHING if entry.key == "match" else self._admission(entry)
            both = None if also is None else _both(asked, also)
            if both is None:
                entry.lose("SMI cannot say all of what is asked here: it lets in nobody")
                continue
            sources = self._sources(entry["identities"])
            # Without a match a group might be for everything.
            if sources and both:
                self._target(name, sources, [self._group(name, both), *self._only(name, ports)])
        # Whose service this is, SMI knows; and to what else the rule leads, is not its affair.
        if service_of_hosts(rule.match.hosts, self.namespace) and self.config.node.service:
            said["match"]["hosts"].take()

    def _admission(self, entry: Said) -> Conditions | None:
        if entry["sources"]:
            return None
        found: Conditions = []
        for path in [expressions.of_path(each.take()) for each in entry["paths"]] or [None]:
            each = self._requests(entry, path)
            if each is None:
                return None
            found += each
        return found

    def _conditions(self, match: Said) -> Conditions | None:
        """Of a request, what the match asks; None where it asks for more than SMI can say."""
        if match["query"] or match["grpc"]:
            return None
        path = match["path"]
        return self._requests(match, expressions.of_path(path.take()) if path else None)

    def _requests(self, asked: Said, path: str | None = None) -> Conditions | None:
        found: dict[str, Any] = {} if path is None else {"pathRegex": path}
        if asked["methods"].value:
            found["methods"] = asked["methods"].take()
        headers = {}
        for name, value in asked["headers"].items():
            expression = expressions.of_value(value.value)
            if expression is None:
                return None
            value.take()
            # Whether a value may go on after what matches is not the same to all who read SMI.
            headers[name] = expression if expression.endswith(("$", expressions.ANYTHING)) else f"{expression}.*"
        if headers:
            found["headers"] = headers
        return [found]

    def _sources(self, identities: Said) -> list[Resource]:
        return [_account(account) for account in accounts(identities, self.config.node.trust_domain, "SMI")]

    # Connections ----------------------------------------------------------------------------------

    def connections(self) -> None:
        for listener, said in zip(self.config.listeners, self.said["listeners"], strict=True):
            if listener.authorize is not None and not listener.chains:
                ports = [address.port for address in listener.listen if address.port]
                self._connections(said, listener.name, said, ports)
            for place in range(len(listener.chains)):
                there = said["chains"][place]
                ports = there["match"]["ports"].take([])
                name = f"{listener.name}-{'-'.join(map(str, ports)) or place}"
                if there["authorize"] or said["authorize"]:
                    self._connections(there, name, there if there["authorize"] else said, ports)

    def _connections(self, said: Said, name: str, who: Said, ports: list[int]) -> None:
        for key in ("name", "protocol", "listen"):
            said[key].take()
        if self._is_local(said["cluster"].value):
            said["cluster"].take()
        self._ports(name, who, ports, said["match"])

    def _ports(self, name: str, said: Said, ports: list[int], match: Said) -> None:
        entries = [*said["authorize"]]
        if match.key == "match" and set(match.value or ()) - {"ports"}:
            said["authorize"].lose("SMI can ask of a connection for its port alone: it lets in nobody")
            return
        said["authorize"].take()
        for entry in entries:
            if entry["sources"]:
                entry.lose("SMI cannot say `sources`: it lets in nobody")
                continue
            sources = self._sources(entry["identities"])
            if sources:
                spec = {"matches": {"ports": ports}} if ports else {}
                self._target(name, sources, [self._resource(SPECS, "TCPRoute", name, spec)])

    # Shares ---------------------------------------------------------------------------------------

    def _split(self, name: str, said: Said) -> None:
        hosts = said["match"]["hosts"]
        root = service_of_hosts(hosts.value or (), self.namespace)
        if root is None:
            said["split"].lose("SMI splits what is sent to a service: `match.hosts` must be the names of one")
            return
        asked = self._conditions(said["match"])
        if asked is None:
            said["split"].lose("SMI cannot say all of what is asked of a request here: it splits nothing")
            return
        backends = []
        for share in said["split"]:
            service = service_of_cluster(share["cluster"].value, root.namespace)
            if service is None or service.namespace != root.namespace:
                share.lose(f"`{share['cluster'].value}` is no service of the namespace `{root.namespace}`")
            elif share["headers"] or share["cookies"]:
                share.lose("SMI has no share that asks for headers or cookies")
            else:
                share["cluster"].take()
                backends.append({"service": service.name, "weight": share["weight"].take(1)})
        longest = max((host.partition(":")[0] for host in hosts.several()), key=len)
        spec: dict[str, Any] = {"service": longest, "backends": backends}
        if asked != EVERYTHING:
            spec["matches"] = [{"kind": "HTTPRouteGroup", "name": self._group(name, asked, root.namespace)["name"]}]
        self._resource(SPLIT, "TrafficSplit", name, spec, root.namespace)

    # Resources ------------------------------------------------------------------------------------

    def _target(self, name: str, sources: list[Resource], rules: list[Resource]) -> None:
        node = self.config.node
        if not node.service_account:
            raise Invalid([Problem("node.service_account", WHOSE)])
        spec = {"destination": _account(Account(self.namespace, node.service_account)), "rules": rules}
        self._resource(ACCESS, "TrafficTarget", name, {**spec, "sources": sources})

    def _group(self, name: str, asked: Conditions, namespace: str = "") -> Resource:
        matches = [{"name": f"match-{place}", **each} for place, each in enumerate(asked)]
        return self._resource(SPECS, "HTTPRouteGroup", name, {"matches": matches}, namespace)

    def _resource(self, version: str, kind: str, name: str, spec: Resource, namespace: str = "") -> Resource:
        """Put among the others; how it is referred to."""
        called = self.names.new(kind, name)
        metadata = {"name": called, "namespace": namespace or self.namespace}
        self.resources.append({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
        return {"kind": kind, "name": called}

    # All else -------------------------------------------------------------------------------------

    def surroundings(self) -> None:
        self.said["node"].take()
        for section in set(self.said.value) - {"node", "listeners", "routes", "clusters"}:
            self.said[section].lose("it is no policy: keep it in a document of ours beside the resources")
        for cluster in self.said["clusters"]:
            cluster["endpoints"].lose("who serves a service is said by Kubernetes, in Service and EndpointSlice")


def _account(account: Account) -> Resource:
    return {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}


def _both(some: Conditions, more: Conditions) -> Conditions | None:
    """What holds of both; None where no one match can say it."""
    found: Conditions = []
    for first in some:
        for second in more:
            if {"pathRegex"} <= first.keys() & second.keys():
                return None
            both = {**first, **second}
            if first.keys() & second.keys() & {"methods"}:
                both["methods"] = [method for method in first["methods"] if method in second["methods"]]
                if not both["methods"]:
                    continue
            headers = {**first.get("headers", {}), **second.get("headers", {})}
            if len(headers) < len(first.get("headers", ())) + len(second.get("headers", ())):
                return None
            found.append({**both, "headers": headers} if headers else both)
    return found

