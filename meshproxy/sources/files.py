"""Configuration files: what `-c` names, with what they include, read as a whole and watched for changes.

A directory stands for its `*.yaml`, `*.yml` and `*.json` files in the order of their names.  Hidden ones are left out,
and with them the machinery of a Kubernetes ConfigMap, whose files are links into a hidden directory that is swapped.

Only regular files are read again and again.  A pipe that `-c` names gives what it has once, to the first reading.
`env:NAME` is a document that stands in a variable of the environment, which a process cannot have changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from meshproxy.dialects import read
from meshproxy.dialects.text import LARGEST_DOCUMENT
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Document
from meshproxy.sources.regular import open_regular

SUFFIXES = (".yaml", ".yml", ".json")
MOST_FILES = 256
MOST_BYTES = 4 * LARGEST_DOCUMENT
VARIABLE = "env:"


class Files:
    def __init__(self, paths: Sequence[str], environment: Mapping[str, str], beside: Sequence[Document] = ()) -> None:
        """`beside` are documents that no file says."""
        self._named = paths
        self._paths = [Path(path) for path in paths if not path.startswith(VARIABLE)]
        self._environment = environment
        self._beside = beside
        self._read: dict[Path, object] = {}

    def read(self) -> list[Document]:
        """Every document, or `Invalid` with every problem in them."""
        reading = _Reading(self._environment, self._pipes)
        for name in self._named:
            if name.startswith(VARIABLE):
                reading.take_variable(name)
            else:
                reading.take(Path(name), ())
        # Watched even if refused: the next look at them may find them mended.
        self._read = reading.seen
        if reading.problems:
            raise Invalid(reading.problems)
        return [*reading.documents, *self._beside]

    def changed(self) -> bool:
        """Whether anything is not as it was when it was read."""
        return any(_fingerprint(path) != known for path, known in self._read.items())

    @cached_property
    def _pipes(self) -> dict[Path, bytes]:
        """What the pipes said.  One that cannot be read is not here, and is refused as a file that it is not."""
        said = {}
        for path in self._paths:
            with suppress(OSError):
                if path.is_fifo():
                    with path.open("rb") as pipe:
                        said[path] = pipe.read(LARGEST_DOCUMENT + 1)
        return said


def _fingerprint(path: Path) -> object:
    """Equal as long as nobody has touched a file, or a directory and what stands in it."""
    try:
        found = path.stat()
        listing = tuple(sorted(os.listdir(path))) if path.is_dir() else ()
    except OSError as error:
        return str(error)
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, listing)


class _Reading:
    """One pass over the files, with everything that was found wrong on the way."""

    def __init__(self, environment: Mapping[str, str], pipes: Mapping[Path, bytes]) -> None:
        self._environment = environment
        self._pipes = pipes
        self._bytes = 0
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self.seen: dict[Path, object] = {}
        """With the fingerprint from before it was read: a change while it is read is a change."""

    def take(self, path: Path, includers: tuple[Path, ...]) -> None:
        """`includers` are the files that led here, the first one first."""
        try:
            if path.is_dir():
                self.seen[path] = _fingerprint(path)
                for name in sorted(os.listdir(path)):
                    if name.endswith(SUFFIXES) and not name.startswith("."):
                        self._file(path / name, includers)
            else:
                self._file(path, includers)
        except OSError as error:
            self.problems.append(_unreadable(path, error))

    def take_variable(self, source: str) -> None:
        text = self._environment.get(source.removeprefix(VARIABLE), "")
        if not text.strip():
            self.problems.append(Problem("", "there is nothing in this variable of the environment", source))
            return
        try:
            # What is no text is refused by the dialects, in their words.
            document = self._document(text.encode(errors="surrogateescape"), source)
            if "include" in document.said:
                raise Invalid([document.problem(("include",), "`include` names files: it is for files only")])
        except Invalid as invalid:
            self.problems.extend(invalid.problems)
        else:
            self.documents.append(document)

    def _document(self, data: bytes, source: str) -> Document:
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise Invalid([Problem("", f"the files have more than {MOST_BYTES >> 20} MiB together", source)])
        return read(data, source, self._environment)

    def _file(self, path: Path, includers: tuple[Path, ...]) -> None:
        # Not `resolve`, which raises for links that lead in a circle; opening such a one says so better.
        real = Path(os.path.realpath(path))
        if real in includers:
            circle = " -> ".join(str(step) for step in (*includers[includers.index(real) :], real))
            self.problems.append(Problem("include", f"files include each other in a circle: {circle}", str(path)))
            return
        if path in self.seen:
            return
        if len(self.seen) >= MOST_FILES:
            self.problems.append(Problem("include", f"more than {MOST_FILES} files", str(path)))
            return
        self.seen[path] = _fingerprint(path)
        try:
            document = self._document(self._data(path), str(path))
        except OSError as error:
            self.problems.append(_unreadable(path, error))
            return
        except Invalid as invalid:
            self.problems.extend(invalid.problems)
            return
        self.documents.append(document)
        for name in document.config.include:
            self.take(path.parent / name, (*includers, real))

    def _data(self, path: Path) -> bytes:
        if path in self._pipes:
            return self._pipes[path]
        with open_regular(path) as file:
            return file.read(LARGEST_DOCUMENT + 1)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem("", f"cannot be read: {error.strerror or error}", str(path))
