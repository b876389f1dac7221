"""Taps over several workers: each tells of what it sees, one that comes later too, and nobody is told too much."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from meshproxy.core.buckets import Shelves
from meshproxy.model import Config, decode
from meshproxy.net.channel import pair
from meshproxy.net.clock import LoopClock
from meshproxy.net.doors import Doors
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.tap import MOST_LINES
from meshproxy.server import crew, taps
from meshproxy.server.board import ABSENT, shared_memory
from meshproxy.server.crew import Crew
from meshproxy.server.fleet import Solo
from meshproxy.server.hand import Hand
from meshproxy.server.nursery import Death, Nursery
from tests.conftest import Run, Upstream, World
from tests.observe.records import record

ONE_LOOP = True


class Here(Nursery):
    """Makes real workers, in this process."""

    def __init__(self) -> None:
        self.board = [ABSENT] * 2
        self.shelves = Shelves(shared_memory(Shelves.SIZE))
        self.hands: dict[int, Hand] = {}
        self.pid = 0

    def open(self, loop: Any, *, born: Callable[[int, int], None], died: Callable[[Death], None], lost: Any) -> None:
        """They are not born, and do not die."""

    def fork(self, number: int) -> socket.socket:
        ours, theirs = pair()
        self.hands[number] = Hand(theirs, number, self.board, self.shelves, Log(list[str]().append))
        return ours

    def close(self) -> None:
        """There is no process."""

    def sees(self, number: int, **how: Any) -> None:
        """One of the workers has answered a request."""
        self.hands[number]._worker.watch.notice(record(**how))

    def slow(self) -> list[float]:
        return [hand._worker.watch.slow for hand in self.hands.values()]

    def end(self, number: int) -> None:
        self.hands[number]._supervisor.close()


class Told:
    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.lost = 0

    def __call__(self, lines: Sequence[bytes], lost: int) -> None:
        self.statuses += [json.loads(line)["status"] for line in lines]
        self.lost += lost


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def crew_of_two(nursery: Here) -> Crew:
    clock = LoopClock(asyncio.get_running_loop())
    log = Log(list[str]().append)
    fleet = Crew(nursery, nursery.board, nursery.shelves, Doors(2), ProcessStats("test"), log, clock)
    await fleet.prepare(decode(Config, {}))
    await fleet.commit()
    return fleet


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "EVERY", 0.001)
    monkeypatch.setattr(crew, "FIRST_BACK_OFF", 0.001)


def test_all_workers_tell_until_nobody_listens() -> None:
    async def scenario() -> None:
        nursery = Here()
        fleet = await crew_of_two(nursery)
        failures, everything = Told(), Told()
        leave = fleet.tap({"status": ["5xx"]}, failures), fleet.tap({}, everything)
        await until(lambda: nursery.slow() == [-1.0, -1.0])
        for number in (0, 1):
            nursery.sees(number, status=200)
            nursery.sees(number, status=500 + number)
        await until(lambda: len(everything.statuses) == 4)
        await until(lambda: sorted(failures.statuses) == [500, 501])
        leave[0]()
        nursery.sees(0, status=503)
        await until(lambda: 503 in everything.statuses)
        assert 503 not in failures.statuses
        leave[1]()
        await until(lambda: nursery.slow() == [1.0, 1.0])
        fleet.close()

    asyncio.run(scenario())


def test_a_worker_that_comes_later_is_told_of_a_tap() -> None:
    async def scenario() -> None:
        nursery = Here()
        fleet = await crew_of_two(nursery)
        told = Told()
        fleet.tap({}, told)
        before = nursery.hands[1]
        nursery.end(1)
        await until(lambda: nursery.hands[1] is not before and nursery.hands[1]._worker.watch.slow == -1.0)
        nursery.sees(1, status=404)
        nursery.sees(0, status=200)
        await until(lambda: sorted(told.statuses) == [200, 404])
        fleet.close()

    asyncio.run(scenario())


def test_the_next_part_waits_until_the_last_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        nursery = Here()
        fleet = await crew_of_two(nursery)
        told = Told()
        heard, may_go_on = fleet._taps.heard, asyncio.Event()

        async def hesitant(message: Any) -> None:
            await may_go_on.wait()
            await heard(message)

        peer = fleet._peers()[0]
        peer._handlers = {**peer._handlers, "tapped": hesitant}
        fleet.tap({}, told)
        await until(lambda: nursery.slow() == [-1.0, -1.0])
        nursery.sees(0, status=200)
        # It is under way: what comes now waits at the worker, as far as there is room.
        await until(lambda: len(peer._answering._running) == 1)
        for _ in range(MOST_LINES + 5):
            nursery.sees(0, status=404)
        may_go_on.set()
        await until(lambda: len(told.statuses) == 1 + MOST_LINES)
        await until(lambda: told.lost == 5)
        fleet.close()

    asyncio.run(scenario())


def test_what_does_not_arrive_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshproxy.server.hand.TAPPED_WITHIN", 0.01)

    async def scenario() -> None:
        nursery = Here()
        fleet = await crew_of_two(nursery)
        told = Told()
        heard, deaf = fleet._taps.heard, True

        async def sometimes(message: Any) -> None:
            if deaf:
                await asyncio.Event().wait()
            await heard(message)

        for peer in fleet._peers():
            peer._handlers = {**peer._handlers, "tapped": sometimes}
        fleet.tap({}, told)
        await until(lambda: nursery.slow() == [-1.0, -1.0])
        nursery.sees(0, status=200)
        await until(lambda: any(peer._answering._running for peer in fleet._peers()))
        await asyncio.sleep(0.02)  # longer than the worker waits
        deaf = False
        nursery.sees(0, status=404)
        await until(lambda: (told.statuses, told.lost) == ([404], 1))
        fleet.close()

    asyncio.run(scenario())


def test_what_is_recent_is_of_all_workers() -> None:
    async def scenario() -> None:
        nursery = Here()
        fleet = await crew_of_two(nursery)
        for number in range(6):
            nursery.sees(number % 2, status=500 + number, started=500.0 + number)
        nursery.sees(0, seconds=2.0)
        recent: Any = await fleet.recent(4)
        assert [row["status"] for row in recent["errors"]] == [505, 504, 503, 502]
        assert (len(recent["slow"]), recent["slow_ms"], recent["errors_total"], recent["slow_total"]) == (1, 1000, 6, 1)
        fleet.close()

    asyncio.run(scenario())


def test_a_connection_is_seen_at_its_end(world: Callable[[], World], upstream: type[Upstream], run: Run) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}
        await w.apply({"listeners": [listener], "clusters": {"up": {"endpoints": [up.address]}}})
        seen: list[Any] = []
        leave = w.fleet.tap({"headers": ["1"]}, lambda lines, _: seen.extend(map(json.loads, lines)))
        client = await w.connect()
        await client.send(b"hello")
        other = await up.accept()
        assert await other.recv_exactly(5) == b"hello"
        assert seen == []
        client.close()
        other.close()
        await until(lambda: seen)
        leave()
        (event,) = seen
        expected = {"protocol": "TCP", "listener": "in", "cluster": "up", "endpoint": up.address, "received_bytes": 5}
        assert {name: event[name] for name in expected} == expected
        assert (event["method"], event["path"], event["status"]) == ("", "", 0)

    run(scenario())


def test_one_worker_in_this_process_does_the_same() -> None:
    async def scenario() -> None:
        fleet = Solo.here(ProcessStats("test"), Log(list[str]().append))
        told = Told()
        leave = fleet.tap({"method": ["GET"]}, told)
        fleet.worker.watch.notice(record(status=502))
        fleet.worker.watch.notice(record(status=200))
        await until(lambda: told.statuses == [502, 200])
        leave()
        assert fleet.worker.watch.slow == 1.0
        recent: Any = await fleet.recent(10)
        assert [row["status"] for row in recent["errors"]] == [502]
        fleet.close()

    asyncio.run(scenario())
