"""What an operator can say about who is let in, by the identity that a peer has proved.

said = decode(Admission, {"identities": ["shop/bookbuyer", "audit/*"], "methods": ["GET"]})
list(admission_problems((said,)))       # [], or the place of each thing that does not fit, with the reason

Where entries stand any of them admits, and nothing else does: an empty list lets nobody in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.matching import (
    MOST_OF_ANYTHING,
    Found,
    Method,
    PathMatch,
    ValueMatch,
    at_most,
    below,
    header_names,
)
from meshproxy.model.whom import MOST_IDENTITIES, Whom
from meshproxy.schema.kinds import Network
from meshproxy.schema.shapes import AT_LEAST_ONE

MOST_ENTRIES = 4096
MOST_SOURCES = 1024


@dataclass(frozen=True, slots=True)
class Callers:
    """Connections that are let in; everything that is said must hold."""

    identities: Annotated[
        tuple[Whom, ...],
        AT_LEAST_ONE,
        "who it has proved to be is any of these; `shop/*`, `spiffe://shop.local/*`, `*.shop.local`: one part or more "
        "in the place of `*`; `*` alone: anybody who has proved anything",
    ]
    sources: Annotated[tuple[Network, ...], "and it comes from any of these networks; empty: from anywhere"] = ()


@dataclass(frozen=True, slots=True)
class Admission(Callers):
    """Requests that are let in; everything that is said must hold."""

    methods: Annotated[tuple[Method, ...], "any of these; empty: any method"] = ()
    paths: Annotated[tuple[PathMatch, ...], "any of these; empty: any path"] = ()
    headers: Annotated[tuple[tuple[str, ValueMatch], ...], "all of these; a repeated header is one list"] = ()


# What does not fit together -----------------------------------------------------------------------


def admission_problems(entries: Sequence[Callers]) -> Found:
    """Each with its place below the key."""
    if len(entries) > MOST_ENTRIES:
        yield (), f"`authorize` has {len(entries)} entries, more than {MOST_ENTRIES}"
    for index, entry in enumerate(entries):
        for path, message in _entry_problems(entry):
            yield (index, *path), message


def _entry_problems(entry: Callers) -> Found:
    yield from at_most(MOST_IDENTITIES, "identities", entry.identities)
    yield from at_most(MOST_SOURCES, "sources", entry.sources)
    if isinstance(entry, Admission):
        for name in ("methods", "paths", "headers"):
            yield from at_most(MOST_OF_ANYTHING, name, getattr(entry, name))
        yield from below("headers", header_names(name for name, _ in entry.headers))
