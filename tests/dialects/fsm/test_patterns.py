"""An expression means what it did, but for where it has to match."""

from __future__ import annotations

import re

import pytest

from meshproxy.dialects.fsm.patterns import condition, of_path, takes_nothing
from meshproxy.model import regex

TEXTS = (
    "", "/", "/a", "/ab", "/abc", "/b", "a", "ab", "xa", "/x/a", "a$", "a.b", "axb", "(", "|", "/v12/x", "a|b", "^a",
)  # fmt: skip
PATTERNS = (
    "", ".*", "^.*$", "/", "/a", "^/a", "/a$", "^/a$", "/a.*", "^/a.*$", "a|b", "^/a|/b$", "/a|.*", "(/a|/b)$", "(a|b)",
    "[|]", r"a\$", r"a\|b", r"a\.b", r"\.*", "a?", "^(a|)$", "/v[0-9]+/", r"[(]|a$", r"\^a", "|a", "a$|b", ".+", "x|^$",
    r"\\$",
)  # fmt: skip
REFUSED = ("[(]|a$", "a$|b", "x|^$")
"""What cannot be searched for in linear time."""


def holds(said: dict[str, str] | None, text: str) -> bool:
    if said is None:
        return True
    [(kind, pattern)] = said.items()
    regex.check(pattern)
    match = regex.beginner(pattern) if kind == "begins" else regex.matcher(pattern)
    return match(text.encode()) is not None


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_holds_at_the_start_or_anywhere(pattern: str) -> None:
    for text in TEXTS:
        anywhere = re.search(pattern, text) is not None
        at_the_start = re.match(f"(?:{pattern})", text) is not None
        assert pattern in REFUSED or holds(condition(pattern, search=True), text) is anywhere, text
        assert holds(condition(pattern, search=False), text) is at_the_start, text


@pytest.mark.parametrize("pattern", REFUSED)
def test_it_is_refused_where_a_search_would_be_slow(pattern: str) -> None:
    found = condition(pattern, search=True)
    assert found is not None
    with pytest.raises(ValueError, match="linear"):
        regex.check(found["regex"])


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("/a.b", "Prefix", {"begins": r"/a\.b"}),
        ("/", "Prefix", None),
        ("", "Prefix", None),
        ("/.*", "Regex", None),
        ("/a+", "Exact", {"exact": "/a+"}),
    ],
)
def test_of_a_path(text: str, kind: str, found: dict[str, str] | None) -> None:
    assert of_path(text, kind, search=False) == found


def test_what_takes_nothing() -> None:
    assert [takes_nothing(each) for each in ("", "(a|)", "a", "(a*)*", "(")] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/admin$.*", {"regex": "/admin"}),
        ("[ab]?$.*?", {"regex": "[ab]?"}),
        ("(/a|)$.*", {"regex": "(/a|)"}),
        (".*$", {"regex": ".*"}),
        (r"/a\$.*", {"begins": r"/a\$"}),
    ],
)
def test_what_follows_an_end_does_not_open_it(text: str, found: dict[str, str]) -> None:
    assert condition(text, search=False) == found
