"""Lines to a syslog daemon: of datagrams, of a stream or by UDP; slow, gone, and back."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from meshproxy.model import Address
from meshproxy.net.sinks import Account, SyslogSink
from meshproxy.net.sinks.syslog import MESSAGES_A_TURN
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import SinkStats
from meshproxy.wire.syslog import local, rfc5424
from tests.conftest import FakeClock, _opened

ONE_LOOP = True
Run = Callable[[Coroutine[Any, Any, None]], None]
HEADER = local(134, tag="mesh", pid=7)
BEFORE = b"<134>mesh[7]: "


class Daemon:
    """A socket that is read when a test says so."""

    def __init__(self, kind: int, path: Path | None = None) -> None:
        family = socket.AF_UNIX if path is not None else socket.AF_INET
        self.sock = socket.socket(family, kind)
        self.sock.bind(str(path) if path is not None else ("127.0.0.1", 0))
        self.sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            self.sock.listen()
        _opened.append(self.sock.close)

    @property
    def address(self) -> Address:
        name = self.sock.getsockname()
        return Address("unix", path=name) if isinstance(name, str) else Address("ipv4", *name)

    async def accept(self) -> None:
        """The next one that connects is who is listened to."""
        self.sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        _opened.append(self.sock.close)

    async def hear(self, count: int) -> list[bytes]:
        return [await asyncio.get_running_loop().sock_recv(self.sock, 1 << 17) for _ in range(count)]

    async def hear_lines(self, count: int) -> list[bytes]:
        """Of a stream."""
        data = b""
        while data.count(b"\n") < count:
            data += await asyncio.get_running_loop().sock_recv(self.sock, 1 << 17)
        return data.splitlines(keepends=True)


class Desk:
    def __init__(self, clock: FakeClock, address: Address, header: Any = HEADER) -> None:
        self.clock = clock
        self.stats = SinkStats()
        self.logged: list[str] = []
        account = Account("syslog", self.stats, Log(self.logged.append, clock=clock.now))
        self.sink = SyslogSink(asyncio.get_running_loop(), clock, address, header, account)
        _opened.append(self.sink.close)

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self.sink.offer(line)
        self.sink.flush()

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.stats.written_total, self.stats.dropped_total, self.stats.waiting


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain integers
        await asyncio.sleep(0.001)


def test_one_line_is_one_datagram_without_its_end(run: Run, clock: FakeClock, tmp_path: Path) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_DGRAM, tmp_path / "log")
        desk = Desk(clock, daemon.address)
        desk.say(b"one\n", b"two\n\n", b"three")
        assert await daemon.hear(3) == [BEFORE + b"one", BEFORE + b"two\n", BEFORE + b"three"]
        assert desk.counted == (3, 0, 0)

    run(scenario())


def test_a_daemon_that_listens_to_a_stream_is_found_out_and_told_lines(
    run: Run, clock: FakeClock, tmp_path: Path
) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_STREAM, tmp_path / "log")
        desk = Desk(clock, daemon.address)
        desk.say(b"one\n", b"two\n")
        await daemon.accept()
        assert await daemon.hear_lines(2) == [BEFORE + b"one\n", BEFORE + b"two\n"]
        assert desk.counted == (2, 0, 0)

    run(scenario())


def test_by_udp_a_message_says_when_it_was_sent_and_by_whom(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_DGRAM)
        desk = Desk(clock, daemon.address, rfc5424(134, host="node", tag="mesh", pid=7))
        desk.say(b"one\n")
        assert await daemon.hear(1) == [b"<134>1 2023-11-14T22:30:00.000000Z node mesh 7 - - one"]

    run(scenario())


def test_many_are_sent_in_several_turns_of_the_loop(run: Run, clock: FakeClock, tmp_path: Path) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_STREAM, tmp_path / "log")
        desk = Desk(clock, daemon.address)
        desk.say(*(b"%d\n" % number for number in range(1000)))
        assert desk.stats.written_total == MESSAGES_A_TURN
        await daemon.accept()
        assert await daemon.hear_lines(1000) == [BEFORE + b"%d\n" % number for number in range(1000)]
        assert desk.counted == (1000, 0, 0)

    run(scenario())


def test_a_daemon_that_does_not_read_is_waited_for_and_nobody_waits_with_us(
    run: Run, clock: FakeClock, tmp_path: Path
) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_DGRAM, tmp_path / "log")
        desk = Desk(clock, daemon.address)
        lines = [b"%d " % number + b"x" * 8000 for number in range(100)]
        desk.say(*lines)
        await asyncio.sleep(0.01)
        assert 0 < desk.stats.waiting < 100
        assert desk.stats.failed_total == 0
        assert await daemon.hear(100) == [BEFORE + line for line in lines]
        await until(lambda: desk.counted == (100, 0, 0))

    run(scenario())


def test_a_stream_that_is_full_goes_on_in_the_middle_of_a_line(run: Run, clock: FakeClock, tmp_path: Path) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_STREAM, tmp_path / "log")
        desk = Desk(clock, daemon.address)
        lines = [b"%d " % number + b"x" * 300_000 + b"\n" for number in range(3)]
        desk.say(*lines)
        await daemon.accept()
        await asyncio.sleep(0.01)
        assert desk.stats.waiting > 0
        assert await daemon.hear_lines(3) == [BEFORE + line for line in lines]
        await until(lambda: desk.counted == (3, 0, 0))

    run(scenario())


def test_a_daemon_that_comes_back_is_told_the_whole_of_the_line_that_was_cut(
    run: Run, clock: FakeClock, tmp_path: Path
) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_STREAM, tmp_path / "log")
        listening = daemon.sock
        desk = Desk(clock, daemon.address)
        line = b"x" * 500_000 + b"\n"
        desk.say(line)
        await daemon.accept()
        await daemon.hear(1)
        daemon.sock.close()
        await until(lambda: desk.stats.failed_total)
        assert desk.counted == (0, 0, 1)
        clock.advance(1)
        daemon.sock = listening
        await daemon.accept()
        assert await daemon.hear_lines(1) == [BEFORE + line]
        await until(lambda: desk.counted == (1, 0, 0))
        assert [each.split()[2] for each in desk.logged] == ["sink-failed", "sink-works"]

    run(scenario())


def test_a_daemon_that_is_not_there_yet_is_tried_again(run: Run, clock: FakeClock, tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk(clock, Address("unix", path=str(tmp_path / "log")))
        desk.say(b"one")
        for _ in range(3):
            clock.advance(1)
        assert desk.counted == (0, 0, 1)
        assert desk.stats.failed_total == 4
        daemon = Daemon(socket.SOCK_DGRAM, tmp_path / "log")
        clock.advance(1)
        assert await daemon.hear(1) == [BEFORE + b"one"]

    run(scenario())


def test_a_daemon_of_datagrams_that_starts_again_is_found_again(run: Run, clock: FakeClock, tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Daemon(socket.SOCK_DGRAM, tmp_path / "log")
        desk = Desk(clock, first.address)
        desk.say(b"one")
        await first.hear(1)
        first.sock.close()
        os.unlink(tmp_path / "log")
        second = Daemon(socket.SOCK_DGRAM, tmp_path / "log")
        desk.say(b"two")
        assert desk.stats.failed_total == 1
        clock.advance(1)
        assert await second.hear(1) == [BEFORE + b"two"]
        assert desk.counted == (2, 0, 0)

    run(scenario())


def test_what_no_datagram_can_carry_is_dropped_and_the_next_is_not(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_DGRAM)
        desk = Desk(clock, daemon.address)
        desk.say(b"one", b"x" * 70_000, b"two")
        assert await daemon.hear(2) == [BEFORE + b"one", BEFORE + b"two"]
        assert desk.counted == (2, 1, 0)
        assert "Message too long" in desk.logged[0]

    run(scenario())


def test_where_nobody_listens_to_udp_one_is_lost_and_the_rest_is_kept_for_who_comes(
    run: Run, clock: FakeClock
) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_DGRAM)
        address = daemon.address
        daemon.sock.close()
        desk = Desk(clock, address)
        desk.say(b"one")
        desk.say(b"two")
        assert desk.stats.failed_total == 1, "that nobody was there is heard one late"
        assert desk.counted == (1, 0, 1)

    run(scenario())


def test_what_waits_when_it_is_closed_is_dropped(run: Run, clock: FakeClock, tmp_path: Path) -> None:
    async def scenario() -> None:
        daemon = Daemon(socket.SOCK_DGRAM, tmp_path / "log")
        desk = Desk(clock, daemon.address)
        desk.say(*[b"x" * 8000] * 100)
        await asyncio.sleep(0)
        desk.sink.close()
        await asyncio.sleep(0.01)
        written, dropped, waiting = desk.counted
        assert (written + dropped, waiting) == (100, 0)
        assert dropped > 0
        assert clock.pending == 0

    run(scenario())
