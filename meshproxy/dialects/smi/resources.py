"""Resources of SMI, in the one shape that all versions of them have here; see `versions` for how each is written.

Each knows the place where it was said, and is known by its namespace and name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from meshproxy.dialects.smi.kubernetes import (
    Endpoints,
    EndpointSlice,
    Pod,
    Service,
    ServiceAccount,
    Workload,
)
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.selector import Selector

Key = tuple[str, str]
"""A namespace and a name in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    place: Place
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    @property
    def called(self) -> Place:
        """Where its name stands."""
        return self.place.below("metadata", "name")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Party:
    """Who asks or is asked: a ServiceAccount or an IdentityBinding."""

    place: Place
    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        return self.namespace, self.name


@dataclass(frozen=True, slots=True, eq=False)
class RouteRef:
    """In a TrafficTarget: what may be asked. No names: all matches of the group."""

    place: Place
    kind: str
    name: str
    matches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TrafficTarget(Resource):
    destination: Party
    port: int | None
    rules: tuple[RouteRef, ...]
    sources: tuple[Party, ...]


@dataclass(frozen=True, slots=True, eq=False)
class HttpMatch:
    """Requests; what is not said may be anything."""

    place: Place
    name: str
    path: str = ""
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HTTPRouteGroup(Resource):
    matches: tuple[HttpMatch, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PortRoute(Resource):
    """A TCPRoute or UDPRoute. No ports: all of the service."""

    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    place: Place
    service: str
    weight: int


@dataclass(frozen=True, slots=True, eq=False)
class GroupRef:
    """In a TrafficSplit: which requests are split."""

    place: Place
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class TrafficSplit(Resource):
    service: str
    backends: tuple[Backend, ...]
    matches: tuple[GroupRef, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class IdentityBinding(Resource):
    """Names for workloads of its namespace; any of them counts."""

    selector: Selector | None
    spiffe: tuple[str, ...]
    account: str | None


Object = TypeVar("Object")


@dataclass(frozen=True, slots=True, eq=False)
class Found(Generic[Object]):
    """An object of Kubernetes, and where it stands."""

    place: Place
    said: Object


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """All that was read, each kind by namespace and name, with its place."""

    targets: dict[Key, TrafficTarget] = field(default_factory=dict)
    groups: dict[Key, HTTPRouteGroup] = field(default_factory=dict)
    tcp: dict[Key, PortRoute] = field(default_factory=dict)
    udp: dict[Key, PortRoute] = field(default_factory=dict)
    splits: dict[Key, TrafficSplit] = field(default_factory=dict)
    bindings: dict[Key, IdentityBinding] = field(default_factory=dict)
    services: dict[Key, Found[Service]] = field(default_factory=dict)
    accounts: dict[Key, Found[ServiceAccount]] = field(default_factory=dict)
    pods: dict[Key, Found[Pod]] = field(default_factory=dict)
    workloads: dict[Key, Found[Workload]] = field(default_factory=dict)
    endpoints: dict[Key, Found[Endpoints]] = field(default_factory=dict)
    slices: dict[Key, Found[EndpointSlice]] = field(default_factory=dict)
    damaged: set[tuple[str, Key]] = field(default_factory=set)
    """Kinds and names of what is there, and could not be read."""

    def lacks(self, kind: str, key: Key, these: Mapping[Key, object]) -> bool:
        """Whether there is none, not even a damaged one."""
        return key not in these and (kind, key) not in self.damaged
