"""Disks and threads that a test holds in its hands: one that fails, one that forgets, and work that is done by hand."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from meshproxy.net.journal.disk import Disk

T = TypeVar("T")
BLOCK = 16


class Hand:
    """Work aside, done when a test says so: a job, and later what the loop hears of it."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]]] = deque()
        self.told: deque[Callable[[], None]] = deque()
        self.ended = False

    def do(self, job: Callable[[], T], then: Callable[[T | None, Exception | None], None]) -> None:
        assert not self.ended
        self.jobs.append((job, then))

    def soon(self, action: Callable[[], None]) -> None:
        self.told.append(action)

    def end(self) -> None:
        self.ended = True

    def work(self) -> bool:
        """One job."""
        if not self.jobs:
            return False
        job, then = self.jobs.popleft()
        result, error = None, None
        try:
            result = job()
        except Exception as failure:
            error = failure
        self.told.append(lambda: then(result, error))
        return True

    def hear(self) -> bool:
        """One thing on the loop."""
        if not self.told:
            return False
        self.told.popleft()()
        return True

    def settle(self) -> None:
        while self.hear() or self.work():
            pass


class PowerLoss(BaseException):
    """Nothing after this is done."""


@dataclass(eq=False)
class File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


Change = tuple[str, Path, File | None]


class Forgetful(Disk):
    """Files in memory, and beside each what the disk surely has of it.

    What was not synced is a matter of luck after `lose`: each change of a name may have happened or not, and each block
    of a file may be there, be zeros, or be missing with all that follow."""

    def __init__(self) -> None:
        self.now: dict[Path, File | None] = {}
        """By path; None is a directory."""
        self.kept: dict[Path, File | None] = {}
        self.changes: list[Change] = []
        """Of names, that are not synced."""
        self.locked: set[Path] = set()
        self.open: dict[int, tuple[Path, File]] = {}
        self.handles = 0
        self.steps = 0
        self.last_step: int | None = None
        """After which the power is gone."""
        self.faults: dict[int, OSError] = {}
        """By the number of a step: it fails, having done a part of what it was to do."""

    def _step(self) -> None:
        if self.last_step is not None and self.steps >= self.last_step:
            raise PowerLoss
        self.steps += 1
        if fault := self.faults.get(self.steps):
            raise fault

    def _change(self, path: Path, file: File | None, *, kind: str = "add") -> None:
        self.changes.append((kind, path, file))
        _applied(self.now, kind, path, file)

    def folder(self, path: Path) -> None:
        if path not in self.now:
            self._step()
            self._change(path, None)
        self.sync_names(path.parent)

    def new_folder(self, path: Path) -> None:
        self._step()
        assert path not in self.now
        self._change(path, None)

    def names(self, path: Path) -> list[str]:
        return sorted(each.name for each in self.now if each.parent == path)

    def create(self, path: Path) -> int:
        self._step()
        assert path not in self.now
        assert path.parent in self.now
        file = File()
        self._change(path, file)
        return self._handle(path, file)

    def _handle(self, path: Path, file: File) -> int:
        self.handles += 1
        self.open[self.handles] = path, file
        return self.handles

    def write(self, handle: int, data: bytes) -> None:
        file = self.open[handle][1]
        try:
            self._step()
        except (OSError, PowerLoss):
            file.data += data[: len(data) * 2 // 3]
            raise
        file.data += data

    def sync(self, handle: int) -> None:
        self._step()
        file = self.open[handle][1]
        file.synced = bytes(file.data)

    def cut(self, handle: int, size: int) -> None:
        self._step()
        del self.open[handle][1].data[size:]

    def close(self, handle: int) -> None:
        path, _ = self.open.pop(handle)
        self.locked.discard(path)

    def size(self, path: Path) -> int:
        return len(self._file(path).data)

    def read(self, path: Path, at: int, size: int) -> bytes:
        return bytes(self._file(path).data[at : at + size])

    def _file(self, path: Path) -> File:
        file = self.now.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return file

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        file = self._file(old)
        # One change: nobody finds neither of them.
        self.changes.append((f"rename {old.name}", new, file))
        _applied(self.now, f"rename {old.name}", new, file)

    def remove(self, path: Path) -> None:
        self._step()
        self._file(path)
        self._change(path, None, kind="remove")

    def remove_folder(self, path: Path) -> None:
        self._step()
        assert not self.names(path)
        self._change(path, None, kind="remove")

    def sync_names(self, path: Path) -> None:
        self._step()
        for kind, name, file in [change for change in self.changes if change[1].parent == path]:
            _applied(self.kept, kind, name, file)
        self.changes = [change for change in self.changes if change[1].parent != path]

    def lock(self, path: Path) -> int | None:
        if path in self.locked or path.parent not in self.now:
            return None
        self._step()
        if path not in self.now:
            self._change(path, File())
        self.locked.add(path)
        return self._handle(path, self._file(path))

    # What happens to it

    def kill(self) -> None:
        """The process is gone; the machine is not."""
        self.open.clear()
        self.locked.clear()

    def lose(self, luck: Random) -> None:
        """So is the power."""
        self.kill()
        for kind, path, file in self.changes:
            if luck.random() < 0.5:
                _applied(self.kept, kind, path, file)
        self.changes = []
        # A name in a directory that is not there is nowhere.
        self.now = {path: file for path, file in self.kept.items() if all(above in self.kept for above in _above(path))}
        self.kept = dict(self.now)
        for file in self.now.values():
            if file is not None:
                file.data = _left_of(file, luck)
                file.synced = bytes(file.data)
        self.last_step = None


def _above(path: Path) -> list[Path]:
    return [each for each in path.parents if each != each.parent and each != Path(".")]


def _applied(names: dict[Path, File | None], kind: str, path: Path, file: File | None) -> None:
    if kind == "remove":
        names.pop(path, None)
        return
    if kind.startswith("rename "):
        names.pop(path.with_name(kind.removeprefix("rename ")), None)
    names[path] = file


def _left_of(file: File, luck: Random) -> bytearray:
    if len(file.data) < len(file.synced):
        return luck.choice([file.data, bytearray(file.synced)])
    assert file.data.startswith(file.synced), "what is synced is never written again"
    left = bytearray(file.synced)
    for at in range(len(left), len(file.data), BLOCK):
        block = file.data[at : at + BLOCK]
        match luck.randrange(8):
            case 0:
                return left + block[: luck.randrange(BLOCK)]
            case 1:
                left += bytes(len(block))
            case _:
                left += block
    return left


class Faulty(Disk):
    """A real disk, of which some operation fails as often as it says."""

    def __init__(self) -> None:
        self.fails: dict[str, OSError] = {}
        """By the name of the operation."""

    def write(self, handle: int, data: bytes) -> None:
        if fault := self.fails.get("write"):
            super().write(handle, data[: len(data) // 2])
            raise fault
        super().write(handle, data)

    def sync(self, handle: int) -> None:
        if fault := self.fails.get("sync"):
            raise fault
        super().sync(handle)

    def sync_names(self, path: Path) -> None:
        if fault := self.fails.get("sync_names"):
            raise fault
        super().sync_names(path)

    def create(self, path: Path) -> int:
        if fault := self.fails.get("create"):
            raise fault
        return super().create(path)

    def cut(self, handle: int, size: int) -> None:
        if fault := self.fails.get("cut"):
            raise fault
        super().cut(handle, size)

    def rename(self, old: Path, new: Path) -> None:
        if fault := self.fails.get("rename"):
            raise fault
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        if fault := self.fails.get("remove"):
            raise fault
        super().remove(path)
