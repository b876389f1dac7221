"""The harness of HTTP/2: the configurations that it writes, its loads, and one short real run of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import pki, process, tools
from benchmarks.gateways import GREETING, HttpMeshproxy, Origin
from benchmarks.h2 import gateways, heads, memory, unary
from benchmarks.h2 import run as h2
from benchmarks.harness import OURS, Plan
from benchmarks.peers import Peer
from benchmarks.tls.gateways import Trusted
from tests.e2e.h2_tools import Way, got

CORES = process.Cores.of_this_machine()
SHORT = 0.1
NGINX = frozenset({"nginx"})


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    runnable(Origin)
    with Origin(CORES.load) as each:
        yield each


@pytest.fixture(scope="module")
def mesh() -> Iterator[pki.Mesh]:
    needed(pki.missing())
    with pki.mesh() as each:
        yield each


def runnable(kind: type[Peer]) -> None:
    needed(kind.missing())


def needed(reason: str | None) -> None:
    if reason:
        pytest.skip(reason)


def gives_what_the_origin_has(way: Way, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(1 << 20))
    for path, length, options in (
        ("/", len(GREETING), ()),
        ("/1m", 1 << 20, ()),
        ("/sink", len(GREETING), ("--data-binary", f"@{body}")),
    ):
        answer = got(way, path, *options)
        assert (answer.status, answer.version, len(answer.body)) == (200, "2", length)


@pytest.mark.parametrize("kind", gateways.CARRIERS, ids=lambda kind: kind.name)
def test_each_gateway_speaks_http2(kind: type[Peer], origin: Origin, tmp_path: Path) -> None:
    runnable(kind)
    with kind(origin.port, CORES.proxy) as peer:
        gives_what_the_origin_has(Way(("127.0.0.1", peer.port)), tmp_path)


@pytest.mark.parametrize("kind", gateways.TERMINATING, ids=lambda kind: kind.name)
def test_each_gateway_speaks_http2_over_tls(
    kind: type[Trusted], origin: Origin, mesh: pki.Mesh, tmp_path: Path
) -> None:
    runnable(kind)
    with kind(origin.port, CORES.proxy, mesh.ecdsa) as peer:
        gives_what_the_origin_has(Way(("127.0.0.1", peer.port), mesh.ecdsa.ca), tmp_path)


@pytest.mark.parametrize("kind", gateways.GRPC, ids=lambda kind: kind.name)
def test_each_gateway_passes_grpc(kind: type[Peer]) -> None:
    needed(unary.missing())
    runnable(kind)
    with unary.serving(CORES.load) as port, kind(port, CORES.proxy) as peer:
        sample = unary.run(peer.port, peer.pids, SHORT, CORES.load)
    assert sample.work > 0
    assert sample.cpu_ns > 0


def test_a_call_that_fails_is_no_figure(origin: Origin) -> None:
    needed(unary.missing())
    runnable(gateways.GrpcNginx)
    with gateways.GrpcNginx(process.free_port(), CORES.proxy) as peer, pytest.raises(RuntimeError, match="failed"):
        unary.run(peer.port, peer.pids, SHORT, CORES.load)


def test_ours_speaks_http2_to_an_upstream_of_grpc() -> None:
    ours = gateways.GrpcMeshproxy(7001, CORES.proxy)
    plain = HttpMeshproxy(7001, CORES.proxy).relay()["clusters"]
    assert plain == {"up": {"endpoints": ["127.0.0.1:7001"]}}
    assert ours.relay()["clusters"] == {"up": {"endpoints": ["127.0.0.1:7001"], "http": {"version": "h2"}}}


def test_no_two_requests_that_differ_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "URIS", 500)
    with heads.several(3, "-m10") as lists:
        files = [Path(options[options.index("-i") + 1]) for options in lists]
        uris = [uri for path in files for uri in path.read_text().splitlines()]
        fields = [[*options[options.index("-i") + 2 :]] for options in lists]
    assert len(uris) == len(set(uris)) == 1500
    assert all(len(each) == 2 * 9 for each in fields)
    # four are of the client, the others of what it is
    assert len({field for each in fields for field in each if field != "-H"}) == 5 + 3 * 4
    assert not any(path.exists() for path in files)


def test_the_uris_of_a_list_are_asked_for_with_their_fields(origin: Origin, tmp_path: Path) -> None:
    needed(tools.missing("h2load"))
    seen = tmp_path / "seen"

    class Telling(gateways.H2Nginx):
        def config(self) -> str:
            log = f"log_format seen '$request_uri $host $http_user_agent $http_traceparent';\naccess_log {seen} seen;"
            return super().config().replace("access_log off;", log)

    runnable(Telling)
    with Telling(origin.port, CORES.proxy) as peer:
        done = h2.differing(f"http://127.0.0.1:{peer.port}", SHORT, CORES.load)
    lines = seen.read_text().splitlines()
    assert len(lines) >= done > 50
    # those that were not over when the time was may stand there too
    assert len({line.split()[0] for line in lines}) == len(lines)
    assert all("bookstore.shop.svc.cluster.local Mozilla" in line for line in lines)
    assert len({line.split()[-1] for line in lines}) == h2.CONNECTIONS


def test_an_idle_connection_is_one_that_was_answered_and_still_is(origin: Origin) -> None:
    runnable(gateways.H2Nginx)
    with gateways.H2Nginx(origin.port, CORES.proxy) as peer, memory.introduced(peer.port, 3) as connections:
        for connection in connections:
            connection.ask(3)
        with pytest.raises(ConnectionError, match="ended instead of answered"):
            # lower than the one before
            connections[0].ask(1)


# One for each tool that makes the load; all of them run, briefly, by `tox -e bench`.
@pytest.mark.parametrize("work", ["same", "body-1g", "upload-1m", "tls-differing", "grpc", "memory"])
def test_a_work_over_http2_is_measured(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CONNECTIONS", 30)
    monkeypatch.setattr(memory, "FIRST", 5)
    monkeypatch.setattr("benchmarks.tls.memory.SETTLE", 0.1)
    runnable(gateways.TlsH2Nginx)
    needed(unary.missing() or pki.missing())
    for tool in ("h2load", "curl"):
        needed(tools.missing(tool))
    (result,) = h2.run(Plan(rounds=1, seconds=SHORT, only=frozenset({work}), peers=NGINX))
    assert result.work == f"h2 {work}"
    assert [figure > 0 for figure in result.samples["nginx"]] == [True]


def test_http2_is_skipped_with_a_reason_where_a_tool_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runnable(gateways.H2Nginx)
    monkeypatch.setattr(tools, "missing", lambda tool: f"no `{tool}` here")
    monkeypatch.setattr(unary, "missing", lambda: "no grpcio")
    plan = Plan(rounds=1, seconds=SHORT, only=frozenset({"same", "tls-same", "body-1g", "grpc"}), peers=NGINX)
    assert h2.run(plan) == []
    assert capsys.readouterr().err.splitlines() == [
        "h2 same skipped: no `h2load` here",
        "h2 body-1g skipped: no `curl` here",
        "h2 tls-same skipped: no `h2load` here",
        "h2 grpc skipped: no grpcio",
    ]


def test_every_work_is_done_by_ours_too() -> None:
    for kinds in (gateways.GATEWAYS, gateways.CARRIERS, gateways.TERMINATING, gateways.GRPC):
        assert kinds[0].name == OURS


def test_a_client_of_grpc_ends_its_channels() -> None:
    needed(unary.missing())
    with unary.serving(CORES.load) as port, closing(unary.calls(port)) as work:
        assert [next(work) for _ in range(5)] == [1] * 5
