"""Matches of ours, as expressions that others match from the beginning: the same paths and values, and no others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.path import leads_to
from meshproxy.dialects.writing.expressions import of_path, of_value
from meshproxy.model import decode
from meshproxy.model.matching import PathMatch

STEPS = st.lists(st.sampled_from(["v1", "v1.2", "a+b", "x", "v", ""]), max_size=3)
PATHS = STEPS.map(lambda steps: "/" + "/".join(steps))


def takes(expression: str | None, path: str) -> bool:
    """Whoever looks for it anywhere finds what whoever looks at the start does."""
    found = expression is None or re.match(expression, path, re.DOTALL) is not None
    assert found == (expression is None or re.search(expression, path, re.DOTALL) is not None)
    return found


@given(st.sampled_from(["exact", "prefix"]), PATHS, PATHS)
def test_a_path_is_taken_as_before(how: str, named: str, path: str) -> None:
    match = {how: named}
    assert takes(of_path(match), path) == leads_to(path.encode(), decode(PathMatch, match))


@pytest.mark.parametrize(
    "expression",
    ["/v[0-9]+", "^/a$", "/a|/b", "/(?:a|b)", r"/[|](a)?", r"/a\|b", r"/a\$", r"/a\\$", "/.*"],
)
@pytest.mark.parametrize("path", ["/v1", "/v1x", "/a", "/ax", "/b", "/bx", "/a$", "/a\\", "/a$x"])
def test_an_expression_for_the_whole_is_one(expression: str, path: str) -> None:
    assert takes(of_path({"regex": expression}), path) == (re.fullmatch(expression, path) is not None)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"prefix": "/"}, None),
        ({"begins": ".*"}, None),
        ({"prefix": "/v1/"}, "^/v1(?:/.*)?$"),
        ({"exact": "/a.b"}, r"^/a\.b$"),
        ({"begins": "^/v[12]"}, "^/v[12]"),
        ({"exact": "/"}, "^/$"),
        ({"begins": "/a|/b"}, "^(?:/a|/b)"),
    ],
)
def test_paths(match: dict[str, str], expected: str | None) -> None:
    assert of_path(match) == expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"exact": "a.b"}, r"^a\.b$"),
        ({"prefix": "a b"}, "^a b"),
        ({"regex": "a|b"}, "^(?:a|b)$"),
        ({"begins": "x"}, "^x"),
        ({"present": True}, ".*"),
        ({"present": False}, None),
    ],
)
def test_values(match: dict[str, Any], expected: str | None) -> None:
    assert of_value(match) == expected


@given(st.sampled_from(["exact", "prefix"]), PATHS)
def test_what_is_written_can_be_read_again(how: str, named: str) -> None:
    expression = of_path({how: named})
    if expression is not None:
        assert of_path({"begins": decode(PathMatch, {"begins": expression}).begins or ""}) == expression
