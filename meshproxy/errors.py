"""What can go wrong, as values.

On the data path an error is a `Failure`: a value with the word that metrics count it by.  Exceptions belong to the
edges: a document that says something impossible is `Invalid`, and carries every `Problem` found in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    status: int = 503
    """With which a client of HTTP is answered, if it has heard nothing yet."""
    flag: str = ""
    """The word of the access log, as Envoy has it: `NR` no route, `UF` upstream failure, and so on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, and what, in words that name key and value."""

    path: str
    message: str
    source: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return ": ".join(part for part in (place, self.path, self.message) if part)

    def as_json(self) -> dict[str, object]:
        found: dict[str, object] = {"path": self.path, "message": self.message}
        if self.source:
            found["source"] = self.source
        if self.line:
            found["line"] = self.line
        return found


class Invalid(Exception):
    """A document, or a set of them, that cannot be put in force."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class CannotBind(Invalid):
    """The configuration is right, but an address in it is not to be had."""
