"""What one worker says of whom it has ejected, and what all others are told."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.cluster.outlier import Ejection
from meshproxy.model import Config, decode
from meshproxy.observe.log import Log
from meshproxy.plan.verdicts import judge_of
from meshproxy.server.ejections import Ejections, ejections
from tests.conftest import FakeClock


class World:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.told: list[str] = []
        self.lines: list[str] = []
        self.ejections = Ejections(clock, Log(self.lines.append, clock=clock.wall))
        self.ejections.told = self.told.append
        self.judge = ""
        self.take(consecutive_5xx=5)

    def take(self, **said: Any) -> None:
        config = decode(Config, {"clusters": {"up": {"endpoints": ["10.0.0.1:80"], "outlier": said}}})
        self.judge = judge_of(config.clusters[0])
        self.ejections.commit(config)

    def hear(self, address: str, seconds: float) -> str:
        key = self.judge + address
        self.ejections.hear({key: Ejection(self.clock.now() + seconds, 1, "5xx")})
        return key


@pytest.fixture
def w(clock: FakeClock) -> World:
    return World(clock)


def test_it_is_told_logged_and_known_as_long_as_it_lasts(w: World) -> None:
    key = w.hear("10.0.0.1:80", 30)
    assert w.told == [key]
    (line,) = w.lines
    assert "WARNING endpoint-ejected cluster=up endpoint=10.0.0.1:80 reason=5xx seconds=30.0" in line
    w.clock.advance(20)
    assert w.ejections.left(w.judge, "10.0.0.1:80") == 10
    w.clock.advance(10)
    assert w.ejections.left(w.judge, "10.0.0.1:80") is None
    w.hear("10.0.0.2:80", 30)
    assert list(w.ejections.known) == [w.judge + "10.0.0.2:80"]


def test_of_two_who_say_the_same_the_longer_one_counts_and_is_told_once(w: World) -> None:
    key = w.hear("10.0.0.1:80", 30)
    w.hear("10.0.0.1:80", 20)
    w.hear("10.0.0.1:80", 30)
    assert w.told == [key]
    w.hear("10.0.0.1:80", 40)
    assert w.told == [key, key]
    assert w.ejections.left(w.judge, "10.0.0.1:80") == 40
    assert len(w.lines) == 1


def test_what_is_over_or_about_nobody_is_not_told(w: World) -> None:
    w.hear("10.0.0.1:80", 0)
    w.ejections.hear({"gone 0123456789abcdef 10.0.0.1:80": Ejection(w.clock.now() + 30, 1, "5xx")})
    assert (w.told, w.ejections.known) == ([], {})


def test_it_survives_a_reload_that_says_the_same_of_it_and_no_other(w: World) -> None:
    key = w.hear("unix:/run/a b.sock", 30)
    w.take(consecutive_5xx=5)
    assert list(w.ejections.known) == [key]
    w.take(consecutive_5xx=6)
    assert w.ejections.known == {}


def test_from_one_process_to_another() -> None:
    assert ejections(b'{"up 0 10.0.0.1:80": [12.5, 2, "connect"]}') == {
        "up 0 10.0.0.1:80": Ejection(12.5, 2, "connect")
    }
