"""What one writer has kept: numbered records in files of bounded size.

    book = Book.begin(disk, folder, segment=4 << 20)     # mine, until I close it or die
    book.write([b"one", b"two"])                         # on disk when it returns; OSError: none of them is
    records, lost, read = book.take(1 << 18)             # [(1, b"one"), (2, b"two")], [], 3
    book.forget(3)                                       # what is before 3 need not be told again

Nobody appends to the book of another: it is read, and removed.  A record is its length, its number, a CRC-32 of both
and of what follows, and its bytes.  A file is called by its own number and that of its first record; one with the
ending `.done` says by its name alone which number comes next.

What is not readable ends a file: the last one is torn there by a loss of power, and what is missing was never said to
be on disk; in any other the number of the next file tells how many are lost.  A file in which a write failed is left
and never written to again, since after a failed sync nobody knows what the disk has of it; the next file begins with
the number that failed, so what stands there twice is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from zlib import crc32

from meshproxy.net.journal.disk import Disk

LOCK = "lock"
RECORDS = ".j1"
DONE = ".done"
CHUNK = 65_536

_HEAD = Struct(">IQ")
_CHECK = Struct(">I")
AROUND = _HEAD.size + _CHECK.size
"""Bytes that a record takes beside its own."""

Told = tuple[list[tuple[int, bytes]], list[range], int]
"""Records with their numbers, which numbers are lost, and which comes next."""


@dataclass(slots=True)
class Segment:
    path: Path
    first: int
    next: int
    """The number after its last record."""
    end: int
    """Bytes; of what we have written ourselves, those of good records, and there may be others behind them."""


class Book:
    def __init__(self, disk: Disk, path: Path, lock: int, segment: int) -> None:
        self._disk = disk
        self._path = path
        self._lock = lock
        self.most = segment
        """Bytes of a file that may grow."""
        self.segments: list[Segment] = []
        self.low = 1
        """What is before it is done, and known to be after a loss of power too."""
        self.read = 1
        """Which is taken next."""
        self.next = 1
        """Which is written next."""
        self._serial = 0
        self._mark: Path | None = None
        self._handle: int | None = None
        """Of the last segment, while it may grow."""
        self._place: tuple[Segment, int, int] | None = None
        """Where taking goes on: the number and the offset in a segment."""

    @classmethod
    def begin(cls, disk: Disk, path: Path, segment: int) -> Book | None:
        """A new one; None where somebody was quicker and took it for left behind."""
        disk.new_folder(path)
        lock = disk.lock(path / LOCK)
        if lock is None:
            return None
        try:
            disk.sync_names(path.parent)
        except OSError:
            disk.close(lock)
            raise
        return cls(disk, path, lock, segment)

    @classmethod
    def adopt(cls, disk: Disk, path: Path, lock: int) -> Book:
        """What a dead writer has left."""
        book = cls(disk, path, lock, 0)
        names = disk.names(path)
        marks = [name for name in names if name.endswith(DONE)]
        if marks:
            book._mark = path / marks[-1]
            book.low = int(marks[-1].removesuffix(DONE), 16)
        for name in names:
            if name.endswith(RECORDS):
                first = int(name.removesuffix(RECORDS).partition("-")[2], 16)
                if book.segments:
                    book.segments[-1].next = first
                book.segments.append(Segment(path / name, first, first, disk.size(path / name)))
        if book.segments:
            last = book.segments[-1]
            records, _, _ = unpack(disk.read(last.path, 0, last.end), last.first, None)
            last.next += len(records)
            book.next = max(last.next, book.low)
            book.read = max(book.low, book.segments[0].first)
        else:
            book.next = book.read = book.low
        return book

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def size(self) -> int:
        """Bytes in all its files."""
        return sum(segment.end for segment in self.segments)

    def write(self, records: Sequence[bytes]) -> None:
        data = pack(records, self.next)
        if self._handle is not None and self.segments[-1].end + len(data) > self.most:
            self._close()
        fresh = self._handle is None
        handle = self._open() if self._handle is None else self._handle
        segment = self.segments[-1]
        try:
            self._disk.write(handle, data)
            self._disk.sync(handle)
            if fresh:
                self._disk.sync_names(self._path)
        except OSError:
            with suppress(OSError):
                self._disk.cut(handle, segment.end)
            self._close()
            if not segment.end:
                self.segments.remove(segment)
                with suppress(OSError):
                    self._disk.remove(segment.path)
            raise
        segment.end += len(data)
        self.next = segment.next = self.next + len(records)

    def _open(self) -> int:
        self._serial += 1
        path = self._path / f"{self._serial:08x}-{self.next:016x}{RECORDS}"
        self._handle = self._disk.create(path)
        self.segments.append(Segment(path, self.next, self.next, 0))
        return self._handle

    def _close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with suppress(OSError):
                self._disk.close(handle)

    def take(self, most: int) -> Told:
        """The next ones, of about `most` bytes."""
        told: list[tuple[int, bytes]] = []
        lost: list[range] = []
        needed = AROUND
        while most > 0 and (segment := next((one for one in self.segments if one.next > self.read), None)):
            if self._place is None or self._place[0] is not segment:
                self._place = segment, segment.first, 0
            _, number, at = self._place
            if number > self.read:
                lost.append(range(self.read, number))
                self.read = number
            size = min(max(needed, CHUNK), segment.end - at)
            try:
                data = self._disk.read(segment.path, at, size)
            except OSError:
                data = b""
            records, used, needed = unpack(data, number, segment.next)
            told += [(n, record) for n, record in enumerate(records, number) if n >= self.read]
            number += len(records)
            at += used
            most -= used
            self.read = max(self.read, number)
            self._place = segment, number, at
            if number < segment.next and not (len(data) == size and 0 < needed <= segment.end - at):
                lost.append(range(self.read, segment.next))
                self.read = segment.next
                self._place = segment, segment.next, segment.end
        return told, [gap for gap in lost if gap], self.read

    def forget(self, low: int) -> None:
        """What is before `low` is done."""
        if low > self.low:
            mark = self._path / f"{low:016x}{DONE}"
            if self._mark is None:
                self._disk.close(self._disk.create(mark))
            else:
                self._disk.rename(self._mark, mark)
            self._mark = mark
            # Before the files go: what would be left of them must not be told again.
            self._disk.sync_names(self._path)
            self.low = low
        while self.segments and self.segments[0].next <= low:
            self._remove()

    def drop(self) -> range:
        """The oldest file, done or not: the numbers that are gone with it."""
        segment = self.segments[0]
        self._remove()
        self.read = max(self.read, segment.next)
        return range(segment.first, segment.next)

    def _remove(self) -> None:
        if len(self.segments) == 1:
            self._close()
        self._disk.remove(self.segments[0].path)
        del self.segments[0]

    def close(self) -> None:
        """Who finds it now may have it; where everything in it is done, there is nothing to find."""
        self._close()
        try:
            if not self.segments:
                if self._mark is not None:
                    # A mark may not be gone before what it speaks of.
                    self._disk.sync_names(self._path)
                for name in self._disk.names(self._path):
                    self._disk.remove(self._path / name)
                self._disk.remove_folder(self._path)
        finally:
            self._disk.close(self._lock)


def size_of(disk: Disk, path: Path) -> int:
    """Bytes in the files of a book, whosoever it is."""
    return sum(disk.size(path / name) for name in disk.names(path) if name.endswith(RECORDS))


def pack(records: Sequence[bytes], number: int) -> bytes:
    pieces: list[bytes] = []
    for n, record in enumerate(records, number):
        head = _HEAD.pack(len(record), n)
        pieces += head, _CHECK.pack(crc32(record, crc32(head))), record
    return b"".join(pieces)


def unpack(data: bytes, number: int, stop: int | None) -> tuple[list[bytes], int, int]:
    """The good records at the beginning of `data`, which have the numbers from `number` to before `stop`; where they
    end; and how many bytes the next one needs from there on: 0 if it is damaged."""
    records: list[bytes] = []
    at = 0
    while number != stop:
        if at + AROUND > len(data):
            return records, at, AROUND
        length, said = _HEAD.unpack_from(data, at)
        end = at + AROUND + length
        if said != number:
            return records, at, 0
        if end > len(data):
            return records, at, AROUND + length
        record = data[at + AROUND : end]
        if crc32(record, crc32(data[at : at + _HEAD.size])) != _CHECK.unpack_from(data, at + _HEAD.size)[0]:
            return records, at, 0
        records.append(record)
        number += 1
        at = end
    return records, at, 0
