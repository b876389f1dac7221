"""Which rule decides, as an operator asks a running proxy and a file."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from tests.e2e.conftest import Start

RULES: list[dict[str, Any]] = [
    {"name": "all", "reply": {"status": 200}},
    {"name": "old", "match": {"path": {"prefix": "/old"}, "methods": ["GET"]}, "redirect": "/"},
]


def config(**more: Any) -> dict[str, Any]:
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": RULES},
        **more,
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_routes_and_why(start: Start, workers: int) -> None:
    proxy = start(config(workers=workers))
    for number in range(20):
        client = http.client.HTTPConnection(*proxy.address(), timeout=20)
        client.request("GET", "/old" if number < 3 else "/")
        client.getresponse().read()
        client.close()
    _, tables = proxy.ask("GET", "/routes?format=json")
    assert [(rule["name"], rule["requests"]) for rule in tables[0]["rules"]] == [("old", 3), ("all", 17)]
    _, why = proxy.ask("GET", "/routes/explain?host=a&path=/x/../old/1&format=json")
    assert [(rule["name"], rule["verdict"]) for rule in why["rules"]] == [
        ("old", "won"),
        ("all", "less specific than the winner"),
    ]
    assert (why["path"], why["answer"]) == ("/old/1", "redirect 302 path /")
    status, text = proxy.ask("GET", "/routes")
    assert (status, text.splitlines()[1].split()) == (200, ["web", "specific", "in"])


def test_a_change_changes_the_reasons(start: Start) -> None:
    proxy = start(config())
    assert proxy.ask("GET", "/routes/explain?host=a&path=/old&format=json")[1]["rule"] == "old"
    assert proxy.put(config(routes={"web": RULES[:1]}))[0] == 200
    assert proxy.ask("GET", "/routes/explain?host=a&path=/old&format=json")[1]["rule"] == "all"
