"""Several kinds of trace contexts in an order: the first that is valid is read, all are written.

    carry = propagation(["sw8", "w3c"], service="shop", instance="shop-1")
    if head.shape.has_any(carry.names):
        came = carry.extract(head.get)      # None: none of them, or none that is valid
    lines = carry.inject(mine, hop)         # whole lines, in the place of all fields in `names`
    carry.unsampled([trace_id, span_id])    # the same for requests that begin here and are not recorded, each with two
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from meshproxy.wire.trace.b3 import B3, B3Multi
from meshproxy.wire.trace.context import Context, Hop
from meshproxy.wire.trace.glance import Glance
from meshproxy.wire.trace.sw8 import Sw8
from meshproxy.wire.trace.w3c import W3c

KINDS = ("w3c", "b3", "b3multi", "sw8")


class Kind(Protocol):
    @property
    def names(self) -> frozenset[bytes]:
        """The fields that it owns, in lower case."""

    @property
    def glance(self) -> Glance | None:
        """How most of them look; None: that cannot be seen at once."""

    def extract(self, get: Callable[[bytes], bytes | None], /) -> Context | None:
        """What came; None: nothing, or something that breaks a rule."""

    def inject(self, context: Context, hop: Hop, /) -> bytes:
        """Whole lines, each with its end."""

    def unsampled(self, ids: Sequence[bytes], /) -> list[bytes]:
        """The same for each of many that are not recorded: `ids` are those of a trace and of a span, by turns."""


class Propagation:
    __slots__ = ("_kinds", "glance", "inject", "names")

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = tuple(kinds)
        self.glance = kinds[0].glance
        """Of the first kind: where that fits, the others are not asked."""
        self.inject = kinds[0].inject if len(kinds) == 1 else _all(self._kinds)
        """All lines for an endpoint: of each kind, in their order."""
        self.names: frozenset[bytes] = frozenset().union(*(kind.names for kind in kinds))
        """The fields that what is written stands for, in lower case."""

    def extract(self, get: Callable[[bytes], bytes | None]) -> Context | None:
        for kind in self._kinds:
            found = kind.extract(get)
            if found is not None:
                return found
        return None

    def unsampled(self, ids: Sequence[bytes]) -> list[bytes]:
        """So many that nothing is done for each of them by itself."""
        first, *others = [kind.unsampled(ids) for kind in self._kinds]
        return list(map(b"".join, zip(first, *others, strict=True))) if others else first


def _all(kinds: Sequence[Kind]) -> Callable[[Context, Hop], bytes]:
    def inject(context: Context, hop: Hop) -> bytes:
        return b"".join([kind.inject(context, hop) for kind in kinds])

    return inject


def propagation(kinds: Sequence[str], *, service: str = "meshproxy", instance: str = "meshproxy") -> Propagation:
    """Of those that are named, of `KINDS`; who we are is for sw8."""
    made: dict[str, Callable[[], Kind]] = {
        "w3c": W3c,
        "b3": B3,
        "b3multi": B3Multi,
        "sw8": lambda: Sw8(service, instance),
    }
    return Propagation([made[kind]() for kind in kinds])
