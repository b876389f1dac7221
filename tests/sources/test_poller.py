"""When a source is asked, what becomes of its answers, and what stays in force: on a clock that jumps."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshproxy.errors import Invalid, Problem
from meshproxy.model import Source
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import SourceStats
from meshproxy.sources.asking import Denied, Gone, Unanswered
from meshproxy.sources.pace import LONGEST_PAUSE, Pace
from meshproxy.sources.places import Offer
from meshproxy.sources.poller import BETWEEN, REFUSED_FOR, Poller
from tests.conftest import FakeClock
from tests.sources.plane import doing

Run = Callable[[Coroutine[Any, Any, None]], None]

EVERY = 5.0
DAY = 86_400.0


class FakePlace:
    """Says what a test wants, and knows how it was asked."""

    def __init__(self) -> None:
        self.offer = Offer("1", b"one")
        self.fault: Exception | None = None
        self.looks: list[tuple[str, bool]] = []
        self.reports: list[str] = []

    async def look(self, known: str, *, anew: bool = False) -> Offer | None:
        self.looks.append((known, anew))
        if self.fault is not None:
            raise self.fault
        return None if known and known == self.offer.version and not anew else self.offer

    async def report(self, version: str, now: float) -> None:
        self.reports.append(version)


class FakeLayers:
    """Takes everything but what is said to be bad."""

    def __init__(self) -> None:
        self.closed = False
        self.generation = 1
        self.bad: set[bytes] = set()
        self.puts: list[bytes] = []
        self.in_force: tuple[bytes, str] | None = None

    def revision(self, name: str) -> str | None:
        assert name == "mesh"
        return self.in_force[1] if self.in_force is not None else None

    async def called(self, name: str, before: str, revision: str) -> None:
        if self.in_force is not None and self.in_force[1] == before:
            self.in_force = self.in_force[0], revision

    async def put(self, name: str, body: bytes, *, source: str, revision: str) -> None:
        assert (name, source) == ("mesh", "source mesh")
        self.puts.append(body)
        if self.closed or body in self.bad:
            raise Invalid([Problem("clusters.a", "is bad", source)])
        self.generation += 1
        self.in_force = body, revision


class Scene:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.place = FakePlace()
        self.layers = FakeLayers()
        self.stats = SourceStats()
        self.lines: list[str] = []
        self.chance = 0.5
        said = Source("mesh", "http://plane.local/mesh.yaml", every=EVERY)
        pace = Pace(clock, lambda: self.chance)
        log = Log(self.lines.append, clock=clock.now)
        self.poller = Poller(said, self.place, self.layers, clock, pace, self.stats, log)

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        async with doing(self.poller.run()):
            await self.resting()
            yield

    async def resting(self) -> None:
        while not self.clock.pending:  # noqa: ASYNC110 - a digest is made in a thread
            await asyncio.sleep(0.001)

    async def later(self, seconds: float) -> None:
        """Each timer at its own time, with what it brings about."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            self.clock.advance(min(self.poller.next_in or 1e-6, until - self.clock.now()))
            await asyncio.sleep(0)
            await self.resting()

    async def woken(self) -> None:
        self.poller.wake()
        for _ in range(5):
            await asyncio.sleep(0)
        await self.resting()

    @property
    def polls(self) -> Counter[str]:
        return Counter({word: count for word, count in self.stats.polls.items() if count})


def test_what_is_new_is_taken_and_what_is_not_costs_a_question(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            assert scene.layers.puts == [b"one"]
            await scene.later(10 * EVERY)
            assert scene.layers.puts == [b"one"]
            assert scene.place.looks == [("", False), *[("1", False)] * 10]
            scene.place.offer = Offer("0", b"two")
            await scene.later(EVERY)
            assert scene.layers.puts == [b"one", b"two"]
            assert scene.polls == {"changed": 2, "unchanged": 10}
            assert (scene.poller.state, scene.poller.version, scene.poller.error) == ("serving", "0", None)
            assert scene.place.reports == [*["1"] * 11, "0"]
            assert (scene.stats.up, scene.stats.last_success_seconds) == (1, clock.wall())

    run(scenario())


@pytest.mark.parametrize("compressed", [False, True])
def test_a_name_that_changes_while_the_bytes_do_not_is_no_reload(
    run: Run, clock: FakeClock, compressed: bool
) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            for number in range(2, 20):
                body = gzip.compress(b"one", mtime=number) if compressed else b"one"
                scene.place.offer = Offer(str(number), body)
                await scene.later(EVERY)
                assert scene.poller.version == str(number)
            assert scene.layers.puts == [b"one"]
            assert scene.polls == {"changed": 1, "unchanged": 18}

    run(scenario())


def test_it_is_asked_so_long_after_an_answer(run: Run, clock: FakeClock) -> None:
    class Slow(FakePlace):
        async def look(self, known: str, *, anew: bool = False) -> Offer | None:
            clock.advance(3.0)
            return await super().look(known, anew=anew)

    async def scenario() -> None:
        scene = Scene(clock)
        scene.poller._place = scene.place = Slow()
        async with scene.polling():
            assert scene.poller.next_in == EVERY

    run(scenario())


def test_without_a_name_the_bytes_are_one(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        scene.place.offer = Offer("", b"one")
        async with scene.polling():
            await scene.later(3 * EVERY)
            assert scene.place.looks == [("", False)] * 4
            assert scene.layers.puts == [b"one"]
            assert scene.poller.version == "sha256:7692c3ad3540bb80"

    run(scenario())


def test_what_is_refused_is_not_looked_at_again_and_the_old_one_is_reported(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        scene.layers.bad = {b"bad"}
        async with scene.polling():
            scene.place.offer = Offer("2", b"bad")
            await scene.later(EVERY)
            assert (scene.poller.state, scene.poller.version) == ("refused", "1")
            assert scene.poller.error == "source mesh: clusters.a: is bad"
            await scene.later(10 * EVERY)
            scene.place.offer = Offer("3", b"bad")
            await scene.later(10 * EVERY)
            assert scene.layers.puts == [b"one", b"bad"]
            assert scene.polls == {"changed": 1, "refused": 1, "unchanged": 20}
            assert scene.poller.state == "refused"
            assert set(scene.place.reports) == {"1"}
            assert scene.stats.up == 1
            # The rest of the configuration is another one, and it may fit.
            scene.layers.generation += 1
            await scene.later(EVERY)
            assert scene.layers.puts == [b"one", b"bad", b"bad"]
            # A file that it names may be there by now.
            scene.layers.bad = set()
            await scene.later(REFUSED_FOR - 2 * EVERY)
            assert scene.poller.state == "refused"
            await scene.later(3 * EVERY)
            assert scene.layers.puts == [b"one", b"bad", b"bad", b"bad"]
            assert [scene.poller.state, scene.poller.version, scene.poller.error] == ["serving", "3", None]

    run(scenario())


def test_a_day_without_an_answer_is_asked_through_gently_and_ends_nothing(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        scene.chance = 1.0
        async with scene.polling():
            scene.place.fault = Unanswered("Connection refused")
            await scene.later(6.0)
            pauses = []
            for _ in range(8):
                pauses.append(scene.poller.next_in)
                await scene.later(scene.poller.next_in)
            assert [round(pause, 3) for pause in pauses] == [2, 4, 8, 16, 32, 60, 60, 60]
            before = len(scene.place.looks)
            await scene.later(DAY)
            assert len(scene.place.looks) - before == DAY / LONGEST_PAUSE
            assert scene.layers.in_force == (b"one", "1")
            assert (scene.poller.state, scene.poller.error) == ("failed", "Connection refused")
            assert scene.poller.answered == clock.wall() - (clock.now() - 1000)
            assert scene.stats.up == 0
            assert scene.place.reports == ["1"]
            assert sum("source-failed" in line for line in scene.lines) == 1
            scene.place.fault, scene.place.offer = None, Offer("2", b"two")
            await scene.later(LONGEST_PAUSE)
            assert scene.layers.in_force == (b"two", "2")
            assert scene.poller.next_in > 3  # as usual
            scene.place.fault = Unanswered("again")
            await scene.later(7.0)
            assert scene.poller.next_in <= 2

    run(scenario())


def test_pauses_after_failures_are_anything_up_to_their_limit_and_never_nothing(clock: FakeClock) -> None:
    chances = [0.0, 0.25, 0.25, 0.25]
    pace = Pace(clock, lambda: chances.pop(0))
    assert [pace.failed() for _ in range(4)] == [0.05, 1.0, 2.0, 4.0]
    chances = [0.0, 0.5, 1.0]
    assert [round(pace.regular(5.0), 6) for _ in range(3)] == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(("fault", "word"), [(Gone("it answers 404"), "gone"), (Denied("it answers 403"), "denied")])
def test_a_policy_that_is_taken_away_stays(run: Run, clock: FakeClock, fault: Unanswered, word: str) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            scene.place.fault = fault
            await scene.later(60.0)
            assert scene.layers.in_force == (b"one", "1")
            assert (scene.poller.state, scene.poller.error) == (word, str(fault))
            assert scene.polls[word] == (12 if word == "gone" else 6)
            scene.place.fault = None
            await scene.later(LONGEST_PAUSE)
            assert (scene.poller.state, scene.layers.puts) == ("serving", [b"one"])

    run(scenario())


def test_one_that_flaps_is_served_all_the_time_and_told_now_and_then(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            for number in range(200):
                scene.place.fault = Unanswered("it answers 500") if number % 2 else None
                await scene.later(scene.poller.next_in)
            assert scene.layers.puts == [b"one"]
            assert scene.polls == {"changed": 1, "unchanged": 100, "failed": 100}
            assert len(scene.lines) < 30

    run(scenario())


def test_a_call_is_answered_at_once_and_a_storm_of_them_twice_a_second(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            await scene.later(2.0)
            scene.place.offer = Offer("1", b"new, although of the same name")
            await scene.woken()
            assert scene.place.looks[-1] == ("1", True)
            assert scene.layers.puts[-1] == b"new, although of the same name"
            before = len(scene.place.looks)
            for _ in range(1000):
                scene.poller.wake()
                scene.clock.advance(0.01)
                for _ in range(5):
                    await asyncio.sleep(0)
                await scene.resting()
            assert 15 <= len(scene.place.looks) - before <= 10 / BETWEEN + 1
            assert len(scene.layers.puts) == 2

    run(scenario())


def test_a_call_ends_a_long_pause(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        scene.chance = 1.0
        async with scene.polling():
            scene.place.fault = Unanswered("Connection refused")
            await scene.later(300.0)
            scene.place.fault, scene.place.offer = None, Offer("2", b"two")
            await scene.later(1.0)
            await scene.woken()
            assert scene.layers.in_force == (b"two", "2")

    run(scenario())


def test_a_rollback_holds_and_a_layer_that_is_deleted_comes_back(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            scene.layers.in_force = b"older", ""
            await scene.later(5 * EVERY)
            assert scene.layers.in_force == (b"older", "")
            assert scene.poller.version is None
            assert scene.place.reports[-1] == ""
            scene.place.offer = Offer("2", b"one")
            await scene.later(EVERY)
            assert scene.layers.in_force == (b"older", "")
            scene.layers.in_force = None
            await scene.later(EVERY)
            assert scene.layers.in_force == (b"one", "2")

    run(scenario())


def test_nothing_is_asked_for_while_nothing_can_be_taken(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        async with scene.polling():
            scene.layers.closed = True
            scene.place.offer = Offer("2", b"two")
            await scene.later(5 * EVERY)
            assert len(scene.place.looks) == 1
            scene.layers.closed = False
            await scene.later(EVERY)
            assert scene.layers.in_force == (b"two", "2")

    run(scenario())


def test_what_was_closed_to_it_was_not_refused(run: Run, clock: FakeClock) -> None:
    class Closing(FakeLayers):
        async def put(self, name: str, body: bytes, *, source: str, revision: str) -> None:
            self.closed = not self.puts
            await super().put(name, body, source=source, revision=revision)

    async def scenario() -> None:
        scene = Scene(clock)
        scene.poller._layers = scene.layers = Closing()
        async with scene.polling():
            assert (scene.poller.state, scene.polls) == ("waiting", {})
            scene.layers.closed = False
            await scene.later(EVERY)
            assert scene.layers.in_force == (b"one", "1")

    run(scenario())


def test_a_fault_of_ours_does_not_end_the_questions(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)
        scene.place.fault = ZeroDivisionError("oh")
        async with scene.polling():
            assert scene.poller.state == "failed"
            assert any("source-broken" in line and "ZeroDivisionError" in line for line in scene.lines)
            scene.place.fault = None
            await scene.later(LONGEST_PAUSE)
            assert scene.poller.state == "serving"

    run(scenario())


def test_a_report_that_nobody_takes_is_no_failure(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        scene = Scene(clock)

        async def report(version: str, now: float) -> None:
            raise Unanswered("it answers 500")

        scene.place.report = report  # type: ignore[method-assign]
        async with scene.polling():
            await scene.later(2 * EVERY)
            assert (scene.poller.state, scene.stats.up) == ("serving", 1)

    run(scenario())
