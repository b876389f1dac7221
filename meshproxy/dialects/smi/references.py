"""What one resource says of another: whether it is there, and whether the two go together.

    check(mesh, words)      # each contradiction is a problem at the place of who names what is not there
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshproxy.dialects.smi.mesh import Mesh, account_in
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.resources import (
    HTTPRouteGroup,
    IdentityBinding,
    Key,
    Party,
    RouteRef,
    TrafficSplit,
    TrafficTarget,
)
from meshproxy.dialects.translation import Words
from meshproxy.schema.kinds import shown
from meshproxy.schema.shapes import Names

CLUSTER_DOMAIN = "cluster.local"
"""How names of services end, whatever the trust domain is."""

Wrong = Iterator[tuple[Place, str]]


def check(mesh: Mesh, words: Words) -> None:
    objects = mesh.objects
    several: list[tuple[dict[Key, Any], Callable[[Mesh, Any], Wrong]]] = [
        (objects.groups, lambda _, group: _group(group)),
        (objects.bindings, _binding),
        (objects.targets, _target),
        (objects.splits, _split),
    ]
    for these, wrong in several:
        for key in sorted(these):
            words.problems += [place.problem(message) for place, message in wrong(mesh, these[key])]
    words.problems += [place.problem(message) for place, message in _rivals(mesh)]


def service_key(name: str, namespace: str, trust_domain: str) -> Key | None:
    """`books`, `books.shop`, `books.shop.svc` or that with the domain of the cluster; None: it is no service."""
    name, *rest = name.split(".")
    of_namespace, *rest = rest or [namespace]
    if rest and (rest[0] != "svc" or ".".join(rest[1:]) not in ("", CLUSTER_DOMAIN, trust_domain)):
        return None
    return of_namespace, name


def _group(group: HTTPRouteGroup) -> Wrong:
    first: dict[str, Place] = {}
    for match in group.matches:
        before = first.setdefault(match.name, match.place)
        if before is not match.place:
            yield match.place.below("name"), f"`name` {shown(match.name)} is there twice: first in {before}"


def _binding(mesh: Mesh, binding: IdentityBinding) -> Wrong:
    schemes = binding.place.below("spec", "schemes")
    if binding.selector is not None and binding.account is not None:
        yield schemes.below("podLabelSelector"), "`podLabelSelector` and `serviceAccount` exclude each other"
    if binding.selector is None and binding.account is None and not binding.spiffe:
        yield schemes, "`schemes` must have `podLabelSelector`, `spiffeIdentities` or `serviceAccount`"
    for index, spiffe in enumerate(binding.spiffe):
        account = account_in(spiffe, mesh.trust_domain)
        if account is not None and account[0] != binding.namespace:
            message = f"{spiffe} is of another namespace: an IdentityBinding speaks for its own, {binding.namespace}"
            yield schemes.below("spiffeIdentities", index), message


def _target(mesh: Mesh, target: TrafficTarget) -> Wrong:
    yield from _party(mesh, target.destination)
    if target.destination.namespace != target.namespace:
        yield (
            target.destination.place.below("namespace"),
            f"`namespace` must be {target.namespace}, that of the TrafficTarget, not {target.destination.namespace}: "
            "who may be asked is said by its owner",
        )
    for source in target.sources:
        yield from _party(mesh, source)
    for rule in target.rules:
        yield from _rule(mesh, target, rule)


def _party(mesh: Mesh, party: Party) -> Wrong:
    if party.kind == "IdentityBinding" and mesh.objects.lacks(party.kind, party.key, mesh.objects.bindings):
        yield party.place.below("name"), f"no IdentityBinding {'/'.join(party.key)}"


def _rule(mesh: Mesh, target: TrafficTarget, rule: RouteRef) -> Wrong:
    objects = mesh.objects
    kinds: dict[str, dict[Key, Any]] = {
        "HTTPRouteGroup": objects.groups,
        "TCPRoute": objects.tcp,
        "UDPRoute": objects.udp,
    }
    key = (target.namespace, rule.name)
    found = kinds[rule.kind].get(key)
    if objects.lacks(rule.kind, key, kinds[rule.kind]):
        hint = _nearest(rule.name, kinds[rule.kind], target.namespace)
        yield rule.place.below("name"), f"no {rule.kind} {target.namespace}/{rule.name}{hint}"
    elif rule.kind != "HTTPRouteGroup" and rule.matches:
        yield rule.place.below("matches"), f"`matches` are those of an HTTPRouteGroup, not of a {rule.kind}"
    elif found is not None:
        names = {match.name for match in getattr(found, "matches", ())}
        for index, name in enumerate(rule.matches):
            if name not in names:
                hint = Names(names).nearest(name)
                yield rule.place.below("matches", index), f"{found} has no match {shown(name)}{hint}"


def _split(mesh: Mesh, split: TrafficSplit) -> Wrong:
    at = split.place.below("spec", "service")
    root = service_key(split.service, split.namespace, mesh.trust_domain)
    if root is None:
        yield at, f"`service` {split.service} is no service of the cluster"
    elif root[0] != split.namespace:
        yield at, f"`service` must be of namespace {split.namespace}, as the TrafficSplit is, not of {root[0]}"
    elif mesh.objects.lacks("Service", root, mesh.services):
        yield at, f"no Service {'/'.join(root)}{_nearest(root[1], mesh.services, split.namespace)}"
    for backend in split.backends:
        if service_key(backend.service, split.namespace, mesh.trust_domain) is None:
            yield backend.place.below("service"), f"`service` {backend.service} is no service of the cluster"
    for match in split.matches:
        if mesh.objects.lacks("HTTPRouteGroup", (split.namespace, match.name), mesh.objects.groups):
            hint = _nearest(match.name, mesh.objects.groups, split.namespace)
            yield match.place.below("name"), f"no HTTPRouteGroup {split.namespace}/{match.name}{hint}"


def _rivals(mesh: Mesh) -> Wrong:
    """Two that would each split all requests of one service."""
    first: dict[Key | None, TrafficSplit] = {}
    for split in (mesh.objects.splits[key] for key in sorted(mesh.objects.splits)):
        if not split.matches:
            root = service_key(split.service, split.namespace, mesh.trust_domain)
            before = first.setdefault(root, split)
            if before is not split:
                message = f"{split.service} is split already by {before} in {before.called}: one needs `matches`"
                yield split.place.below("spec", "service"), message


def _nearest(name: str, known: dict[Key, Any], namespace: str) -> str:
    return Names(known_name for of, known_name in known if of == namespace).nearest(name)
