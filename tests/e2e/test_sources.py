"""A real process and its control plane: what is pushed is served at once, what is bad never, a restart needs nobody."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.e2e.conftest import Running, Start, poll
from tests.e2e.plane_thread import PlaneThread
from tests.sources.plane import RELOAD


@pytest.fixture
def control() -> Iterator[PlaneThread]:
    thread = PlaneThread()
    yield thread
    thread.end()


def reply(words: str) -> dict[str, Any]:
    """A policy that can be seen from outside."""
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "all"}],
        "routes": {"all": [{"reply": {"status": 200, "body": words}}]},
    }


def said(running: Running) -> str:
    with suppress(StopIteration), running.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while more := sock.recv(65536):
            data += more
        return data.partition(b"\r\n\r\n")[2].decode()
    return ""


def source(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = running.ask("GET", "/sources?format=json")[1][0]
    return found


def test_a_repository_is_served_as_it_changes_and_over_a_restart_without_it(
    start: Start, control: PlaneThread
) -> None:
    directory = str(start.directory / "state")
    options = "-c", control.plane.url, "--state-dir", directory
    running = start({}, *options, wait=False)
    poll(lambda: running.ready_state() == "waiting", "waiting for the first policy")
    assert running.ask("GET", "/ready")[0] == 503
    control.commit("14695981039346656037", reply("one"))
    poll(running.ready, "ready")
    assert said(running) == "one"
    poll(lambda: source(running)["push"], "the WebSocket")

    began = time.monotonic()
    control.commit("7", reply("two"))
    poll(lambda: said(running) == "two", "what was pushed")
    assert time.monotonic() - began < 1
    poll(lambda: control.plane.statuses[-1]["version"] == "7", "the report")

    began, before = time.monotonic(), control.plane.count("GET")
    for _ in range(50):
        control.do(control.plane.push, RELOAD * 100)
    control.commit("7a", reply("two and a half"))
    poll(lambda: said(running) == "two and a half", "what comes after a storm")
    assert control.plane.count("GET") - before <= (time.monotonic() - began) / 0.5 + 2
    control.commit("7", reply("two"))
    poll(lambda: said(running) == "two", "the one before")

    control.commit("8", {"listeners": [{"name": "in"}]})
    poll(lambda: source(running)["state"] == "refused", "the refusal")
    assert said(running) == "two"
    assert source(running)["version"] == "7"
    refused = running.ask("GET", "/server_info")[1]["last_refused"]
    assert refused["source"] == "source 127.0.0.1"
    assert len(refused["problems"]) == 2
    poll(lambda: control.plane.statuses[-1]["version"] == "7", "the report of what is served")
    assert "8" not in {status["version"] for status in control.plane.statuses}

    control.gone()
    running.process.terminate()
    assert running.exit_code() == 0
    running = start({}, *options)
    assert said(running) == "two"
    poll(lambda: source(running)["state"] == "failed", "nobody there")
    metrics = running.ask("GET", "/metrics")[1]
    assert 'meshproxy_source_up{source="127.0.0.1"} 0' in metrics

    control.open()
    control.commit("9", reply("three"))
    poll(lambda: said(running) == "three", "what is there again")
    start.assert_no_traceback()


def test_a_document_is_polled_and_what_is_secret_is_shown_to_its_origin_alone(
    start: Start, control: PlaneThread
) -> None:
    control.commit('"1"', reply("one"))
    url = f"{control.plane.url}config.json"
    running = start({"sources": [{"name": "mesh", "url": url, "every": "50ms", "token": "s3cret-word"}]})
    assert said(running) == "one"
    control.commit('"2"', reply("two"))
    poll(lambda: said(running) == "two", "the next version")
    control.commit('"3"', b"\x1f\x8b not gzip")
    poll(lambda: source(running)["state"] == "refused", "the refusal")
    taken = running.ask("GET", "/metrics")[1]
    control.do(setattr, control.plane, "version", None)
    poll(lambda: source(running)["state"] == "gone", "its end")
    assert said(running) == "two"
    assert 'meshproxy_source_polls_total{source="mesh",result="refused"} 1' in taken
    assert {heard.headers["authorization"] for heard in control.plane.asked} == {"Bearer s3cret-word"}
    for path in ("/sources", "/server_info", "/config_dump", "/config", "/metrics", "/stats", "/config/history"):
        assert "s3cret-word" not in json.dumps(running.ask("GET", path)[1])
    assert "s3cret-word" not in running.log.read_text()
    assert running.ask("DELETE", "/config/mesh")[0] == 200
    poll(lambda: running.ready_state() == "waiting", "waiting again")
    control.commit('"4"', reply("four"))
    poll(lambda: said(running) == "four", "the layer that is back")
    start.assert_no_traceback()


def test_a_bomb_is_refused_and_what_serves_goes_on(start: Start, control: PlaneThread) -> None:
    control.commit("1", reply("one"))
    running = start({"sources": [{"name": "mesh", "url": control.plane.url, "every": "50ms"}]})
    control.commit("2", gzip.compress(bytes(200 << 20), 9), "config.json.gz")
    poll(lambda: source(running)["state"] == "refused", "the refusal")
    assert "16 MiB" in source(running)["error"]
    assert said(running) == "one"
    assert running.rss_kib() < 150 * 1024
    control.commit("3", gzip.compress(json.dumps(reply("three")).encode()), "config.json.gz")
    poll(lambda: said(running) == "three", "the next one")


def test_workers_serve_what_the_process_has_asked_for(start: Start, control: PlaneThread) -> None:
    control.commit("1", reply("one"))
    running = start({"workers": 2}, "-c", control.plane.url)
    assert {said(running) for _ in range(8)} == {"one"}
    assert control.plane.count("GET") == 1


def test_a_wrong_address_is_wrong_usage(start: Start) -> None:
    running = start({}, "-c", "http://user:word@plane/", wait=False)
    assert running.exit_code() == 2
    assert "must be an address" in running.log.read_text()


def test_a_source_is_said_in_one_place(start: Start, control: PlaneThread) -> None:
    running = start({"sources": [{"name": "a", "url": "http://a/x"}]}, "-c", control.plane.url, wait=False)
    assert running.exit_code() == 3
    assert "`sources` is said differently in" in running.log.read_text()

