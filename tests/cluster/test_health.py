"""Verdicts: the first check decides alone, later ones by their number in a row; and when to look again."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.cluster.health import Standing
from meshproxy.model import Health, decode


def standing(**said: Any) -> Standing:
    return Standing(decode(Health, {"path": "/", **said}))


def verdicts(standing: Standing, checks: str) -> str:
    """After each of these checks, `+` or `-`."""
    found = ""
    for each in checks:
        before = standing.healthy
        changed = standing.heard(each == "+")
        assert changed == (standing.healthy is not before)
        found += "+" if standing.healthy else "-"
    return found


@pytest.mark.parametrize(
    ("checks", "found"),
    [
        ("+", "+"),
        ("-", "-"),
        ("+--+---", "++++++-"),
        ("+---+-++", "+++----+"),
        ("-+-+-+-++", "--------+"),
        ("+-+-+-+-+--", "+++++++++++"),
    ],
)
def test_thresholds(checks: str, found: str) -> None:
    assert verdicts(standing(), checks) == found


def test_of_one_each_check_decides() -> None:
    assert verdicts(standing(unhealthy_after=1, healthy_after=1), "+-+-") == "+-+-"


def test_what_is_not_well_or_may_not_be_is_looked_at_more_often() -> None:
    it = standing(interval="10s")
    pauses = []
    for each in "+-+---++":
        it.heard(each == "+")
        pauses.append(it.pause(0))
    assert pauses == [10, 2, 10, 2, 2, 2, 2, 10]


def test_a_pause_is_as_said_and_longer_by_chance() -> None:
    it = standing(interval="10s", interval_unhealthy="3s", jitter=50)
    it.heard(False)
    assert [it.pause(0), it.pause(1)] == [3, 4.5]
    it.heard(True)
    it.heard(True)
    assert [it.pause(0), it.pause(0.5)] == [10, 12.5]
