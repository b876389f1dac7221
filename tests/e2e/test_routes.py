"""Which rule decides, as an operator asks a running proxy and a file."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start, command

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


def told(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return command("explain", str(path), *options)


def test_a_file_is_asked_as_a_proxy_is(start: Start, tmp_path: Path) -> None:
    proxy = start(config())
    asked = ["--host", "a", "--path", "/x/../old?a=b", "--method", "PUT", "-H", "x: 1", "-H", "y: 2"]
    query = "/routes/explain?host=a&path=/x/../old%3Fa=b&method=PUT&header=x:1&header=y:2"
    as_text, as_json = told(proxy.file, *asked), told(proxy.file, *asked, "-o", "json", "--listener", "in")
    assert (as_text.returncode, as_text.stderr) == (0, "")
    assert as_text.stdout == proxy.ask("GET", query)[1]
    assert json.loads(as_json.stdout) == proxy.ask("GET", query + "&format=json")[1]
    assert json.loads(as_json.stdout)["rule"] == "all"


def test_what_a_file_is_asked_in_vain(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config()))
    refused = told(path, "--host", "a", "--path", "/a%2fb")
    assert (refused.returncode, refused.stdout.splitlines()[1].split()[-3:]) == (0, ["400", "escaped_slash", "-"])
    unclear = told(path, "--host", "a", "--path", "/", "--listener", "out")
    assert (unclear.returncode, unclear.stdout) == (2, "")
    assert unclear.stderr == "meshproxy: listener: no 'out' speaks http; these do: in\n"
    assert told(path, "--path", "/").returncode == 2
    path.write_text("{}")
    assert told(path, "--host", "a", "--path", "/").returncode == 2, "nobody speaks http"
    path.write_text('{"routez": {}}')
    invalid = told(path, "--host", "a", "--path", "/")
    assert (invalid.returncode, invalid.stdout) == (3, "")
    assert "did you mean `routes`?" in invalid.stderr
