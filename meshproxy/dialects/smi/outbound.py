"""The side on which a workload asks: a chain for each service, or one for all of HTTP on a port, and who serves them.

What a request is for is in its Host: so all services of HTTP on one port have one chain and one table, however many
there are. Of connections only the address is known, so each other service has a chain of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from meshproxy.dialects.smi.matches import headers_of, path_of
from meshproxy.dialects.smi.mesh import Endpoint, Known, Mesh, Port
from meshproxy.dialects.smi.papers import Papers
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.protocols import Protocols
from meshproxy.dialects.smi.references import CLUSTER_DOMAIN
from meshproxy.dialects.smi.resources import HttpMatch
from meshproxy.dialects.smi.splits import LARGEST_WEIGHT, Branch, Share, Splits
from meshproxy.dialects.translation import Setting, Words
from meshproxy.errors import Invalid

NAME = "outbound"
MOST_ENDPOINTS = 200_000
"""Of all clusters: services times ports times pods, of which a small document may make any number."""


def write(mesh: Mesh, protocols: Protocols, setting: Setting, words: Words) -> None:
    _Outbound(mesh, protocols, setting, words).write()


@dataclass(slots=True)
class Chain:
    """As it is gathered: where connections go that are made to a port of any of these addresses."""

    place: Place
    port: int
    target: dict[str, Any]
    destinations: dict[str, None] = field(default_factory=dict)


class _Outbound:
    def __init__(self, mesh: Mesh, protocols: Protocols, setting: Setting, words: Words) -> None:
        self.mesh = mesh
        self.protocols = protocols
        self.setting = setting
        self.words = words
        self.papers = Papers.of(setting.sidecar)
        self.splits = Splits(mesh, words)
        self.tables: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.chains: dict[tuple[int, str], Chain] = {}
        self.endpoints = 0

    def write(self) -> None:
        for service in self.mesh.services.values():
            for port in service.ports:
                self._serve(service, port)
        for number, rules in self.tables.items():
            first = self.chains[number, ""].place
            self.words.put("routes", _table(number), {"order": "written", "rules": rules}, first.sheet, first.path)
        if not self.chains:
            return
        chains = [self.chains[key] for key in sorted(self.chains)]
        at = len(self.words.value.get("listeners", ()))
        for index, chain in enumerate(chains):
            chain.place.said(self.words, "listeners", at, "chains", index)
        listener = {
            "listen": [str(address) for address in self.setting.sidecar.outbound],
            "transparent": True,
            "protocol": "tcp",
            "chains": [
                {"match": {"ports": [chain.port], "destinations": [*chain.destinations]}, **chain.target}
                for chain in chains
            ],
        }
        self.words.put("listeners", NAME, listener, chains[0].place.sheet, chains[0].place.path)

    def _serve(self, service: Known, port: Port) -> None:
        endpoints = service.endpoints(port)
        self._cluster(service.cluster(port), service, port, [(each, 1) for each in endpoints])
        destinations = [*service.said.ips, *(each.ip for each in endpoints)]
        if not destinations:
            message = f"{service} has no address on port {port.number}: neither `clusterIP` nor a pod that is ready"
            port.place.note(self.words, "ignored", message)
            return
        protocol = self.protocols.of(service, port)
        branches = self.splits.of(service, port, protocol)
        # Who asks a service without an address of its own asks a pod, at the port that the pod has.
        numbers = {each.port for each in endpoints} if service.said.headless else {port.number}
        for number in sorted(numbers):
            if protocol == "http":
                chain = self._chain(port, number, "", {"protocol": "http", "routes": _table(number)})
                self._rules(service, port, number, branches)
            else:
                cluster = self._shared(service, port, branches[-1])
                chain = self._chain(port, number, service.cluster(port), {"protocol": "tcp", "cluster": cluster})
            chain.destinations.update(dict.fromkeys(destinations))

    def _chain(self, port: Port, number: int, name: str, target: dict[str, Any]) -> Chain:
        return self.chains.setdefault((number, name), Chain(port.place, number, target))

    def _cluster(self, name: str, service: Known, port: Port, endpoints: list[tuple[Endpoint, int]]) -> None:
        self.endpoints += len(endpoints)
        if self.endpoints > MOST_ENDPOINTS:
            message = f"services have more than {MOST_ENDPOINTS} endpoints, each counted for each port and split"
            raise Invalid([service.place.problem(message)])
        speaks_tls = self.papers is not None and bool(service.said.spec.selector)
        written: list[Any] = []
        for index, (endpoint, weight) in enumerate(endpoints):
            endpoint.place.said(self.words, "clusters", name, "endpoints", index)
            whole: dict[str, Any] = {"address": endpoint.address}
            if weight != 1:
                whole["weight"] = weight
            if endpoint.zone:
                whole["zone"] = endpoint.zone
            if speaks_tls and endpoint.account is not None:
                whole["identity"] = "/".join(endpoint.account)
            written.append(whole if len(whole) > 1 else endpoint.address)
        cluster: dict[str, Any] = {"endpoints": written}
        if speaks_tls and self.papers is not None:
            cluster["tls"] = self.papers.client
        self.words.put("clusters", name, cluster, port.place.sheet, port.place.path)

    # HTTP -----------------------------------------------------------------------------------------

    def _rules(self, service: Known, port: Port, number: int, branches: list[Branch]) -> None:
        hosts = [*self._hosts(service)]
        for branch in branches:
            for match in branch.matches or (None,):
                rules = self.tables[number]
                at = ("routes", _table(number), "rules", len(rules))
                branch.place.said(self.words, *at)
                rules.append(self._rule(service.cluster(port), hosts, branch, match))
                if match is not None:
                    match.place.below("pathRegex").said(self.words, *at, "match", "path")
                    match.place.below("headers").said(self.words, *at, "match", "headers")
                if branch.split is not None:
                    for index, share in enumerate(branch.shares):
                        share.place.said(self.words, *at, "split", index)

    @staticmethod
    def _rule(name: str, hosts: list[str], branch: Branch, match: HttpMatch | None) -> dict[str, Any]:
        asked: dict[str, Any] = {"hosts": hosts}
        if match is not None:
            path, headers = path_of(match), headers_of(match)
            asked.update({"path": path} if path is not None else {})
            asked.update({"methods": [*match.methods]} if match.methods else {})
            asked.update({"headers": headers} if headers else {})
        rule: dict[str, Any] = {"name": name, "match": asked}
        if branch.split is None:
            return {**rule, "cluster": name}
        if branch.matches:
            rule["name"] = f"{name}/{branch.split.name}"
        return {**rule, "split": [{"cluster": _cluster(each), "weight": each.weight} for each in branch.shares]}

    def _hosts(self, service: Known) -> Iterator[str]:
        """What clients call it; in our words a host without a port is for every port."""
        if service.namespace == self.setting.node.namespace:
            yield service.name
        yield f"{service.name}.{service.namespace}"
        yield f"{service.name}.{service.namespace}.svc"
        for domain in dict.fromkeys((CLUSTER_DOMAIN, self.mesh.trust_domain)):
            yield f"{service.name}.{service.namespace}.svc.{domain}"
        yield from (f"[{ip}]" if ":" in ip else ip for ip in service.said.ips)

    # Connections ----------------------------------------------------------------------------------

    def _shared(self, service: Known, port: Port, branch: Branch) -> str:
        """The cluster of a branch: a connection is for one, so a split of several is a cluster of all endpoints."""
        if branch.split is None:
            return service.cluster(port)
        name = f"{service.cluster(port)}|{branch.split.name}"
        self._cluster(name, service, port, _weighted(branch.shares))
        return name


def _table(number: int) -> str:
    return f"{NAME}|{number}"


def _cluster(share: Share) -> str:
    return share.service.cluster(share.port)


def _weighted(shares: tuple[Share, ...]) -> list[tuple[Endpoint, int]]:
    """Each endpoint with its part of the weight of its service; who serves several has the sum."""
    found: dict[str, Endpoint] = {}
    weights: dict[str, Fraction] = defaultdict(Fraction)
    for share in shares:
        endpoints = share.service.endpoints(share.port)
        for endpoint in endpoints if share.weight else ():
            found.setdefault(endpoint.address, endpoint)
            weights[endpoint.address] += Fraction(share.weight, len(endpoints))
    common = math.lcm(*(weight.denominator for weight in weights.values()))
    least = math.gcd(*(int(weight * common) for weight in weights.values())) or 1
    whole = {address: int(weight * common) // least for address, weight in weights.items()}
    most = max(whole.values(), default=1)
    if most > LARGEST_WEIGHT:
        whole = {address: max(1, round(weight * LARGEST_WEIGHT / most)) for address, weight in whole.items()}
    return [(found[address], weight) for address, weight in whole.items()]
