"""Live state that outlives a configuration, keyed by identity.

    claims = table.begin()
    stats = claims.claim(("listener", "web"), ListenerState)     # the one in force, or a new one
    retiring = claims.commit(grace)                              # or abort(): nothing happened
    await in_slices(retiring)

A generation claims what it needs while it is compiled.  Committed, the claims are the table, at once; what nobody
claimed is retired then, step by step.  Aborted, what was made for it is retired and the table is as it was.

While no generation is prepared, the one in force may claim more itself, and drop what it has no use for any more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from typing import Protocol, TypeVar, cast


class Live(Protocol):
    def retire(self, grace: float) -> None:
        """Nobody asks for this any more; what still uses it may go on for `grace` seconds."""


L = TypeVar("L", bound=Live)


class Table:
    def __init__(self) -> None:
        self._held: dict[Hashable, Live] = {}

    def begin(self) -> Claims:
        return Claims(self)

    def claim(self, key: Hashable, make: Callable[[], L]) -> L:
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = make()
        return cast(L, held)

    def drop(self, key: Hashable, grace: float) -> None:
        self._held.pop(key).retire(grace)

    def get(self, key: Hashable) -> Live | None:
        return self._held.get(key)

    def __len__(self) -> int:
        return len(self._held)


class Claims:
    def __init__(self, table: Table) -> None:
        self._table = table
        self._claimed: dict[Hashable, Live] = {}
        self._fresh: list[Live] = []
        self._left = dict(table._held)
        """What nobody has claimed yet."""

    def claim(self, key: Hashable, make: Callable[[], L]) -> L:
        if key in self._claimed:
            return cast(L, self._claimed[key])
        held = self._table._held.get(key)
        if held is None:
            held = make()
            self._fresh.append(held)
        else:
            self._left.pop(key, None)
        self._claimed[key] = held
        return cast(L, held)

    def commit(self, grace: float) -> Generator[None, None, None]:
        """The swap is done when this returns; the retiring, when what it returns has been gone through."""
        self._table._held = self._claimed
        dropped = [*self._left.values()]

        def retire() -> Generator[None, None, None]:
            # As with everything that is built up: a door goes before what stands behind it.
            for live in reversed(dropped):
                live.retire(grace)
                yield

        return retire()

    def abort(self) -> None:
        for live in reversed(self._fresh):
            live.retire(0)
