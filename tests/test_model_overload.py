"""What an operator can say about too much work."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, Overload, combine, decode, diff


def combined(**said: Any) -> Config:
    said = {
        "listeners": [{"name": "in", "listen": "127.0.0.1:80", "protocol": "http", "routes": "web"}],
        "clusters": {"a": {"endpoints": []}},
        **said,
    }
    return combine([Document("t", decode(Config, said), frozenset(said), lambda _: None)])


def test_a_section_without_words_is_all_of_it() -> None:
    routes = {"web": [{"cluster": "a", "priority": "low"}]}
    config = combined(routes=routes, overload={})
    assert config.overload == Overload(0.05, 0.9, 0.9, 0.5)
    changed = combined(routes=routes, overload={"lag": "20ms", "memory": 0})
    assert diff(config, changed) == ["overload: changed (lag, memory)"]
    assert diff(combined(routes={"web": [{"cluster": "a"}]}), combined(routes={"web": [{"cluster": "a"}]})) == []


@pytest.mark.parametrize("priority", ["low", "high"])
def test_a_priority_needs_to_know_when_it_counts(priority: str) -> None:
    with pytest.raises(Invalid) as caught:
        combined(routes={"web": [{"cluster": "a"}, {"cluster": "a", "priority": priority}]})
    (problem,) = caught.value.problems
    assert problem.path == "routes.web.rules[1].priority"
    assert problem.message == f"`priority` {priority} needs a section `overload`, which says when it counts"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lag": -1}, "must be a duration"),
        ({"lag": 5}, "must be a duration"),
        ({"memory": 1.5}, "must be a share from 0 to 1, such as 0.5, not 1.5"),
        ({"memory": "90%"}, "must be a share from 0 to 1, such as 0.5"),
        ({"connections": True}, "must be a share from 0 to 1, such as 0.5, not true"),
        ({"low": -0.1}, "must be a share from 0 to 1, such as 0.5"),
        ({"cpu": 0.9}, "unknown key"),
    ],
)
def test_what_makes_no_sense(said: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        decode(Config, {"overload": said})


def test_a_priority_is_a_word() -> None:
    with pytest.raises(Invalid, match="low or normal or high, not"):
        combined(routes={"web": [{"cluster": "a", "priority": "urgent"}]}, overload={})
