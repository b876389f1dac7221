"""Server names as a TLS hello asks for them: `www.shop.local` is itself, or it ends as `*.shop.local` does.

    found = by_name([("shop.local", one), ("*.shop.local", other)])
    found("www.shop.local")         # other; None, if none of them is meant, or no name was said
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def by_name(named: Iterable[tuple[str, T]]) -> Callable[[str | None], T | None]:
    """The most specific one; of several for the same name, the first."""
    exact: dict[str, T] = {}
    suffixes: dict[str, T] = {}
    for name, what in named:
        if name.startswith("*."):
            suffixes.setdefault(name[2:], what)
        else:
            exact.setdefault(name, what)

    def find(name: str | None) -> T | None:
        if name is None:
            return None
        found = exact.get(name)
        while found is None and suffixes and name:
            name = name.partition(".")[2]
            found = suffixes.get(name)
        return found

    return find
