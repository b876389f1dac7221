"""What documents of every version are in our words, and that these are words of ours."""

from __future__ import annotations

import pytest

from meshproxy.dialects import read, translated
from meshproxy.dialects.translation import Setting
from meshproxy.model import Config, combine, decode
from tests.dialects.fsm.goldens import Case, cases

CASES = [*cases()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    words = case.words()
    assert words.problems == []
    assert words.value == case.native, case.shows
    assert [str(note) for note in words.notes] == case.notes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_of_it_can_be_put_in_force(case: Case) -> None:
    config = decode(Config, case.setting)
    setting = Setting(config.node, config.sidecar, config.compat)
    found = combine(translated([read(case.given, "config.json")], setting).documents)
    assert {each.name for each in found.listeners} == {each["name"] for each in case.native.get("listeners", [])}


def test_each_says_what_it_shows() -> None:
    assert len({case.shows for case in CASES}) == len(CASES)
