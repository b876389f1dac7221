"""Deadlines of many, on a clock that jumps."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from meshproxy.net.deadlines import Deadlines


class Waiter:
    def __init__(self, clock: Any, deadline: float) -> None:
        self.clock, self.deadline = clock, deadline
        self.ended: list[float] = []

    def expired(self) -> None:
        self.ended.append(self.clock.now())
        self.deadline = inf


@pytest.fixture
def deadlines(clock: Any) -> Deadlines:
    return Deadlines(clock)


def test_a_deadline_is_kept_to_its_time(clock: Any, deadlines: Deadlines) -> None:
    start = clock.now()
    waiter = Waiter(clock, start + 7)
    deadlines.watch(waiter, 5)
    clock.advance(6.9)
    assert waiter.ended == []
    clock.advance(60)
    assert waiter.ended == [start + 7]


def test_a_deadline_moves_without_a_word_as_near_as_was_said(clock: Any, deadlines: Deadlines) -> None:
    waiter = Waiter(clock, clock.now() + 600)
    deadlines.watch(waiter, 5)
    clock.advance(123.4)
    start = clock.now()
    waiter.deadline = start + 5
    clock.advance(4.9)
    assert waiter.ended == []
    clock.advance(0.2)
    assert waiter.ended == [start + 5]


def test_a_nearer_deadline_has_to_be_told(clock: Any, deadlines: Deadlines) -> None:
    waiter = Waiter(clock, clock.now() + 600)
    deadlines.watch(waiter, 50)
    start = clock.now()
    waiter.deadline = start + 1
    deadlines.expect(start + 1)
    clock.advance(2)
    assert waiter.ended == [start + 1]


def test_who_comes_later_may_have_less_time(clock: Any, deadlines: Deadlines) -> None:
    first, second = Waiter(clock, clock.now() + 600), Waiter(clock, inf)
    deadlines.watch(first, 300)
    deadlines.watch(second, 3)
    clock.advance(10)
    start = clock.now()
    second.deadline = start + 3
    clock.advance(5)
    assert (first.ended, second.ended) == ([], [start + 3])


def test_who_is_forgotten_does_not_expire(clock: Any, deadlines: Deadlines) -> None:
    waiter = Waiter(clock, clock.now() + 1)
    deadlines.watch(waiter, 1)
    deadlines.forget(waiter)
    clock.advance(10)
    assert waiter.ended == []


def test_nobody_is_looked_at_where_nobody_waits(clock: Any, deadlines: Deadlines) -> None:
    waiter = Waiter(clock, clock.now() + 1)
    deadlines.watch(waiter, 1)
    deadlines.forget(waiter)
    clock.advance(10)
    assert clock.pending == 0
