"""Where a listener is less strict than by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshproxy.model import Config, decode
from meshproxy.model.http import ADMISSIBLE
from meshproxy.model.relaxed import ADMITTED, relaxations, relaxed


def config(**http: Any) -> Config:
    listener = {"name": "web", "listen": "127.0.0.1:0", "protocol": "http", "routes": "all"}
    return decode(Config, {"listeners": [{**listener, "http": http}, {**listener, "name": "strict"}]})


def test_what_is_admitted_or_kept() -> None:
    said = config(admit=["obs_fold", "bare_lf"], path={"slashes": "keep", "escaped_slashes": "keep"})
    assert [(each.switch, each.path) for each in relaxations(said.listeners[0])] == [
        ("obs_fold", ("http", "admit", 0)),
        ("bare_lf", ("http", "admit", 1)),
        ("slashes", ("http", "path", "slashes")),
        ("escaped_slashes", ("http", "path", "escaped_slashes")),
    ]
    assert relaxed(said) == {"web": {"obs_fold": 1, "bare_lf": 1, "slashes": 1, "escaped_slashes": 1}}


def test_what_is_stricter_is_not_told() -> None:
    assert relaxed(config(path={"slashes": "refuse", "dot_segments": "refuse"})) == {}


def test_another_judge_is_told() -> None:
    said = config()
    listener = replace(said.listeners[0], codec="h11")
    assert relaxed(replace(said, listeners=(listener,))) == {"web": {"h11": 1}}


def test_each_switch_has_its_words() -> None:
    assert tuple(ADMITTED) == ADMISSIBLE
