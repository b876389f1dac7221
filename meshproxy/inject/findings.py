"""What is wrong with manifests, and what is worth a warning, each at its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from meshproxy.errors import Problem
from meshproxy.schema.shapes import Path


@dataclass(slots=True)
class Findings:
    told: Callable[[Path, str], Problem]
    """Makes a problem of a place and words."""
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def wrong(self, path: Path, words: str) -> None:
        self.problems.append(self.told(path, words))

    def warn(self, path: Path, words: str) -> None:
        self.warnings.append(self.told(path, words))
