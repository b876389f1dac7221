"""Where each thing of a configuration was said: of the whole that several documents make, the one, and its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meshproxy.dialects.translation import Translated
from meshproxy.errors import Problem
from meshproxy.model import Config, Document
from meshproxy.schema.shapes import Path


class Places:
    def __init__(self, config: Config, documents: Sequence[Document]) -> None:
        self._config = config
        self._documents: dict[Path, tuple[Document, Path]] = {}
        """By the place in the whole, the document and the place in it."""
        for document in documents:
            for section in document.said:
                self._documents[(section,)] = document, (section,)
            for index, listener in enumerate(document.config.listeners):
                self._documents["listeners", listener.name] = document, ("listeners", index)
            for section in ("routes", "clusters"):
                for item in getattr(document.config, section):
                    self._documents[section, item.name] = document, (section, item.name)

    def origin(self, path: Path) -> tuple[Document, Path] | None:
        """The document in which it was said, and the place in it."""
        if len(path) > 1 and path[0] == "listeners":
            path = ("listeners", self._config.listeners[int(path[1])].name, *path[2:])
        above = next((path[:end] for end in (2, 1) if path[:end] in self._documents), None)
        if above is None:
            return None
        document, there = self._documents[above]
        return document, there + path[len(above) :]

    def problem(self, path: Path, message: str) -> Problem:
        """With the place in a document of what stands at a place of the whole, as `encode` has written that."""
        origin = self.origin(path)
        if origin is None:
            return Problem("", message)
        document, there = origin
        if there[0] != "routes" or len(there) < 3 or not isinstance(there[2], int):
            return document.problem(there, message)
        # A list of rules is short for a table, and what it is short for has another place.
        found = document.problem((*there[:2], "rules", *there[2:]), message)
        if isinstance(document, Translated):
            return found
        return replace(found, line=document.line_of(there))
