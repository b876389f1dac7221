"""What an operator can say about bridges, and what fits nothing else that was said."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode, encode
from meshproxy.model.bridge import Passage, meet
from meshproxy.model.compare import diff, restore


def combined(*bridges: dict[str, Any], **clusters: Any) -> Config:
    found = {"a": {}, "b": {}, **clusters}
    said = {
        "bridges": [{"name": "site", "local": "a", "remote": "b", **bridge} for bridge in bridges],
        "clusters": {name: {"endpoints": ["127.0.0.1:1883"], **cluster} for name, cluster in found.items()},
    }
    return combine([Document("t", decode(Config, said), frozenset(said), lambda _: None)])


def test_a_filter_is_short_for_a_passage() -> None:
    config = combined({"push": ["out/#", {"filter": "x/+", "qos": 2, "prefix": "site/", "retain": False}]})
    assert config.bridges[0].push == (Passage("out/#"), Passage("x/+", 2, "site/", retain=False))
    assert encode(config)["bridges"][0]["push"][0] == "out/#"  # type: ignore[index]
    assert Passage("site/x/+", strip="site/", prefix="y/").lands == "y/x/+"


@pytest.mark.parametrize(
    ("bridge", "path", "message"),
    [
        ({}, "", "needs `push`, `pull` or both"),
        ({"push": ["x"], "remote": "a"}, ".remote", "`remote` a is `local` as well"),
        ({"push": ["x"], "remote": "c"}, ".remote", "no cluster `c`"),
        ({"push": ["x"], "remote": "header"}, ".remote", "sends a PROXY protocol header"),
        ({"push": ["x"], "remote": "sticky"}, ".remote", "has `stay`"),
        ({"push": ["x/+", "x/#"]}, ".push[1].filter", "`push[0]` has too"),
        ({"push": [{"filter": "x/y", "strip": "y/"}]}, ".push[0].strip", "is not how `filter` x/y begins"),
        ({"push": [str(number) for number in range(257)]}, ".push", "may have 256"),
        ({"local": "old", "push": ["x/#"], "pull": ["x/y"]}, ".pull[0]", "would come back by `push[0]`"),
        ({"remote": "old", "push": ["x/#"], "pull": ["x/y"]}, ".push[0]", "`mqtt.version` 5 for cluster `old`"),
        ({"remote": "old", "push": [{"filter": "x/#", "prefix": "y/"}], "pull": ["+/x"]}, ".push[0]", "as y/x/#"),
    ],
)
def test_a_bridge_that_does_not_fit(bridge: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        combined(
            bridge, header={"proxy_protocol": "v1"}, sticky={"stay": True}, old={"mqtt": {"version": "3.1.1"}}
        )
    (problem,) = caught.value.problems
    assert problem.path == f"bridges[0]{path}"
    assert message in problem.message


@pytest.mark.parametrize(
    "bridge",
    [
        {"push": ["x/#"], "pull": ["x/#"]},
        {"local": "old", "push": ["x/#"], "pull": [{"filter": "x/#", "prefix": "there/"}]},
        {"remote": "old", "push": [{"filter": "x/#", "prefix": "here/"}], "pull": ["x/#"]},
    ],
)
def test_the_same_topics_both_ways_where_they_cannot_return(bridge: dict[str, Any]) -> None:
    combined(bridge, old={"mqtt": {"version": "3.1.1"}})


@pytest.mark.parametrize(
    "filter", ["", "a+", "a/#/b", "#/a", "a/b#", "$share/g/a", "a\x00b", "+a/b", "x" * 1025]
)
def test_what_is_no_filter(filter: str) -> None:
    with pytest.raises(Invalid, match="topic filter"):
        combined({"push": [filter]})


@pytest.mark.parametrize("filter", ["#", "+", "a", "/", "a/+/b/#", "$SYS/#", "a//b", "+/+", "größe/#"])
def test_what_is_a_filter(filter: str) -> None:
    combined({"push": [filter]})


def test_two_of_one_name() -> None:
    with pytest.raises(Invalid, match="bridge `site` is defined twice"):
        combined({"push": ["x"]}, {"push": ["y"]})


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("a", "a", True), ("a", "b", False), ("a/b", "a", False), ("a", "a/b", False), ("+", "a", True),
        ("+/b", "a/+", True), ("+/b", "a/c", False), ("a/#", "a", True), ("#", "a/b", True), ("a/#", "b/#", False),
        ("a/+/c", "a/b/#", True), ("a/b/c", "a/b/c/#", True), ("a/b", "a/b/c/#", False), ("+", "a/b", False),
    ],
)  # fmt: skip
def test_filters_meet(one: str, two: str, expected: bool) -> None:
    assert meet(one, two) is meet(two, one) is expected


@pytest.mark.parametrize(
    ("mqtt", "message"),
    [
        ({"version": "3.1"}, "must be 3.1.1 or 5"),
        ({"keep_alive": "500ms"}, "must be whole seconds"),
        ({"keep_alive": 0}, "must be whole seconds"),
        ({"keep_alive": "1d"}, "must be whole seconds"),
        ({"timeout": 0}, "longer than 0"),
        ({"version": "3.1.1", "password": "x"}, "`password` needs a `user` in version 3.1.1"),
    ],
)
def test_how_brokers_cannot_be_spoken_to(mqtt: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        combined(a={"mqtt": mqtt})


def test_a_password_is_not_shown_and_goes_to_nobody_else() -> None:
    config = combined(a={"mqtt": {"user": "u", "password": "hush"}})
    shown = encode(config, redact=True)
    assert "hush" not in str(shown)
    back = decode(Config, shown)
    assert restore(back, config).clusters[0].mqtt.password.text == "hush"  # type: ignore[union-attr]
    shown["clusters"]["a"]["endpoints"] = ["192.0.2.1:1883"]  # type: ignore[index]
    with pytest.raises(Invalid, match="is redacted"):
        restore(decode(Config, shown), config)


def test_a_change_is_told_by_its_name() -> None:
    before, after = combined({"push": ["x"]}), combined({"push": ["y"]})
    assert diff(before, after) == ["bridge site: changed (push)"]
