"""How each version writes the resources of SMI, and the one shape of them all.

    shape = SHAPES["split.smi-spec.io", "TrafficSplit"]["v1alpha4"]
    said = decode(shape.written, value)         # as somebody has written it
    shape.meant(said, place)                    # as it is read here, whatever the version

What a version has renamed, moved or counted in another way is known in this module and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from meshproxy.dialects.smi.kinds import FreeText, Quantity, ResourceName, ServiceName, SpiffeId, Weight
from meshproxy.dialects.smi.kubernetes import Metadata
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.resources import (
    Backend,
    GroupRef,
    HttpMatch,
    HTTPRouteGroup,
    IdentityBinding,
    Party,
    PortRoute,
    Resource,
    RouteRef,
    TrafficSplit,
    TrafficTarget,
)
from meshproxy.dialects.smi.selector import Selector
from meshproxy.dialects.smi.strict import Strict
from meshproxy.model.matching import Regex
from meshproxy.schema.kinds import Port, choice, string
from meshproxy.schema.shapes import AT_LEAST_ONE, Key

ACCESS, SPECS, SPLIT = "access.smi-spec.io", "specs.smi-spec.io", "split.smi-spec.io"
ALL = "*"

HeaderName = Annotated[
    str, string("header", "the name of a header", r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", 253)
]
AnyMethod = Annotated[str, string("method", "a method such as GET, or *", r"\*|[A-Z][A-Z0-9_-]*", 32)]
Routes = Annotated[
    Literal["HTTPRouteGroup", "TCPRoute", "UDPRoute"], choice("HTTPRouteGroup", "TCPRoute", "UDPRoute")
]
Groups = Annotated[Literal["HTTPRouteGroup"], choice("HTTPRouteGroup")]
OfSpecs = Annotated[str, choice(SPECS)]
Accounts = Annotated[Literal["ServiceAccount"], choice("ServiceAccount")]
Identities = Annotated[
    Literal["ServiceAccount", "IdentityBinding"], choice("ServiceAccount", "IdentityBinding")
]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a resource is written, and what becomes of it."""

    written: type[Any]
    meant: Callable[[Any, Place], Resource]


# TrafficTarget ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account(Strict):
    kind: Accounts
    name: ResourceName
    namespace: ResourceName | None = None


@dataclass(frozen=True, slots=True)
class AccountAtPort(Account):
    port: Port | None = None


@dataclass(frozen=True, slots=True)
class Bound(Strict):
    kind: Identities
    name: ResourceName
    namespace: ResourceName | None = None
    group: FreeText = ""


@dataclass(frozen=True, slots=True)
class Route(Strict):
    kind: Routes
    name: ResourceName
    matches: tuple[FreeText, ...] = ()


@dataclass(frozen=True, slots=True)
class Target1(Strict):
    metadata: Metadata
    destination: AccountAtPort
    specs: tuple[Route, ...] = ()
    sources: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetSpec2(Strict):
    destination: AccountAtPort
    rules: tuple[Route, ...] = ()
    sources: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class Target2(Strict):
    metadata: Metadata
    spec: TargetSpec2


@dataclass(frozen=True, slots=True)
class TargetSpec3(Strict):
    destination: Account
    rules: Annotated[tuple[Route, ...], AT_LEAST_ONE]
    sources: Annotated[tuple[Account, ...], AT_LEAST_ONE]


@dataclass(frozen=True, slots=True)
class Target3(Strict):
    metadata: Metadata
    spec: TargetSpec3


@dataclass(frozen=True, slots=True)
class TargetSpec4(Strict):
    destination: Bound
    rules: Annotated[tuple[Route, ...], AT_LEAST_ONE]
    sources: Annotated[tuple[Bound, ...], AT_LEAST_ONE]


@dataclass(frozen=True, slots=True)
class Target4(Strict):
    metadata: Metadata
    spec: TargetSpec4


def _target1(said: Target1, place: Place) -> TrafficTarget:
    return _target(said.metadata, place, place, said, "specs")


def _target_since_2(said: Target2 | Target3 | Target4, place: Place) -> TrafficTarget:
    return _target(said.metadata, place, place.below("spec"), said.spec, "rules")


def _target(metadata: Metadata, place: Place, spec: Place, said: Any, rules: str) -> TrafficTarget:
    def party(party: Account | Bound, at: Place) -> Party:
        return Party(at, party.kind, party.namespace or metadata.namespace, party.name)

    return TrafficTarget(
        place,
        metadata.namespace,
        metadata.name,
        party(said.destination, spec.below("destination")),
        getattr(said.destination, "port", None),
        tuple(
            RouteRef(spec.below(rules, index), rule.kind, rule.name, rule.matches)
            for index, rule in enumerate(getattr(said, rules))
        ),
        tuple(party(source, spec.below("sources", index)) for index, source in enumerate(said.sources)),
    )


# IdentityBinding ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Schemes(Strict):
    selector: Annotated[Selector | None, Key("podLabelSelector")] = None
    spiffe: Annotated[tuple[SpiffeId, ...], Key("spiffeIdentities")] = ()
    account: Annotated[ResourceName | None, Key("serviceAccount")] = None


@dataclass(frozen=True, slots=True)
class BindingSpec(Strict):
    schemes: Schemes


@dataclass(frozen=True, slots=True)
class Binding(Strict):
    metadata: Metadata
    spec: BindingSpec


def _binding(said: Binding, place: Place) -> IdentityBinding:
    schemes = said.spec.schemes
    ids = tuple(f"spiffe://{each.removeprefix('spiffe://')}" for each in schemes.spiffe)
    return IdentityBinding(
        place, said.metadata.namespace, said.metadata.name, schemes.selector, ids, schemes.account
    )


# HTTPRouteGroup, TCPRoute, UDPRoute ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Match1(Strict):
    """All of it is required."""

    name: FreeText
    path: Annotated[Regex, Key("pathRegex")]
    methods: Annotated[tuple[AnyMethod, ...], AT_LEAST_ONE]


@dataclass(frozen=True, slots=True)
class Match2(Strict):
    name: FreeText
    path: Annotated[Regex, Key("pathRegex")] = ""
    methods: tuple[AnyMethod, ...] = ()
    headers: tuple[tuple[HeaderName, Regex], ...] = ()


@dataclass(frozen=True, slots=True)
class Group1(Strict):
    metadata: Metadata
    matches: tuple[Match1, ...] = ()


@dataclass(frozen=True, slots=True)
class Group2(Strict):
    metadata: Metadata
    matches: tuple[Match2, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupSpec(Strict):
    matches: tuple[Match2, ...] = ()


@dataclass(frozen=True, slots=True)
class Group3(Strict):
    metadata: Metadata
    spec: GroupSpec


def _group_before_3(said: Group1 | Group2, place: Place) -> HTTPRouteGroup:
    return _group(said.metadata, place, place, said.matches)


def _group_since_3(said: Group3, place: Place) -> HTTPRouteGroup:
    return _group(said.metadata, place, place.below("spec"), said.spec.matches)


def _group(metadata: Metadata, place: Place, spec: Place, said: Sequence[Match1 | Match2]) -> HTTPRouteGroup:
    matches = tuple(
        HttpMatch(
            spec.below("matches", index),
            match.name,
            match.path,
            () if ALL in match.methods else tuple(dict.fromkeys(match.methods)),
            getattr(match, "headers", ()),
        )
        for index, match in enumerate(said)
    )
    return HTTPRouteGroup(place, metadata.namespace, metadata.name, matches)


@dataclass(frozen=True, slots=True)
class Nothing(Strict):
    pass


@dataclass(frozen=True, slots=True)
class Bare(Strict):
    """A TCPRoute that says nothing but its name, as `spec: {}` or without."""

    metadata: Metadata
    spec: Nothing = Nothing()


@dataclass(frozen=True, slots=True)
class Ports(Strict):
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class PortSpec(Strict):
    matches: Ports = Ports()


@dataclass(frozen=True, slots=True)
class OfPorts(Strict):
    metadata: Metadata
    spec: PortSpec = PortSpec()


def _bare(said: Bare, place: Place) -> PortRoute:
    return PortRoute(place, said.metadata.namespace, said.metadata.name)


def _of_ports(said: OfPorts, place: Place) -> PortRoute:
    return PortRoute(place, said.metadata.namespace, said.metadata.name, said.spec.matches.ports)


# TrafficSplit -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backend1(Strict):
    service: ServiceName
    weight: Quantity


@dataclass(frozen=True, slots=True)
class Backend2(Strict):
    service: ServiceName
    weight: Weight


@dataclass(frozen=True, slots=True)
class MatchRef(Strict):
    name: ResourceName
    kind: Groups = "HTTPRouteGroup"
    group: Annotated[OfSpecs, Key("apiGroup")] = SPECS


@dataclass(frozen=True, slots=True)
class SplitSpec1(Strict):
    service: ServiceName
    backends: Annotated[tuple[Backend1, ...], AT_LEAST_ONE]


@dataclass(frozen=True, slots=True)
class SplitSpec2(Strict):
    service: ServiceName
    backends: Annotated[tuple[Backend2, ...], AT_LEAST_ONE]


@dataclass(frozen=True, slots=True)
class SplitSpec3(SplitSpec2):
    matches: tuple[MatchRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Split1(Strict):
    metadata: Metadata
    spec: SplitSpec1


@dataclass(frozen=True, slots=True)
class Split2(Strict):
    metadata: Metadata
    spec: SplitSpec2


@dataclass(frozen=True, slots=True)
class Split3(Strict):
    metadata: Metadata
    spec: SplitSpec3


def _split(said: Split1 | Split2 | Split3, place: Place) -> TrafficSplit:
    spec = place.below("spec")
    backends: tuple[Backend1 | Backend2, ...] = said.spec.backends
    matches: tuple[MatchRef, ...] = getattr(said.spec, "matches", ())
    return TrafficSplit(
        place,
        said.metadata.namespace,
        said.metadata.name,
        said.spec.service,
        tuple(
            Backend(spec.below("backends", index), backend.service, weight)
            for index, (backend, weight) in enumerate(
                zip(backends, _whole([each.weight for each in backends]), strict=True)
            )
        ),
        tuple(GroupRef(spec.below("matches", index), match.name) for index, match in enumerate(matches)),
    )


def _whole(weights: Sequence[Any]) -> list[int]:
    """The same shares in whole numbers: 500m and 1 are 1 and 2."""
    common = math.lcm(*(weight.denominator for weight in weights))
    return [int(weight * common) for weight in weights]


# Which is which -----------------------------------------------------------------------------------


def _versions(*shapes: Shape) -> dict[str, Shape]:
    return {f"v1alpha{number}": shape for number, shape in enumerate(shapes, 1)}


_BARE, _PORTS = Shape(Bare, _bare), Shape(OfPorts, _of_ports)
_GROUP3, _SPLIT3 = Shape(Group3, _group_since_3), Shape(Split3, _split)

SHAPES: dict[tuple[str, str], dict[str, Shape]] = {
    (ACCESS, "TrafficTarget"): _versions(
        Shape(Target1, _target1),
        Shape(Target2, _target_since_2),
        Shape(Target3, _target_since_2),
        Shape(Target4, _target_since_2),
    ),
    (ACCESS, "IdentityBinding"): {"v1alpha4": Shape(Binding, _binding)},
    (SPECS, "HTTPRouteGroup"): _versions(
        Shape(Group1, _group_before_3), Shape(Group2, _group_before_3), _GROUP3, _GROUP3
    ),
    (SPECS, "TCPRoute"): _versions(_BARE, _BARE, _BARE, _PORTS),
    (SPECS, "UDPRoute"): {"v1alpha4": _PORTS},
    (SPLIT, "TrafficSplit"): _versions(Shape(Split1, _split), Shape(Split2, _split), _SPLIT3, _SPLIT3),
}
"""By group and kind, then by version."""
