"""Who is who: which workloads there are, which services lead to them, on which ports, and who is behind an address.

    mesh = Mesh(objects, "cluster.local")
    books = mesh.services["shop", "books"]
    books.endpoints(books.ports[0])         # (Endpoint("10.1.0.7:8080", zone="a", account=("shop", "books")),)
    books.accounts                          # {("shop", "books")}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from meshproxy.dialects.smi.kubernetes import EndpointPort, EndpointSlice, PodSpec, Reference, Service, ServicePort
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.resources import Found, IdentityBinding, Key, Objects, Party

SERVES = "TCP"


@dataclass(frozen=True, slots=True, eq=False)
class Kin:
    """A pod, or pods that a template stands for and whose addresses are not known."""

    place: Place
    namespace: str
    name: str
    labels: Mapping[str, str]
    spec: PodSpec
    ips: tuple[str, ...] = ()
    ready: bool = False

    @property
    def account(self) -> Key:
        return self.namespace, self.spec.account


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a port of a service is served, and by whom, as far as that is known."""

    place: Place
    ip: str
    port: int
    zone: str = ""
    account: Key | None = None

    @property
    def address(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True, eq=False)
class Port:
    """A port of a service, with its place."""

    place: Place
    said: ServicePort

    @property
    def number(self) -> int:
        return self.said.port


class Known:
    """A service, with all that is known of it."""

    def __init__(self, mesh: Mesh, key: Key, found: Found[Service]) -> None:
        self.mesh = mesh
        self.key = key
        self.namespace, self.name = key
        self.place = found.place
        self.said = found.said
        spec = found.place.below("spec", "ports")
        self.ports = tuple(
            Port(spec.below(index), port)
            for index, port in enumerate(found.said.spec.ports)
            if port.protocol == SERVES
        )
        self._endpoints: dict[int, tuple[Endpoint, ...]] = {}

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def cluster(self, port: Port) -> str:
        return f"{self}|{port.number}"

    def port(self, number: int) -> Port | None:
        return next((port for port in self.ports if port.number == number), None)

    @cached_property
    def pods(self) -> tuple[Kin, ...]:
        """All that it selects; a service without a selector selects none."""
        selector = dict(self.said.spec.selector)
        return tuple(self.mesh.kin_with(self.namespace, selector)) if selector else ()

    @cached_property
    def accounts(self) -> set[Key]:
        """Who stands behind it."""
        found = {pod.account for pod in self.pods}
        for port in self.ports:
            found.update(each.account for each in self.endpoints(port) if each.account is not None)
        return found

    def endpoints(self, port: Port) -> tuple[Endpoint, ...]:
        """Those that are ready, each once."""
        if port.number not in self._endpoints:
            self._endpoints[port.number] = self._ready(port)
        return self._endpoints[port.number]

    def _ready(self, port: Port) -> tuple[Endpoint, ...]:
        """As slices say, as Endpoints say, or as the pods say themselves."""
        found: dict[str, Endpoint] = {}
        for endpoint in (*self._of_slices(port), *self._of_endpoints(port)):
            found.setdefault(endpoint.address, endpoint)
        if not found and not self.mesh.tells_endpoints(self.key):
            for endpoint in self._of_pods(port):
                found.setdefault(endpoint.address, endpoint)
        return tuple(found.values())

    def _of_slices(self, port: Port) -> Iterator[Endpoint]:
        for found in self.mesh.slices.get(self.key, ()):
            number = _number(found.said.ports, port)
            for index, each in enumerate(found.said.endpoints):
                if number is not None and each.conditions.ready and found.said.address_type != "FQDN":
                    place = found.place.below("endpoints", index)
                    for ip in each.addresses:
                        account = self.mesh.account_at(self.namespace, each.target, ip)
                        yield Endpoint(place, ip, number, each.zone, account)

    def _of_endpoints(self, port: Port) -> Iterator[Endpoint]:
        found = self.mesh.objects.endpoints.get(self.key)
        for index, subset in enumerate(found.said.subsets if found else ()):
            number = _number(subset.ports, port)
            for at, each in enumerate(subset.addresses):
                if found is not None and number is not None:
                    place = found.place.below("subsets", index, "addresses", at)
                    account = self.mesh.account_at(self.namespace, each.target, each.ip)
                    yield Endpoint(place, each.ip, number, account=account)

    def _of_pods(self, port: Port) -> Iterator[Endpoint]:
        for pod in self.pods:
            for number in targets(port, pod) if pod.ready else ():
                for ip in pod.ips[:1]:
                    yield Endpoint(pod.place, ip, number, account=pod.account)


def _number(ports: Iterable[EndpointPort], port: Port) -> int | None:
    """Endpoints repeat the name of the port of the service."""
    return next((each.port for each in ports if each.name == port.said.name), None)


def targets(port: Port, pod: Kin) -> Iterator[int]:
    """The ports of the pod's containers that it means."""
    target = port.said.target
    if isinstance(target, int):
        yield target
    else:
        yield from pod.spec.ports_named(target)


class Mesh:
    def __init__(self, objects: Objects, trust_domain: str) -> None:
        self.objects = objects
        self.trust_domain = trust_domain
        self.kin = tuple(_kin(objects))
        self._by_label: dict[tuple[str, str, str], list[Kin]] = defaultdict(list)
        self._by_ip: dict[str, set[Key]] = defaultdict(set)
        self._pods: dict[Key, Kin] = {}
        self._of: dict[Key, list[Kin]] = defaultdict(list)
        self._in: dict[str, list[Kin]] = defaultdict(list)
        self._taken: dict[Key, tuple[Kin, ...]] = {}
        for pod in self.kin:
            self._of[pod.account].append(pod)
            self._in[pod.namespace].append(pod)
            for label, value in pod.labels.items():
                self._by_label[pod.namespace, label, value].append(pod)
            for ip in pod.ips:
                self._by_ip[ip].add(pod.account)
                self._pods[pod.namespace, pod.name] = pod
        self.slices: dict[Key, list[Found[EndpointSlice]]] = defaultdict(list)
        for (namespace, _), found in sorted(objects.slices.items()):
            if found.said.service is not None:
                self.slices[namespace, found.said.service].append(found)
        self.services = {key: Known(self, key, found) for key, found in sorted(objects.services.items())}

    def kin_with(self, namespace: str, labels: Mapping[str, str]) -> Iterator[Kin]:
        """Pods of a namespace that have all of these labels, of which there is one at least."""
        nearest = min((self._by_label.get((namespace, *pair), []) for pair in labels.items()), key=len)
        for pod in nearest:
            if has(pod.labels, labels):
                yield pod

    def of(self, account: Key) -> tuple[Kin, ...]:
        return tuple(self._of.get(account, ()))

    def tells_endpoints(self, service: Key) -> bool:
        return service in self.objects.endpoints or service in self.slices

    def account_at(self, namespace: str, target: Reference, ip: str) -> Key | None:
        """Who stands there: the pod that is named, or else the only one with that address."""
        pod = self._pods.get((namespace, target.name)) if target.kind == "Pod" else None
        if pod is not None:
            return pod.account
        found = self._by_ip.get(ip, ())
        return next(iter(found)) if len(found) == 1 else None

    def takes(self, binding: IdentityBinding) -> tuple[Kin, ...]:
        """The pods that it binds by their labels."""
        if binding.key not in self._taken:
            self._taken[binding.key] = tuple(self._selected(binding))
        return self._taken[binding.key]

    def _selected(self, binding: IdentityBinding) -> Iterator[Kin]:
        selector = binding.selector
        if selector is not None:
            labels = dict(selector.labels)
            near = self.kin_with(binding.namespace, labels) if labels else self._in.get(binding.namespace, ())
            yield from (pod for pod in near if selector.takes(pod.labels))

    def accounts_of(self, party: Party) -> set[Key]:
        """The service accounts that a party of a TrafficTarget stands for."""
        if party.kind == "ServiceAccount":
            return {party.key}
        binding = self.objects.bindings[party.key]
        found = {pod.account for pod in self.takes(binding)}
        return {*found, *self.named(binding)}

    def named(self, binding: IdentityBinding) -> Iterator[Key]:
        """The service accounts that it binds by name."""
        if binding.account is not None:
            yield binding.namespace, binding.account
        for spiffe in binding.spiffe:
            account = account_in(spiffe, self.trust_domain)
            if account is not None:
                yield account

    @property
    def accounts(self) -> set[Key]:
        """Every workload that the objects know."""
        return {*self.objects.accounts, *(pod.account for pod in self.kin)}


def account_in(spiffe: str, trust_domain: str) -> Key | None:
    """The service account that an id of the trust domain is of."""
    match spiffe.removeprefix(f"spiffe://{trust_domain}/").split("/"):
        case ["ns", namespace, "sa", account]:
            return namespace, account
    return None


def has(labels: Mapping[str, str], these: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in these.items())


def _kin(objects: Objects) -> Iterator[Kin]:
    for (namespace, name), pod in sorted(objects.pods.items()):
        said = pod.said
        yield Kin(pod.place, namespace, name, dict(said.metadata.labels), said.spec, said.ips, said.ready)
    for (namespace, name), workload in sorted(objects.workloads.items()):
        template = workload.said.spec.template
        yield Kin(workload.place, namespace, name, dict(template.metadata.labels), template.spec)
