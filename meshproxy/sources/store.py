"""The last good configuration and those before it, on disk or in memory.

A record is one file of two lines: a summary, and the layers with their secrets in clear.  The history is read
from first lines alone.  A file is written beside its place, synced and renamed, so that it is whole or absent;
the summary holds a digest of the layers, so that damage is seen.  The directory may be anybody's to prepare: a link in
its place is not followed, and what stands in it is a record only if it is one in every part.  `save` waits for the
disk: call it from a thread where a loop has to go on.
"""

from __future__ import annotations

import errno
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from meshproxy.errors import Problem
from meshproxy.schema.spelled import spelled
from meshproxy.sources.durable import sync
from meshproxy.sources.regular import open_regular

KEEP = 20
MAX_BYTES = 64 * 1024 * 1024
MOST_CHANGES = 100
LONGEST_SUMMARY = 1024 * 1024
TEMPORARY = ".next"
FORMAT = 1

_FILE_NAME = re.compile(r"generation-([0-9]{10})\.json")

Read = TypeVar("Read", bound="Summary")


@dataclass(frozen=True, slots=True)
class Summary:
    """What the history says of a generation; `time` is Unix time."""

    generation: int
    version: str
    time: float
    source: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record(Summary):
    """One configuration that was in force: each layer as plain data, secrets in clear."""

    layers: Mapping[str, dict[str, Any]] = field(repr=False)


def default_directory(environ: Mapping[str, str]) -> Path | None:
    """Where to keep records if no config says so; None is memory."""
    home = environ.get("XDG_STATE_HOME", "")
    return Path(home) / "meshproxy" if home.startswith("/") else None


class Store:
    """The newest `keep` records, of at most `max_bytes` together; the newest one is kept whatever its size.

    Without a directory records live in memory.  So does, until a later `save` can write it, one that the disk
    did not take.
    """

    def __init__(self, directory: Path | None, keep: int = KEEP, max_bytes: int = MAX_BYTES) -> None:
        self._directory = None if directory is None else directory / "generations"
        self._keep = keep
        self._max_bytes = max_bytes
        self._in_memory: dict[int, bytes] = {}
        self._damaged: dict[int, Problem] = {}

    @property
    def newest(self) -> int:
        """The highest generation there is a record of, readable or not; 0 if there is none."""
        return max(self._generations(), default=0)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The records that were skipped because they could not be read."""
        return tuple(self._damaged.values())

    def save(self, record: Record) -> None:
        """Keep a record; OSError if the disk did not take it, and then it is kept in memory."""
        data = _encoded(record)
        self._in_memory[record.generation] = zlib.compress(data, 1)
        self._damaged.pop(record.generation, None)
        try:
            if self._directory is not None:
                _make_directory(self._place())
                for generation, packed in sorted(self._in_memory.items()):
                    _write(self._path(generation), zlib.decompress(packed))
                    del self._in_memory[generation]
        finally:
            self._forget_oldest()

    def last(self) -> Record | None:
        """The newest record that can be read."""
        records = (self.get(generation) for generation in self._generations())
        return next((record for record in records if record is not None), None)

    def get(self, generation: int) -> Record | None:
        """The record of a generation; None if there is none or it cannot be read."""
        return self._read(generation, _decoded)

    def history(self) -> list[Summary]:
        """What is known of each generation, newest first."""
        summaries = (self._read(generation, _decoded_summary) for generation in self._generations())
        return [summary for summary in summaries if summary is not None]

    def _generations(self) -> list[int]:
        found = set(self._in_memory)
        with suppress(OSError):
            names = os.listdir(self._place())
            found.update(int(match[1]) for match in map(_FILE_NAME.fullmatch, names) if match)
        return sorted(found, reverse=True)

    def _read(self, generation: int, decoded: Callable[[BinaryIO], Read]) -> Read | None:
        try:
            with self._open(generation) as file:
                found = decoded(file)
            if found.generation != generation:
                raise ValueError(f"it is a record of generation {found.generation}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            words = f"skipped, because it cannot be read: {error!r}"
            self._damaged[generation] = Problem("", words, str(self._path(generation)))
            return None
        return found

    def _open(self, generation: int) -> AbstractContextManager[BinaryIO]:
        packed = self._in_memory.get(generation)
        return BytesIO(zlib.decompress(packed)) if packed is not None else open_regular(self._path(generation))

    def _path(self, generation: int) -> Path:
        name = f"generation-{generation:010d}.json"
        if not _FILE_NAME.fullmatch(name):
            raise FileNotFoundError(errno.ENOENT, "No file can have this generation", name)
        return self._place() / name

    def _place(self) -> Path:
        """The directory; FileNotFoundError where there is none that may be used."""
        if self._directory is None:
            raise FileNotFoundError(errno.ENOENT, "There is no directory for records")
        if self._directory.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "A link in this place is not followed", str(self._directory))
        return self._directory

    def _size(self, generation: int) -> int:
        with suppress(OSError), self._open(generation) as file:
            return file.seek(0, os.SEEK_END)
        return 0

    def _forget_oldest(self) -> None:
        total = 0
        for place, generation in enumerate(self._generations()):
            total += self._size(generation)
            if place > 0 and (place >= self._keep or total > self._max_bytes):
                self._in_memory.pop(generation, None)
                self._damaged.pop(generation, None)
                with suppress(OSError):
                    self._path(generation).unlink()


def _encoded(record: Record) -> bytes:
    layers = "".join(spelled(record.layers)).encode()
    more = len(record.changes) - MOST_CHANGES
    summary = {
        "format": FORMAT,
        "generation": record.generation,
        "version": record.version,
        "time": record.time,
        "source": record.source,
        "changes": [*record.changes[:MOST_CHANGES], *([f"and {more} more"] if more > 0 else [])],
        "sha256": sha256(layers).hexdigest(),
    }
    return json.dumps(summary).encode() + b"\n" + layers + b"\n"


def _decoded_summary(file: BinaryIO) -> Summary:
    return _summary(_first_line(file))


def _decoded(file: BinaryIO) -> Record:
    head = _first_line(file)
    data = file.read().removesuffix(b"\n")
    if sha256(data).hexdigest() != head["sha256"]:
        raise ValueError("it is damaged: the layers are not those that were written")
    known, layers = _summary(head), json.loads(data)
    if not (isinstance(layers, dict) and all(isinstance(layer, dict) for layer in layers.values())):
        raise ValueError("its layers are not mappings")
    return Record(known.generation, known.version, known.time, known.source, known.changes, layers)


def _first_line(file: BinaryIO) -> dict[str, Any]:
    head = json.loads(file.readline(LONGEST_SUMMARY))
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']!r} is not {FORMAT}")
    return dict(head)


def _summary(head: Mapping[str, Any]) -> Summary:
    match head:
        case {
            "generation": int(generation),
            "version": str(version),
            "time": int() | float() as time,
            "source": str(source),
            "changes": [*changes],
        } if isfinite(time) and all(isinstance(change, str) for change in changes):
            return Summary(int(generation), version, float(time), source, tuple(changes))
    raise ValueError("its summary is not one that was written")


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        sync(directory.parent)
    directory.chmod(0o700)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(TEMPORARY)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(temporary, flags, 0o600)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync(path.parent)
