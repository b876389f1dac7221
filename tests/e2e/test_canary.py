"""A plan of timed steps in a process with workers, which come and go while it goes on."""

from __future__ import annotations

import os
import signal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.e2e.conftest import LONGEST, Start, poll

STEP = "1500ms"
"""Longer than a worker takes to be replaced."""


def config(directory: Path) -> dict[str, Any]:
    """Who answers are two more listeners."""
    split = [
        {"cluster": "v1", "steps": [{"after": STEP, "weight": 0}]},
        {"cluster": "v2", "weight": 0, "steps": [{"after": STEP, "weight": 1}]},
    ]
    versions = {name: f"unix:{directory}/{name}" for name in ("v1", "v2")}
    return {
        "workers": 2,
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"},
            *({"name": name, "listen": at, "protocol": "http", "routes": name} for name, at in versions.items()),
        ],
        "routes": {"web": [{"split": split}], **{name: [{"reply": {"body": name}}] for name in versions}},
        "clusters": {name: {"endpoints": [at]} for name, at in versions.items()},
    }


def ask(proxy: Any) -> bytes:
    host, port = proxy.address()
    connection = HTTPConnection(host, port, timeout=LONGEST)
    connection.request("GET", "/")
    answer = connection.getresponse().read()
    connection.close()
    return answer


def pids(proxy: Any) -> set[int]:
    return {row["pid"] for row in proxy.ask("GET", "/server_info")[1]["workers"] if row["pid"]}


def test_a_worker_that_is_replaced_does_not_begin_the_plan_anew(start: Start) -> None:
    proxy = start(config(start.directory))
    assert ask(proxy) == b"v1"
    poll(lambda: ask(proxy) == b"v2", "the second step")
    before = pids(proxy)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    poll(lambda: len(pids(proxy)) == 2 and not pids(proxy) & before, "others in their places")
    assert {ask(proxy) for _ in range(20)} == {b"v2"}
