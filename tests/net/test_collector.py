"""The collector rests while much is made, and looks only at what is young."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.net import collector
from meshproxy.net.collector import at_rest, settling

Run = Callable[[Coroutine[Any, Any, None]], None]


class Part:
    itself: Part


def test_it_rests_until_the_last_of_those_is_done_that_overlap() -> None:
    first, second = at_rest(), at_rest()
    first.__enter__()
    second.__enter__()
    assert not gc.isenabled()
    first.__exit__(None, None, None)
    assert not gc.isenabled(), "the second is still at it"
    second.__exit__(None, None, None)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), at_rest():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_one_that_somebody_has_switched_off_stays_so() -> None:
    gc.disable()
    try:
        with at_rest():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_made_is_looked_at_once_and_circles_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "EVERY", 0)

    async def scenario() -> None:
        with settling(asyncio.get_running_loop()):
            frozen = gc.get_freeze_count()
            made = [Part() for _ in range(1000)]
            circle = Part()
            circle.itself = circle
            left = weakref.ref(circle)
            del circle
            while left() is not None:  # noqa: ASYNC110 - what is watched is a reference
                await asyncio.sleep(0)
            assert gc.get_freeze_count() >= frozen + len(made)
            there = {id(each) for each in gc.get_objects()}
            assert not any(id(part) in there for part in made)
            one = weakref.ref(made[0])
            made.clear()
            assert one() is None, "freed by counting"

    run(scenario())


def test_it_settles_again_and_again_but_not_when_all_is_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "EVERY", 0)
    times = []
    monkeypatch.setattr(collector, "settle", lambda: times.append(1))

    async def scenario() -> None:
        with settling(asyncio.get_running_loop()):
            while len(times) < 3:  # noqa: ASYNC110 - what is watched is a plain integer
                await asyncio.sleep(0)
        before = len(times)
        for _ in "some turns":
            await asyncio.sleep(0)
        assert len(times) == before

    run(scenario())


def test_it_leaves_no_circle_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "EVERY", 0)
    settled = asyncio.Event()
    monkeypatch.setattr(collector, "settle", settled.set)

    async def scenario() -> None:
        with settling(asyncio.get_running_loop()):
            await settled.wait()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            settled.clear()
            with settling(asyncio.get_running_loop()):
                await settled.wait()
            gc.collect()
            assert not [each for each in gc.garbage if type(each) is collector._Again]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    run(scenario())


def test_memory_can_be_given_back_or_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    collector.give_back()
    asked: list[int] = []
    monkeypatch.setattr(collector, "_trimmer", lambda: asked.append)
    collector.give_back()
    assert asked == [0]
    monkeypatch.setattr(collector, "_trimmer", lambda: None)
    collector.give_back()
