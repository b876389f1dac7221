"""Checks of a configuration: what is waited for, who hears of it, what stays over a reload, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.model import Config, decode
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.plan.verdicts import check_of
from meshproxy.server import checks
from meshproxy.server.checks import FIRST_WITHIN, Checks
from tests.checked import BAD, GOOD, Checked
from tests.conftest import FakeClock
from tests.relay.test_names import on_one_port

Run = Callable[[Coroutine[Any, Any, None]], None]


class World:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.names: dict[str, tuple[str, ...]] = {}
        self.told: list[bool] = []
        self.lines: list[str] = []
        self.process = ProcessStats("test")
        log = Log(self.lines.append, clock=clock.wall)
        self.checks = Checks(asyncio.get_running_loop(), clock, self.names, dict, self.process, log)
        self.checks.told = lambda key: self.told.append(self.checks.known[key])

    def server(self, host: str = "127.0.0.1", port: int = 0) -> Checked:
        return Checked(host, port)

    async def take(self, said: Config) -> None:
        await self.checks.prepare(said)
        self.checks.commit()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is watched are plain values
                await asyncio.sleep(0.001)

    async def look(self, server: Checked, times: int = 1) -> None:
        """Until it has been asked so many times more, and what came of it is known."""
        for _ in range(times):
            asked, counted = server.asked, self.count
            while server.asked == asked:
                self.clock.advance(0.1)
                await asyncio.sleep(0.002)
            await self.until(lambda: self.count > counted)  # noqa: B023 - it is awaited here

    @property
    def count(self) -> int:
        return sum(sum(stats.checks.values()) for stats in self.process.health.values())

    def end(self) -> None:
        self.checks.close()
        assert self.clock.pending == 0


def config(*endpoints: str, name: str = "up", **health: Any) -> Config:
    found: Config = decode(
        Config, {"clusters": {name: {"endpoints": list(endpoints), "health": {"path": "/ready", **health}}}}
    )
    return found


def keys(said: Config) -> list[str]:
    (cluster,) = said.clusters
    return [check_of(cluster) + str(endpoint.address) for endpoint in cluster.members]


@pytest.fixture
def world(clock: FakeClock) -> Callable[[], World]:
    return lambda: World(clock)


Make = Callable[[], World]


def test_first_verdicts_are_there_when_it_is_prepared(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        good, bad = w.server(), w.server()
        bad.answer = BAD
        said = config(good.address, bad.address)
        await w.checks.prepare(said)
        assert w.checks.known == dict(zip(keys(said), [True, False], strict=True))
        assert w.told == []
        w.checks.commit()
        assert sorted(w.told) == [False, True]
        assert w.process.health["up"].checks["ok"] == w.process.health["up"].checks["status"] == 1
        (line,) = w.lines
        assert f'WARNING endpoint-unhealthy cluster=up endpoint={bad.address} check="status 500"' in line
        w.end()

    run(scenario())


def test_a_port_that_hangs_is_waited_for_so_long_and_holds_up_no_other(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        hangs, good = w.server(), w.server()
        hangs.answer = None
        said = config(hangs.address, good.address, timeout="9s", interval="1s")
        preparing = asyncio.create_task(w.checks.prepare(said))
        await w.until(lambda: hangs.asked and w.count == 1)
        w.clock.advance(FIRST_WITHIN - 0.1)
        await asyncio.sleep(0.01)
        assert not preparing.done()
        w.clock.advance(0.1)
        await preparing
        w.checks.commit()
        assert w.checks.known == {keys(said)[1]: True}
        await w.look(good, 4)
        assert hangs.asked == 1, "one at a time"
        w.clock.advance(9)
        await w.until(lambda: keys(said)[0] in w.checks.known)
        assert w.checks.known == dict(zip(keys(said), [False, True], strict=True))
        assert w.process.health["up"].checks["timeout"] == 1
        w.end()

    run(scenario())


def test_as_many_ports_that_hang_as_there_are_turns(
    run: Run, world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(checks, "MOST_BETWEEN", 2)

    async def scenario() -> None:
        w = world()
        servers = [w.server() for _ in range(5)]
        for server in servers[:4]:
            server.answer = None
        preparing = asyncio.create_task(w.checks.prepare(config(*(server.address for server in servers))))
        await w.until(lambda: sum(server.asked for server in servers) == 3)
        await asyncio.sleep(0.01)
        assert [server.asked for server in servers] == [1, 1, 1, 0, 0]
        w.clock.advance(1)
        await w.until(lambda: w.process.health["up"].checks["ok"] and servers[3].asked)
        w.clock.advance(1)
        await preparing
        assert sorted(w.checks.known.values()) == [False, False, False, False, True]
        w.end()

    run(scenario())


def test_who_is_removed_gives_its_turn_to_another(
    run: Run, world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MOST_AT_ONCE", 1)

    async def scenario() -> None:
        w = world()
        good, hangs = w.server(), w.server()
        await w.take(config(good.address, hangs.address))
        hangs.answer = None
        while hangs.asked < 2:
            w.clock.advance(0.1)
            await asyncio.sleep(0.002)
        await w.take(config(good.address))
        await w.look(good, 2)
        w.end()

    run(scenario())


def test_many_that_end_at_once_are_begun_some_at_a_time(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        await w.take(config(*(f"127.{number // 200 + 1}.0.{number % 200 + 1}:1" for number in range(600))))
        assert len(w.checks.known) == 600
        assert not any(w.checks.known.values())
        assert w.process.health["up"].checks["connect"] == 600
        w.end()

    run(scenario())


def test_an_endpoint_that_fails_and_comes_back(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server = w.server()
        await w.take(config(server.address))
        server.answer = BAD
        await w.look(server, 2)
        assert w.told == [True]
        await w.look(server)
        assert w.told == [True, False]
        server.answer = GOOD
        await w.look(server)
        assert w.told == [True, False]
        await w.look(server)
        assert w.told == [True, False, True]
        assert ["unhealthy" in line for line in w.lines] == [True, False]
        w.end()

    run(scenario())


def test_one_that_flaps_is_told_each_time_and_logged_seldom(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server = w.server()
        await w.take(config(server.address, unhealthy_after=1, healthy_after=1, interval="1s", jitter=0))
        for _ in range(10):
            server.answer = BAD if server.answer == GOOD else GOOD
            await w.look(server)
        assert w.told == [True, False] * 5 + [True]
        assert len(w.lines) == 2, "one of each"
        w.clock.advance(60)
        w.end()

    run(scenario())


def test_a_reload_that_says_the_same_changes_nothing_also_in_the_middle_of_a_check(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server, other = w.server(), w.server()
        server.answer = BAD
        await w.take(config(server.address))
        server.answer = None
        while server.asked == 1:
            w.clock.advance(0.1)
            await asyncio.sleep(0.002)
        await w.take(config(server.address, other.address))
        assert w.checks.known == dict(zip(keys(config(server.address, other.address)), [False, True], strict=True))
        (asking,) = server.open
        asking.sendall(GOOD)
        server.answer = GOOD
        await w.until(lambda: w.process.health["up"].checks["ok"] == 2)
        assert server.asked == 2, "the check that was under way has gone on"
        await w.look(server)
        assert sorted(w.checks.known.values()) == [True, True], "two in a row, one of them begun before the reload"
        w.end()

    run(scenario())


def test_a_reload_that_removes_what_is_being_checked(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server = w.server()
        await w.take(config(server.address))
        server.answer = None
        while server.asked == 1:
            w.clock.advance(0.1)
            await asyncio.sleep(0.002)
        await w.take(Config())
        await w.until(lambda: not server.open)
        assert (w.checks.known, w.clock.pending, w.told) == ({}, 0, [True])
        w.end()

    run(scenario())


def test_another_check_begins_anew(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server = w.server()
        server.answer = BAD
        await w.take(config(server.address))
        await w.checks.prepare(config(server.address, expect={"statuses": [500]}))
        assert sorted(w.checks.known.values()) == [False, True], "each is known by what it asks for"
        w.checks.commit()
        assert list(w.checks.known.values()) == [True]
        w.end()

    run(scenario())


def test_what_is_given_up_leaves_nothing_behind(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server, hangs = w.server(), w.server()
        hangs.answer = None
        await w.take(config(server.address))
        before = w.clock.pending
        preparing = asyncio.create_task(w.checks.prepare(config(server.address, hangs.address)))
        await w.until(lambda: hangs.asked)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await preparing
        w.checks.abort()
        assert w.checks.known == {keys(config(server.address))[0]: True}
        assert w.clock.pending == before
        await w.look(server)
        await w.until(lambda: not hangs.open)
        w.end()

    run(scenario())


def test_each_address_of_a_name_is_checked_and_others_as_they_come(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        _, (one, two) = on_one_port(Checked, "127.0.0.1", "127.0.0.2")
        two.answer = BAD
        w.names["books.shop"] = ("127.0.0.1",)
        said = config(f"books.shop:{one.port}")
        check = check_of(said.clusters[0])
        await w.take(said)
        assert w.checks.known == {f"{check}{one.address}": True}
        w.names["books.shop"] = ("127.0.0.1", "127.0.0.2")
        w.checks.renew("other.shop")
        await asyncio.sleep(0.01)
        assert two.asked == 0
        w.checks.renew("books.shop")
        await w.until(lambda: len(w.checks.known) == 2)
        assert w.checks.known == {f"{check}{one.address}": True, f"{check}{two.address}": False}
        assert w.told == [True, False]
        w.names["books.shop"] = ("127.0.0.2",)
        w.checks.renew("books.shop")
        assert w.checks.known == {f"{check}{two.address}": False}
        assert one.asked == 1
        w.end()

    run(scenario())


def test_another_port_is_asked(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server = w.server()
        said = config("127.0.0.1:9", port=server.port)
        await w.take(said)
        assert w.checks.known == {keys(said)[0]: True}
        w.end()

    run(scenario())


def test_a_clock_that_jumps_is_one_check_and_at_most_one_failure(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        server = w.server()
        await w.take(config(server.address))
        w.clock.advance(86400)
        await w.until(lambda: w.count == 2)
        assert server.asked == 2
        server.answer = None
        w.clock.advance(10)
        await w.until(lambda: server.asked == 3)
        w.clock.advance(86400)
        await w.until(lambda: w.count == 3)
        assert w.process.health["up"].checks["timeout"] == 1
        assert w.told == [True]
        w.end()

    run(scenario())


def test_those_that_begin_together_do_not_go_on_together(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        servers = [w.server() for _ in range(20)]
        await w.take(config(*(server.address for server in servers), interval="100s", jitter=0))
        w.clock.advance(50)
        await w.until(lambda: w.count > 20)
        await asyncio.sleep(0.05)
        assert 2 <= w.count - 20 <= 18
        w.end()

    run(scenario())
