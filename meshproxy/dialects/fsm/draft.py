"""What all parts of the translation have in hand: what was said, for whom, and the words that become of it.

    draft = Draft.of(sheet, setting)
    draft.put("clusters", "books", {"endpoints": []}, ("Outbound", "ClustersConfigs", "books"))
    draft.note("ignored", ("Forward",), "...")      # the same again, elsewhere, is only counted

Places are those of the newest shape; they are told as they were written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshproxy.dialects.fsm.older import Moved, newest, written
from meshproxy.dialects.fsm.said import PASSED, Fsm
from meshproxy.dialects.translation import Kind, Setting, Sheet, Words
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Compat, decode, encode
from meshproxy.model.sidecar import PluginFilters
from meshproxy.schema.kinds import cut
from meshproxy.schema.shapes import Path

MOST_UNKNOWN = 200
"""Keys, of which each is told once."""
MOST_MADE = 1_000_000
"""Things that come of a document in all: where each of some is for each of others, a small one makes many."""

Data = dict[str, Any]
"""Plain data in our words."""


@dataclass(slots=True)
class Draft:
    said: Fsm
    setting: Setting
    words: Words
    sheet: Sheet
    moved: Moved
    _told: dict[tuple[Kind, str], list[Path]] = field(default_factory=dict)
    _made: int = 0

    @classmethod
    def of(cls, sheet: Sheet, setting: Setting) -> Draft:
        """Of a document that is well-formed, or `Invalid`."""
        value, moved = newest(sheet.value)
        unknown: dict[str, Path] = {}

        def problem(path: Path, message: str) -> Problem:
            return sheet.problem(written(path, moved), message)

        def passed_over(path: Path) -> None:
            if len(unknown) < MOST_UNKNOWN:
                unknown.setdefault(str(path[-1]), path)

        draft = cls(decode(Fsm, value, problem, passed_over), setting, Words(), sheet, moved)
        for key in [key for key in unknown if key not in PASSED]:
            draft.note("ignored", unknown[key], f"unknown key `{cut(key)}`")
        return draft

    @property
    def compat(self) -> Compat:
        return self.setting.compat

    def put(self, section: str, name: str, what: Data, path: Path) -> None:
        self.words.put(section, name, what, self.sheet, written(path, self.moved))

    def say(self, section: str, what: Any, path: Path) -> None:
        """A section that is one thing."""
        self.words.value[section] = what
        self.meant((section,), path)

    def make(self, number: int, path: Path) -> None:
        """Count so many things before they are made; `Invalid` if that is too much."""
        self._made += number
        if self._made > MOST_MADE:
            message = f"more than {MOST_MADE} addresses, hosts and rules come of the document up to here"
            raise Invalid([self.sheet.problem(written(path, self.moved), message)])

    def meant(self, ours: Path, path: Path) -> None:
        self.words.meant(ours, self.sheet, written(path, self.moved))

    def problem(self, path: Path, message: str) -> None:
        self.words.problem(self.sheet, written(path, self.moved), message)

    def note(self, kind: Kind, path: Path, message: str) -> None:
        self._told.setdefault((kind, message), []).append(path)

    def finished(self) -> Words:
        for (kind, message), paths in self._told.items():
            more = f" (and at {len(paths) - 1} more places)" if len(paths) > 1 else ""
            self.words.note(kind, self.sheet, written(paths[0], self.moved), message + more)
        return self.words


def plain_filters(said: PluginFilters) -> list[Any]:
    """As they could stand in a file."""
    return [encode(each) for each in said.filters]
