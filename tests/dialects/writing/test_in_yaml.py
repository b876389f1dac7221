"""What is written is read as the same, by YAML 1.2 and by 1.1."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dialects import yaml12
from meshproxy.dialects.writing.in_yaml import text

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=20)
LOOKS = "no on 012 0o14 0x1f 1e3 1_000 12:30 ~ null .inf .nan +1 -.5 1. <<= 2026-01-01 true y [a {a - ? # &a *a !a | >"
KEYS = TEXT.filter(lambda key: key != "<<")
Plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.dictionaries(KEYS, Plain, min_size=1, max_size=4))
def test_it_is_read_as_it_was(value: dict[str, Any]) -> None:
    assert yaml12.parse(text([value]), "f") == value
    assert yaml.safe_load(text([value])) == value


@pytest.mark.parametrize("said", [*LOOKS.split(), "a\nb\n", "a: b", " a ", "", "a\n b", "\n", "a #b"])
def test_a_string_stays_one(said: str) -> None:
    assert yaml12.parse(text([{"a": said, "b": [said]}]), "f") == {"a": said, "b": [said]}
    assert yaml.safe_load(text([{"a": said}])) == {"a": said}


@pytest.mark.parametrize("said", ["y", "N", "0X1F", "0O17", "-0B1", "0777"])
def test_what_some_reader_takes_for_another_thing_is_in_quotes(said: str) -> None:
    assert text([{"a": said}]) == f"a: '{said}'\n"


def test_for_people() -> None:
    value = [{"b": [{"c": "x\ny\n"}], "a": 1}, {"d": "0o14"}]
    assert text(value) == "b:\n  - c: |\n      x\n      y\na: 1\n---\nd: '0o14'\n"


def test_what_stands_twice_is_written_twice() -> None:
    shared = ["a"]
    assert text([{"b": shared, "c": shared}]) == "b:\n  - a\nc:\n  - a\n"
