"""The admin API over a real socket, in front of a proxy that is none."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshproxy.admin.access import Access
from meshproxy.admin.api import ADMIN_ROUTES, STATUS_ROUTES, Route, admin_site, status_site
from meshproxy.admin.http import Server
from meshproxy.admin.live import Told
from meshproxy.admin.reload import Applied, Conflict, Missing
from meshproxy.admin.stream import Feed
from meshproxy.admin.traffic_metrics import BASE, TrafficMetrics
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, decode
from meshproxy.model.address import parse
from meshproxy.observe.exposition import Family, families
from meshproxy.observe.history import History
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.answers import AnswerStats, EdgeStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.tap import Query
from meshproxy.plan.explain import Question, Unclear

Run = Callable[[Coroutine[Any, Any, None]], None]

DOCS = Path(__file__).parent.parent.parent / "docs" / "admin.md"


NEEDS = {"/routes/explain": "?host=a", "/tap": "?limit=1"}
"""An explanation is of something, and a tap goes on until it has shown what was asked for."""


class FakeProxy:
    """Remembers what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.windows: list[int] = []
        self.now = "LIVE"
        self.tapped: Query = {}
        self.level = "info"
        self.layers: dict[str, dict[str, object]] = {"default": {"clusters": {}}}

    def state(self) -> str:
        return self.now

    def server_info(self) -> dict[str, object]:
        return {"version": "1", "state": self.now, "generation": 3, "uptime_seconds": 1.5, "last_refused": None}

    async def metrics(self) -> Callable[[], list[Family]]:
        return partial(families, await self.stats())

    async def stats(self) -> dict[str, object]:
        return {"process": ProcessStats("1").snapshot(), **Stats().snapshot()}

    async def past(self, seconds: int) -> list[bytes]:
        self.windows.append(seconds)
        history, stats = History(1_700_000_000, 0.0), Stats()
        web = stats.listeners["web"] = ListenerStats()
        web.answers["web/0"] = {"books": AnswerStats()}
        edge = EdgeStats()
        stats.edges["web"] = {"books": {"shop": {"127.0.0.1:9090": edge}}}
        for answers in (web.answers["web/0"]["books"], edge):
            answers.count(200, "", 0.002)
        for _ in history.second(stats, 1_700_000_001, 1.0):
            pass
        return [history.told(seconds)]

    async def listeners(self) -> list[dict[str, object]]:
        return [{"name": "web", "addresses": ["127.0.0.1:80"]}]

    async def clusters(self) -> list[dict[str, object]]:
        return [{"name": "books", "endpoints": [{"address": "127.0.0.1:9090"}]}]

    async def traffic_metrics(self) -> TrafficMetrics:
        return TrafficMetrics(decode(Config, {"node": {"service": "books", "namespace": "shop"}}), [])

    def certificates(self) -> list[dict[str, object]]:
        return [{"file": "web.pem", "subject": "CN=web", "used": [{"listener": "web", "role": "certificate"}]}]

    def sources(self) -> list[dict[str, object]]:
        return [{"name": "mesh", "url": "http://plane.local/", "state": "serving"}]

    def routes(self, stats: dict[str, Any]) -> list[dict[str, object]]:
        assert stats["listeners"] == {}
        return [{"name": "web", "rules": [{"name": "web/0", "to": "books"}]}]

    def explain(self, question: Question) -> dict[str, object]:
        if question.listener == "db":
            raise Unclear("listener: no 'db' speaks http")
        return {"question": repr(question), "rules": [{"name": "web/0", "verdict": "won"}]}

    async def recent(self, most: int) -> dict[str, Any]:
        return {"slow_ms": 1000, "errors": [{"status": 503}][:most], "slow": []}

    def tap(self, query: Query, told: Told) -> Callable[[], None]:
        self.tapped = query
        told([b'{"status":200}', b'{"status":404}', b'{"status":500}'], 2)
        return lambda: None

    def watch(self, feed: Feed) -> Callable[[], None]:
        feed.tell("second", b'{"time":1}')
        feed.end()
        return lambda: None

    def config_dump(self) -> dict[str, object]:
        return {"layers": self.layers}

    def layer(self, name: str) -> tuple[dict[str, object], str] | None:
        return (self.layers[name], "e1") if name in self.layers else None

    async def put(self, layer: str, body: bytes, *, dry_run: bool, if_match: str | None, source: str) -> Applied:
        self.asked.append(("put", layer, body, dry_run, if_match, source))
        if if_match not in (None, "*", "e1"):
            raise Conflict(f"the layer {layer!r} has changed")
        if body == b"bad":
            raise Invalid([Problem("listeners[0].listen", "`x` is no address", "PUT", 3), Problem("", "empty")])
        return Applied(4, "abc", ("listener web: added",))

    async def delete(self, layer: str, *, if_match: str | None) -> Applied:
        self.asked.append(("delete", layer, if_match))
        if layer not in self.layers:
            raise Missing(f"there is no layer {layer!r}")
        return Applied(5, "abd", ())

    def history(self) -> list[dict[str, object]]:
        return [{"generation": 3, "time": 1.0, "source": "file", "version": "abb", "changes": []}]

    async def rollback(self, generation: int | None) -> Applied:
        self.asked.append(("rollback", generation))
        if generation == 99:
            raise Missing("there is no generation 99")
        return Applied(6, "abe", ())

    def drain(self, until_idle: float) -> None:
        self.now = "draining"
        self.until_idle = until_idle

    def quit(self) -> None:
        self.asked.append("quit")

    def log_level(self, level: str | None) -> str:
        if level == "loud":
            raise ValueError("level: 'loud' is not one of debug, info, warning, error")
        self.level = level or self.level
        return self.level


def asked(route: Route) -> str:
    """`METHOD /target` with all that it needs."""
    target = route.path.replace("{layer}", "default")
    return f"{route.method} {target}{NEEDS.get(target, '')}"


class Answer:
    def __init__(self, heard: bytes) -> None:
        head, _, self.body = heard.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stage:
    def __init__(self, proxy: FakeProxy, address: tuple[str, int]) -> None:
        self.proxy = proxy
        self.address = address

    async def ask(self, line: str, body: bytes = b"", **headers: str) -> Answer:
        """The answer to `METHOD /target`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        length = {} if "transfer-encoding" in more else {"content-length": str(len(body))}
        said = {"host": "localhost", "connection": "close", **length, **more}
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(f"{line} HTTP/1.1\r\n".encode())
        writer.write("".join(f"{name}: {value}\r\n" for name, value in said.items()).encode() + b"\r\n" + body)
        answer = Answer(await reader.read())
        writer.close()
        return answer


@asynccontextmanager
async def stage(
    listen: str = "127.0.0.1:15000", token: str | None = None, status: bool = False
) -> AsyncIterator[Stage]:
    """The API as it would be on `listen`, on a free port of the loopback."""
    proxy = FakeProxy()
    sock = socket.create_server(("127.0.0.1", 0))
    site = status_site(proxy) if status else admin_site(proxy, Access(parse(listen), token, uid=1000))
    sock.setblocking(False)
    server = Server(site, Log(list[str]().append))
    server.listen([sock])
    try:
        yield Stage(proxy, sock.getsockname())
    finally:
        await server.close(grace=0)


def test_ready_says_the_state(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask("GET /ready")
            assert (answer.status, answer.body) == (200, b"LIVE\n")
            for state in ("starting", "draining"):
                it.proxy.now = state
                answer = await it.ask("GET /ready")
                assert (answer.status, answer.body) == (503, f"{state}\n".encode())
                assert (await it.ask("GET /live")).status == 200

    run(conversation())


def test_metrics_have_the_type_that_prometheus_asks_for(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask("GET /metrics")
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert b'meshproxy_info{version="1"} 1\n' in answer.body
            answer = await it.ask("GET /metrics", accept="application/openmetrics-text; version=1.0.0")
            assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
            assert answer.body.endswith(b"\n# EOF\n")

    run(conversation())


def test_what_can_be_looked_at(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert (await it.ask("GET /server_info")).json["generation"] == 3
            assert (await it.ask("GET /stats")).json["process"]["version"] == "1"
            assert (await it.ask("GET /config_dump")).json == {"layers": {"default": {"clusters": {}}}}
            assert (await it.ask("GET /config/history")).json[0]["generation"] == 3

    run(conversation())


def test_the_last_seconds_are_shown_one_by_one(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            found = (await it.ask("GET /stats?window=3s")).json
            assert (found["window_seconds"], found["end"]) == (3, 1_700_000_001)
            assert found["routes"]["web/web/0"]["requests"] == [0, 0, 1]
            assert len((await it.ask("GET /stats?window=5m")).json["total"]["p50"]) == 300
            assert it.proxy.windows == [3, 300]

    run(conversation())


def test_the_graph_is_json_dot_or_a_table(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            found = (await it.ask("GET /graph")).json
            assert (found["window_seconds"], found["edges"][0]["requests"]) == (60, 1)
            endpoint = next(node for node in found["nodes"] if node["kind"] == "endpoint")
            assert (endpoint["id"], endpoint["state"]) == ("endpoint:books/127.0.0.1:9090", "ok")
            dot = await it.ask("GET /graph?format=dot&window=10s")
            assert dot.headers["content-type"] == "text/vnd.graphviz; charset=utf-8"
            assert b'"source:shop" -> "service:books"' in dot.body
            table = (await it.ask("GET /graph?format=text")).body.decode().splitlines()
            assert table[0].split()[:4] == ["source", "listener", "service", "endpoint"]
            assert table[1].split()[:4] == ["shop", "web", "books", "127.0.0.1:9090"]

    run(conversation())


def test_lists_are_text_unless_json_is_asked_for(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert (await it.ask("GET /listeners")).body == b"name  addresses\nweb   127.0.0.1:80\n"
            assert b"127.0.0.1:9090" in (await it.ask("GET /clusters")).body
            assert (await it.ask("GET /listeners?format=json")).json[0]["name"] == "web"
            assert (await it.ask("GET /clusters", accept="application/json")).json[0]["name"] == "books"
            assert (await it.ask("GET /clusters?format=text", accept="application/json")).body.startswith(b"name")
            refused = await it.ask("GET /clusters?format=xml")
            assert (refused.status, refused.json["error"]) == (400, "format: 'xml' is neither json nor text")

    run(conversation())


def test_what_decides_about_a_request_is_asked_for_in_full(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert (await it.ask("GET /routes")).body == b"name\nweb\n  name   to\n  web/0  books\n"
            assert (await it.ask("GET /routes?format=json")).json[0]["rules"][0]["to"] == "books"
            answer = await it.ask("GET /routes/explain?host=a&format=json")
            assert answer.json["question"] == repr(Question("GET", "a", "/"))
            answer = await it.ask(
                "GET /routes/explain?method=PUT&host=a%3A80&path=%2Fa%252Fb%3Fc&header=x:%201&header=y:2"
                "&listener=in&table=web",
                accept="application/json",
            )
            wanted = Question("PUT", "a:80", "/a%2Fb?c", ("x: 1", "y:2"), "in", "web")
            assert answer.json["question"] == repr(wanted)
            assert (await it.ask("GET /routes/explain?host=a")).body.endswith(b"  name   verdict\n  web/0  won\n")

    run(conversation())


def test_what_happens_is_streamed(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            recent = await it.ask("GET /recent")
            assert recent.json == {"slow_ms": 1000, "errors": [{"status": 503}], "slow": []}
            answer = await it.ask("GET /tap?status=4xx,5xx&limit=2")
            assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
            assert it.proxy.tapped == {"status": ["4xx,5xx"], "limit": ["2"]}
            assert re.findall(rb"event: (\w+)\ndata: (.*)\n\n", answer.body) == [
                (b"exchange", b'{"status":200}'), (b"exchange", b'{"status":404}')
            ]  # fmt: skip
            assert b'event: second\ndata: {"time":1}\n\n' in (await it.ask("GET /events")).body

    run(conversation())


def test_a_layer_is_shown_with_its_etag(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask("GET /config")
            assert (answer.json, answer.headers["etag"]) == ({"clusters": {}}, '"e1"')
            assert (await it.ask("GET /config/default")).json == {"clusters": {}}
            missing = await it.ask("GET /config/other")
            assert (missing.status, missing.json["error"]) == (404, "there is no layer 'other'")

    run(conversation())


def test_a_put_is_passed_on_as_it_is(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask("PUT /config", b"a: b\n")
            assert answer.json == {"generation": 4, "version": "abc", "changes": ["listener web: added"]}
            await it.ask("PUT /config/team-a?dry_run=1", b"{}", if_match='"e1"')
            await it.ask("PUT /config?dry_run=0", b"", if_match="*")
            assert it.proxy.asked == [
                ("put", "default", b"a: b\n", False, None, "PUT /config"),
                ("put", "team-a", b"{}", True, "e1", "PUT /config/team-a"),
                ("put", "default", b"", False, "*", "PUT /config"),
            ]

    run(conversation())


def test_an_invalid_config_is_answered_with_every_problem(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask("PUT /config", b"bad")
            assert answer.status == 422
            assert answer.json == {
                "problems": [
                    {"path": "listeners[0].listen", "message": "`x` is no address", "source": "PUT", "line": 3},
                    {"path": "", "message": "empty"},
                ]
            }

    run(conversation())


@pytest.mark.parametrize(
    ("line", "headers", "status", "words"),
    [
        ("PUT /config", {"if_match": '"e0"'}, 412, "the layer 'default' has changed"),
        ("PUT /config", {"if_match": '"*"'}, 412, "the layer 'default' has changed"),
        ("PUT /config", {"if_match": '""'}, 412, "the layer 'default' has changed"),
        ("PUT /config", {"if_match": '"*'}, 400, "If-Match: "),
        ("PUT /config", {"if_match": "e1"}, 400, "If-Match: 'e1' is neither one quoted etag nor *"),
        ("PUT /config", {"if_match": '"e1", "e2"'}, 400, "If-Match: "),
        ("PUT /config", {"content_encoding": "gzip"}, 415, "Content-Encoding: 'gzip' is not understood"),
        ("PUT /config?dry_run=yes", {}, 400, "dry_run: 'yes' is neither 1 nor 0"),
        ("PUT /config?dry_run=1&dry_run=0", {}, 400, "dry_run: given 2 times"),
        ("PUT /config/..%2fx", {}, 404, "no such path: '/config/../x'"),
        ("PUT /config/-x", {}, 400, "layer: '-x' is not a name"),
        ("PUT /config/" + "x" * 64, {}, 400, "layer: 'xxx"),
        ("DELETE /config/other", {}, 404, "there is no layer 'other'"),
        ("GET /routes/explain?path=/", {}, 400, "host: say which host is asked for"),
        ("GET /routes/explain?host=a&host=b", {}, 400, "host: given 2 times"),
        ("GET /routes/explain?host=a&listener=db", {}, 400, "listener: no 'db' speaks http"),
        ("POST /config/rollback?generation=99", {}, 404, "there is no generation 99"),
        ("POST /config/rollback?generation=-1", {}, 400, "generation: '-1' is not a number"),
        ("POST /config/rollback?generation=" + "9" * 5000, {}, 400, "generation: '999"),
        ("POST /drain?until_idle=soon", {}, 400, "until_idle: must be a duration such as 5s"),
        ("GET /tap?colour=red", {}, 400, "'colour' is nothing to choose by; there are listener, "),
        ("GET /tap?status=9xx", {}, 400, "status: '9xx' is neither a status such as 503"),
        ("GET /recent?limit=0", {}, 400, "limit: '0' is not a number from 1 to 1000"),
        ("GET /stats?window=60", {}, 400, "window: must be a duration such as 5s"),
        ("GET /stats?window=", {}, 400, "window: must be a duration such as 5s"),
        ("GET /stats?window=0s", {}, 400, "window: '0s' is not of 1s to 300s, in whole seconds"),
        ("GET /stats?window=301s", {}, 400, "window: '301s' is not of 1s to 300s, in whole seconds"),
        ("GET /graph?window=1500ms", {}, 400, "window: '1500ms' is not of 1s to 300s, in whole seconds"),
        ("GET /graph?window=1s&window=2s", {}, 400, "window: given 2 times"),
        ("GET /graph?format=svg", {}, 400, "format: 'svg' is none of json, dot, text"),
        ("POST /logging?level=loud", {}, 400, "level: 'loud' is not one of debug, info, warning, error"),
    ],
)
def test_a_request_that_cannot_be_done_says_why(
    run: Run, line: str, headers: dict[str, str], status: int, words: str
) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask(line, b"", **headers)
            assert (answer.status, answer.json["error"][: len(words)]) == (status, words)

    run(conversation())


def test_layers_are_deleted_and_generations_rolled_back(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert (await it.ask("DELETE /config/default", if_match='"e1"')).json["generation"] == 5
            assert (await it.ask("POST /config/rollback?generation=2")).json["generation"] == 6
            assert (await it.ask("POST /config/rollback")).status == 200
            assert it.proxy.asked == [("delete", "default", "e1"), ("rollback", 2), ("rollback", None)]

    run(conversation())


def test_the_process_is_steered(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            assert (await it.ask("POST /logging")).json == {"level": "info"}
            assert (await it.ask("POST /logging?level=debug")).json == {"level": "debug"}
            assert (await it.ask("POST /drain")).json == {"state": "draining"}
            assert it.proxy.until_idle == 0
            assert (await it.ask("POST /drain?until_idle=25s")).status == 200
            assert it.proxy.until_idle == 25
            assert (await it.ask("POST /quitquitquit")).status == 200
            assert it.proxy.asked == ["quit"]

    run(conversation())


@pytest.mark.parametrize(
    ("line", "allow"),
    [
        ("POST /ready", "GET, HEAD"),
        ("GET /drain", "POST"),
        ("GET /quitquitquit", "POST"),
        ("GET /logging", "POST"),
        ("POST /config", "GET, HEAD, PUT"),
        ("DELETE /config", "GET, HEAD, PUT"),
        ("POST /config/team-a", "DELETE, GET, HEAD, PUT"),
        ("PUT /config/history", "GET, HEAD"),
        ("PUT /config/rollback", "POST"),
        ("OPTIONS /config", "GET, HEAD, PUT"),
        ("TRACE /", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(run: Run, line: str, allow: str) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask(line)
            assert (answer.status, answer.headers["allow"]) == (405, allow)
            assert it.proxy.asked == []

    run(conversation())


def test_head_works_wherever_get_does(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            for route in ADMIN_ROUTES:
                if route.method == "GET":
                    answer = await it.ask(asked(route).replace("GET", "HEAD"))
                    assert (answer.status, answer.body) == (200, b"")

    run(conversation())


@pytest.mark.parametrize(
    "path", ["/routes/", "/certs/", "/ready/", "//ready", "/config/", "/config/a/b", "/config/{layer}/x", "/READY"]
)
def test_an_unknown_path_is_told_the_known_ones(run: Run, path: str) -> None:
    async def conversation() -> None:
        async with stage() as it:
            answer = await it.ask(f"GET {path}")
            assert answer.status == 404
            assert answer.json["paths"] == list(dict.fromkeys(route.path for route in ADMIN_ROUTES))

    run(conversation())


def test_a_rebound_name_and_another_site_are_refused(run: Run) -> None:
    async def conversation() -> None:
        async with stage() as it:
            rebound = await it.ask("GET /config", host="evil.example")
            assert (rebound.status, "Host" in rebound.json["error"]) == (403, True)
            crossed = await it.ask("PUT /config", origin="http://evil.example")
            assert (crossed.status, "Origin" in crossed.json["error"]) == (403, True)
            assert (await it.ask("PUT /config", origin="http://localhost")).status == 200
            assert len(it.proxy.asked) == 1

    run(conversation())


def test_with_a_token_only_probes_and_the_page_go_without(run: Run) -> None:
    async def conversation() -> None:
        async with stage(token="s3cret") as it:
            for route in ADMIN_ROUTES:
                line = asked(route)
                answer = await it.ask(line)
                if route.path in ("/", "/ready", "/live"):
                    assert answer.status == 200
                else:
                    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), line
                    assert b"s3cret" not in answer.body
                assert (await it.ask(line, authorization="Bearer s3cret")).status in (200, 503), line
            assert (await it.ask("GET /nowhere")).status == 401, "nor are the known paths told"

    run(conversation())


def test_off_loopback_without_a_token_nothing_can_be_changed(run: Run) -> None:
    async def conversation() -> None:
        async with stage("0.0.0.0:15000") as it:
            for route in ADMIN_ROUTES:
                answer = await it.ask(asked(route), host="proxy.shop")
                assert answer.status == (200 if route.method == "GET" else 403)
                if route.method != "GET":
                    assert "no admin.token is configured" in answer.json["error"]
            assert it.proxy.asked == []

    run(conversation())


def test_the_status_side_shows_three_things_and_changes_none(run: Run) -> None:
    async def conversation() -> None:
        async with stage(status=True) as it:
            for path in ("/ready", "/live", "/metrics"):
                assert (await it.ask(f"GET {path}", host="10.0.0.1:15020")).status == 200
                assert (await it.ask(f"POST {path}")).status == 405
            for route in ADMIN_ROUTES:
                if route.path not in ("/ready", "/live", "/metrics"):
                    answer = await it.ask(f"{route.method} {route.path}")
                    assert (answer.status, answer.json["paths"]) == (404, ["/ready", "/live", "/metrics"])
            assert it.proxy.asked == []

    run(conversation())


@pytest.mark.parametrize("body", [{"content_length": "1"}, {"transfer_encoding": "chunked"}])
@pytest.mark.parametrize("status", [False, True])
def test_a_body_that_nobody_reads_is_refused_before_it_is_sent(run: Run, status: bool, body: dict[str, str]) -> None:
    async def conversation() -> None:
        async with stage(status=status) as it:
            for line in ("GET /live", "HEAD /ready", "GET /metrics", *(() if status else ("DELETE /config/default",))):
                answer = await it.ask(line, b"", **body)
                assert answer.status == 413, line
            assert it.proxy.asked == []

    run(conversation())


def test_the_document_shows_each_route_and_no_other() -> None:
    shown = re.findall(r"^### `(\w+) (/\S*)`", DOCS.read_text(), re.M)
    assert shown == [(route.method, route.path) for route in ADMIN_ROUTES]


def test_the_document_gives_each_route_an_example() -> None:
    sections = re.split(r"^### ", DOCS.read_text(), flags=re.M)[1:]
    assert [section.splitlines()[0] for section in sections if "```" not in section] == []


def test_the_document_marks_the_status_routes() -> None:
    table = re.findall(r"^\| `(/\w+)` \|", DOCS.read_text(), re.M)
    assert table == [route.path for route in STATUS_ROUTES]


def test_the_metrics_of_smi_are_found_by_their_paths(run: Run) -> None:
    expected = {
        "": (200, "APIResourceList"),
        "/namespaces/shop/services": (200, "TrafficMetricsList"),
        "/namespaces/shop/services/books": (200, "TrafficMetrics"),
        "/namespaces/shop/services/books/edges": (200, "TrafficMetricsList"),
        "/namespaces/shop/services/other": (404, None),
        "/namespaces/shop/services/books/edges/more": (404, None),
        "/pods": (404, None),
    }

    async def conversation() -> None:
        async with stage() as it:
            answers = {path: await it.ask(f"GET {BASE}{path}") for path in expected}
        assert {path: (answer.status, answer.json.get("kind")) for path, answer in answers.items()} == expected

    run(conversation())
