"""How the requests for a service are shared, as TrafficSplits say.

    splits = Splits(mesh, words)
    for branch in splits.of(website, port):     # in the order in which they are tried; the last one takes what is left
        branch.matches                          # (HttpMatch("firefox", headers=...),), or () for everything
        branch.shares                           # (Share(website_v1, port, 90), Share(website_v2, port, 10))
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from meshproxy.dialects.smi.mesh import Known, Mesh, Port
from meshproxy.dialects.smi.place import Place
from meshproxy.dialects.smi.references import service_key
from meshproxy.dialects.smi.resources import Backend, HttpMatch, Key, TrafficSplit
from meshproxy.dialects.translation import Words
from meshproxy.schema.shapes import Path

LARGEST_WEIGHT = 65535


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    place: Place
    service: Known
    port: Port
    weight: int


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Requests, and who shares them."""

    place: Place
    shares: tuple[Share, ...]
    matches: tuple[HttpMatch, ...] = ()
    split: TrafficSplit | None = None


class Splits:
    def __init__(self, mesh: Mesh, words: Words) -> None:
        self.mesh = mesh
        self.words = words
        self._noted: set[tuple[Path, str]] = set()
        self._of: dict[Key | None, list[TrafficSplit]] = defaultdict(list)
        for _, split in sorted(mesh.objects.splits.items()):
            self._of[service_key(split.service, split.namespace, mesh.trust_domain)].append(split)

    def of(self, root: Known, port: Port, protocol: Literal["http", "tcp"]) -> list[Branch]:
        """Those with matches come first, by their names."""
        found = []
        rest = Branch(port.place, (Share(port.place, root, port, 1),))
        for split in self._of.get(root.key, ()):
            if split.matches and protocol != "http":
                message = f"{split} is for requests, and port {port.number} of {root} has none: it speaks {protocol}"
                self._note(split.place.below("spec", "matches"), message)
                continue
            shares = self._shares(split, port)
            if not shares:
                continue
            if split.matches:
                matches = tuple(
                    match
                    for group in split.matches
                    for match in self.mesh.objects.groups[split.namespace, group.name].matches
                )
                found.append(Branch(split.place, shares, matches, split))
            else:
                rest = Branch(split.place, shares, split=split)
        return [*found, rest]

    def _shares(self, split: TrafficSplit, port: Port) -> tuple[Share, ...]:
        """None: it says nothing of this port, or to nobody."""
        found = [share for backend in split.backends if (share := self._share(split, backend, port)) is not None]
        if not any(share.weight for share in found):
            message = f"{split} has no backend with a weight above 0 for port {port.number}: nothing is split"
            self._note(split.place.below("spec", "backends"), message)
            return ()
        served = [share for share in found if share.service.endpoints(share.port)]
        if any(share.weight for share in served):
            for share in found:
                if share.weight and share not in served:
                    message = f"{share.service} has no endpoint for port {port.number}: the others share its part"
                    self._note(share.place, message)
            found = served
        return _scaled(found)

    def _note(self, place: Place, message: str) -> None:
        """Once, for all ports of the root."""
        if (place.path, message) not in self._noted:
            self._noted.add((place.path, message))
            place.note(self.words, "ignored", message)

    def _share(self, split: TrafficSplit, backend: Backend, port: Port) -> Share | None:
        key = service_key(backend.service, split.namespace, self.mesh.trust_domain)
        service = self.mesh.services.get(key) if key is not None else None
        at = backend.place.below("service")
        if service is None:
            self._note(at, f"no Service {backend.service} yet: the others share its part")
            return None
        its = service.port(port.number)
        if its is None:
            self._note(at, f"{service} has no port {port.number}, unlike {split.service}: it gets nothing")
            return None
        return Share(backend.place, service, its, backend.weight)


def _scaled(shares: list[Share]) -> tuple[Share, ...]:
    """Weights of any size as ours, which end somewhere; who has a share keeps one."""
    most = max(share.weight for share in shares)
    if most <= LARGEST_WEIGHT:
        return tuple(shares)
    return tuple(
        Share(
            share.place,
            share.service,
            share.port,
            max(1, round(share.weight * LARGEST_WEIGHT / most)) if share.weight else 0,
        )
        for share in shares
    )
