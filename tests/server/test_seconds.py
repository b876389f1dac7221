"""When a worker remembers: at full seconds, in turn with its traffic, and not without end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.peers import Peers
from meshproxy.observe.window import Window, document
from meshproxy.server.seconds import MOST_AT_ONCE, Seconds, until_next

ONE_LOOP = True

Run = Callable[[Coroutine[Any, Any, None]], None]


class Stage:
    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.stats = Stats()
        self.stats.listeners["in"] = ListenerStats()
        self.connections = 1
        self.accounts = 0
        self.seconds = Seconds(clock, self.stats, self._settled, self._account, lambda: self.connections, Peers())
        self.seconds.begin()

    def _settled(self) -> Generator[None, None, None]:
        yield

    def _account(self) -> Generator[None, None, None]:
        self.accounts += 1
        self.stats.listeners["in"].bytes_received_total += 10
        yield

    async def pass_by(self) -> Any:
        """A second, and what is shown then."""
        self.clock.advance(1)
        return document(Window([await self.seconds.told(3)], 3))


def test_each_second_is_remembered_with_the_bytes_of_open_connections(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        it = Stage(clock)
        for _ in range(3):
            found = await it.pass_by()
        assert found["end"] == clock.wall()
        assert found["total"]["received_bytes"] == [10, 10, 10]
        it.seconds.close()
        assert clock.pending == 0

    run(scenario())


def test_the_bytes_of_very_many_are_brought_up_to_date_now_and_then(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        it = Stage(clock)
        it.connections = 2 * MOST_AT_ONCE
        for _ in range(6):
            await it.pass_by()
        assert it.accounts == 2
        it.seconds.close()

    run(scenario())


def test_who_is_still_at_the_last_second_does_not_begin_with_the_next(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        it = Stage(clock)
        clock.advance(5)
        assert (await it.pass_by())["total"]["received_bytes"] == [0, 0, 10]
        assert it.accounts == 1
        clock.advance(1)
        it.seconds.close()
        await asyncio.sleep(0)
        assert it.accounts == 1, "what was to come after the end did not"

    run(scenario())


@pytest.mark.parametrize(
    ("wall", "seconds"), [(100.0, 1.0), (100.25, 0.75), (100.5, 0.5), (100.75, 1.25), (99.9995, 1.0005)]
)
def test_the_next_second_is_a_full_one_that_is_not_now(wall: float, seconds: float) -> None:
    assert until_next(wall) == pytest.approx(seconds)
