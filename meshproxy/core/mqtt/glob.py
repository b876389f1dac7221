"""What is said of those with a name, by names with a `*` at one end: `press-*`, `*-test`, `*`.

    named = ByName([(("press-*", "ann"), 0), (("*",), 1)])
    named.of("press-7")         # [0, 1]
    named.of("")                # []: who has no name is nobody
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByName(Generic[T]):
    __slots__ = ("_begins", "_ends", "_exact")

    def __init__(self, said: Iterable[tuple[Iterable[str], T]]) -> None:
        self._exact: dict[str, dict[T, None]] = {}
        self._begins: dict[str, dict[T, None]] = {}
        self._ends: dict[str, dict[T, None]] = {}
        for names, what in said:
            for name in names:
                if name.endswith("*"):
                    self._begins.setdefault(name[:-1], {})[what] = None
                elif name.startswith("*"):
                    self._ends.setdefault(name[1:], {})[what] = None
                else:
                    self._exact.setdefault(name, {})[what] = None

    def of(self, name: str) -> list[T]:
        """Each once."""
        if not name:
            return []
        found = dict(self._exact.get(name, {}))
        for begin, those in self._begins.items():
            if name.startswith(begin):
                found.update(those)
        for end, those in self._ends.items():
            if name.endswith(end):
                found.update(those)
        return list(found)
