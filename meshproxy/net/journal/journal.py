"""A queue of records on disk: what it has said to be stored survives `kill -9` and a loss of power.

    journal = Journal(Path("/var/lib/spool"), 64 << 20, drop=True, clock=clock, aside=Aside(loop, "spool"), ...)
    journal.append(b"record", lambda ok: ...)      # True: you are told, when it is on disk or cannot be; False: no room
    journal.ready = pump                           # called when `next` has something again after it had not
    ticket = journal.next()                        # the oldest that is not handed out, or None
    journal.done(ticket)                           # it need not be told again; journal.again(): all others, once more

What is appended while a sync is under way goes out with the next one: the slower the disk is, the more at once.  That
something is done is noted about once a second, so what was done last may be told again after a crash.

A directory may belong to many processes.  Each writes a book of its own, and takes those over whose writers are gone:
what is in them comes before its own.  `size` bounds the books of a process together; so N processes keep N times as
much at most, counting those who are gone and whose books have no room elsewhere yet.  Who forks must not hold one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import randbits

from meshproxy.net.aside import Thread
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.journal.book import AROUND, Book, Told
from meshproxy.net.journal.disk import Disk
from meshproxy.net.journal.shelf import Shelf
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import SpoolStats

LOOK_EVERY = 3.0
"""Seconds between two looks for books whose writers are gone."""
MARK_EVERY = 1.0
"""Seconds until what is done is noted."""
LOG_EVERY = 10.0
READ = 256 * 1024
"""Bytes that are read ahead."""
UNWRITTEN = 1 << 20
"""Bytes that wait for the disk beyond which whoever appends should pause."""

Stored = Callable[[bool], None]


@dataclass(slots=True, eq=False)
class Ticket:
    record: bytes
    pile: Pile
    number: int
    out: bool = False


class Pile:
    """How far we are with a book."""

    __slots__ = ("book", "held", "low", "next", "read", "ready")

    def __init__(self, book: Book) -> None:
        self.book = book
        self.read = book.read
        self.next = book.next
        self.low = book.low
        """What was noted as done."""
        self.held: dict[int, Ticket] = {}
        """Read and not done, in order."""
        self.ready: deque[Ticket] = deque()
        """Those that are not handed out; some may not be held any more."""

    def done_before(self) -> int:
        return next(iter(self.held), self.read)


class Journal:
    def __init__(
        self,
        directory: Path,
        size: int,
        *,
        drop: bool,
        clock: Clock,
        aside: Thread,
        log: Log,
        stats: SpoolStats,
        disk: Disk | None = None,
    ) -> None:
        """`drop`: the oldest give way to new ones; otherwise those are refused."""
        self._directory = directory
        self._size = size
        self._drop = drop
        self._clock = clock
        self._aside = aside
        self._log = log
        self.stats = stats
        name = f"{int(clock.wall() * 1e6):016x}{randbits(32):08x}"
        self._shelf = Shelf(disk or Disk(), directory, size, name)
        self._own: Pile | None = None
        self._adopted: list[Pile] = []
        self._unwritten: deque[tuple[bytes, Stored]] = deque()
        self._unwritten_bytes = 0
        self._writing = False
        self._reading = False
        self._looked = False
        """Whether we know what dead writers have left."""
        self._closed: Callable[[], None] | None = None
        self.ready: Callable[[], None] = _nothing
        self.waiters: set[Callable[[], None]] = set()
        """Who is told, once, when it is not full any more."""
        self._marking: Timer | None = None
        self._looking: Timer | None = None
        self._look()

    # What is written

    @property
    def full(self) -> bool:
        """Whether whoever appends should pause: the disk is slower."""
        return self._unwritten_bytes >= UNWRITTEN

    @property
    def empty(self) -> bool:
        """Whether everything is done that was ever appended, as far as we know: surely not before the first look."""
        return self._looked and not self.stats.waiting and not self._writing

    @property
    def closed(self) -> bool:
        return self._closed is not None

    def append(self, record: bytes, stored: Stored) -> bool:
        size = AROUND + len(record)
        no_room = not self._drop and self._shelf.bytes + self._unwritten_bytes + size > self._size
        if no_room or size > self._size or self._closed is not None:
            self.stats.refused_total += 1
            return False
        self._unwritten.append((record, stored))
        self._unwritten_bytes += size
        if not self._writing:
            self._writing = True
            self._aside.soon(self._write)
        return True

    def _write(self) -> None:
        batch: list[tuple[bytes, Stored]] = []
        size = 0
        while self._unwritten and (not batch or size + AROUND + len(self._unwritten[0][0]) <= self._shelf.segment):
            batch.append(self._unwritten.popleft())
            size += AROUND + len(batch[-1][0])
        gone: list[tuple[Book, range]] = []
        job = partial(self._shelf.write, [record for record, _ in batch], gone if self._drop else None)
        self._aside.do(job, partial(self._written, batch, size, gone))

    def _written(
        self,
        batch: Sequence[tuple[bytes, Stored]],
        size: int,
        gone: Sequence[tuple[Book, range]],
        book: Book | None,
        error: Exception | None,
    ) -> None:
        was_full = self.full
        self._unwritten_bytes -= size
        for other, numbers in gone:
            self._lost(other, numbers)
        if book is not None:
            if self._own is None:
                self._own = Pile(book)
                self._own.read = self._own.next = 1
            self._own.next += len(batch)
            self.stats.stored_total += len(batch)
            self.stats.waiting += len(batch)
        else:
            self.stats.failed_total += len(batch)
            self._trouble("write", error)
        self.stats.bytes = self._shelf.bytes
        # Before anybody is told: the disk is busy meanwhile.
        self._writing = bool(self._unwritten)
        if self._writing:
            self._write()
        for _, stored in batch:
            stored(book is not None)
        self.ready()
        if was_full and not self.full:
            waiters, self.waiters = self.waiters, set()
            for relieved in waiters:
                relieved()
        if self._closed is not None and not self._writing:
            self._end()

    def _lost(self, book: Book, numbers: range) -> None:
        """The oldest have given way.  What is handed out may still be delivered, and is counted then."""
        pile = next((pile for pile in self._piles() if pile.book is book), None)
        if pile is None:
            return
        lost = max(numbers.stop - max(numbers.start, pile.read), 0)
        for ticket in [ticket for ticket in pile.held.values() if ticket.number in numbers and not ticket.out]:
            del pile.held[ticket.number]
            lost += 1
        pile.read = max(pile.read, numbers.stop)
        self.stats.dropped_total += lost
        self.stats.waiting -= lost
        self._mark_later()

    def resize(self, size: int, *, drop: bool) -> None:
        """Other bounds, from the next append on."""
        self._size = size
        self._drop = drop
        self._shelf.resize(size)

    # What is read

    def next(self) -> Ticket | None:
        for pile in self._piles():
            while pile.ready:
                ticket = pile.ready.popleft()
                if ticket.number in pile.held:
                    ticket.out = True
                    return ticket
            if pile.read < pile.next:
                if not self._reading:
                    self._reading = True
                    self._aside.do(partial(pile.book.take, READ), partial(self._taken, pile))
                return None
        return None

    def _piles(self) -> list[Pile]:
        return self._adopted if self._own is None else [*self._adopted, self._own]

    def _taken(self, pile: Pile, told: Told | None, error: Exception | None) -> None:
        self._reading = False
        if told is None:
            self._trouble("read", error)
            return
        records, damaged, pile.read = told
        for number, record in records:
            ticket = pile.held[number] = Ticket(record, pile, number)
            pile.ready.append(ticket)
        if lost := sum(map(len, damaged)):
            self.stats.damaged_total += lost
            self.stats.waiting -= lost
            key = f"spool damaged {self._directory}"
            self._log.limited(key, LOG_EVERY, "error", "spool_damaged", book=pile.book.name, records=lost)
            self._mark_later()
        self.ready()

    def done(self, ticket: Ticket) -> None:
        if ticket.pile.held.pop(ticket.number, None) is not None:
            self.stats.waiting -= 1
            self._mark_later()

    def again(self) -> None:
        """What was handed out and is not done is handed out once more, in order."""
        for pile in self._piles():
            for ticket in pile.held.values():
                ticket.out = False
            pile.ready = deque(pile.held.values())

    # What is noted

    def _mark_later(self) -> None:
        if self._marking is None and self._closed is None:
            self._marking = self._clock.after(MARK_EVERY, self._mark)

    def _mark(self) -> None:
        self._marking = None
        self._forget()

    def _forget(self) -> None:
        news = [(pile, low) for pile in self._piles() if (low := pile.done_before()) > pile.low]
        if news:
            for pile, low in news:
                pile.low = low
            job = partial(self._shelf.forget, [(pile.book, low) for pile, low in news])
            self._aside.do(job, partial(self._forgotten, news))

    def _forgotten(self, news: Sequence[tuple[Pile, int]], _: None, error: Exception | None) -> None:
        self.stats.bytes = self._shelf.bytes
        if error is not None:
            self._trouble("mark", error)
            for pile, _low in news:
                pile.low = 0
            self._mark_later()
            return
        for pile, low in news:
            if pile is not self._own and low == pile.next:
                self._adopted.remove(pile)

    # What others have left

    def _look(self) -> None:
        self._looking = None
        self._aside.do(self._adopt, self._found)

    def _adopt(self) -> tuple[list[Pile], list[Exception]]:
        """Aside: before a write may take something from them."""
        books, troubles = self._shelf.adopt()
        return [Pile(book) for book in books], troubles

    def _found(self, found: tuple[list[Pile], list[Exception]] | None, error: Exception | None) -> None:
        piles, troubles = found or ([], [])
        for trouble in (*troubles, *([error] if error else [])):
            self._trouble("adopt", trouble)
        for pile in piles:
            self._adopted.append(pile)
            self.stats.waiting += pile.next - pile.read
            self._log.info("spool_adopted", book=pile.book.name, records=pile.next - pile.read)
        self._adopted.sort(key=lambda pile: pile.book.name)
        self.stats.bytes = self._shelf.bytes
        self._looked = True
        if self._closed is None:
            self._looking = self._clock.after(LOOK_EVERY, self._look)
            self.ready()

    # The end

    def close(self, closed: Callable[[], None]) -> None:
        """What was appended is written, what is done is noted, and what is not is left for whoever finds it."""
        if self._closed is not None:
            return
        self._closed = closed
        for timer in (self._marking, self._looking):
            if timer is not None:
                timer.cancel()
        if not self._writing:
            self._end()

    def _end(self) -> None:
        self._forget()
        self._aside.do(self._shelf.close, self._ended)

    def _ended(self, _: None, error: Exception | None) -> None:
        self._aside.end()
        assert self._closed is not None
        self._closed()

    def _trouble(self, what: str, error: Exception | None) -> None:
        key = f"spool {what} {self._directory}"
        self._log.limited(key, LOG_EVERY, "error", "spool_failed", directory=self._directory, at=what, error=error)


def _nothing() -> None:
    pass
