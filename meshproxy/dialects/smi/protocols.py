"""What is spoken on a port of a service: HTTP, or nothing that is looked into.

    Protocols(mesh).of(books, port)         # "http" | "tcp"

What the Service says of its port counts most. Where it says nothing, policy for requests is policy for HTTP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from meshproxy.dialects.smi.kubernetes import ServicePort
from meshproxy.dialects.smi.mesh import Known, Mesh, Port
from meshproxy.dialects.smi.references import service_key
from meshproxy.dialects.smi.resources import Key, TrafficTarget

Protocol = Literal["http", "tcp"]

HTTP2 = ("grpc", "grpc-web", "http2", "h2c", "kubernetes.io/h2c")
HTTP = ("http", "kubernetes.io/ws", *HTTP2)
OTHERS = ("tcp", "tls", "https", "udp", "sctp")
"""Names of ports that say that it is not HTTP in clear; others may mean anything."""


def said(port: ServicePort) -> Protocol | None:
    """What its `appProtocol` says, or else its name up to the first dash."""
    if port.app_protocol:
        return "http" if port.app_protocol.lower() in HTTP else "tcp"
    word = _word(port)
    return "http" if word in HTTP or word.startswith("grpc") else "tcp" if word in OTHERS else None


def needs_http2(port: ServicePort) -> bool:
    word = port.app_protocol.lower() or _word(port)
    return word in HTTP2 or word.startswith("grpc")


def _word(port: ServicePort) -> str:
    return port.name.partition("-")[0]


class Protocols:
    def __init__(self, mesh: Mesh, more: Iterable[tuple[Known, Key]] = ()) -> None:
        """`more` are services of which it is known in another way who stands behind them."""
        self._more: dict[Key, set[Key]] = defaultdict(set)
        for service, account in more:
            self._more[service.key].add(account)
        self._asked: dict[Key, list[set[int] | None]] = defaultdict(list)
        """Of which service accounts requests are looked at, and on which ports; None: on all."""
        for target in mesh.objects.targets.values():
            if any(rule.kind == "HTTPRouteGroup" for rule in target.rules):
                ports = _ports(mesh, target)
                for account in mesh.accounts_of(target.destination):
                    self._asked[account].append(ports)
        self._split: set[Key] = set()
        """Services of splits that look at requests."""
        self._beside: dict[Key, set[Key]] = defaultdict(set)
        """Who shares what with whom: they speak the same."""
        for split in mesh.objects.splits.values():
            names = (split.service, *(backend.service for backend in split.backends))
            found = {service_key(name, split.namespace, mesh.trust_domain) for name in names}
            keys = {key for key in found if key is not None and key in mesh.services}
            for key in keys:
                self._beside[key] |= keys
            if split.matches:
                self._split |= keys
        self._mesh = mesh
        self._known: dict[tuple[Key, int], Protocol] = {}

    def of(self, service: Known, port: Port) -> Protocol:
        key = service.key, port.number
        if key not in self._known:
            self._known[key] = said(port.said) or self._guess(service, port)
        return self._known[key]

    def _guess(self, service: Known, port: Port) -> Protocol:
        for key in {service.key, *self._beside.get(service.key, ())}:
            its = self._mesh.services[key].port(port.number)
            if its is not None and (said(its.said) or self._by_policy(self._mesh.services[key], its)) == "http":
                return "http"
        return "tcp"

    def _by_policy(self, service: Known, port: Port) -> Protocol:
        if service.key in self._split:
            return "http"
        numbers = {port.number, port.said.target, *(each.port for each in service.endpoints(port))}
        for account in service.accounts | self._more.get(service.key, set()):
            for ports in self._asked.get(account, ()):
                if ports is None or ports & numbers:
                    return "http"
        return "tcp"


def _ports(mesh: Mesh, target: TrafficTarget) -> set[int] | None:
    """Those that the target is for."""
    routes = [
        mesh.objects.tcp[target.namespace, rule.name].ports for rule in target.rules if rule.kind == "TCPRoute"
    ]
    if target.port is not None:
        return {target.port}
    return {port for ports in routes for port in ports} if routes and all(routes) else None
