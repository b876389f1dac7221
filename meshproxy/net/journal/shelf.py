"""The books of a directory that this process holds: its own, and those that dead writers have left.

    shelf = Shelf(Disk(), Path("/var/lib/meshproxy/spool"), 64 << 20, name="0001")
    books, troubles = shelf.adopt()        # what is left behind, and found since the last look
    shelf.write([b"one", b"two"], gone)    # into our own book; which numbers of which book had to go for it

Everything here waits for the disk.  `bytes` may be looked at from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from meshproxy.net.journal.book import AROUND, LOCK, Book, size_of
from meshproxy.net.journal.disk import Disk

SMALLEST_SEGMENT = 4096
LARGEST_SEGMENT = 4 << 20
SEGMENTS = 16
"""Of so many files a full book is made, or of more."""
ATTEMPTS = 8
BOOK = re.compile(r"[0-9a-f]+-[0-9a-f]+")


class Shelf:
    def __init__(self, disk: Disk, directory: Path, size: int, name: str) -> None:
        self._disk = disk
        self._directory = directory
        self._name = name
        self.own: Book | None = None
        self._adopted: list[Book] = []
        self._begun = 0
        self.bytes = 0
        """Of all our books."""
        self.resize(size)

    def resize(self, size: int) -> None:
        self._size = size
        self.segment = min(max(size // SEGMENTS, SMALLEST_SEGMENT), LARGEST_SEGMENT, size)
        if self.own is not None:
            self.own.most = self.segment

    def write(self, records: Sequence[bytes], gone: list[tuple[Book, range]] | None) -> Book:
        """Our own book, with them on disk.  The oldest go until there is room: into `gone`, also if it fails then;
        without it, whoever asks has seen that there is room."""
        size = sum(map(len, records)) + AROUND * len(records)
        own = self.own
        if own is None:
            own = self.own = self._begin()
        try:
            for book in (*self._adopted, own):
                while gone is not None and book.segments and self._count() + size > self._size:
                    gone.append((book, book.drop()))
            own.write(records)
        finally:
            self._count()
        return own

    def _begin(self) -> Book:
        self._disk.folder(self._directory)
        for _ in range(ATTEMPTS):
            self._begun += 1
            book = Book.begin(self._disk, self._directory / f"{self._name}-{self._begun:x}", self.segment)
            if book is not None:
                return book
        raise OSError(f"{self._directory}: no book of our own is to be had")

    def _count(self) -> int:
        self.bytes = sum(book.size for book in self._books())
        return self.bytes

    def _books(self) -> list[Book]:
        return self._adopted if self.own is None else [*self._adopted, self.own]

    def adopt(self) -> tuple[list[Book], list[Exception]]:
        """Books with something in them, the oldest first.  One that has no room beside what we hold stays where it
        is, until there is or somebody else takes it: it does not cost what is here already."""
        found: list[Book] = []
        troubles: list[Exception] = []
        ours = {book.name for book in self._books()}
        for name in self._disk.names(self._directory):
            if name in ours or not BOOK.fullmatch(name):
                continue
            try:
                book = self._adopted_of(self._directory / name)
            except (OSError, ValueError) as trouble:
                troubles.append(trouble)
                continue
            if book is not None:
                found.append(book)
                self._adopted.append(book)
                self._count()
        self._adopted.sort(key=lambda book: book.name)
        return found, troubles

    def _adopted_of(self, path: Path) -> Book | None:
        if self.bytes and self.bytes + size_of(self._disk, path) > self._size:
            return None
        lock = self._disk.lock(path / LOCK)
        if lock is None:
            return None
        try:
            book = Book.adopt(self._disk, path, lock)
        except (OSError, ValueError):
            self._disk.close(lock)
            raise
        if book.read == book.next:
            self._finish(book)
            return None
        return book

    def forget(self, done: Sequence[tuple[Book, int]]) -> None:
        """What is before a number in a book; one that is not ours and has nothing more is gone then."""
        try:
            for book, low in done:
                book.forget(low)
                if book is not self.own and low == book.next:
                    self._adopted.remove(book)
                    with suppress(OSError):  # what is left of it will be found
                        self._finish(book)
        finally:
            self._count()

    def _finish(self, book: Book) -> None:
        try:
            book.forget(book.next)
        finally:
            book.close()

    def close(self) -> None:
        for book in self._books():
            with suppress(OSError):
                book.close()
        self._adopted, self.own = [], None
