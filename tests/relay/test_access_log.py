"""The access log in conversations: a line for each request and connection, whatever becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.relay.conversation import config, ended, head_of, heard

ONE_LOOP = True

Run = Callable[[Any], None]
World = Callable[[], Any]
Upstream = Callable[[], Any]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Log:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "access.log"

    def said(self, **more: Any) -> dict[str, Any]:
        return {"access_log": {"to": {"file": str(self.path)}, "flush": "10ms", **more}}

    async def lines(self, w: Any, count: int) -> list[dict[str, Any]]:
        """All of them, once there are so many."""

        def written() -> bool:
            w.clock.advance(0.02)
            return self.path.exists() and self.path.read_bytes().count(b"\n") >= count

        await w.until(written)
        found = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        assert len(found) == count
        return found


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_request_leaves_a_line(run: Run, world: World, upstream: Upstream, log: Log) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | log.said())
        client = await w.connect()
        await client.send(b"POST /a?b=c HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nUser-Agent: me\r\n\r\nhe")
        server = await up.accept()
        await head_of(server)
        await heard(server, b"he")
        await client.send(b"llo")
        await heard(server, b"llo")
        w.clock.advance(0.25)
        await server.send(OK)
        await heard(client, OK)
        (line,) = await log.lines(w, 1)
        told = {
            "method": "POST", "path": "/a?b=c", "authority": "shop", "protocol": "HTTP/1.1", "user_agent": "me",
            "response_code": 200, "response_flags": None, "bytes_received": 5, "bytes_sent": 2, "duration": 250,
            "listener": "in", "route_name": "web/0", "upstream_cluster": "up", "upstream_host": up.address,
            "response_code_details": "via_upstream", "attempts": 1,
        }  # fmt: skip
        assert {key: line[key] for key in told} == told
        assert line["downstream_local_address"].endswith(f":{w.address()[1]}")

    run(scenario())


def test_what_the_proxy_says_itself_leaves_one_too(run: Run, world: World, log: Log) -> None:
    async def scenario() -> None:
        w = world()
        rules = [
            {"match": {"path": {"exact": "/own"}}, "reply": {"body": "own"}},
            {"match": {"path": {"exact": "/up"}}, "cluster": "up"},
        ]
        await w.apply(config("127.0.0.1:1", rules=rules) | log.said())
        for target in ("/own", "/up", "/none"):
            client = await w.connect()
            await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target.encode())
            await head_of(client)
        own, up, none = await log.lines(w, 3)
        assert (own["response_code"], own["response_flags"], own["bytes_sent"]) == (200, None, 3)
        assert (own["upstream_host"], own["upstream_service_time"], own["attempts"]) == (None, None, 0)
        assert (up["response_code"], up["response_flags"], up["attempts"]) == (503, "UF", 1)
        assert up["response_code_details"] == "connect_failed"
        assert (none["response_code"], none["response_flags"], none["route_name"]) == (404, "NR", None)

    run(scenario())


def test_so_does_a_request_that_is_none(run: Run, world: World, log: Log) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config() | log.said())
        client = await w.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: one\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 400 ")
        (line,) = await log.lines(w, 1)
        assert (line["response_code"], line["response_flags"], line["method"]) == (400, "DPE", None)
        assert line["downstream_remote_address"].startswith("127.0.0.1:")

    run(scenario())


def test_a_client_that_does_not_wait_is_told_of(run: Run, world: World, upstream: Upstream, log: Log) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address) | log.said())
        client = await w.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        client.close()
        await ended(server)
        (line,) = await log.lines(w, 1)
        assert (line["response_code"], line["response_flags"]) == (499, "DC")

    run(scenario())


def test_a_connection_leaves_one_at_its_end(run: Run, world: World, upstream: Upstream, log: Log) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = {
            "listeners": [
                {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"},
                {"name": "lost", "listen": "127.0.0.2:0", "protocol": "tcp", "cluster": "gone"},
            ],
            "clusters": {"up": {"endpoints": [up.address]}, "gone": {"endpoints": ["127.0.0.1:1"]}},
        }
        await w.apply(said | log.said())
        client = await w.connect()
        server = await up.accept()
        await client.send(b"hello")
        await heard(server, b"hello")
        await server.send(b"hi")
        await heard(client, b"hi")
        w.clock.advance(2)
        server.close()
        await ended(client)
        client.close()
        (line,) = await log.lines(w, 1)
        assert (line["protocol"], line["bytes_received"], line["bytes_sent"]) == ("TCP", 5, 2)
        assert 2000 <= line["duration"] < 4000
        assert (line["response_code"], line["response_flags"], line["method"]) == (0, None, None)
        assert (line["upstream_host"], line["listener"]) == (up.address, "in")
        with suppress(ConnectionError):
            await ended(await w.connect("lost"))
        _, line = await log.lines(w, 2)
        assert (line["response_flags"], line["response_code_details"]) == ("UF", "connect_failed")

    run(scenario())


def test_only_what_is_wanted_is_written(run: Run, world: World, log: Log) -> None:
    async def scenario() -> None:
        w = world()
        rules = [{"match": {"path": {"exact": "/own"}}, "reply": {"body": "own"}}]
        await w.apply(config(rules=rules) | log.said(when={"status": ["4xx"]}))
        client = await w.connect()
        for target in (b"/own", b"/none", b"/own"):
            await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
            head = await head_of(client)
            await heard(client, b"own" if b"/own" in target else b"no route\n" if b"text" in head else b"")
        (line,) = await log.lines(w, 1)
        assert line["path"] == "/none"

    run(scenario())


def test_a_log_that_says_the_same_stays_over_a_reload(run: Run, world: World, log: Log) -> None:
    async def scenario() -> None:
        w = world()
        rules = [{"match": {"path": {"exact": "/"}}, "reply": {"body": "own"}}]
        await w.apply(config(rules=rules) | log.said())
        (before,) = w.worker._rim.sinks
        await w.apply(config(rules=rules, listener={"max_connections": 7}) | log.said(format="envoy"))
        assert w.worker._rim.sinks == {before}
        await w.apply(config(rules=rules))
        assert w.worker._rim.sinks == set()
        assert w.stats.sinks == {}

    run(scenario())
