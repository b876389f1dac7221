"""What is said of a peer, by the identity that it has proved: one look-up, however much is said of others.

    said = ByIdentity([(("shop/bookbuyer", "audit/*"), "may read"), (("*",), "may knock")], "cluster.local")
    said["spiffe://cluster.local/ns/shop/sa/bookbuyer"]     # ("may read", "may knock")
    said[""]                                                # (): who has proved nothing is nobody

A SPIFFE id is compared to the letter, any other name in any case.  `*` stands for one part or more: of an id after its
slash, of a host name before its dot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from meshproxy.model.tls import full_identity
from meshproxy.model.whom import ANYBODY

T = TypeVar("T")

MOST_REMEMBERED = 1024
_SPIFFE = "spiffe://"


class ByIdentity(dict[str, tuple[T, ...]]):
    """By each identity that has been asked for, of which only so many are remembered."""

    __slots__ = ("_said",)

    def __init__(self, said: Iterable[tuple[Iterable[str], T]], trust_domain: str) -> None:
        super().__init__()
        found: dict[str, dict[int, T]] = {}
        for place, (identities, what) in enumerate(said):
            for whom in identities:
                full = full_identity(whom, trust_domain)
                found.setdefault(full if "/" in full else full.lower(), {})[place] = what
        self._said = found
        """By what an identity may be called, each thing with its place."""

    def __missing__(self, identity: str) -> tuple[T, ...]:
        found: dict[int, T] = {}
        for name in _called(identity):
            found.update(self._said.get(name, {}))
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        self[identity] = what = tuple([found[place] for place in sorted(found)])
        return what


def _called(identity: str) -> Iterator[str]:
    """All that an entry may say and mean this one.  None of it can be `*` but by meaning anybody."""
    if not identity:
        return
    yield ANYBODY
    if identity.startswith(_SPIFFE):
        yield identity
        parts = identity.removeprefix(_SPIFFE).split("/")
        # A part that a server might read as another place is below nothing.
        if not {"", ".", ".."}.intersection(parts):
            yield from (f"{_SPIFFE}{'/'.join(parts[:end])}/*" for end in range(1, len(parts)))
    elif identity != ANYBODY and "/" not in identity:
        labels = identity.lower().split(".")
        yield ".".join(labels)
        if "" not in labels:
            yield from (f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels)))
