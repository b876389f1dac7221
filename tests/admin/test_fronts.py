"""What the proxy says where it stands in for FSM's sidecar: to whom, and in which words."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from meshproxy.admin.fronts import FAR, NOT_FOUND, addresses, certificate, counters, front_site
from meshproxy.admin.http import Request, Server
from meshproxy.model import Front, decode
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.answers import AnswerStats
from meshproxy.observe.metrics.clusters import ClusterStats
from meshproxy.observe.metrics.listeners import ListenerStats
from meshproxy.observe.metrics.stats import Stats
from tests.admin.test_api import FakeProxy, Stage
from tests.pki import Pki

ONE_LOOP = True
Run = Callable[[Coroutine[Any, Any, None]], None]


class Sidecar(FakeProxy):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    async def listeners(self) -> list[dict[str, object]]:
        return [{"name": name, "listen": "0.0.0.0:1"} for name in ("dns", "inbound", "outbound")]

    def config_dump(self) -> dict[str, object]:
        return {"effective": {"fronts": [{"kind": "fsm-metrics", "listen": "0.0.0.0:15010"}]}}

    def sources(self) -> list[dict[str, object]]:
        return [{"kind": "document", "version": "no"}, {"kind": "repo", "version": "14695981039346656037"}]

    def drain(self, until_idle: float) -> None:
        self.done.append("drain")

    def quit(self) -> None:
        self.done.append("quit")


def front(kind: str, *, quit: bool = False) -> Front:
    found: Front = decode(Front, {"kind": kind, "listen": "127.0.0.1:0", "quit": quit})
    return found


@asynccontextmanager
async def stage(kind: str, *, quit: bool = False) -> AsyncIterator[tuple[Stage, Sidecar]]:
    proxy = Sidecar()
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    server = Server(front_site(proxy, front(kind, quit=quit)), Log(list[str]().append))
    server.listen([sock])
    try:
        yield Stage(proxy, sock.getsockname()), proxy
    finally:
        await server.close(grace=0)


def test_the_paths_of_the_sidecar(run: Run) -> None:
    async def conversation() -> None:
        async with stage("fsm") as (it, proxy):
            assert (await it.ask("GET /ready")).body == b"LIVE\n"
            proxy.now = "waiting"
            answer = await it.ask("GET /ready")
            assert (answer.status, answer.body) == (503, b"waiting\n")
            answer = await it.ask("GET /listeners")
            assert answer.body.decode().splitlines() == [
                "outbound-listener::0.0.0.0:1",
                "inbound-listener::0.0.0.0:1",
                "dns-listener::0.0.0.0:1",
                "inbound-prometheus-listener::0.0.0.0:15010",
            ]
            assert (await it.ask("GET /stats")).body == (await it.ask("GET /clusters")).body == b""
            assert (await it.ask("GET /certs")).json is None
            assert (await it.ask("HEAD /config_dump")).status == 200

    run(conversation())


def test_what_is_not_there_is_not_found_whatever_the_method(run: Run) -> None:
    async def conversation() -> None:
        for kind, lines in {
            "fsm": ("GET /", "GET /metrics", "PUT /config", "GET /quitquitquit", "POST /quitquitquit", "POST /drain"),
            "fsm-metrics": ("GET /metrics", "GET /ready", "POST /stats/prometheus", "POST /quitquitquit"),
            "pipy": ("GET /dump", "GET /log", "POST /metrics", "GET /config_dump"),
        }.items():
            async with stage(kind) as (it, proxy):
                for line in lines:
                    answer = await it.ask(line)
                    assert (answer.status, answer.body) == (404, b"Not Found\n"), line
                assert proxy.done == []

    run(conversation())


def test_it_is_ended_where_that_is_allowed(run: Run) -> None:
    async def conversation() -> None:
        async with stage("fsm", quit=True) as (it, proxy):
            assert (await it.ask("POST /quitquitquit", host="evil.example")).status == 403
            assert (await it.ask("POST /drain", origin="http://evil.example")).status == 403
            assert proxy.done == []
            assert (await it.ask("POST /drain")).body == b"DRAINING\n"
            assert (await it.ask("POST /quitquitquit")).body == b"DONE\n"
            assert proxy.done == ["drain", "quit"]

    run(conversation())


def test_from_afar_only_readiness_can_be_asked() -> None:
    site = front_site(Sidecar(), front("fsm", quit=True))
    for method, path in (("GET", "/config_dump"), ("GET", "/certs"), ("POST", "/quitquitquit")):
        request = Request(method, path, {}, {"host": "localhost"})
        assert site.admit(request) is FAR
        assert site.admit(replace(request, is_near=True)) is None
    assert site.admit(Request("GET", "/ready", {}, {"host": "10.244.1.5:15000"})) is None
    assert site.admit(Request("GET", "/nothing", {}, {})) is NOT_FOUND
    assert front_site(Sidecar(), front("fsm-metrics")).admit(Request("GET", "/stats/prometheus", {}, {})) is None


def test_metrics_and_the_version_of_the_policy(run: Run) -> None:
    async def conversation() -> None:
        async with stage("fsm-metrics") as (it, _):
            assert b"meshproxy_info" in (await it.ask("GET /stats/prometheus")).body
        async with stage("pipy") as (it, _):
            assert b"meshproxy_info" in (await it.ask("GET /metrics")).body
            told = (await it.ask("GET /status")).json
            assert told == {"version": "14695981039346656037", "uptime": 1.5, "state": "LIVE"}

    run(conversation())


def test_a_port_is_near_if_its_client_is(run: Run) -> None:
    async def conversation() -> None:
        heard: list[bool] = []

        class Listening:
            def admit(self, request: Request) -> Any:
                heard.append(request.is_near)
                return NOT_FOUND

            async def answer(self, request: Request) -> Any:
                raise AssertionError

        for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0))):
            sock = socket.create_server(address, family=family)
            sock.setblocking(False)
            server = Server(Listening(), Log(list[str]().append))
            server.listen([sock])
            reader, writer = await asyncio.open_connection(*sock.getsockname()[:2])
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await reader.read()
            writer.close()
            await server.close(grace=0)
        assert heard == [True, True]

    run(conversation())


def test_counters_are_written_as_envoy_does() -> None:
    stats = Stats()
    books = stats.clusters["shop/books|14001"] = ClusterStats()
    books.retries_total, books.retries_exhausted_total = 5, 2
    inbound = stats.listeners["inbound"] = ListenerStats()
    inbound.rejected["rate_limit"] = 3
    inbound.answers["buy"] = {"": AnswerStats(), "shop/books|14001": AnswerStats()}
    for _ in range(4):
        inbound.answers["buy"][""].count(429, "RL", 0.001)
    inbound.answers["buy"]["shop/books|14001"].count(200, "", 0.001)
    inbound.answers["sell"] = {"": AnswerStats()}
    inbound.answers["sell"][""].count(403, "RBAC", 0.001)
    assert [*counters(stats.snapshot())] == [
        "cluster.shop/books|14001.upstream_rq_retry: 5",
        "cluster.shop/books|14001.upstream_rq_retry_limit_exceeded: 2",
        "cluster.shop/books|14001.upstream_rq_retry_overflow: 0",
        "local_rate_limit.inbound_inbound.rate_limited: 3",
        "http_local_rate_limiter.http_local_rate_limit.rate_limited.buy: 4",
    ]


def test_a_listener_has_a_line_for_each_address() -> None:
    rows = [{"name": "probes", "listen": "0.0.0.0:15901, 0.0.0.0:15902"}]
    fronts: list[dict[str, Any]] = [
        {"kind": "fsm", "listen": "0.0.0.0:15000"},
        {"kind": "fsm-metrics", "listen": ["0.0.0.0:1", "[::]:1"]},
    ]
    assert [*addresses(rows, fronts)] == [
        "probes-listener::0.0.0.0:15901",
        "probes-listener::0.0.0.0:15902",
        "inbound-prometheus-listener::0.0.0.0:1",
        "inbound-prometheus-listener::[::]:1",
    ]


def test_the_certificate_is_shown_without_its_key(pki: Pki) -> None:
    own = pki.ca().issue(name="books.shop.cluster.local", dns=["books.shop", "books"])
    chain = own.certificate.read_text()
    tls = {"certificate": chain, "key": {"redacted": "00"}, "client_ca": "the CA"}
    listener = {"name": "inbound", "chains": [{"match": {}}, {"tls": [tls]}]}
    found = certificate({"listeners": [{"name": "outbound", "tls": []}, listener]})
    assert found is not None
    assert found.pop("Expiration") != ""
    assert found == {
        "CommonName": "books.shop.cluster.local",
        "SubjectAltNames": ["books.shop", "books"],
        "CertChain": chain,
        "IssuingCA": "the CA",
    }
    shown = {key: value for key, value in tls.items() if key != "client_ca"}
    asking = certificate({"clusters": {"books": {"tls": {**shown, "ca": "the CA"}}}})
    assert asking is not None
    assert asking["IssuingCA"] == "the CA"


def test_where_there_is_none_that_can_be_read_nothing_is_shown() -> None:
    assert certificate({}) is None
    assert certificate({"clusters": {"a": {"tls": {"ca": "x"}}, "b": {"tls": {"certificate": "/a/file.pem"}}}}) is None
