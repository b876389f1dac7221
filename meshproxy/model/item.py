"""One thing that a document says, and where: a listener, a table of routes, a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshproxy.errors import Problem
from meshproxy.model.document import Document
from meshproxy.schema.shapes import Path


@dataclass(frozen=True, slots=True)
class Item:
    """A listener, a table of routes or a cluster, and where it was said."""

    document: Document
    path: Path
    value: Any

    def problem(self, below: Path, message: str) -> Problem:
        return self.document.problem(self.path + below, message)
