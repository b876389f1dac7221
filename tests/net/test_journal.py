"""What was said to be stored is found again, in order: after a kill, a loss of power, and with a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from meshproxy.net.journal import Aside, Journal, Ticket
from meshproxy.net.journal.book import AROUND, Book, pack, unpack
from meshproxy.net.journal.disk import Disk
from meshproxy.net.journal.journal import UNWRITTEN
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import SpoolStats
from tests.conftest import FakeClock
from tests.net.disks import Faulty, Forgetful, Hand, PowerLoss

ONE_LOOP = True
ROOM = 1 << 20
Often = Callable[[int, int], int]


class Desk:
    """A journal, with its thread in our hands."""

    def __init__(
        self, path: Path, clock: FakeClock, size: int = ROOM, *, drop: bool = False, disk: Disk | None = None
    ) -> None:
        self.hand = Hand()
        self.clock = clock
        self.logged: list[str] = []
        self.stats = SpoolStats()
        clock.advance(0.001)  # so that each book has an age
        self.journal = Journal(
            path, size, drop=drop, clock=clock, aside=self.hand, log=Log(self.logged.append, clock=clock.now),
            stats=self.stats, disk=disk,
        )  # fmt: skip
        self.said: dict[bytes, bool] = {}

    def append(self, *records: bytes) -> list[bool]:
        """Whether each was taken; what becomes of it is in `said` sooner or later."""
        return [self.journal.append(record, lambda ok, record=record: self._say(record, ok)) for record in records]  # type: ignore[misc]

    def _say(self, record: bytes, ok: bool) -> None:
        assert record not in self.said, "told twice"
        self.said[record] = ok

    def store(self, *records: bytes) -> None:
        assert all(self.append(*records))
        self.hand.settle()
        assert all(self.said[record] for record in records)

    def next(self) -> Ticket | None:
        self.hand.settle()
        ticket = self.journal.next()
        if ticket is None:
            self.hand.settle()
            ticket = self.journal.next()
        return ticket

    def take(self) -> list[Ticket]:
        found = []
        while ticket := self.next():
            found.append(ticket)
        return found

    def drain(self) -> list[bytes]:
        """Everything, done."""
        tickets = self.take()
        for ticket in tickets:
            self.journal.done(ticket)
        self.note()
        return [ticket.record for ticket in tickets]

    def note(self) -> None:
        """What is done is noted."""
        self.hand.settle()
        self.clock.advance(3.1)
        self.hand.settle()

    def close(self) -> None:
        ended: list[bool] = []
        self.journal.close(lambda: ended.append(True))
        self.hand.settle()
        assert ended
        assert self.hand.ended


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Callable[..., Desk]:
    return lambda size=ROOM, **how: Desk(tmp_path / "spool", clock, size, **how)


def numbered(*numbers: int, size: int = 0) -> list[bytes]:
    return [b"%06d" % n + b"." * size for n in numbers]


def records_of(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*/*.j1"))


# In order


def test_what_goes_in_comes_out_in_order_once(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.store(*numbered(*range(100)))
    assert [ticket.record for ticket in one.take()] == numbered(*range(100))
    assert one.next() is None
    assert one.stats.waiting == 100  # nothing is done yet
    assert one.stats.stored_total == 100


def test_a_record_may_be_empty_and_may_be_large(desk: Callable[..., Desk]) -> None:
    one = desk()
    large = os.urandom(ROOM - AROUND)
    one.store(b"")
    assert one.drain() == [b""]
    one.store(large)
    assert one.drain() == [large]


def test_appends_of_one_turn_and_those_of_a_sync_under_way_share_a_sync(tmp_path: Path, clock: FakeClock) -> None:
    disk = Counting()
    one = Desk(tmp_path / "spool", clock, disk=disk)
    one.hand.settle()
    one.append(*numbered(*range(10)))
    one.hand.hear()
    one.hand.work()  # being synced
    one.append(*numbered(*range(10, 300)))
    assert not one.said
    one.hand.settle()
    assert len(one.said) == 300
    assert disk.syncs == 2


class Counting(Disk):
    syncs = 0

    def sync(self, handle: int) -> None:
        self.syncs += 1
        super().sync(handle)


def test_nobody_is_told_before_the_sync(tmp_path: Path, clock: FakeClock) -> None:
    one = Desk(Path("spool"), clock, disk=(disk := Forgetful()))
    one.hand.settle()
    one.append(b"x")
    one.hand.hear()
    assert one.hand.jobs
    assert not one.said
    one.hand.work()
    assert [file.synced for path, file in disk.kept.items() if path.suffix == ".j1" and file] == [pack([b"x"], 1)]
    assert not one.said
    one.hand.hear()
    assert one.said == {b"x": True}


def test_what_is_not_done_is_told_again(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.store(*numbered(*range(6)))
    tickets = one.take()
    for n in (0, 2):
        one.journal.done(tickets[n])
    one.journal.again()
    assert [ticket.record for ticket in one.take()] == numbered(1, 3, 4, 5)
    one.journal.done(tickets[0])  # twice does no harm
    assert one.stats.waiting == 4


def test_more_than_is_read_ahead(desk: Callable[..., Desk]) -> None:
    one = desk(8 * ROOM)
    records = numbered(*range(2000), size=1000)
    one.store(*records)
    assert one.drain() == records
    assert one.journal.empty


def test_what_waits_calls_when_it_can_be_had(desk: Callable[..., Desk]) -> None:
    one = desk()
    called: list[bytes] = []

    def pump() -> None:
        while ticket := one.journal.next():
            called.append(ticket.record)
            one.journal.done(ticket)

    one.journal.ready = pump
    one.store(*numbered(*range(5)))
    assert called == numbered(*range(5))


def test_empty_is_said_only_when_it_is_known(desk: Callable[..., Desk]) -> None:
    one = desk()
    assert not one.journal.empty  # nobody has looked for what dead writers have left
    one.hand.settle()
    assert one.journal.empty
    one.append(b"x")
    assert not one.journal.empty
    assert one.drain() == [b"x"]
    assert one.journal.empty


def test_who_appends_faster_than_the_disk_writes_is_told_to_pause(desk: Callable[..., Desk]) -> None:
    one = desk(8 * ROOM)
    one.hand.settle()
    called: list[bool] = []
    one.append(*numbered(*range(UNWRITTEN // 1000), size=1000))
    assert one.journal.full
    one.journal.waiters.add(lambda: called.append(one.journal.full))
    one.hand.settle()
    assert called == [False]
    assert not one.journal.waiters


# On disk


def test_files_are_private_and_go_when_they_are_done(desk: Callable[..., Desk], tmp_path: Path) -> None:
    one = desk(64 * 1024)
    for n in range(60):
        one.store(*numbered(n, size=500))
    files = list((tmp_path / "spool").rglob("*"))
    assert {stat.S_IMODE(each.stat().st_mode) for each in files if each.is_dir()} == {0o700}
    assert {stat.S_IMODE(each.stat().st_mode) for each in files if each.is_file()} == {0o600}
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    many = records_of(tmp_path)
    assert len(many) > 4
    assert max(each.stat().st_size for each in many) <= 4096
    tickets = one.take()
    for ticket in tickets[:30]:
        one.journal.done(ticket)
    one.note()
    assert 0 < len(records_of(tmp_path)) <= len(many) // 2 + 1
    assert one.stats.bytes == sum(each.stat().st_size for each in records_of(tmp_path))
    for ticket in tickets[30:]:
        one.journal.done(ticket)
    one.note()
    assert records_of(tmp_path) == []
    assert one.stats.bytes == 0
    one.store(b"more")
    assert one.drain() == [b"more"]
    one.close()
    assert [*(tmp_path / "spool").iterdir()] == []


def test_nothing_is_made_where_nothing_is_appended(desk: Callable[..., Desk], tmp_path: Path) -> None:
    one = desk()
    one.note()
    one.close()
    assert not (tmp_path / "spool").exists()


# Bounds


def test_the_oldest_give_way(desk: Callable[..., Desk], tmp_path: Path) -> None:
    one = desk(64 * 1024, drop=True)
    records = numbered(*range(300), size=500)
    for record in records:
        one.store(record)
        assert sum(each.stat().st_size for each in records_of(tmp_path)) <= 64 * 1024
    assert one.stats.bytes > 64 * 1024 - 4096
    left = one.drain()
    assert left == records[-len(left) :]
    assert one.stats.dropped_total == 300 - len(left) > 100
    assert one.stats.waiting == 0


def test_what_was_read_ahead_gives_way_too_but_not_what_is_handed_out(desk: Callable[..., Desk]) -> None:
    one = desk(64 * 1024, drop=True)
    records = numbered(*range(300), size=500)
    one.store(*records[:100])
    out = [one.next() for _ in range(5)]
    one.store(*records[100:])
    rest = one.take()
    assert [ticket.record for ticket in rest] == records[-len(rest) :]
    assert one.stats.dropped_total == 300 - 5 - len(rest)
    for ticket in out:
        assert ticket is not None
        one.journal.done(ticket)
    assert one.stats.waiting == len(rest)
    one.journal.again()
    assert one.drain() == records[-len(rest) :]
    assert one.stats.waiting == 0


def test_what_is_done_gives_way_uncounted(desk: Callable[..., Desk]) -> None:
    one = desk(64 * 1024, drop=True)
    for n in range(300):
        one.store(*numbered(n, size=500))
        ticket = one.next()
        assert ticket is not None
        one.journal.done(ticket)  # and nothing is noted
    assert one.stats.dropped_total == 0
    assert one.journal.empty


def test_without_dropping_what_has_no_room_is_refused_until_there_is(desk: Callable[..., Desk], tmp_path: Path) -> None:
    one = desk(64 * 1024)
    one.hand.settle()
    taken = one.append(*numbered(*range(300), size=500))
    one.hand.settle()
    many = taken.index(False)
    assert many == sum(taken) == 64 * 1024 // (506 + AROUND)
    assert one.stats.refused_total == 300 - many
    assert sum(each.stat().st_size for each in records_of(tmp_path)) <= 64 * 1024
    assert one.drain() == numbered(*range(many), size=500)
    one.store(*numbered(500, size=500))


def test_what_is_larger_than_all_is_refused(desk: Callable[..., Desk]) -> None:
    for drop in (True, False):
        one = desk(10_000, drop=drop)
        assert one.append(b"x" * 10_000, b"y" * (10_000 - AROUND)) == [False, True]
        one.hand.settle()
        assert one.drain() == [b"y" * (10_000 - AROUND)]


def test_bounds_may_change_while_it_lives(desk: Callable[..., Desk], tmp_path: Path) -> None:
    one = desk(64 * 1024, drop=True)
    for n in range(200):
        one.store(*numbered(n, size=500))
    one.journal.resize(16 * 1024, drop=True)
    one.store(b"last")
    assert sum(each.stat().st_size for each in records_of(tmp_path)) <= 16 * 1024
    one.journal.resize(ROOM, drop=False)
    for n in range(500, 700):
        one.store(*numbered(n, size=500))
    assert one.take()[-1].record == numbered(699, size=500)[0]
    one.journal.resize(1000, drop=False)
    assert one.append(b"more") == [False]


# Dead writers


def test_what_a_dead_writer_has_left_comes_first(desk: Callable[..., Desk], tmp_path: Path) -> None:
    first, second = desk(), desk()
    first.store(b"1", b"2")
    second.store(b"3")
    first.drain()
    first.store(b"4")
    alive = desk()
    alive.store(b"5")
    second.close()
    first.close()
    alive.note()
    assert alive.stats.waiting == 3
    assert alive.drain() == [b"4", b"3", b"5"]
    assert alive.journal.empty
    assert len([*(tmp_path / "spool").iterdir()]) == 1  # its own
    assert any("spool_adopted" in line for line in alive.logged)


def test_the_older_book_comes_first_whichever_is_found_first(desk: Callable[..., Desk]) -> None:
    for size, drop in ((ROOM, False), (64 * 1024, True)):
        older, newer, one = desk(), desk(), desk(size, drop=drop)
        records = [b"%d" % n * 20_000 for n in range(4)]
        older.store(records[0])
        newer.store(records[1])
        one.store(records[2])
        newer.close()
        one.note()
        older.close()
        one.note()
        one.store(records[3])  # for which the oldest may have to go
        assert one.drain() == records[drop:]


def test_a_lock_on_a_file_that_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"

    def removed(handle: int, how: int) -> None:
        path.unlink()
        path.touch()

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", removed)
        assert Disk().lock(path) is None
    handle = Disk().lock(path)
    assert handle is not None
    assert Disk().lock(path) is None
    os.close(handle)


def test_nobody_touches_the_book_of_the_living(desk: Callable[..., Desk]) -> None:
    one, other = desk(), desk()
    one.store(b"1")
    other.note()
    assert other.journal.empty
    assert one.drain() == [b"1"]


def test_only_one_finds_it(desk: Callable[..., Desk]) -> None:
    gone, one, other = desk(), desk(), desk()
    gone.store(b"1")
    gone.close()
    one.note()
    other.note()
    assert (one.drain(), other.drain()) == ([b"1"], [])


def test_what_was_noted_as_done_is_not_told_again(desk: Callable[..., Desk]) -> None:
    gone = desk()
    gone.store(*numbered(*range(10)))
    tickets = gone.take()
    for ticket in [*tickets[:4], tickets[7]]:
        gone.journal.done(ticket)
    gone.close()
    one = desk()
    # The one that was done among others that were not comes again: a mark is one number.
    assert one.drain() == numbered(*range(4, 10))


def test_what_gives_way_before_anybody_has_heard_of_it_is_counted_too(desk: Callable[..., Desk]) -> None:
    gone = desk(64 * 1024)
    gone.store(*numbered(*range(100), size=500))
    gone.close()
    one = desk(64 * 1024, drop=True)
    one.append(b"large" * 8000, *numbered(*range(100, 107), size=500))
    one.hand.work()  # looks for what is left behind
    one.hand.hear()
    assert one.hand.work()  # writes, for which some of that has to go
    one.hand.settle()
    left = one.drain()
    assert one.stats.dropped_total == 108 - len(left) > 0
    assert one.journal.empty


def test_a_book_that_has_no_room_beside_ours_waits_for_it(desk: Callable[..., Desk]) -> None:
    gone, one = desk(64 * 1024), desk(64 * 1024)
    gone.store(*numbered(*range(100), size=500))
    one.store(*numbered(*range(100, 200), size=500))
    gone.close()
    one.note()
    assert one.stats.waiting == 100
    assert one.drain() == numbered(*range(100, 200), size=500)
    assert one.drain() == numbered(*range(100), size=500)


def test_a_book_that_is_taken_for_left_behind_before_it_is_begun_is_begun_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    other = Desk(tmp_path / "spool", clock)
    other.hand.settle()

    class Slow(Disk):
        slow = 3

        def new_folder(self, path: Path) -> None:
            super().new_folder(path)
            self.slow -= 1
            if self.slow >= 0:
                other.note()

    one = Desk(tmp_path / "spool", clock, disk=Slow())
    one.store(b"1")
    assert other.journal.empty
    assert len([*(tmp_path / "spool").iterdir()]) == 1
    assert one.drain() == [b"1"]


def test_what_else_lies_there_is_left_alone(desk: Callable[..., Desk], tmp_path: Path) -> None:
    (tmp_path / "spool" / "lost+found").mkdir(parents=True)
    (tmp_path / "spool" / "readme").write_text("mine")
    (tmp_path / "spool" / "0-1").write_text("no directory")
    one = desk()
    one.store(b"1")
    assert one.drain() == [b"1"]
    one.close()
    assert sorted(each.name for each in (tmp_path / "spool").iterdir()) == ["0-1", "lost+found", "readme"]


# Damage


def left_behind(desk: Callable[..., Desk], size: int, *records: bytes) -> None:
    gone = desk(size)
    gone.hand.settle()
    for record in records:
        gone.store(record)
    gone.close()


def test_a_torn_tail_is_cut_wherever_it_is_torn(desk: Callable[..., Desk], tmp_path: Path) -> None:
    left_behind(desk, ROOM, b"first", b"second", b"the last one")
    (path,) = records_of(tmp_path)
    whole = path.read_bytes()
    good = len(whole) - AROUND - len(b"the last one")
    for end in range(good, len(whole)):
        for rest in (b"", b"\0" * (len(whole) - end), b"\xff" * 40):
            found, at, _ = unpack(whole[:end] + rest, 1, None)
            assert (found, at) == ([b"first", b"second"], good)
    path.write_bytes(whole[:-1])
    one = desk()
    assert one.drain() == [b"first", b"second"]
    assert one.stats.damaged_total == 0
    assert [*(tmp_path / "spool").iterdir()] == []


def test_every_flipped_bit_is_seen() -> None:
    whole = pack([b"first", b"second", b"third"], 7)
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        found, _, _ = unpack(bytes(data), 7, None)
        assert found == [b"first", b"second", b"third"][: len(found)]
        assert len(found) < 3


def test_what_has_another_number_than_it_should_is_not_told() -> None:
    assert unpack(pack([b"first", b"second"], 7), 8, None) == ([], 0, 0)


def test_what_is_damaged_is_counted_and_the_next_file_goes_on(desk: Callable[..., Desk], tmp_path: Path) -> None:
    records = numbered(*range(60), size=500)
    left_behind(desk, 64 * 1024, *records)
    path = records_of(tmp_path)[1]
    data = bytearray(path.read_bytes())
    each = len(records[0]) + AROUND
    data[2 * each + 100] ^= 4
    path.write_bytes(data)
    many = len(data) // each
    one = desk()
    assert one.drain() == records[: many + 2] + records[2 * many :]
    assert one.stats.damaged_total == many - 2
    assert any("spool_damaged" in line for line in one.logged)
    assert one.journal.empty
    assert [*(tmp_path / "spool").iterdir()] == []


@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "unreadable"])
def test_a_file_that_is_harmed_costs_what_was_in_it(desk: Callable[..., Desk], tmp_path: Path, harm: str) -> None:
    records = numbered(*range(60), size=500)
    left_behind(desk, 64 * 1024, *records)
    path = records_of(tmp_path)[1]
    whole = path.read_bytes()
    many = len(whole) // (len(records[0]) + AROUND)
    match harm:
        case "cut":
            path.write_bytes(whole[:1000])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case "unreadable":
            path.unlink()
            path.symlink_to("/etc/hostname")
    one = desk()
    kept = 1 if harm == "cut" else 0
    assert one.drain() == records[: many + kept] + records[2 * many :]
    assert one.stats.damaged_total == many - kept
    assert one.journal.empty


def test_damage_in_our_own_file_does_not_cost_what_comes_after(desk: Callable[..., Desk], tmp_path: Path) -> None:
    one = desk()
    one.store(b"one", b"two")
    (path,) = records_of(tmp_path)
    with path.open("r+b") as file:
        file.seek(AROUND + 1)
        file.write(b"?")
    assert one.take() == []
    assert one.stats.damaged_total == 2
    one.store(b"three")
    assert one.drain() == [b"three"]
    assert one.journal.empty


def test_whatever_stands_in_the_files_nothing_but_whole_records_comes(
    desk: Callable[..., Desk], tmp_path: Path, often: Often
) -> None:
    luck = Random(9)
    records = numbered(*range(40), size=500)
    for _ in range(often(8, 500)):
        left_behind(desk, 64 * 1024, *records)
        for path in records_of(tmp_path):
            data = bytearray(path.read_bytes())
            for _ in range(luck.randrange(3)):
                at = luck.randrange(len(data))
                data[at : at + luck.randrange(9)] = luck.randbytes(luck.randrange(9))
            path.write_bytes(data)
        one = desk()
        found = one.drain()
        assert set(found) <= set(records)
        assert found == sorted(set(found))
        assert one.journal.empty
        assert one.stats.waiting == 0
        one.close()


# A disk that fails


@pytest.mark.parametrize("operation", ["create", "write", "sync", "sync_names"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_could_not_be_written_is_not_acknowledged_and_it_goes_on_later(
    tmp_path: Path, clock: FakeClock, operation: str, number: int
) -> None:
    disk = Faulty()
    one = Desk(tmp_path / "spool", clock, disk=disk)
    for begun in (False, True):
        if begun:
            one.store(b"before")
        disk.fails[operation] = OSError(number, os.strerror(number))
        failing = operation in ("write", "sync") or not begun
        one.append(b"x%d" % begun, b"y%d" % begun)
        one.hand.settle()
        assert one.said[b"x%d" % begun] is one.said[b"y%d" % begun] is not failing
        disk.fails.clear()
    one.store(b"after")
    expected = [b"before", b"after"] if operation in ("write", "sync") else [b"before", b"x1", b"y1", b"after"]
    assert [ticket.record for ticket in one.take()] == expected
    assert one.stats.failed_total == (4 if operation in ("write", "sync") else 2)
    assert any(os.strerror(number) in line for line in one.logged)
    one.close()
    other = Desk(tmp_path / "spool", clock)
    assert other.drain() == expected


def test_what_failed_and_cannot_be_taken_back_is_told_by_nobody(tmp_path: Path, clock: FakeClock) -> None:
    disk = Faulty()
    one = Desk(tmp_path / "spool", clock, disk=disk)
    one.store(b"before")
    disk.fails = {"sync": OSError(errno.EIO, "sync"), "cut": OSError(errno.EIO, "cut")}
    one.append(b"failed")
    one.hand.settle()
    disk.fails.clear()
    one.store(b"after")
    assert sum(pack([b"failed"], 2) in path.read_bytes() for path in records_of(tmp_path)) == 1
    assert [ticket.record for ticket in one.take()] == [b"before", b"after"]
    one.close()
    other = Desk(tmp_path / "spool", clock)
    assert other.drain() == [b"before", b"after"]


@pytest.mark.parametrize("operation", ["create", "rename", "sync_names", "remove"])
def test_what_cannot_be_noted_is_noted_later(tmp_path: Path, clock: FakeClock, operation: str) -> None:
    disk = Faulty()
    one = Desk(tmp_path / "spool", clock, disk=disk)
    one.store(b"0", b"1")
    one.drain()
    one.store(b"2")
    disk.fails[operation] = OSError(errno.EIO, "no")
    assert one.drain() == [b"2"]
    one.note()
    disk.fails.clear()
    one.note()
    assert one.journal.empty
    assert records_of(tmp_path) == []
    one.close()
    assert [*(tmp_path / "spool").iterdir()] == []


def test_a_directory_that_is_none(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "spool").write_text("a file")
    one = Desk(tmp_path / "spool", clock)
    one.append(b"x")
    one.hand.settle()
    assert one.said == {b"x": False}
    (tmp_path / "spool").unlink()
    one.store(b"y")
    assert one.drain() == [b"y"]


# A loss of power


class Lives:
    """Journals in one directory, one after the other: what each has said, and what may be found after it."""

    def __init__(self, clock: FakeClock, luck: Random) -> None:
        self.clock = clock
        self.luck = luck
        self.disk = Forgetful()
        self.owed: set[bytes] = set()
        """Acknowledged, and not done."""
        self.known: set[bytes] = set()
        self.count = 0

    def live(self, turns: int, last_step: int | None) -> bool:
        """Whether it has lived to the end of its turns."""
        self.disk.last_step = None if last_step is None else self.disk.steps + last_step
        try:
            desk = Desk(Path("spool"), self.clock, 65_536, disk=self.disk)
            self.turns(desk, turns)
        except PowerLoss:
            return False
        return True

    def turns(self, desk: Desk, turns: int) -> None:
        out: list[Ticket] = []
        last = b""
        for _ in range(turns):
            match self.luck.randrange(8):
                case 0 | 1:
                    self.append(desk)
                case 2 | 3:
                    desk.hand.work()
                case 4 | 5:
                    desk.hand.hear()
                case 6:
                    if ticket := desk.journal.next():
                        assert ticket.record in self.known
                        assert ticket.record > last
                        last = ticket.record
                        out.append(ticket)
                case 7:
                    if out:
                        ticket = out.pop(self.luck.randrange(len(out)))
                        self.owed.discard(ticket.record)
                        desk.journal.done(ticket)
                    self.clock.advance(0.5)

    def append(self, desk: Desk) -> None:
        self.count += 1
        record = b"%06d" % self.count + bytes(self.luck.randrange(300))
        self.known.add(record)
        desk.journal.append(record, lambda ok: self.owed.add(record) if ok else None)

    def settle_up(self) -> None:
        desk = Desk(Path("spool"), self.clock, 65_536, disk=self.disk)
        found = desk.drain()
        assert found == sorted(set(found))
        assert self.owed <= set(found) <= self.known
        self.owed.clear()
        desk.close()
        assert self.disk.names(Path("spool")) == []
        # Done and noted is done, whatever becomes of the files that were removed.
        self.disk.lose(self.luck)
        assert Desk(Path("spool"), self.clock, 65_536, disk=self.disk).drain() == []


def test_power_lost_at_every_step_of_a_life(clock: FakeClock, often: Often) -> None:
    for seed in range(often(2, 40)):
        for step in range(1000):
            lives = Lives(clock, Random(seed))
            whole = lives.live(300, step)
            lives.disk.lose(Random(step))
            lives.settle_up()
            if whole:
                assert step > 50
                break


def test_power_lost_and_processes_killed_again_and_again(clock: FakeClock, often: Often) -> None:
    for seed in range(often(40, 5000)):
        luck = Random(seed)
        lives = Lives(clock, luck)
        for _ in range(luck.randrange(1, 6)):
            lives.live(luck.randrange(200), luck.choice([None, luck.randrange(100)]))
            if luck.random() < 0.5:
                lives.disk.lose(luck)
            else:
                lives.disk.last_step = None
                lives.disk.kill()
        lives.settle_up()


def test_what_was_noted_is_not_told_again_after_a_loss_of_power(clock: FakeClock) -> None:
    for seed in range(30):
        disk = Forgetful()
        one = Desk(Path("spool"), clock, disk=disk)
        one.store(b"1", b"2")
        one.drain()
        disk.lose(Random(seed))
        assert Desk(Path("spool"), clock, disk=disk).drain() == []


def test_a_disk_that_fails_at_every_step(clock: FakeClock, often: Often) -> None:
    for seed in range(often(1, 40)):
        for step in range(1, 120):
            lives = Lives(clock, luck := Random(seed))
            for more in range(luck.randrange(1, 4)):
                lives.disk.faults[step + more] = OSError(luck.choice([errno.EIO, errno.ENOSPC]), "no")
            lives.live(150, None)
            lives.disk.faults.clear()
            if step % 2:
                lives.disk.lose(luck)
            else:
                lives.disk.kill()
            lives.settle_up()


def test_the_disk_that_forgets_does_forget() -> None:
    """Otherwise it would prove nothing."""
    lost = set()
    for seed in range(200):
        disk = Forgetful()
        disk.folder(Path("spool"))
        book = Book.begin(disk, Path("spool/a"), 4096)
        assert book is not None
        book.write([b"kept"])
        _, file = [*disk.open.values()][-1]
        file.data += b"not synced, and longer than a block"
        disk.create(Path("spool/a/name"))
        disk.lose(Random(seed))
        left = disk.now[next(path for path in disk.now if path.suffix == ".j1")]
        assert left is not None
        assert left.data.startswith(pack([b"kept"], 1))
        lost |= {("bytes", len(left.data)), ("name", Path("spool/a/name") in disk.now)}
    assert {("name", True), ("name", False)} < lost
    assert len(lost) > 10


# A real process, a real disk

CHILD = """
import asyncio, os, sys
from pathlib import Path
from meshproxy.net.clock import LoopClock
from meshproxy.net.journal import Aside, Journal
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import SpoolStats

async def main():
    loop = asyncio.get_running_loop()
    clock, aside = LoopClock(loop), Aside(loop, "journal")
    journal = Journal(Path(sys.argv[1]), 1 << 30, drop=False, clock=clock, aside=aside, log=Log(), stats=SpoolStats())
    number = int(sys.argv[2])
    def more(ok=True, said=None):
        nonlocal number
        if said is not None:
            os.write(1, b"%d\\n" % said)
        mine, number = number, number + 1
        journal.append(b"%09d" % mine + bytes(mine % 1000), lambda ok: more(ok, mine))
    for _ in range(8):
        more()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_process_killed_at_random_has_lost_nothing_that_it_acknowledged(
    tmp_path: Path, run: Callable[[Any], None], often: Often
) -> None:
    luck = Random(5)
    spool = tmp_path / "spool"
    said: set[int] = set()
    for life in range(often(3, 40)):
        command = [sys.executable, "-c", CHILD, str(spool), str(life * 1_000_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
            assert child.stdout is not None
            lines = b""
            for _ in range(luck.randrange(1, 60)):
                lines += child.stdout.read(64)
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.read()
        said |= {int(line) for line in lines.split(b"\n")[:-1]}
    found = drained(spool, run)
    assert said <= {int(record[:9]) for record in found}
    assert found == sorted(set(found))
    assert all(record[9:] == bytes(int(record[:9]) % 1000) for record in found)
    assert [*spool.iterdir()] == []


def drained(spool: Path, run: Callable[[Any], None]) -> list[bytes]:
    found: list[bytes] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        clock, aside = LoopClock(loop), Aside(loop, "journal")
        journal = Journal(spool, 1 << 30, drop=False, clock=clock, aside=aside, log=Log(), stats=SpoolStats())
        empty, closed = asyncio.Event(), asyncio.Event()

        def pump() -> None:
            while ticket := journal.next():
                found.append(ticket.record)
                journal.done(ticket)
            if journal.empty:
                empty.set()

        journal.ready = pump
        await empty.wait()
        journal.close(closed.set)
        await closed.wait()

    run(scenario())
    return found
