"""Who would be let in to more, if all that lets in were added up."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.dialects.writing.overlap import wider
from meshproxy.model import RouteTable, decode

A, B = [{"identities": ["shop/a"]}], [{"identities": ["shop/b"]}]


def found(*rules: dict[str, Any]) -> list[tuple[int, int]]:
    table = decode(RouteTable, {"name": "t", "rules": [{"cluster": "c", **rule} for rule in rules]})
    places = {id(rule): place for place, rule in enumerate(table.rules)}
    return [(places[id(here)], places[id(other)]) for here, other in wider(table.rules)]


def rule(who: Any, **match: Any) -> dict[str, Any]:
    return {"match": match, "authorize": who}


def test_a_rule_above_another_that_lets_in_others() -> None:
    assert found(rule(A, path={"prefix": "/v1"}), rule(B)) == [(0, 1)]
    assert found(rule([], path={"prefix": "/v1"}), rule(B)) == [(0, 1)]
    assert found(rule(A, path={"regex": "/a"}), rule(B, path={"exact": "/b"})) == [(0, 1)]
    assert found(rule(A), rule(None, identities=["shop/b"])) == [(0, 1)]


def test_the_same_or_fewer_change_nothing() -> None:
    assert found(rule(A, path={"prefix": "/v1"}), rule(A)) == []
    assert found(rule(A + B, path={"prefix": "/v1"}), rule(A)) == []
    assert found(rule(None, identities=["shop/a"]), rule(B)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"path": {"exact": "/a"}}, {"path": {"exact": "/b"}}),
        ({"path": {"prefix": "/a"}}, {"path": {"prefix": "/ab"}}),
        ({"path": {"exact": "/a"}}, {"path": {"prefix": "/a/b"}}),
        ({"methods": ["GET"]}, {"methods": ["PUT", "POST"]}),
        ({"hosts": ["a"]}, {"hosts": ["b"]}),
    ],
)
def test_those_that_no_request_meets_both(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert found(rule(A, **one), rule(B, **other)) == []
    assert found(rule(A, **other), rule(B, **one)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"path": {"exact": "/a"}}, {"path": {"prefix": "/a"}}),
        ({"path": {"prefix": "/a"}}, {"path": {"prefix": "/a/b"}}),
        ({"path": {"exact": "/a"}}, {"path": {"exact": "/a"}}),
        ({"hosts": ["a.b"]}, {"hosts": ["*.b"]}),
        ({"methods": ["GET"]}, {}),
    ],
)
def test_those_that_a_request_may_meet(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert found(rule(A, **one), rule(B, **other)) == [(0, 1)]
    assert found(rule(A, **other), rule(B, **one)) == [(0, 1)]
