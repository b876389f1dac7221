"""Where everybody wants to listen, and who is there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshproxy.errors import Problem
from meshproxy.model.address import Address
from meshproxy.model.config import Config
from meshproxy.model.document import Document
from meshproxy.model.item import Item
from meshproxy.schema.shapes import Path


def clashes(documents: Sequence[Document], config: Config, listeners: Sequence[Item]) -> Iterator[Problem]:
    """Two on one address. `[::]` is IPv6 only, so it leaves `0.0.0.0` alone.

    Port 0 is another port for every socket, but listeners that say the same have one socket.
    """
    taken: dict[tuple[str, str, int, str], dict[str, Place]] = defaultdict(dict)
    for place in _places(documents, config, listeners):
        address = place.address
        alone = address.host if address.any_port else ""
        neighbours = taken[place.protocol, address.kind, address.port, alone]
        other = neighbours.get(address.host + address.path) or neighbours.get("*")
        if address.is_wildcard:
            other = other or next(iter(neighbours.values()), None)
        if other:
            message = f"`listen` {address} is already taken by {other.owner}, {other.address}"
            yield place.document.problem(place.path, message)
        else:
            neighbours["*" if address.is_wildcard else address.host + address.path] = place


@dataclass(frozen=True, slots=True)
class Place:
    """An address that somebody wants to listen on."""

    protocol: str
    owner: str
    address: Address
    document: Document
    path: Path


def _places(documents: Sequence[Document], config: Config, listeners: Sequence[Item]) -> Iterator[Place]:
    for name in ("admin", "status", "broker", "probes"):
        section = getattr(config, name)
        saying = [document for document in documents if name in document.said] or documents[:1]
        if section and saying and not section.listen.any_port:
            yield Place("tcp", f"`{name}`", section.listen, saying[0], (name, "listen"))
    for document in [document for document in documents if "fronts" in document.said][:1]:
        for place, front in enumerate(config.fronts):
            for address in front.listen:
                yield Place("tcp", f"`fronts[{place}]`", address, document, ("fronts", place, "listen"))
    for item in listeners:
        for index, address in enumerate(item.value.listen):
            path: Path = (*item.path, "listen", index) if len(item.value.listen) > 1 else (*item.path, "listen")
            for transport in item.value.transports:
                yield Place(transport, f"listener `{item.value.name}`", address, item.document, path)
