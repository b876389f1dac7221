"""A real proxy of two workers, and all that it tells of its requests: lines in rotated files, spans, figures."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.e2e.conftest import LONGEST, Running, Start, poll
from tests.observe.collectors import Collector

ROUNDS = 40


def config(log: Path, collector: str) -> dict[str, Any]:
    return {
        "workers": 2,
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"reply": {"body": "yes"}}]},
        "access_log": {"to": {"file": str(log)}, "flush": "20ms"},
        "tracing": {"export": {"otlp": collector}, "sample": {"share": 1.0}, "flush": "20ms"},
    }


def ask(proxy: Running, path: str) -> None:
    """On a connection of its own, which either worker may have."""
    with closing(http.client.HTTPConnection(*proxy.address(), timeout=LONGEST)) as client:
        client.request("GET", path)
        assert client.getresponse().status == 200


def lines(*files: Path) -> Iterator[dict[str, Any]]:
    for file in files:
        if file.exists():
            yield from map(json.loads, file.read_bytes().splitlines())


def test_nothing_is_lost_in_a_rotation_and_each_request_is_told_of_once(start: Start) -> None:
    with Collector("otlp") as collector:
        log = start.directory / "access.log"
        old = log.with_suffix(".1")
        proxy = start(config(log, collector.url))
        for number in range(ROUNDS):
            if number == ROUNDS // 2:
                log.rename(old)
                proxy.signal(signal.SIGUSR1)
                poll(log.exists, "the new file")
            ask(proxy, f"/{number}")
        poll(lambda: sum(1 for _ in lines(old, log)) >= ROUNDS, "all lines")
        told = [*lines(old, log)]
        assert sorted(int(line["path"][1:]) for line in told) == [*range(ROUNDS)]
        assert all(any(lines(file)) for file in (old, log))
        spans = collector.until(ROUNDS)
        assert {span.trace for span in spans} == {line["trace_id"] for line in told}

        connection = http.client.HTTPConnection("localhost", timeout=LONGEST)
        connection.sock = proxy.admin_socket()
        connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        text = connection.getresponse().read().decode()
        connection.close()
        families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
        counted = {sample.labels["code"]: sample.value for sample in families["meshproxy_requests"].samples}
        assert counted == {"200": ROUNDS}
        exemplars = [sample.exemplar for sample in families["meshproxy_request_seconds"].samples if sample.exemplar]
        assert {each.labels["trace_id"] for each in exemplars} <= {span.trace for span in spans}
        assert exemplars
        proxy.signal(signal.SIGTERM)
        assert proxy.exit_code() == 0
