"""One text, decoded: what it says, and where."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshproxy.errors import Problem
from meshproxy.model.config import Config
from meshproxy.schema.shapes import Path, path_text


@dataclass(frozen=True, slots=True)
class Foreign:
    """A policy in the words of a mesh, before it is put in ours."""

    dialect: str
    text: bytes
    """Compressed."""
    value: Any = field(default=None, compare=False, repr=False)
    """What stands in the text, as plain data, while it is new."""

    @classmethod
    def of(cls, dialect: str, content: str, value: Any) -> Foreign:
        return cls(dialect, zlib.compress(content.encode(), 1), value)

    @property
    def content(self) -> str:
        return zlib.decompress(self.text).decode()


@dataclass(frozen=True, slots=True)
class Document:
    """One decoded document. `said` are the top-level keys that stand in it; `line_of` finds the line of a path."""

    source: str
    config: Config
    said: frozenset[str]
    line_of: Callable[[Path], int | None]
    foreign: Foreign | None = None
    """What it says in other words than ours; then `config` says nothing."""
    shares: bool = False
    """Whether its listeners are those of other documents too, each with chains of its own."""

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(path_text(path), message, self.source, self.line_of(path))
