"""Listeners that several documents share: one for all of the same name, with the chains of each.

    documents = gathered(documents)

What is translated for one of several workloads says only what is done with the connections of that one; they arrive at
the addresses of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meshproxy.errors import Invalid, Problem
from meshproxy.model.config import Config, Listener
from meshproxy.model.document import Document
from meshproxy.schema.shapes import Path

Part = tuple[Document, int]
"""A listener: its document, and its place in that."""


def gathered(documents: Sequence[Document]) -> Sequence[Document]:
    """The documents with one more, which has the listeners that they share; or `Invalid`."""
    parts: defaultdict[str, list[Part]] = defaultdict(list)
    for document in documents:
        for index, listener in enumerate(document.config.listeners if document.shares else ()):
            parts[listener.name].append((document, index))
    if not any(len(several) > 1 for several in parts.values()):
        return documents
    bare = [_without_listeners(document) if document.shares else document for document in documents]
    listeners = tuple(_one(several) for several in parts.values())
    source = ", ".join(dict.fromkeys(document.source for several in parts.values() for document, _ in several))
    whole = Config(listeners=listeners)
    return [*bare, Gathered(source, whole, frozenset({"listeners"}), lambda _: None, parts=(*parts.values(),))]


@dataclass(frozen=True, slots=True)
class Gathered(Document):
    """Listeners of several documents; what is said of them is said of the part that it comes from."""

    parts: tuple[list[Part], ...] = ()

    def problem(self, path: Path, message: str) -> Problem:
        document, there = self.origin(path)
        return document.problem(there, message)

    def origin(self, path: Path) -> tuple[Document, Path]:
        several = self.parts[int(path[1])]
        if len(path) > 3 and path[2] == "chains":
            place = int(path[3])
            for document, index in several:
                chains = len(document.config.listeners[index].chains)
                if place < chains:
                    return document, ("listeners", index, "chains", place, *path[4:])
                place -= chains
        document, index = several[0]
        return document, ("listeners", index, *path[2:])


def _without_listeners(document: Document) -> Document:
    said = document.said - {"listeners"}
    return replace(document, config=replace(document.config, listeners=()), said=said)


def _one(several: Sequence[Part]) -> Listener:
    """What stands beside the chains is said once for all: how HTTP is spoken by all who speak it."""
    found = [document.config.listeners[index] for document, index in several]
    speaking = [each for each in found if each.speaks_http]
    for (document, index), listener in zip(several, found, strict=True):
        if listener.speaks_http and listener.http != speaking[0].http:
            message = (
                f"another workload has listener `{listener.name}` too, and HTTP is spoken in another way there: "
                "policies of two dialects need a proxy each"
            )
            raise Invalid([document.problem(("listeners", index), message)])
    first = (speaking or found)[0]
    listen = tuple(dict.fromkeys(address for each in found for address in each.listen))
    return replace(first, listen=listen, chains=tuple(chain for each in found for chain in each.chains))
