"""What a configuration says, of which somebody takes what can be said in other words; what nobody took is lost.

    said = Said(encode(config))
    said["routes"]["web"]["order"].take()       # "written"
    list(said.left())                           # the place of each thing that was not taken, as high as possible

So nothing is lost in silence: a key that a writer has never heard of is left over too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshproxy.schema.shapes import Path


class Said:
    """One place, and what stands there; None where nothing does."""

    __slots__ = ("_ledger", "path", "value")

    def __init__(self, value: Any, path: Path = (), ledger: Ledger | None = None) -> None:
        self.value = value
        self.path = path
        self._ledger = Ledger() if ledger is None else ledger

    def __getitem__(self, key: str | int) -> Said:
        """What stands below, be it nothing."""
        there = self.value
        known = key in there if isinstance(there, dict) else isinstance(there, list) and key in range(len(there))
        return Said(there[key] if known else None, (*self.path, key), self._ledger)

    def __iter__(self) -> Iterator[Said]:
        """Each thing in a list or a mapping; what may be a list, and is none, is the only one."""
        if isinstance(self.value, dict):
            return (self[key] for key in self.value)
        if isinstance(self.value, list):
            return (self[index] for index in range(len(self.value)))
        return iter(() if self.value is None else (self,))

    def __bool__(self) -> bool:
        return self.value is not None

    def items(self) -> Iterator[tuple[str, Said]]:
        """Of a mapping, each thing by its key."""
        return ((key, self[key]) for key in self.value or ())

    @property
    def key(self) -> str:
        return str(self.path[-1])

    def take(self, default: Any = None) -> Any:
        """What stands here, all of which the other words say too."""
        self._ledger.taken.add(self.path)
        return default if self.value is None else self.value

    @property
    def is_taken(self) -> bool:
        """Whether anybody has taken this, or a part of it."""
        return any(taken[: len(self.path)] == self.path for taken in self._ledger.taken)

    def several(self) -> list[Any]:
        """The same of what may be one or many."""
        found = self.take([])
        return found if isinstance(found, list) else [found]

    def lose(self, why: str) -> None:
        """All of this cannot be said, for a reason that is worth telling."""
        self._ledger.taken.add(self.path)
        self.tell(why)

    def tell(self, why: str) -> None:
        """Something about this is lost, whatever of it is taken."""
        self._ledger.lost[self.path, why] = None

    @property
    def lost(self) -> list[tuple[Path, str]]:
        """All that was lost for a reason, wherever it stood."""
        return list(self._ledger.lost)

    def left(self) -> Iterator[Path]:
        """The place of everything here that was neither taken nor lost for a reason."""
        above = {path[:end] for path in self._ledger.taken for end in range(len(path))}
        return self._left(self.value, self.path, above)

    def _left(self, value: Any, path: Path, above: set[Path]) -> Iterator[Path]:
        if path in self._ledger.taken:
            return
        if path not in above:
            yield path
            return
        below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in below:
            yield from self._left(item, (*path, key), above)


class Ledger:
    """What became of each place."""

    __slots__ = ("lost", "taken")

    def __init__(self) -> None:
        self.taken: set[Path] = set()
        self.lost: dict[tuple[Path, str], None] = {}
