"""A rule in few words."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.model import Rule, decode
from meshproxy.model.outline import destination, outline


def test_what_a_rule_matches() -> None:
    match = {
        "hosts": ["a", "*.b"], "path": {"exact": "/x"}, "methods": ["GET", "PUT"],
        "headers": {"x": {"exact": "1"}, "y": {"present": True}, "z": {"present": False}},
        "query": {"p": {"regex": "1*"}, "q": {"begins": "2"}}, "identities": ["shop/web", "*.b"],
    }  # fmt: skip
    assert outline(decode(Rule, {"match": match, "cluster": "c"})) == {
        "hosts": ("a", "*.b"), "path": "exact /x", "methods": ("GET", "PUT"),
        "headers": ("x exact 1", "y present", "z absent"), "query": ("p regex 1*", "q begins 2"),
        "identities": ("shop/web", "*.b"), "to": "c",
    }  # fmt: skip
    assert outline(decode(Rule, {"cluster": "c"})) == {
        "hosts": (), "path": None, "methods": (), "headers": (), "query": (), "identities": (), "to": "c",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("grpc", "path"), [("a.B", "grpc a.B/*"), ({"service": "a.B", "method": "C"}, "grpc a.B/C")]
)
def test_a_rule_for_calls_names_them(grpc: Any, path: str) -> None:
    assert outline(decode(Rule, {"match": {"grpc": grpc}, "cluster": "c"}))["path"] == path


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"split": [{"cluster": "a", "weight": 90}, {"cluster": "b", "weight": 10}]}, "a 90, b 10"),
        ({"cluster": "a", "subset": {"version": "v2", "track": "canary"}}, "a[track=canary,version=v2]"),
        ({"split": [{"cluster": "a", "subset": {"version": "v2"}}, {"cluster": "a"}]}, "a[version=v2] 1, a 1"),
        ({"cluster": "a", "mirror": {"cluster": "b", "share": 0.1}}, "a; 0.1 of it copied to b"),
        ({"redirect": "/x"}, "redirect 302 path /x"),
        ({"redirect": {"scheme": "https", "host": "a:1", "status": 308}}, "redirect 308 scheme https host a:1"),
        ({"reply": {"status": 410}}, "reply 410"),
    ],
)
def test_where_it_leads(said: dict[str, Any], words: str) -> None:
    assert destination(decode(Rule, said)) == words
