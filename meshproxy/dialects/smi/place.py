"""Where something was said: a sheet, and the path in it."""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.dialects.translation import Kind, Sheet, Words
from meshproxy.errors import Problem
from meshproxy.schema.shapes import Path


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    sheet: Sheet
    path: Path = ()

    def below(self, *steps: str | int) -> Place:
        return Place(self.sheet, (*self.path, *steps))

    def problem(self, message: str) -> Problem:
        return self.sheet.problem(self.path, message)

    def note(self, words: Words, kind: Kind, message: str) -> None:
        words.note(kind, self.sheet, self.path, message)

    def said(self, words: Words, *ours: str | int) -> None:
        """That what stands at that place in our words was said here."""
        words.meant(ours, self.sheet, self.path)

    def __str__(self) -> str:
        found = self.problem("")
        return f"{found.source}:{found.line}" if found.line else found.source
