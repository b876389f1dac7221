"""Lines to files and streams: whole, in order, never waited for, each counted once, whatever becomes of the disk."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import select
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshproxy.net.aside import Aside
from meshproxy.net.clock import LoopClock
from meshproxy.net.sinks import Account, FileSink, Sink, StreamSink, emptied
from meshproxy.net.sinks.waiting import BATCH, LAST_WITHIN
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import SinkStats
from tests.conftest import FakeClock
from tests.net.disks import Hand

ONE_LOOP = True
Run = Callable[[Coroutine[Any, Any, None]], None]


def line(number: int, size: int = 40) -> bytes:
    return (b"%08d " % number).ljust(size - 1, b".") + b"\n"


class Desk:
    """A file that is written to, with its thread in our hands."""

    def __init__(self, path: Path, clock: FakeClock, buffer: int = 1 << 20) -> None:
        self.path = path
        self.clock = clock
        self.hand = Hand()
        self.stats = SinkStats()
        self.logged: list[str] = []
        log = Log(self.logged.append, clock=clock.now)
        self.sink = FileSink(clock, self.hand, str(path), Account("access", self.stats, log, buffer))

    def offer(self, *numbers: int) -> None:
        for number in numbers:
            self.sink.offer(line(number))

    def settle(self, after: float = 1.0) -> None:
        self.clock.advance(after)
        self.hand.settle()

    @property
    def read(self) -> list[int]:
        """The numbers of the lines that are there; each of them is whole."""
        return numbers(self.path.read_bytes())

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.stats.written_total, self.stats.dropped_total, self.stats.waiting

    def events(self) -> list[str]:
        return [each.split()[2] for each in self.logged]


def numbers(data: bytes, size: int = 40) -> list[int]:
    found = [int(each[:8]) for each in data.splitlines()]
    assert data == b"".join(line(each, size) for each in found)
    return found


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(tmp_path / "access.log", clock)


def test_a_batch_begins_a_while_after_its_first_line_and_one_timer_does_for_all(desk: Desk) -> None:
    desk.offer(*range(1000))
    assert (desk.clock.pending, len(desk.hand.jobs)) == (1, 0)
    desk.clock.advance(0.9)
    assert not desk.hand.jobs
    desk.clock.advance(0.1)
    assert len(desk.hand.jobs) == 1
    desk.hand.settle()
    assert desk.read == [*range(1000)]
    assert desk.counted == (1000, 0, 0)
    assert desk.clock.pending == 0


def test_a_large_batch_begins_at_once(desk: Desk) -> None:
    desk.offer(*range(-(-BATCH // 40)))
    assert len(desk.hand.jobs) == 1
    assert desk.clock.pending == 0


def test_a_file_that_was_not_there_is_nobody_elses_to_read(desk: Desk) -> None:
    before = os.umask(0o022)
    try:
        desk.offer(1)
        desk.settle()
    finally:
        os.umask(before)
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o640


def test_a_file_that_was_there_is_appended_to(desk: Desk) -> None:
    desk.path.write_bytes(line(0))
    desk.offer(1)
    desk.settle()
    assert desk.read == [0, 1]


def test_what_comes_while_a_batch_is_under_way_waits_in_bounds(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(tmp_path / "log", clock, buffer=400)
    desk.offer(0, 1)
    clock.advance(1)
    desk.offer(*range(2, 13))
    assert len(desk.hand.jobs) == 1, "a disk that does not answer is given one batch"
    assert desk.counted == (0, 3, 10)
    desk.settle()
    assert desk.read == [*range(10)]
    assert desk.counted == (10, 3, 0)
    assert desk.events() == ["sink-full"], "once for all that is dropped in a row"


def test_each_time_that_there_is_no_room_is_told(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(tmp_path / "log", clock, buffer=400)
    for _ in range(2):
        desk.offer(*range(15))
        desk.settle()
        clock.advance(60)
    assert desk.events() == ["sink-full", "sink-full"]
    assert desk.counted == (20, 10, 0)


def test_a_line_that_never_fits_is_dropped_and_the_others_are_not(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(tmp_path / "log", clock, buffer=100)
    desk.sink.offer(line(0, 101))
    desk.offer(1)
    desk.settle()
    assert desk.read == [1]
    assert desk.counted == (1, 1, 0)


def test_a_full_disk_is_counted_told_once_and_tried_again_until_there_is_room(desk: Desk) -> None:
    desk.path.symlink_to("/dev/full")
    desk.offer(*range(10))
    for _ in range(5):
        desk.settle()
    assert desk.counted == (0, 0, 10)
    assert desk.stats.failed_total == 5
    assert desk.events() == ["sink-failed"]
    assert "No space left" in desk.logged[0]
    desk.path.unlink()
    desk.settle()
    assert desk.read == [*range(10)]
    assert desk.counted == (10, 0, 0)
    assert desk.events() == ["sink-failed", "sink-works"]


def test_a_directory_that_is_gone_may_come_back(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(tmp_path / "gone" / "log", clock)
    desk.offer(1)
    desk.settle()
    assert desk.stats.failed_total == 1
    desk.path.parent.mkdir()
    desk.settle()
    assert desk.read == [1]


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_of_a_line_that_was_torn_the_whole_is_written_again_on_a_line_of_its_own(desk: Desk) -> None:
    desk.offer(0, 1, 2, 3)
    with longest_file(100):
        desk.settle()
        assert desk.counted == (2, 0, 2)
        desk.settle()
        assert desk.stats.failed_total == 2
        assert desk.path.stat().st_size == 100
    desk.settle()
    assert desk.path.read_bytes() == line(0) + line(1) + line(2)[:20] + b"\n" + line(2) + line(3)
    assert desk.counted == (4, 0, 0)


def test_a_line_that_was_torn_stands_whole_in_the_file_that_follows(desk: Desk) -> None:
    desk.offer(0, 1)
    with longest_file(60):
        desk.settle()
    desk.path.rename(desk.path.with_suffix(".1"))
    desk.sink.reopen()
    desk.settle()
    assert desk.read == [1]


def test_what_is_under_way_belongs_to_the_old_file_and_all_that_follows_to_the_new_one(desk: Desk) -> None:
    old = desk.path.with_suffix(".1")
    desk.offer(0)
    desk.settle()
    desk.offer(1)
    desk.clock.advance(1)
    desk.path.rename(old)
    desk.sink.reopen()
    desk.sink.reopen()
    desk.offer(2)
    assert not desk.path.exists()
    desk.hand.settle()
    assert desk.path.read_bytes() == b"", "it is there before there is a line for it"
    desk.settle()
    assert numbers(old.read_bytes()) == [0, 1]
    assert desk.read == [2]


def test_a_second_rotation_is_not_forgotten_over_the_first(desk: Desk) -> None:
    desk.sink.reopen()
    assert desk.hand.work(), "it is open, and we have not heard so"
    desk.path.rename(desk.path.with_suffix(".1"))
    desk.sink.reopen()
    desk.hand.settle()
    desk.offer(0)
    desk.settle()
    assert desk.read == [0]


def test_a_file_that_cannot_be_opened_again_is_told_of_and_tried_again(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(tmp_path / "gone" / "log", clock)
    desk.sink.reopen()
    desk.hand.settle()
    assert (desk.stats.failed_total, desk.events()) == (1, ["sink-failed"])
    desk.path.parent.mkdir()
    desk.offer(0)
    desk.settle()
    assert desk.read == [0]


def test_one_that_nobody_asks_for_takes_lines_for_a_while_then_sends_them_and_closes(desk: Desk) -> None:
    desk.sink.retire(30)
    desk.clock.advance(29.9)
    desk.offer(0)
    desk.clock.advance(0.1)
    desk.hand.settle()
    assert desk.read == [0]
    assert desk.hand.ended
    desk.offer(1)
    assert desk.counted == (1, 1, 0)
    assert desk.logged == []


def test_one_that_nobody_asks_for_does_not_wait_for_a_batch_to_grow(desk: Desk) -> None:
    desk.offer(0)
    desk.clock.advance(1)
    desk.offer(1)
    desk.sink.retire(0)
    desk.clock.advance(0)
    desk.hand.settle()
    assert desk.read == [0, 1]
    assert desk.hand.ended


def test_one_that_nobody_asks_for_does_not_try_for_ever(desk: Desk) -> None:
    desk.path.symlink_to("/dev/full")
    desk.offer(0)
    desk.sink.retire(0)
    for _ in range(int(LAST_WITHIN)):
        assert not desk.hand.ended
        desk.settle()
    assert desk.hand.ended
    assert desk.counted == (0, 1, 0)
    assert desk.clock.pending == 0


def test_what_is_under_way_when_it_is_closed_is_counted_as_what_becomes_of_it(desk: Desk) -> None:
    desk.offer(0, 1)
    desk.clock.advance(1)
    desk.offer(2)
    desk.sink.close()
    desk.sink.close()
    assert not desk.hand.ended
    desk.hand.settle()
    assert desk.counted == (2, 1, 0)
    assert desk.hand.ended
    assert desk.read == [0, 1]


# With threads


class Threads:
    """Sinks as they are, on a loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stats = SinkStats()
        self.logged: list[str] = []
        self.offered = 0

    def account(self, buffer: int = 1 << 20) -> Account:
        return Account("access", self.stats, Log(self.logged.append), buffer, flush=0.001)

    def file(self, path: Path) -> FileSink:
        return FileSink(LoopClock(self.loop), Aside(self.loop, "log"), str(path), self.account())

    def stream(self, fd: int, buffer: int = 1 << 20) -> StreamSink:
        return StreamSink(LoopClock(self.loop), Aside(self.loop, "log"), fd, self.account(buffer))

    def offer(self, sink: Sink, data: bytes) -> None:
        self.offered += 1
        sink.offer(data)

    @property
    def all_counted(self) -> bool:
        stats = self.stats
        return stats.written_total + stats.dropped_total + stats.waiting == self.offered


def test_of_all_rotations_under_load_no_line_is_lost_and_none_is_torn(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "access.log"

    async def scenario() -> None:
        threads = Threads()
        # Several workers write to one file, and each is told for itself
        sinks = [threads.file(path) for _ in range(3)]
        count = 0
        for rotation in range(20):
            for _ in range(300):
                threads.offer(sinks[count % 3], line(count))
                count += 1
                if count % 50 == 0:
                    await asyncio.sleep(0)
            while not path.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            path.rename(path.with_suffix(f".{rotation}"))
            for sink in sinks:
                sink.reopen()
        await emptied(sinks, 5)
        assert (threads.stats.written_total, threads.stats.dropped_total) == (6000, 0)
        for sink in sinks:
            sink.close()

    run(scenario())
    found = [numbers(each.read_bytes()) for each in tmp_path.iterdir()]
    assert len(found) == 21
    assert sorted(number for each in found for number in each) == [*range(6000)]
    for one in range(3):
        in_one_file = [[number for number in each if number % 3 == one] for each in found]
        assert all(each == sorted(each) for each in in_one_file)


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_is_left_as_it_was(run: Run) -> None:
    reader, writer = os.pipe()
    told = bytearray()

    async def scenario() -> None:
        threads = Threads()
        sink = threads.stream(writer, buffer=100_000)
        for number in range(10_000):
            threads.offer(sink, line(number))
            if number % 500 == 0:
                await asyncio.sleep(0.001)
        assert threads.stats.dropped_total > 0
        assert threads.all_counted
        assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
        os.set_blocking(reader, False)
        while sink.waits:
            told.extend(nothing_or(reader))
            await asyncio.sleep(0)
        told.extend(nothing_or(reader))
        assert threads.all_counted
        assert len(numbers(bytes(told))) == threads.stats.written_total
        sink.close()

    run(scenario())
    assert numbers(bytes(told)) == sorted(set(numbers(bytes(told))))
    os.close(reader)
    os.close(writer)


def nothing_or(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


def test_a_process_ends_though_nobody_reads_its_pipe(run: Run) -> None:
    reader, writer = os.pipe()

    async def scenario() -> None:
        threads = Threads()
        sink = threads.stream(writer)
        for number in range(5000):
            threads.offer(sink, line(number))
        before = threads.loop.time()
        await emptied([sink], 0.1)
        sink.close()
        assert 0.1 <= threads.loop.time() - before < 2
        assert threads.all_counted
        os.close(reader)  # its thread is not to wait for ever
        while sink.waits:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert threads.all_counted

    run(scenario())
    os.close(writer)


def test_lines_of_several_that_write_to_one_slow_pipe_stay_whole(run: Run) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(reader, False)
    told = bytearray()

    async def scenario() -> None:
        threads = Threads()
        sinks = [threads.stream(writer) for _ in range(3)]
        for number in range(3000):
            threads.offer(sinks[number % 3], line(number, 130))
        while any(sink.waits for sink in sinks):
            select.select([reader], [], [], 0.01)
            try:
                told.extend(os.read(reader, 1000))
            except BlockingIOError:
                await asyncio.sleep(0)
            if len(told) % 7 == 0:
                await asyncio.sleep(0)
        for sink in sinks:
            sink.close()

    run(scenario())
    told += nothing_or(reader)
    assert sorted(numbers(bytes(told), 130)) == [*range(3000)]
    os.close(reader)
    os.close(writer)


def test_a_pipe_that_somebody_else_has_made_non_blocking_is_waited_for_all_the_same(run: Run) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    told = bytearray()

    async def scenario() -> None:
        threads = Threads()
        sink = threads.stream(writer)
        for number in range(5000):
            threads.offer(sink, line(number))
        while threads.stats.waiting:
            await asyncio.sleep(0.001)
            told.extend(nothing_or(reader))
        assert threads.stats.failed_total == 0
        sink.close()

    run(scenario())
    told += nothing_or(reader)
    assert numbers(bytes(told)) == [*range(5000)]
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone_is_a_failure_and_no_more(run: Run) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    async def scenario() -> None:
        threads = Threads()
        sink = threads.stream(writer)
        threads.offer(sink, line(0))
        while not threads.stats.failed_total:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert (threads.stats.waiting, threads.stats.written_total) == (1, 0)
        assert "Broken pipe" in threads.logged[0]
        sink.close()
        assert threads.stats.dropped_total == 1

    run(scenario())
    os.close(writer)


FORKING = """
import asyncio, os, sys
from meshproxy.net.aside import Aside
from meshproxy.net.clock import LoopClock
from meshproxy.net.sinks import Account, FileSink, StreamSink, emptied
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import SinkStats

async def work(number):
    loop = asyncio.get_running_loop()
    account = Account("access", SinkStats(), Log())
    sinks = [make(LoopClock(loop), Aside(loop, "log"), to, account)
             for make, to in ((StreamSink, 1), (FileSink, sys.argv[1]))]
    for count in range(number, 3000, 3):
        for sink in sinks:
            sink.offer(b"%08d ...............................\\n" % count)
    await emptied(sinks, 5)

number, children = 0, []
for each in (1, 2):
    pid = os.fork()
    if not pid:
        number, children = each, []
        break
    children.append(pid)
asyncio.run(work(number))
for pid in children:
    os.waitpid(pid, 0)
"""


def test_workers_share_their_standard_output_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    said = subprocess.run([sys.executable, "-c", FORKING, path], capture_output=True, timeout=20, check=True)
    assert said.stderr == b""
    for data in (said.stdout, path.read_bytes()):
        assert sorted(int(each[:8]) for each in data.splitlines()) == [*range(3000)]
        assert {len(each) for each in data.splitlines()} == {40}
