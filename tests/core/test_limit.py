"""A worker's side alone: what it says, what it is told, and what it does when nobody answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.core.limit import MOST_WAITERS, PATIENCE, Limits, Said, Stock


class Scene:
    """Limits whose owner is the test."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.said: list[Said] = []
        self.limits = Limits(clock, self.said.append)
        self.stock = self.limits.stock("web")
        self.answers: list[bool] = []

    def hear(self, kind: str, amount: int = 0, low: int = 0, edition: int = 1) -> None:
        self.limits.hear(Said(kind, "web", edition, amount, low))

    def ask(self, stock: Stock | None = None) -> None:
        (stock or self.stock).ask(self.answers.append)

    def heard(self) -> list[tuple[str, int]]:
        """What was said since the last time."""
        said, self.said[:] = [(word.kind, word.amount) for word in self.said], []
        return said


@pytest.fixture
def scene(clock: Any) -> Scene:
    return Scene(clock)


def test_what_is_held_is_taken_without_a_word(scene: Scene) -> None:
    scene.hear("grant", 2)
    assert [scene.stock.take() for _ in range(3)] == [True, True, False]
    scene.stock.give()
    assert scene.stock.take()
    assert scene.heard() == []


def test_more_is_wanted_before_all_is_used_and_once_until_it_is_answered(scene: Scene) -> None:
    scene.hear("grant", 10, low=3)
    for _ in range(7):
        assert scene.stock.take()
    assert scene.heard() == []
    assert scene.stock.take()
    assert scene.stock.take()
    assert scene.heard() == [("want", 3)]
    scene.hear("grant", 0)
    assert [scene.stock.take(), scene.stock.take()] == [True, False]
    assert scene.heard() == []


def test_who_waits_is_served_in_turn_and_those_left_are_asked_for_again(scene: Scene) -> None:
    scene.hear("grant")
    for _ in range(3):
        scene.ask()
    assert scene.heard() == [("need", 1)]
    scene.hear("grant", 1)
    assert (scene.answers, scene.heard()) == ([True], [("need", 2)])
    scene.hear("grant", 3)
    assert (scene.answers, scene.stock.used, scene.stock.held) == ([True] * 3, 3, 4)


def test_a_unit_that_is_given_goes_to_who_waits(scene: Scene) -> None:
    scene.hear("grant", 1)
    assert scene.stock.take()
    scene.ask()
    scene.stock.give()
    assert scene.answers == [True]
    assert not scene.stock.take()


def test_the_denied_are_refused_without_asking_until_there_is_something(scene: Scene) -> None:
    scene.ask()
    scene.hear("deny")
    scene.ask()
    assert (scene.answers, scene.heard()) == ([False, False], [("need", 1)])
    scene.hear("fed")
    scene.ask()
    assert (scene.answers, scene.heard()) == ([False, False], [("need", 1)])


def test_a_recall_brings_no_hope_to_the_denied(scene: Scene) -> None:
    scene.ask()
    scene.hear("deny")
    scene.hear("recall")
    scene.ask()
    assert (scene.answers, scene.heard()) == ([False, False], [("need", 1), ("spare", 0)])


def test_a_flow_is_refused_for_as_long_as_it_was_said(scene: Scene, clock: Any) -> None:
    flow = scene.limits.flow("rate")
    flow.ask(scene.answers.append)
    scene.limits.hear(Said("deny", "rate", 1, 20))
    flow.ask(scene.answers.append)
    assert (scene.answers, scene.heard()) == ([False, False], [("need", 1)])
    clock.advance(0.021)
    flow.ask(scene.answers.append)
    assert (scene.answers, scene.heard()) == ([False, False], [("need", 1)])


def test_a_recall_takes_what_is_spare_and_then_what_is_freed_until_there_is_ease(scene: Scene) -> None:
    scene.hear("grant", 5, low=2)
    assert [scene.stock.take() for _ in range(2)] == [True, True]
    scene.hear("recall")
    assert (scene.heard(), scene.stock.held) == ([("spare", 3)], 2)
    scene.stock.give()
    assert (scene.heard(), scene.stock.held) == ([("back", 1)], 1)
    scene.hear("ease", 4, low=1)
    scene.stock.give()
    assert (scene.heard(), scene.stock.held) == ([], 5)


def test_a_recall_of_nothing_is_answered(scene: Scene) -> None:
    scene.hear("grant", 1)
    assert scene.stock.take()
    scene.hear("recall")
    assert scene.heard() == [("spare", 0)]


def test_the_patience_of_who_waits_ends(scene: Scene, clock: Any) -> None:
    scene.ask()
    clock.advance(PATIENCE / 2)
    scene.ask()
    clock.advance(PATIENCE / 2)
    assert scene.answers == [False]
    clock.advance(PATIENCE / 2)
    assert scene.answers == [False, False]
    assert (clock.pending, scene.heard()) == (0, [("need", 1)])
    scene.hear("grant", 1)
    assert scene.stock.take()


def test_who_waits_is_bounded_in_number(scene: Scene) -> None:
    for _ in range(MOST_WAITERS + 1):
        scene.ask()
    assert scene.answers == [False]


def test_without_an_owner_the_last_lease_rules(scene: Scene) -> None:
    scene.hear("recall")
    scene.ask()
    scene.hear("grant", 1)
    scene.ask()
    scene.heard()
    scene.limits.orphaned()
    scene.ask()
    assert scene.answers == [True, False, False]
    scene.stock.give()
    assert scene.stock.take()
    assert scene.heard() == []


def test_the_retired_return_what_is_spare_and_then_what_is_freed(scene: Scene) -> None:
    scene.hear("grant", 3)
    assert scene.stock.take()
    scene.stock.retire(5)
    assert scene.heard() == [("back", 2)]
    scene.stock.give()
    scene.ask()
    assert (scene.answers, scene.heard()) == ([False], [("back", 1)])


def test_the_retired_do_not_take_a_successor_along(scene: Scene) -> None:
    successor = scene.limits.stock("web")
    scene.stock.retire(0)
    scene.hear("grant", 1)
    assert successor.take()


def test_what_is_lent_to_nobody_goes_back(scene: Scene) -> None:
    scene.stock.retire(0)
    scene.hear("grant", 3, low=1)
    scene.hear("recall")
    scene.hear("deny", 5)
    scene.hear("fed")
    assert scene.said == [Said("back", "web", 1, 3), Said("spare", "web", 1)]


def test_of_a_limit_made_anew_what_is_in_use_stays_in_use(scene: Scene) -> None:
    scene.hear("grant", 3)
    assert scene.stock.take()
    scene.hear("grant", 2, edition=2)
    assert (scene.stock.used, scene.stock.held) == (1, 2)
    scene.hear("grant", 3)
    assert scene.said == [Said("back", "web", 1, 3)]


def test_who_asks_again_while_being_told_no_is_told_at_once(scene: Scene) -> None:
    scene.stock.ask(lambda _: scene.ask())
    scene.hear("deny")
    assert scene.answers == [False]


def test_what_is_said_is_a_short_list_in_json() -> None:
    said = Said("grant", "web", 3, 10, 2)
    assert json.dumps(said) == '["grant", "web", 3, 10, 2]'
    assert Said(*json.loads(json.dumps(said))) == said
