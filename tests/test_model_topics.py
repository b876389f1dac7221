"""Topics as an operator may write them, and what does not fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import jsonschema
import pytest

from meshproxy.errors import Invalid
from meshproxy.model.topics import (
    MOST_ENTRIES,
    MOST_FILTERS,
    MOST_LEVELS,
    MOST_NAMES,
    MOST_REWRITES,
    Glob,
    TopicAccess,
    TopicFilter,
    TopicName,
    TopicPrefix,
    TopicRewrite,
    access_problems,
    overlap,
    rewrite_problems,
)
from meshproxy.schema import decode, encode, json_schema


@dataclass(frozen=True, slots=True)
class Said:
    name: Annotated[TopicName | None, "a topic"] = None
    filter: Annotated[TopicFilter | None, "a filter"] = None
    prefix: Annotated[TopicPrefix | None, "a prefix"] = None
    glob: Annotated[Glob | None, "a name"] = None


@pytest.mark.parametrize(
    ("cls", "key", "good", "bad"),
    [
        (
            Said, "name", ["a", "/", "a//b", "$SYS/x", "mü ll/%c", "/".join("a" * MOST_LEVELS)],
            ["", "a/+", "#", "a#", "a\x00", "a\nb", "\ud800", "$share/g/a", "/" * MOST_LEVELS, "a" * 1025, 1],
        ),
        (
            Said, "filter", ["#", "+", "/", "a/+/b", "a/#", "+/#", "/+", "$SYS/#", "a%c", "$sharex/a",
            "/".join("+" * MOST_LEVELS), "/".join("+" * (MOST_LEVELS - 1)) + "/#"],
            ["", "a+", "+a/b", "a/#/b", "a#", "##", "#/", "$share/g/a", "$share", "a/\x00", "/" * MOST_LEVELS, 1],
        ),
        (
            Said, "prefix", ["tenants/%u/", "%c/", "/", "a%%/%i-%c/"],
            ["", "a", "a/b", "%x/", "%", "+/", "#/", "$SYS/", "a/+/", "/a", "$share/g/"],
        ),
        (Said, "glob", ["*", "a", "a*", "*a", "ä b", "a/b"], ["", "**", "a*b", "*a*", "a\n", "\ud800", "a" * 1025, 1]),
        (TopicRewrite, "to", ["a", "%1", "a/%1/b/%2", "100%%/%9", "%%1", "$SYS/%1"],
            ["", "a%1", "%1a", "%0", "%10", "%", "a/+", "#", "%c", "$share/g/%1"]),
        (TopicRewrite, "from", ["old/+/temp/#", "#"], ["", "a#", "$share/g/a"]),
    ],
)  # fmt: skip
def test_what_may_be_written(cls: Any, key: str, good: list[Any], bad: list[Any]) -> None:
    schema = jsonschema.Draft202012Validator(json_schema(cls))
    rest = {"from": "a", "to": "a"} if cls is TopicRewrite else {}
    for value in good:
        said = {**rest, key: value}
        assert encode(decode(cls, said)) == said
        schema.validate(said)
    for value in bad:
        with pytest.raises(Invalid) as caught:
            decode(cls, {**rest, key: value})
        assert [problem.path for problem in caught.value.problems] == [key]


TEMPLATES = ["a", "plant/%c/#", "%u", "+/%i/%c-%u/x%%", "#", "$SYS/#", "%c%u"]
NO_TEMPLATES = ["", "a/%", "%x", "%%%", "a/%c#", "+%c", "$share/g", "$share/", "$share", "/" * MOST_LEVELS]
SHARED = ["$share/g/a", "$share/+/jobs/#", "$share/%u/%c", "$share/g//", "$share/a-%c/+"]


@pytest.mark.parametrize("key", ["publish", "subscribe"])
def test_templates(key: str) -> None:
    for text in TEMPLATES + SHARED * (key == "subscribe"):
        assert encode(decode(TopicAccess, {key: [text]})) == {key: [text]}
    worse = ["$share//a", "$share/#/a", "$share/g+/a", "$share/g/", "$share/g/$share/h/a", "$share/g/a#"]
    for text in NO_TEMPLATES + worse + SHARED * (key == "publish"):
        with pytest.raises(Invalid):
            decode(TopicAccess, {key: [text]})


def told(entries: list[dict[str, Any]]) -> dict[Any, str]:
    return dict(access_problems([decode(TopicAccess, entry) for entry in entries]))


GOOD = {"publish": ["a"]}


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        ([GOOD, {"users": ["a"]}], (1,), "allows nothing"),
        ([GOOD] * (MOST_ENTRIES + 1), (), f"has {MOST_ENTRIES + 1} entries, more than {MOST_ENTRIES}"),
        ([{**GOOD, "users": ["a"] * (MOST_NAMES + 1)}], (0, "users"), "more than"),
        ([{**GOOD, "clients": ["a"] * (MOST_NAMES + 1)}], (0, "clients"), "more than"),
        ([{**GOOD, "identities": ["a"] * 1025}], (0, "identities"), "more than"),
        ([{"publish": ["a"] * (MOST_FILTERS + 1)}], (0, "publish"), "more than"),
        ([{"subscribe": ["a"] * (MOST_FILTERS + 1)}], (0, "subscribe"), "more than"),
    ],
)
def test_entries_that_do_not_fit(entries: list[dict[str, Any]], path: Any, words: str) -> None:
    (found,) = told(entries).items()
    assert found[0] == path
    assert words in found[1]


@pytest.mark.parametrize("key", ["users", "clients", "identities"])
def test_an_empty_list_of_names_would_look_like_nobody_and_mean_anybody(key: str) -> None:
    with pytest.raises(Invalid, match="empty"):
        decode(TopicAccess, {**GOOD, key: []})
    assert told([{**GOOD, key: ["*"]}]) == {}


@pytest.mark.parametrize(
    ("rewrites", "path", "words"),
    [
        ([("old/+/temp/#", "new/%1/temp/%2")], None, ""),
        ([("+/+/#", "%2/x/%1/%3")], None, ""),
        ([("a", "b"), ("b", "a"), ("c/#", "d/%1")], None, ""),
        ([("a/+", "b")], (0, "to"), "needs %1 exactly once"),
        ([("a/+", "%1/%1")], (0, "to"), "needs %1 exactly once"),
        ([("a/+", "%1/%2")], (0, "to"), "has %2, and `from` a/+ fewer wildcards"),
        ([("a/+/#", "%2/%1")], (0, "to"), "must end in %2"),
        ([("+/" * 9 + "+", "/".join(f"%{n}" for n in range(1, 10)))], (0, "from"), "more than 9 wildcards"),
        ([("a/b/#", "x/%1"), ("a/#", "y/%1")], (1, "from"), "in common with a/b/# of entry 0"),
        ([("a/#", "x/%1"), ("a", "y")], (1, "from"), "in common"),
        ([("a/#", "x/%1"), ("b/+", "x/%1")], (1, "to"), "no way back"),
        ([(f"a/{n}", f"b/{n}") for n in range(MOST_REWRITES + 1)], (), f"more than {MOST_REWRITES}"),
    ],
)
def test_what_can_be_rewritten_and_turned_back(rewrites: list[tuple[str, str]], path: Any, words: str) -> None:
    found = dict(rewrite_problems([TopicRewrite(*each) for each in rewrites]))
    assert list(found) == ([] if path is None else [path])
    assert words in "".join(found.values())


@pytest.mark.parametrize(
    ("one", "other", "whether"),
    [
        ("a", "a", True), ("a", "b", False), ("a/+", "+/b", True), ("a/#", "a", True), ("a/#", "+", True),
        ("a/b", "a", False), ("#", "$SYS/#", False), ("+/a", "$x/a", False), ("$x/#", "$x/a", True),
        ("a/+", "a", False),
        ("#", "+", True), ("a/+/#", "a", False), ("a/+/#", "a/b", True), ("$x", "$x/#", True),
    ],
)  # fmt: skip
def test_what_has_topics_in_common(one: str, other: str, whether: bool) -> None:
    assert overlap(one, other) is whether
    assert overlap(other, one) is whether
