"""Names of a configuration: when they are asked for, what is waited for, who hears of it, and what is left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.model import Config, decode
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.server import addresses
from meshproxy.server.addresses import FIRST_WITHIN, Addresses, Servers
from tests.conftest import FakeClock
from tests.names import Names, resolved_by

Run = Callable[[Coroutine[Any, Any, None]], None]


def config(*names: str, servers: tuple[str, ...] = ()) -> Config:
    found: Config = decode(
        Config,
        {"clusters": {"up": {"endpoints": [f"{name}:80" for name in names]}}, "dns": {"servers": list(servers)}},
    )
    return found


class World:
    def __init__(self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.names = Names()
        self.asked_of: list[Servers] = []
        self.told: list[str] = []
        self.lines: list[str] = []
        self.process = ProcessStats("test")
        log = Log(self.lines.append, clock=clock.wall)
        self.addresses = Addresses(asyncio.get_running_loop(), clock, self.process, log)
        self.addresses.told = self.told.append

        def resolver(servers: Servers) -> Names:
            self.asked_of.append(servers)
            return self.names

        resolved_by(resolver, monkeypatch)

    async def take(self, said: Config) -> None:
        await self.addresses.prepare(said)
        self.addresses.commit()

    async def again(self, name: str) -> None:
        await self.names.again(self.clock, name)


@pytest.fixture
def world(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Callable[[], World]:
    return lambda: World(clock, monkeypatch)


Make = Callable[[], World]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain values
        await asyncio.sleep(0.001)


def test_first_answers_are_there_when_it_is_prepared(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        w.names.have("a", "127.0.0.2", "127.0.0.1")
        w.names.have("b", "127.0.0.3")
        await w.addresses.prepare(config("a", "b", "a"))
        assert w.addresses.known == {"a": ("127.0.0.1", "127.0.0.2"), "b": ("127.0.0.3",)}
        assert sorted(w.names.asked) == ["a", "b"]
        w.addresses.commit()
        assert sorted(w.told) == ["a", "b"]
        w.addresses.close()
        assert w.clock.pending == 0

    run(scenario())


def test_an_answer_that_does_not_come_is_waited_for_so_long_and_comes_later(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        w.names.have("a", "127.0.0.1")
        preparing = asyncio.create_task(w.addresses.prepare(config("a", "silent")))
        await until(lambda: w.addresses.known and len(w.names.asked) == 2)
        w.clock.advance(FIRST_WITHIN - 0.1)
        await asyncio.sleep(0.01)
        assert not preparing.done()
        w.clock.advance(0.1)
        await preparing
        w.addresses.commit()
        assert list(w.addresses.known) == ["a"]
        assert w.addresses.failure("silent") is None
        w.addresses.close()

    run(scenario())


def test_a_failure_is_an_answer_and_is_shown_counted_and_logged_once(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        w.names.fail("a", "SERVFAIL")
        await w.take(config("a"))
        assert w.addresses.known == {}
        assert w.addresses.failure("a") == "a: SERVFAIL"
        for _ in range(5):
            await w.again("a")
        assert w.process.resolutions_failed_total == 6
        (line,) = w.lines
        assert "WARNING name-not-resolved name=a error=\"a: SERVFAIL\"" in line
        w.names.have("a", "127.0.0.1")
        await w.again("a")
        assert w.addresses.known == {"a": ("127.0.0.1",)}
        assert w.addresses.failure("a") is None
        assert w.told == ["a"]
        w.addresses.close()

    run(scenario())


def test_what_was_good_stays_and_only_what_is_another_is_told(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        w.names.have("a", "127.0.0.1")
        await w.take(config("a"))
        await w.again("a")
        w.names.fail("a", "SERVFAIL")
        await w.again("a")
        assert (w.addresses.known, w.told) == ({"a": ("127.0.0.1",)}, ["a"])
        w.names.have("a", "127.0.0.1", "127.0.0.2")
        await w.again("a")
        assert w.told == ["a", "a"]
        assert w.addresses.known == {"a": ("127.0.0.1", "127.0.0.2")}
        w.addresses.close()

    run(scenario())


def test_a_name_that_stays_is_not_asked_for_anew_and_one_that_goes_is_forgotten(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        for name in "abc":
            w.names.have(name, "127.0.0.1")
        await w.take(config("a", "b"))
        await w.take(config("b", "c"))
        assert sorted(w.names.asked) == ["a", "b", "c"]
        assert sorted(w.addresses.known) == ["b", "c"]
        await w.again("b")
        assert "a" not in w.names.asked[3:]
        await w.take(config())
        assert w.addresses.known == {}
        assert w.clock.pending == 0

    run(scenario())


def test_what_is_given_up_leaves_nothing_behind(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        w.names.have("a", "127.0.0.1")
        w.names.have("b", "127.0.0.2")
        await w.take(config("a"))
        before = w.clock.pending
        w.names.fail("c", "REFUSED")
        await w.addresses.prepare(config("b", "c", servers=("10.0.0.1",)))
        w.addresses.abort()
        assert w.addresses.known == {"a": ("127.0.0.1",)}
        assert w.clock.pending == before
        await w.again("a")
        await w.take(config("a"))
        assert w.asked_of == [(), decode(Config, {"dns": {"servers": ["10.0.0.1"]}}).dns.servers]
        w.addresses.close()

    run(scenario())


def test_a_preparation_that_is_cancelled(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        preparing = asyncio.create_task(w.addresses.prepare(config("silent")))
        await until(lambda: w.names.asked)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await preparing
        w.addresses.abort()
        assert w.clock.pending == 0

    run(scenario())


def test_other_servers_are_asked_at_once_and_what_was_good_stays_until_they_answer(run: Run, world: Make) -> None:
    async def scenario() -> None:
        w = world()
        w.names.have("a", "127.0.0.1")
        await w.take(config("a"))
        first, w.names = w.names, Names()
        await w.take(config("a", servers=("10.0.0.1",)))
        await until(lambda: w.names.asked == ["a"])
        assert w.addresses.known == {"a": ("127.0.0.1",)}
        w.clock.advance(60)
        await asyncio.sleep(0)
        assert first.asked == ["a"]
        w.addresses.close()

    run(scenario())


def test_a_family_to_which_there_is_no_way_is_left_out_if_there_is_another(
    run: Run, world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(addresses, "routed", lambda address: address.kind == "ipv4")
        w = world()
        w.names.have("both", "127.0.0.1", "fd00::1")
        w.names.have("six", "fd00::1")
        await w.take(config("both", "six"))
        assert w.addresses.known == {"both": ("127.0.0.1",), "six": ("fd00::1",)}
        w.addresses.close()

    run(scenario())


def test_system_files_that_cannot_be_read_are_told_of(
    run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> Any:
        raise PermissionError(13, "Permission denied", "/etc/resolv.conf")

    async def scenario() -> None:
        monkeypatch.setattr("meshproxy.discovery.dns.resolver.system", unreadable)
        lines: list[str] = []
        found = Addresses(asyncio.get_running_loop(), clock, ProcessStats("test"), Log(lines.append))
        found.resolver(())
        assert "system-names-not-read" in lines[0]
        assert "resolv.conf" in lines[0]

    run(scenario())


LOADED = """
import asyncio, sys
from meshproxy.model import Config, decode
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.server.fleet import Solo

async def main():
    solo = Solo.here(ProcessStats("test"), Log())
    for endpoint in ("127.0.0.1:1", "localhost:1"):
        await solo.prepare(decode(Config, {"clusters": {"up": {"endpoints": [endpoint]}}}))
        await solo.commit()
        print("meshproxy.discovery.dns" in sys.modules)
    solo.close()

asyncio.run(main())
"""


def test_without_a_name_the_resolver_is_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
