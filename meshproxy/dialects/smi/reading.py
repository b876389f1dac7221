"""From sheets to objects: lists are taken apart, each resource is read as its version is written, and stands once.

    objects = objects_of(sheets, words)     # what is wrong stands in `words.problems`, what means nothing in its notes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from meshproxy.dialects.smi.kubernetes import Endpoints, EndpointSlice, Pod, Service, ServiceAccount, Workload
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.resources import Found, Key, Objects, Resource
from meshproxy.dialects.smi.versions import ACCESS, SHAPES, SPECS, SPLIT
from meshproxy.dialects.translation import Sheet, Words
from meshproxy.errors import Invalid
from meshproxy.schema import decode
from meshproxy.schema.kinds import cut, shown
from meshproxy.schema.shapes import Names

METRICS = "metrics.smi-spec.io"
ENVELOPE = ("apiVersion", "kind", "status")
"""Keys of every resource that say nothing of it here."""
OBJECTS: dict[tuple[str, str], tuple[str, type[Any]]] = {
    ("v1", "Service"): ("services", Service),
    ("v1", "ServiceAccount"): ("accounts", ServiceAccount),
    ("v1", "Pod"): ("pods", Pod),
    ("v1", "Endpoints"): ("endpoints", Endpoints),
    ("discovery.k8s.io/v1", "EndpointSlice"): ("slices", EndpointSlice),
    ("discovery.k8s.io/v1beta1", "EndpointSlice"): ("slices", EndpointSlice),
    ("apps/v1", "Deployment"): ("workloads", Workload),
    ("apps/v1", "StatefulSet"): ("workloads", Workload),
    ("apps/v1", "DaemonSet"): ("workloads", Workload),
}
RESOURCES = {
    "TrafficTarget": "targets",
    "IdentityBinding": "bindings",
    "HTTPRouteGroup": "groups",
    "TCPRoute": "tcp",
    "UDPRoute": "udp",
    "TrafficSplit": "splits",
}
SILENT = ("v1", "Namespace")

T = TypeVar("T")


def objects_of(sheets: Iterable[Sheet], words: Words) -> Objects:
    reading = _Reading(words)
    for sheet in sheets:
        for place, api, kind, value in _unrolled(Place(sheet), sheet.value, "", "", words):
            reading.take(place, api, kind, value)
    return reading.objects


def _unrolled(place: Place, value: Any, api: str, kind: str, words: Words) -> Iterator[tuple[Place, str, str, Any]]:
    """Each resource with its version and kind, which the items of a list of one kind need not repeat."""
    if not isinstance(value, dict):
        words.problems.append(place.problem(f"a resource must be a mapping, not {shown(value)}"))
        return
    api, kind = value.get("apiVersion") or api, value.get("kind") or kind
    for key, said in (("apiVersion", api), ("kind", kind)):
        if not isinstance(said, str) or not said:
            words.problems.append(place.below(key).problem(f"`{key}` must be a string, not {shown(said)}"))
            return
    if kind != "List" and not (kind.endswith("List") and "items" in value):
        yield place, api, kind, value
        return
    items = value.get("items")
    if items is not None and not isinstance(items, list):
        words.problems.append(place.below("items").problem(f"`items` must be a list, not {shown(items)}"))
        return
    of_one_kind = ("", "") if kind == "List" else (api, kind.removesuffix("List"))
    for index, item in enumerate(items or ()):
        yield from _unrolled(place.below("items", index), item, *of_one_kind, words)


def _called(value: Mapping[str, Any]) -> Key:
    """What it would be called if it could be read."""
    metadata = value.get("metadata")
    said = metadata if isinstance(metadata, Mapping) else {}
    return str(said.get("namespace") or "default"), str(said.get("name"))


class _Reading:
    def __init__(self, words: Words) -> None:
        self.words = words
        self.objects = Objects()
        self.first: dict[tuple[str, Key], Place] = {}
        self.ignored: set[tuple[str, str]] = set()

    def take(self, place: Place, api: str, kind: str, value: Any) -> None:
        group, _, version = api.partition("/")
        if group in (ACCESS, SPECS, SPLIT):
            self._resource(place, group, version, kind, value)
        elif (api, kind) in OBJECTS:
            section, shape = OBJECTS[api, kind]
            said = self._read(shape, value, place, kind)
            if said is not None:
                self._keep(section, kind, (said.metadata.namespace, said.metadata.name), place, Found(place, said))
        elif (api, kind) != SILENT and (api, kind) not in self.ignored:
            self.ignored.add((api, kind))
            why = "its figures are served, not read" if group == METRICS else "it says nothing that is understood here"
            place.below("kind").note(self.words, "ignored", f"{cut(kind)} of {cut(api)}: {why}")

    def _resource(self, place: Place, group: str, version: str, kind: str, value: Any) -> None:
        versions = SHAPES.get((group, kind))
        if versions is None:
            kinds = [known for of, known in SHAPES if of == group]
            hint = Names(kinds).nearest(kind)
            message = f"`kind` must be {' or '.join(kinds)} in {group}, not {shown(kind)}{hint}"
            self.words.problems.append(place.below("kind").problem(message))
            return
        shape = versions.get(version)
        if shape is None:
            known = " or ".join(f"{group}/{each}" for each in versions)
            message = f"`apiVersion` must be {known} for {kind}, not {group}/{cut(version)}"
            self.words.problems.append(place.below("apiVersion").problem(message))
            return
        said = self._read(shape.written, {key: item for key, item in value.items() if key not in ENVELOPE}, place, kind)
        if said is not None:
            resource: Resource = shape.meant(said, place)
            self._keep(RESOURCES[kind], kind, resource.key, place, resource)

    def _read(self, shape: type[T], value: Any, place: Place, kind: str) -> T | None:
        try:
            return decode(shape, value, lambda path, message: place.below(*path).problem(message))
        except Invalid as invalid:
            self.words.problems += invalid.problems
            self.objects.damaged.add((kind, _called(value)))
            return None

    def _keep(self, section: str, kind: str, key: Key, place: Place, what: Any) -> None:
        named = place.below("metadata", "name")
        before = self.first.setdefault((kind, key), named)
        if before is not named:
            message = f"{kind} {'/'.join(key)} is there twice: first in {before}"
            self.words.problems.append(named.problem(message))
            return
        # Workloads of several kinds may have one name.
        name = f"{kind}/{key[1]}" if section == "workloads" else key[1]
        getattr(self.objects, section)[key[0], name] = what
