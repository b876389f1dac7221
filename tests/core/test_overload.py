"""How measures become a stage: at once up, slowly down, and not for a single pause."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy import model
from meshproxy.core.overload import CALM, CONNECTIONS, KEEP_ALIVE, LOW, NONE, Overload, of_lag, of_share
from tests.conftest import FakeClock

EVERY = 0.25


class Watched:
    """An overload that is looked at four times a second."""

    def __init__(self, clock: FakeClock, **said: Any) -> None:
        self.clock = clock
        self.overload = Overload()
        self.overload.use(model.Overload(**said))

    def look(
        self, seconds: float = EVERY, *, lag: float = 0.0, memory: float | None = None, connections: float | None = None
    ) -> list[int]:
        """The stages that it takes, each where it changes."""
        found = []
        for _ in range(round(seconds / EVERY)):
            self.clock.advance(EVERY)
            if self.overload.look(self.clock.now(), lag=lag, memory=memory, connections=connections):
                found.append(self.overload.stage)
        return found


def test_the_steps_of_a_measure() -> None:
    assert of_lag(0.05).enter == (0.05, 0.1, 0.2)
    assert of_lag(0.05).leave == pytest.approx((0.0375, 0.075, 0.15))
    assert of_share(0.9).enter == pytest.approx((0.9, 0.95, 0.975))
    assert of_share(0.9).leave == pytest.approx((0.875, 0.925, 0.95))
    assert of_share(0.9, LOW).enter == pytest.approx((0.9, 0.95))
    assert of_share(1.0).enter == of_share(1.0).leave == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("measured", "stage"),
    [
        ({"lag": 0.049}, NONE),
        ({"lag": 0.05}, KEEP_ALIVE),
        ({"lag": 0.1}, LOW),
        ({"lag": 5.0}, CONNECTIONS),
        ({"memory": 0.89}, NONE),
        ({"memory": 0.91}, KEEP_ALIVE),
        ({"memory": 0.96}, LOW),
        ({"memory": 1.3}, CONNECTIONS),
        ({"connections": 0.91}, KEEP_ALIVE),
        ({"connections": 1.0}, LOW),
        ({"lag": 0.06, "memory": 0.96, "connections": 0.1}, LOW),
        ({"memory": None, "connections": None}, NONE),
    ],
)
def test_the_worst_of_the_measures_decides_and_at_once(clock: FakeClock, measured: Any, stage: int) -> None:
    watched = Watched(clock)
    assert watched.look(2 * EVERY, **measured) == ([stage] if stage else [])


def test_one_pause_is_no_lag_that_stays(clock: FakeClock) -> None:
    watched = Watched(clock)
    for _ in range(5):
        assert watched.look(lag=3.0) == []
        assert watched.look(4 * EVERY) == []
    # Every second turn is a long one: a timer meets half of them
    assert watched.look(lag=0.06) == []
    assert watched.look(lag=0.0) == []
    assert watched.look(lag=0.06) == [KEEP_ALIVE]


def test_it_falls_by_one_at_a_time(clock: FakeClock) -> None:
    watched = Watched(clock)
    assert watched.look(memory=0.98) == [CONNECTIONS]
    assert watched.look(CALM, memory=0.5) == []
    assert watched.look(memory=0.5) == [LOW]
    assert watched.look(CALM - EVERY, memory=0.5) == []
    assert watched.look(memory=0.5) == [KEEP_ALIVE]
    assert watched.look(CALM, memory=0.5) == [NONE]
    assert watched.look(60, memory=0.5) == []


def test_a_little_below_is_not_calm(clock: FakeClock) -> None:
    watched = Watched(clock)
    assert watched.look(memory=0.91) == [KEEP_ALIVE]
    assert watched.look(60, memory=0.88) == []
    # Nor is a while that is interrupted
    for _ in range(5):
        assert watched.look(CALM, memory=0.8) == []
        assert watched.look(memory=0.9) == []
    # >> and on its way down it rises again at once
    assert watched.look(memory=0.98) == [CONNECTIONS]
    assert watched.look(CALM + EVERY, memory=0.1) == [LOW]
    assert watched.look(memory=0.98) == [CONNECTIONS]


def test_what_falls_stays_where_another_measure_holds_it(clock: FakeClock) -> None:
    watched = Watched(clock)
    watched.look(1, lag=1.0, memory=0.91)
    assert watched.overload.stage == CONNECTIONS
    assert watched.look(60, memory=0.91) == [LOW, KEEP_ALIVE]
    # A measure that is not to be had any more holds nothing
    assert watched.look(60, memory=None) == [NONE]


@pytest.mark.parametrize(
    ("said", "measured"),
    [({"lag": 0.0}, {"lag": 9.0}), ({"memory": 0.0}, {"memory": 1.0}), ({"connections": 0.0}, {"connections": 1.0})],
)
def test_what_is_not_looked_at_does_nothing(clock: FakeClock, said: Any, measured: Any) -> None:
    assert Watched(clock, **said).look(10, **measured) == []


def test_another_configuration_keeps_the_stage_and_none_ends_it(clock: FakeClock) -> None:
    watched = Watched(clock)
    assert watched.look(memory=0.96) == [LOW]
    watched.overload.use(model.Overload(memory=0.5))
    assert watched.overload.stage == LOW
    assert watched.look(60, memory=0.6) == [KEEP_ALIVE]
    watched.overload.use(None)
    assert watched.overload.stage == NONE
    assert watched.look(10, lag=9.0, memory=1.0) == []


def test_a_clock_that_stands_still_does_not_end_it(clock: FakeClock) -> None:
    overload = Watched(clock).overload
    assert overload.look(1000.0, lag=0, memory=0.96, connections=None)
    for _ in range(100):
        assert not overload.look(1000.0, lag=0, memory=0.1, connections=None)
    # >> and one that has jumped ends one stage, not all
    assert overload.look(9000.0, lag=0, memory=0.1, connections=None)
    assert overload.stage == KEEP_ALIVE
