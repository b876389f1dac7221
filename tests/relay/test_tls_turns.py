"""Turns of handshakes: few begin between two looks at all connections, and everybody gets one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproxy.relay.turns import IN_ONE_GO, PATIENCE, Turns


class Loop:
    def __init__(self) -> None:
        self.now = 0.0
        self._soon: list[Callable[[], None]] = []

    def soon(self, action: Callable[[], None]) -> None:
        self._soon.append(action)

    def turn(self) -> bool:
        """Whether there was anything to do."""
        actions, self._soon = self._soon, []
        for action in actions:
            action()
        return bool(actions)


class Asking:
    def __init__(self, turns: Any, order: list[Asking], *, at_once: bool = False) -> None:
        """`at_once`: its turn is over before it is taken."""
        self.over = False
        self._turns = turns
        self._order = order
        self._at_once = at_once
        if self._turns.ask(self):
            self.turn()

    def turn(self) -> None:
        self._order.append(self)
        if self._at_once:
            self.end()

    def end(self) -> None:
        self.over = True
        self._turns.give_back(self)

    expired = end


def test_few_begin_in_one_go_and_all_in_the_end() -> None:
    loop, order = Loop(), list[Asking]()
    turns = Turns(1000, lambda: loop.now, loop.soon)
    asking = [Asking(turns, order) for _ in range(10 * IN_ONE_GO)]
    for go in range(1, 11):
        assert order == asking[: go * IN_ONE_GO]
        assert loop.turn()
    for each in asking:
        each.end()
    loop.turn()
    assert not loop.turn(), "nothing is done while nobody asks"


def test_those_that_fail_at_once_count_too() -> None:
    loop, order = Loop(), list[Asking]()
    turns = Turns(1, lambda: loop.now, loop.soon)
    for _ in range(3 * IN_ONE_GO):
        Asking(turns, order, at_once=True)
    assert len(order) == IN_ONE_GO
    loop.turn()
    assert len(order) == 2 * IN_ONE_GO
    loop.turn()
    assert len(order) == 3 * IN_ONE_GO


def test_who_waits_for_the_next_go_costs_nobody_his_turn() -> None:
    loop, order = Loop(), list[Asking]()
    turns = Turns(1000, lambda: loop.now, loop.soon)
    slow = Asking(turns, order)
    loop.now = PATIENCE + 1
    crowd = [Asking(turns, order) for _ in range(2 * IN_ONE_GO)]
    assert not slow.over
    while loop.turn():
        """Until all have begun."""
    assert order == [slow, *crowd]


def test_who_has_left_while_he_waited_takes_no_turn() -> None:
    loop, order = Loop(), list[Asking]()
    turns = Turns(IN_ONE_GO, lambda: loop.now, loop.soon)
    first = [Asking(turns, order) for _ in range(IN_ONE_GO)]
    leaving, staying = Asking(turns, order), Asking(turns, order)
    leaving.end()
    loop.turn()
    assert order == first
    first[0].end()
    assert order == [*first, staying]
