"""A name is kept resolved: when it is asked for again, who hears of it, and what stays when nobody answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.discovery.dns import Answer, Pace, ResolveError, Resolver, Settings, Watch
from tests.conftest import FakeClock
from tests.discovery.conftest import until
from tests.discovery.servers import Asked, Server
from tests.wire import dns_messages as dns

Run = Callable[[Coroutine[Any, Any, None]], None]
Outcome = Answer | ResolveError

ONE, OTHER, NEW6 = "10.0.0.1", "10.0.0.2", "fd00::1"
LOST = ResolveError("nobody answers")
USUAL = Pace()


def answer(*addresses: str, ttl: float = 30, missing: int | None = None) -> Answer:
    return Answer(addresses, ttl, missing)


class World:
    """A watch of which a test says what is resolved, and how the dice fall."""

    def __init__(self, clock: FakeClock, *outcomes: Outcome, pace: Pace = USUAL, dice: float = 0) -> None:
        self.clock = clock
        self.outcomes = list(outcomes)
        self.asked_at: list[float] = []
        self.told: list[tuple[str, ...]] = []
        self.failed: list[ResolveError] = []
        self.dice = dice
        loop = asyncio.get_running_loop()
        self.watch = Watch(
            loop, clock, self, "books", self.told.append, self.failed.append, pace=pace, jitter=lambda: self.dice
        )

    async def resolve(self, name: str) -> Answer:
        assert name == "books"
        self.asked_at.append(self.clock.now())
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, ResolveError):
            raise outcome
        return outcome

    async def settle(self, times: int) -> None:
        await until(lambda: len(self.asked_at) == times and self.clock.pending == 1)

    async def waits(self) -> list[float]:
        """Let every outcome come to pass; how long it took each time until the next question."""
        count = len(self.outcomes)
        for times in range(1, count + 1):
            await self.settle(times)
            if times < count:
                while len(self.asked_at) == times:
                    self.clock.advance(0.25)
                    await asyncio.sleep(0)
        return [later - earlier for earlier, later in zip(self.asked_at, self.asked_at[1:], strict=False)]


def test_who_wants_to_know_is_told_at_first_and_when_the_set_is_another(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = World(clock, answer(ONE), answer(ONE), answer(OTHER, ONE), answer(ONE, OTHER), answer(NEW6, OTHER))
        assert not w.watch.addresses
        await w.waits()
        assert w.told == [(ONE,), (ONE, OTHER), (OTHER, NEW6)]
        assert w.watch.addresses == (OTHER, NEW6)
        assert w.failed == []

    run(scenario())


def test_why_there_was_no_answer_is_known_until_there_is_one(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = World(clock, answer(ONE), LOST, answer(ONE))
        seen: list[object] = []
        for times in range(1, 4):
            await w.settle(times)
            seen.append(w.watch.failure)
            clock.advance(40)
        w.watch.stop()
        assert seen == [None, LOST, None]

    run(scenario())


def test_it_asks_again_when_the_ttl_is_over_within_bounds(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        ttls = [30, 0, 0.5, 7, 10_000, math.inf, 30]
        w = World(clock, *(answer(ONE, ttl=ttl) for ttl in ttls), pace=Pace(shortest=2, longest=60))
        assert await w.waits() == [30, 2, 2, 7, 60, 60]

    run(scenario())


@pytest.mark.parametrize(("dice", "wait"), [(0.0, 30.0), (0.5, 31.5), (1.0, 33.0)])
def test_not_all_ask_in_the_same_moment_and_none_before_the_ttl_is_over(
    run: Run, clock: FakeClock, dice: float, wait: float
) -> None:
    async def scenario() -> None:
        assert await World(clock, answer(ONE), answer(ONE), dice=dice).waits() == [wait]

    run(scenario())


def test_after_a_failure_it_waits_longer_each_time_and_what_was_good_stays(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        pace = Pace(first_retry=1, longest_retry=10)
        w = World(clock, answer(ONE), *[LOST] * 6, answer(ONE), LOST, answer(OTHER), pace=pace, dice=1)
        assert await w.waits() == [33, 1, 2, 4, 8, 10, 10, 33, 1]
        assert w.told == [(ONE,), (OTHER,)]
        assert w.failed == [LOST] * 7

    run(scenario())


def test_the_dice_halve_a_retry_at_most(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        assert await World(clock, *[LOST] * 5).waits() == [0.5, 1, 2, 4]

    run(scenario())


def test_failures_without_an_end_wait_no_longer_than_that(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        waits = await World(clock, *[LOST] * 80, pace=Pace(longest_retry=2), dice=1).waits()
        assert set(waits[1:]) == {2}

    run(scenario())


def test_what_is_certain_is_not_asked_before_it_can_be_otherwise(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        absent = [ResolveError("no such name", certain) for certain in (20, 0, 3600, 0)]
        assert await World(clock, *absent, dice=1).waits() == [20, 2, 60]

    run(scenario())


def test_of_a_family_of_which_nothing_is_heard_the_last_good_addresses_stay(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = World(
            clock,
            answer(ONE, missing=6),
            answer(ONE, NEW6),
            answer(OTHER, missing=6),
            answer(NEW6, missing=4),
            answer(OTHER),
        )
        await w.waits()
        assert w.told == [(ONE,), (ONE, NEW6), (OTHER, NEW6), (OTHER,)]

    run(scenario())


# The end


def test_after_stop_nothing_is_heard_of_it(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = World(clock, answer(ONE), answer(OTHER))
        await w.settle(1)
        w.watch.stop()
        w.watch.stop()
        assert clock.pending == 0
        clock.advance(3600)
        await asyncio.sleep(0)
        assert (w.told, len(w.asked_at)) == ([(ONE,)], 1)

    run(scenario())


def test_stop_before_it_has_begun(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = World(clock, answer(ONE))
        w.watch.stop()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (w.told, w.asked_at, clock.pending) == ([], [], 0)

    run(scenario())


@pytest.mark.parametrize("outcome", [answer(ONE), LOST])
def test_stop_by_who_is_told(run: Run, clock: FakeClock, outcome: Outcome) -> None:
    async def scenario() -> None:
        heard: list[object] = []

        def end(what: object) -> None:
            heard.append(what)
            watch.stop()

        w = World(clock, outcome, outcome)
        w.watch.stop()
        watch = Watch(asyncio.get_running_loop(), clock, w, "books", end, end)
        await until(lambda: heard)
        await asyncio.sleep(0)
        assert clock.pending == 0

    run(scenario())


def test_who_is_told_and_fails_does_not_end_the_watch(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        reported: list[Any] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def told(addresses: tuple[str, ...]) -> None:
            heard.append(addresses)
            if len(heard) == 1:
                raise RuntimeError("a fault of the owner")

        heard: list[tuple[str, ...]] = []
        w = World(clock, answer(ONE), answer(OTHER))
        w.watch.stop()
        watch = Watch(loop, clock, w, "books", told, w.failed.append)
        await until(lambda: len(heard) == 1)
        clock.advance(60)
        await until(lambda: len(heard) == 2)
        assert heard == [(ONE,), (OTHER,)]
        assert list(map(str, reported)) == ["a fault of the owner"]
        watch.stop()

    run(scenario())


# With a server


def test_a_name_whose_server_fails_and_comes_back(
    run: Run, clock: FakeClock, serve: Callable[..., Server]
) -> None:
    async def scenario() -> None:
        def first(asked: Asked) -> list[bytes]:
            return [asked.addresses(ONE, NEW6, ttl=5)]

        server, loop = serve(first), asyncio.get_running_loop()
        told: list[tuple[str, ...]] = []
        failed: list[ResolveError] = []
        resolver = Resolver(loop, clock, Settings((server.address,)))
        watch = Watch(loop, clock, resolver, "books.shop", told.append, failed.append, jitter=lambda: 0)
        await until(lambda: told)
        server.say = lambda asked: [asked.reply(flags=dns.RESPONSE | 2)]
        clock.advance(5)
        await until(lambda: failed)
        assert watch.addresses == (ONE, NEW6)
        server.say = lambda asked: [asked.addresses(OTHER)]
        clock.advance(0.5)
        await until(lambda: len(told) == 2)
        assert told == [(ONE, NEW6), (OTHER,)]
        watch.stop()

    run(scenario())


def test_stop_while_it_asks(run: Run, clock: FakeClock, serve: Callable[..., Server]) -> None:
    async def scenario() -> None:
        server, loop = serve(lambda asked: []), asyncio.get_running_loop()
        heard: list[object] = []
        resolver = Resolver(loop, clock, Settings((server.address,)))
        watch = Watch(loop, clock, resolver, "books.shop", heard.append, heard.append)
        await until(lambda: len(server.asked) == 2)
        watch.stop()
        await until(lambda: clock.pending == 0)
        for asked in server.asked:
            server.udp.sendto(asked.addresses(ONE), asked.source)
        clock.advance(3600)
        for _ in range(5):
            await asyncio.sleep(0)
        assert heard == []

    run(scenario())
