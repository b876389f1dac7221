"""From the words of a mesh to ours: what a translator is given, and what it hands back.

    words = Words()
    words.put(("clusters", "shop/books"), {"endpoints": ["10.1.0.7:80"]}, sheet, ("Outbound", "ClustersConfigs", ...))
    words.note("ignored", sheet, ("Chains",), "a script does not run here")

A translator writes plain data, as it could stand in a file, and says of each thing where it was meant. What is wrong
with it is then found by the one reader of our own words, and told with the place in the document that somebody wrote.
What a document asks for that is not done is never passed over: it is a note, or a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from meshproxy.errors import Invalid, Problem
from meshproxy.model import Compat, Config, Dns, Document, Metrics, Node, Sidecar, Workload, decode
from meshproxy.model.combine import bounded
from meshproxy.schema.shapes import Path, path_text

PLAIN = Config()


@dataclass(frozen=True, slots=True)
class Setting:
    """What has to be known of a workload to say what a policy means for it."""

    node: Node = PLAIN.node
    sidecar: Sidecar = PLAIN.sidecar
    compat: Compat = PLAIN.compat
    metrics: Metrics | None = None
    """None: nothing is said of them."""
    dns: Dns | None = None
    """The same."""
    workload: Workload | None = None
    """Which of several it is that live behind the proxy; None: the only one."""

    @property
    def place(self) -> str:
        """Where it is said whose proxy this is."""
        return f"workloads.{self.workload.name}" if self.workload is not None else "node"

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Setting:
        """What is said in our words; of two that differ, which are refused later on, the last."""
        found = cls()
        for document in documents:
            said = {key: getattr(document.config, key) for key in cls.__slots__ if key in document.said}
            found = replace(found, **said)
        return found


@dataclass(frozen=True, slots=True)
class Sheet:
    """One document of a policy, as plain data; several of them may stand in one file."""

    source: str
    value: Any
    line_of: Callable[[Path], int | None] = lambda _: None

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(path_text(path), message, self.source, self.line_of(path))


Kind = Literal["ignored", "not-in-force", "plugin", "compat"]
"""Of notes: it means nothing here, a later version does it, a script is left away, or a fault is had back."""


@dataclass(frozen=True, slots=True)
class Note:
    """What whoever has written a policy should know of it, although it is in force."""

    kind: Kind
    problem: Problem

    def __str__(self) -> str:
        return f"{self.kind}: {self.problem}"

    def as_json(self) -> dict[str, object]:
        return {"kind": self.kind, **self.problem.as_json()}


@dataclass(slots=True)
class Words:
    """What a policy says, in our words."""

    value: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _meant: dict[Path, tuple[Sheet, Path]] = field(default_factory=dict)

    def put(self, section: str, name: str, what: dict[str, Any], sheet: Sheet, path: Path) -> None:
        """A cluster, a table of routes or a listener, and where it was said."""
        if section == "listeners":
            listeners = self.value.setdefault(section, [])
            self.meant((section, len(listeners)), sheet, path)
            listeners.append({"name": name, **what})
        else:
            self.value.setdefault(section, {})[name] = what
            self.meant((section, name), sheet, path)

    def meant(self, ours: Path, sheet: Sheet, path: Path) -> None:
        """That all that stands at a place of ours, and below it, was said there."""
        self._meant[ours] = (sheet, path)

    def note(self, kind: Kind, sheet: Sheet, path: Path, message: str) -> None:
        self.notes.append(Note(kind, sheet.problem(path, message)))

    def problem(self, sheet: Sheet, path: Path, message: str) -> None:
        self.problems.append(sheet.problem(path, message))

    def moved(self, value: dict[str, Any], new: Callable[[Path], Path]) -> Words:
        """The same said in another way, with the place that each place has now."""
        meant = {new(path): origin for path, origin in self._meant.items()}
        return Words(value, [*self.notes], [*self.problems], meant)

    def note_of(self, section: str, kind: Kind, message: str) -> None:
        """Of a section that is one thing."""
        self.note(kind, *self._meant[(section,)], message)

    def problem_of(self, section: str, name: str, message: str) -> None:
        """Of what has been put there."""
        self.problem(*self._meant[section, name], message)

    def document(self, source: str, *, shares: bool = False) -> Document:
        """All of it as a document of ours, or `Invalid` with every problem at the place where it was said."""
        if self.problems:
            raise Invalid(bounded(self.problems))
        document = Translated(source, Config(), frozenset(self.value), lambda _: None, None, shares, self._meant)
        return replace(document, config=decode(Config, self.value, document.problem))


@dataclass(frozen=True, slots=True)
class Translated(Document):
    """A document that somebody wrote in other words."""

    meant: dict[Path, tuple[Sheet, Path]] = field(default_factory=dict)

    def origin(self, path: Path) -> tuple[Sheet, Path] | None:
        """Where it was said, or what it stands in."""
        above = (path[:end] for end in range(len(path), -1, -1))
        return next((self.meant[place] for place in above if place in self.meant), None)

    def problem(self, path: Path, message: str) -> Problem:
        origin = self.origin(path)
        if origin is None:
            return Problem(path_text(path), message, self.source)
        sheet, theirs = origin
        ours = path_text(path)
        return sheet.problem(theirs, f"{message} (in our words, {ours})")


@dataclass(frozen=True, slots=True)
class Translation:
    """A policy in our words; no document, if there was no policy."""

    documents: tuple[Document, ...]
    notes: tuple[Note, ...] = ()

