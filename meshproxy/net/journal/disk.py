"""Files, as far as a journal needs them: a test hands in a disk that fails, or that forgets what was not synced.

Directories are 0700 and files 0600: what is kept belongs to people.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Disk:
    def folder(self, path: Path) -> None:
        """There, and with everything above it that had to be made, after a loss of power too."""
        if path.is_dir():
            # Who made it may have been killed before this.
            with suppress(PermissionError):
                self.sync_names(path.parent)
            return
        self.folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync_names(path.parent)

    def new_folder(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def names(self, path: Path) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def create(self, path: Path) -> int:
        """A file that was not there, to be written from its beginning."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def write(self, handle: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]

    def sync(self, handle: int) -> None:
        os.fdatasync(handle)

    def cut(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def close(self, handle: int) -> None:
        os.close(handle)

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def read(self, path: Path, at: int, size: int) -> bytes:
        """Fewer than `size` where the file ends."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            pieces = []
            while size > 0 and (piece := os.pread(handle, size, at)):
                pieces.append(piece)
                at += len(piece)
                size -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        path.rmdir()

    def sync_names(self, path: Path) -> None:
        """What was created, renamed and removed in it."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def lock(self, path: Path) -> int | None:
        """Held until it is closed, or the process is gone; None: another has it, or there is nothing to lock."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed the file between our two steps.
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        return None
