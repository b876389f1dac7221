"""Two ways are tried at once: who is there first is taken, and nothing remains of the other."""

from __future__ import annotations

import pytest

from meshproxy.relay.mux.race import Race, Way


class Attempt:
    def __init__(self, at_once: str | OSError | None = None) -> None:
        self.at_once = at_once
        self.begun = self.cancelled = False

    def way(self) -> Way[str]:
        def dial(done: object) -> Attempt:
            self.done = done
            return self

        return dial

    def begin(self) -> str | OSError | None:
        self.begun = True
        return self.at_once

    def cancel(self) -> None:
        self.cancelled = True

    def ends(self, outcome: str | OSError) -> None:
        assert callable(self.done)
        self.done(outcome)


class Runs:
    def __init__(self, first: Attempt, second: Attempt) -> None:
        self.told: list[str | OSError] = []
        self.race: Race[str] = Race(first.way(), second.way(), self.told.append)


LOST, OTHER = OSError("lost"), OSError("other")


@pytest.mark.parametrize("winner", [0, 1])
def test_who_is_there_first_is_taken_and_the_other_one_is_not_heard_of(winner: int) -> None:
    attempts = Attempt(), Attempt()
    runs = Runs(*attempts)
    assert runs.race.begin() is None
    attempts[winner].ends("here")
    assert runs.told == ["here"]
    assert attempts[1 - winner].cancelled
    assert not attempts[winner].cancelled


def test_who_is_there_at_once_needs_no_other() -> None:
    quick, never = Attempt("here"), Attempt()
    assert Runs(quick, never).race.begin() == "here"
    assert not never.begun
    slow, quick = Attempt(), Attempt("here")
    runs = Runs(slow, quick)
    assert runs.race.begin() == "here"
    assert slow.cancelled
    assert not runs.told


@pytest.mark.parametrize("winner", [0, 1])
def test_while_one_may_come_nothing_is_wrong(winner: int) -> None:
    attempts = Attempt(), Attempt()
    runs = Runs(*attempts)
    runs.race.begin()
    attempts[1 - winner].ends(LOST)
    assert not runs.told
    attempts[winner].ends("here")
    assert runs.told == ["here"]
    assert not attempts[1 - winner].cancelled


def test_where_none_comes_what_was_wrong_last_is_told_once() -> None:
    first, second = Attempt(), Attempt()
    runs = Runs(first, second)
    runs.race.begin()
    first.ends(LOST)
    second.ends(OTHER)
    assert runs.told == [OTHER]
    assert Runs(Attempt(LOST), Attempt(OTHER)).race.begin() is OTHER
    late = Attempt()
    runs = Runs(late, Attempt(LOST))
    assert runs.race.begin() is None
    late.ends(OTHER)
    assert runs.told == [OTHER]


def test_a_race_that_is_called_off_ends_both() -> None:
    first, second = Attempt(), Attempt()
    runs = Runs(first, second)
    runs.race.begin()
    runs.race.cancel()
    assert first.cancelled
    assert second.cancelled
    assert not runs.told
