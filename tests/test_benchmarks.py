"""The harness: its arithmetic, the configurations that it writes, and one short real run of each peer present."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import pytest

from benchmarks import (
    http1,
    idle,
    latency,
    load,
    observe,
    pki,
    policy,
    process,
    reload,
    report,
    steady,
    tools,
    upstream,
    workers,
)
from benchmarks.budgets import BUDGETS, Budget
from benchmarks.gateways import CARRIERS, GREETING, HttpMeshproxy, Origin, PlainMeshproxy, PolicyMeshproxy
from benchmarks.h2 import run as h2
from benchmarks.harness import OURS, Plan, Result, Spread, interleave, paired
from benchmarks.micro import balance, conn, exchange, filters, scrape, topics
from benchmarks.pages import PAGE, PAGES
from benchmarks.peers import PEERS, Envoy, HAProxy, Meshproxy, Nginx, Peer
from benchmarks.soak import clients, words
from benchmarks.soak import run as soak
from benchmarks.tcp import WORKS
from benchmarks.tls import gateways as secured
from benchmarks.tls import load as tls_load
from benchmarks.tls import memory
from benchmarks.tls import run as tls
from benchmarks.tunnel.peers import TlsPair
from meshproxy.dialects import read
from meshproxy.model import combine

CORES = process.Cores.of_this_machine()
SHORT = 0.1
Kind = TypeVar("Kind", bound=Peer)


WRK = """Running 2s test @ http://127.0.0.1:7777/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   733.62us  184.00us   3.59ms   77.57%
    Req/Sec    51.69k     5.02k   56.80k    81.82%
  56604 requests in 1.10s, 8.64MB read
{}Requests/sec:  51463.98
Transfer/sec:      7.85MB
"""
H2LOAD = """finished in 301.80ms, 19793.33 req/s, 1.49MB/s
requests: 6038 total, 6038 started, 6038 done, {} succeeded, {} failed, {} errored, 0 timeout
status codes: 5938 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 458.59KB (469592) total, 284.14KB (290962) headers (space savings 50.51%), 69.59KB (71256) data
"""
AB = """Concurrency Level:      10
Time taken for tests:   1.000 seconds
Complete requests:      11050
Failed requests:        {}
{}Total transferred:      1713060 bytes
Requests per second:    11048.52 [#/sec] (mean)
"""


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    runnable(Origin)
    with Origin(CORES.load) as each:
        yield each


@pytest.fixture(scope="module")
def mesh() -> Iterator[pki.Mesh]:
    if reason := pki.missing():
        pytest.skip(reason)
    with pki.mesh() as each:
        yield each


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with upstream.running(CORES.load) as each:
        yield each


def runnable(kind: type[Kind]) -> type[Kind]:
    if reason := kind.missing():
        pytest.skip(f"{kind.name}: {reason}")
    return kind


def test_a_ratio_is_made_of_two_figures_of_one_round() -> None:
    # the ratio of the medians would be 1.0: the machine was slow in the second round, for both
    assert paired([10, 30, 20], [20, 60, 10]) == Spread(median=0.5, low=0.5, high=2.0)


def test_rounds_are_interleaved() -> None:
    asked = []

    def once(subject: str) -> float:
        asked.append(subject)
        return len(asked)

    assert interleave({"a": "A", "b": "B"}, 3, once) == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert "".join(asked) == "ABABAB"


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired([1, 2], [1])


@pytest.mark.parametrize(
    ("median", "high", "verdict"), [(0.5, 3.0, "aim met"), (0.7, 0.7, "met"), (0.8, 0.8, "MISSED")]
)
def test_verdict_by_median(median: float, high: float, verdict: str) -> None:
    assert Budget(must=0.75, aim=0.55).verdict(median, high) == verdict


def test_verdict_by_the_worst_round() -> None:
    assert Budget(must=50, aim=10, worst=True).verdict(1.0, 51.0) == "MISSED"


@pytest.mark.parametrize(("median", "verdict"), [(1.3, "aim met"), (1.4, "aim missed")])
def test_where_nothing_is_promised_there_is_an_aim(median: float, verdict: str) -> None:
    assert Budget(must=None, aim=1.3).verdict(median, median) == verdict
    result = Result("h2 same", "CPU µs/request", {OURS: [median], "nginx": [1.0]})
    assert f"|  | 1.3 | {verdict} |" in report.as_markdown({}, [result])


def test_rows_judge_the_peer_by_ratio_and_ourselves_by_amount() -> None:
    relay = Result("download", "CPU ms/GiB", {OURS: [300.0, 310.0], "nginx": [600.0, 620.0], "haproxy": [600.0, 620.0]})
    assert [(row.who, row.verdict, row.ratio and row.ratio.median) for row in relay.rows()] == [
        (OURS, "", None), ("nginx", "aim met", 0.5), ("haproxy", "", 0.5),
    ]
    memory = Result("idle memory", "MiB", {OURS: [40.0], "nginx": [6.0]})
    assert [(row.who, row.verdict) for row in memory.rows()] == [(OURS, "met"), ("nginx", "")]


def test_every_budget_is_at_least_its_aim_and_against_a_known_peer() -> None:
    ourselves = {workers.ONE, PlainMeshproxy.name, observe.Uncounted.name, TlsPair.name}
    assert {against for _, against in BUDGETS} <= {"", *ourselves, *(peer.name for peer in PEERS)}
    assert all(budget.must is None or budget.aim <= budget.must for budget in BUDGETS.values())
    over_http = {f"http {work}" for work in http1.WORKS} | {"http latency p50", "http latency p99"}
    promised = ("small", "full-rsa", "full-ecdsa", "resumed", "policy", "pair p50", "pair p99")
    over_tls = {f"tls {work}" for work in promised}
    over_h2 = {f"h2 {work}" for work in h2.LOADS}
    over_mqtt = {"mqtt qos0"}
    over_what_is_seen = {f"observe {what} {said}" for what in observe.SEEN for said in observe.SAID}
    compared = {work for work, against in BUDGETS if against not in ("", workers.ONE)}
    in_place = {"inplace pair p50", "inplace pair p99"}
    through = {f"tunnel {work}" for work in ("goodput", "cpu download", "cpu upload")}
    assert compared == {*WORKS, *over_http, *over_tls, *over_h2, *over_mqtt, *over_what_is_seen, *in_place, *through}


def test_reports_tell_the_same_in_table_markdown_and_json() -> None:
    results = [Result("download", "CPU ms/GiB", {OURS: [300.0], "nginx": [600.0]})]
    table, markdown = report.as_table(results), report.as_markdown({"kernel": "6.1"}, results)
    for text in (table, markdown):
        assert "300 (300 to 300)" in text
        assert "0.5 (0.5 to 0.5)" in text
        assert "aim met" in text
    assert "- kernel: 6.1" in markdown
    document = json.loads(json.dumps(report.as_json({}, results)))
    assert document["results"][0]["samples"] == {OURS: [300.0], "nginx": [600.0]}
    assert document["results"][0]["rows"][1]["ratio"]["median"] == 0.5


def test_circumstances_name_machine_kernel_and_command() -> None:
    about = report.circumstances(["python", "-m", "benchmarks", "tcp"], (0.5, 0.25, 0.0))
    assert about["kernel"] == os.uname().release
    assert about["command"] == "python -m benchmarks tcp"
    assert about["load before"] == "0.50 0.25 0.00"


@pytest.mark.parametrize("kind", [*PEERS, *CARRIERS], ids=lambda kind: kind.__name__)
def test_configurations_name_both_ports(kind: type[Peer]) -> None:
    peer = kind(upstream=7001, core=CORES.proxy)
    assert str(peer.port) in peer.config()
    assert "7001" in peer.config()


def test_configurations_ask_for_one_worker() -> None:
    assert "worker_processes 1;" in Nginx(1, 0).config()
    assert "nbthread 1" in HAProxy(1, 0).config()
    assert json.loads(Envoy(1, 0).config())["static_resources"]["clusters"][0]["name"] == "upstream"


def test_the_relay_is_a_native_document() -> None:
    ours = Meshproxy(7001, CORES.proxy)
    assert json.loads(ours.config()) == {
        "workers": 1,
        "admin": {"listen": f"127.0.0.1:{ours.admin}"},
        "listeners": [{"name": "relay", "listen": f"127.0.0.1:{ours.port}", "protocol": "tcp", "cluster": "upstream"}],
        "clusters": {"upstream": {"endpoints": ["127.0.0.1:7001"]}},
    }


def test_reload_documents_have_a_thousand_clusters_that_all_change() -> None:
    ours = Meshproxy(7001, CORES.proxy)
    first, second = (json.loads(reload.document(ours, version))["clusters"] for version in (1, 2))
    assert len(first) == len(second) == reload.CLUSTERS
    assert {name for name in first if first[name] == second[name]} == {"upstream"}


def test_a_policy_has_certificates_and_references_to_them() -> None:
    held, reference = {"PrivateKey": "a", "CertChain": "b"}, {"OsmIssued": True, "PrivateKey": ""}
    outbound = {"ClustersConfigs": {"a": {"SourceCert": held}, "b": {"SourceCert": reference}}}
    assert [*idle.certificates({"Certificate": held, "Outbound": outbound})] == [held, held]


def test_idle_measures_memory_and_start_of_what_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "SETTLE", 0)
    runnable(Nginx)
    pss, rss, ready = idle.run(Plan(rounds=2, seconds=SHORT, peers=frozenset({"nginx"})))
    assert [len(result.samples["nginx"]) for result in (pss, rss, ready)] == [2, 2, 2]
    assert 1 < pss.samples["nginx"][0] < rss.samples["nginx"][0]


def test_policy_documents_say_what_they_should_and_all_of_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "SERVICES", 3)
    first, second = (combine([read(json.dumps(policy.native(version)).encode(), "f")]) for version in (1, 2))
    assert len(first.routes[0].rules) == 3 * policy.ROUTES
    assert all(len(rule.match.hosts) == 10 for rule in first.routes[0].rules)
    assert not {*first.clusters} & {*second.clusters}
    theirs = read(json.dumps(policy.fsm(1)).encode(), "f")
    assert theirs.foreign is not None
    assert theirs.foreign.dialect == "fsm"


def test_policy_is_put_while_traffic_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "SERVICES", 10)
    monkeypatch.setattr(policy, "DIALECTS", {"native": policy.native})
    results = policy.run(Plan(rounds=1, seconds=SHORT, peers=frozenset({"meshproxy"})))
    by_work = {result.work: result.samples for result in results}
    assert len(by_work["policy native: from PUT to 200"][OURS]) == 2
    assert len(by_work.pop("policy native: the same under load")[OURS]) == 2
    assert len(by_work["policy native: unchanged"][OURS]) == 1
    assert by_work["policy native: failed"] == {OURS: [0, 0]}
    assert set(by_work["policy native: longest stall"]) == {OURS, policy.CALM}
    assert {work for work, _ in BUDGETS if work.startswith("policy native")} == set(by_work)


def test_cpu_time_is_that_of_all_threads() -> None:
    seen = threading.Event()

    def spin() -> None:
        while time.thread_time() < 0.02:
            pass
        seen.wait()  # a thread that has ended is counted no more

    before = process.cpu_ns([os.getpid()])
    thread = threading.Thread(target=spin)
    thread.start()
    try:
        process.wait_until(lambda: process.cpu_ns([os.getpid()]) - before > 15_000_000, "20 ms of a thread seen")
    finally:
        seen.set()
        thread.join()


def test_family_is_the_process_and_its_descendants() -> None:
    command = ["sh", "-c", "sleep 60 & echo; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout
        shell.stdout.readline()
        try:
            family = process.family(shell.pid)
            assert family[0] == shell.pid
            assert len(family) == 2
        finally:
            os.killpg(shell.pid, 15)


def test_a_load_that_measured_nothing_is_an_error() -> None:
    def no_work() -> Iterator[int]:
        while True:
            yield 0

    with pytest.raises(RuntimeError, match="nothing was measured"):
        load.measure(no_work(), [os.getpid()], 0.001)


@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.name)
def test_each_peer_relays_and_is_ended(kind: type[Peer], ports: dict[str, int]) -> None:
    with runnable(kind)(ports["echo"], CORES.proxy) as peer:
        pids = peer.pids
        sample = load.run("echo", peer.port, pids, SHORT, CORES.load)
        assert sample.work > 50
        assert 0 < sample.cpu_ns < 2 * len(pids) * 1e9
        assert process.memory_kib(pids, "Pss") > 1000
        assert kind.version()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert not process.accepts(peer.port)


@pytest.mark.parametrize("work", sorted(WORKS))
def test_each_load_does_work_on_the_upstream_itself(work: str, ports: dict[str, int]) -> None:
    sample = load.run(work, ports[WORKS[work][0]], [], SHORT, CORES.load)
    assert sample.work > 50
    assert sample.seconds >= SHORT


def test_steady_traffic_counts_and_breaks_nothing_by_itself(ports: dict[str, int]) -> None:
    with steady.running(ports["echo"], 10, CORES.load) as traffic:
        time.sleep(SHORT)
        account = steady.account(traffic)
    assert account.failed == 0
    assert account.pings > 5
    assert account.opened > 11
    assert account.longest_ms > 0


def test_steady_traffic_notices_a_wrong_answer_and_a_lost_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        traffic = steady.Traffic(listener.getsockname()[1], 1)
        probe, staying = listener.accept()[0], listener.accept()[0]
        traffic.say(traffic.probe)
        traffic.say(traffic.staying[0])
        probe.sendall(bytes(steady.SIZE))
        staying.close()
        deadline = time.monotonic() + process.DEADLINE
        while traffic.sockets and time.monotonic() < deadline:
            traffic.listen(0.01)
        probe.close()
    assert traffic.account.failed == 2


@pytest.mark.parametrize("engine", [conn.Engine("asyncio", *kind) for kind in conn.KINDS], ids=lambda each: each.name)
def test_each_engine_relays(engine: conn.Engine, ports: dict[str, int]) -> None:
    with conn.certified() as certificate:
        if engine.tls and not certificate:
            pytest.skip("no openssl")
        with conn.running(engine, ports["echo"], certificate, CORES.proxy) as (port, pid):
            sample = load.run("echo", port, [pid], SHORT, CORES.load, tls=engine.tls)
    assert sample.work > 50


@pytest.mark.parametrize("rule", filters.RULES)
def test_a_filter_is_measured_without_sockets(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "RULES", {rule: filters.RULES[rule]})
    (result,) = filters.run(Plan(rounds=1, seconds=SHORT / 10))
    assert [figure > 0 for figures in result.samples.values() for figure in figures] == [True]


@pytest.mark.parametrize("rule", exchange.RULES)
def test_an_exchange_is_measured_without_sockets(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "RULES", {"plain": exchange.RULES["plain"], rule: exchange.RULES[rule]})
    monkeypatch.setattr(exchange, "OBSERVED", {})
    *_, result = exchange.run(Plan(rounds=1, seconds=SHORT / 10))
    assert set(result.samples) == {"the same head", "each head differs"}
    assert all(figure > 0 for figures in result.samples.values() for figure in figures)


@pytest.mark.parametrize("observed", exchange.OBSERVED)
def test_an_exchange_that_is_observed_is_measured_too(observed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "RULES", {"plain": exchange.RULES["plain"]})
    monkeypatch.setattr(exchange, "OBSERVED", {observed: exchange.OBSERVED[observed]})
    *_, result = exchange.run(Plan(rounds=1, seconds=SHORT / 10))
    assert result.work == f"micro exchange: {observed}"
    assert all(figure > 0 for figures in result.samples.values() for figure in figures)


@pytest.mark.parametrize("name", balance.KINDS)
def test_each_balancer_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "KINDS", {name: balance.KINDS[name]})
    monkeypatch.setattr(balance, "SIZES", (3, 20))
    picks, builds = balance.run(Plan(rounds=1, seconds=SHORT / 10))
    assert (picks.unit, builds.unit) == ("µs", "ms")
    for result in (picks, builds):
        assert set(result.samples) == {"3 endpoints", "20 endpoints"}
        assert all(figure > 0 for figures in result.samples.values() for figure in figures)


def test_a_scrape_is_of_as_many_series_as_it_says() -> None:
    whole, parts, steps = scrape.run(Plan(rounds=1, seconds=SHORT / 10))
    assert [*whole.samples] == [OURS, "as OpenMetrics"]
    assert all(figure > 0 for result in (whole, parts, steps) for (figure,) in result.samples.values())


def test_topics_are_matched_among_few_and_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "SIZES", (3, 500))
    monkeypatch.setattr(topics, "LEVELS", (16,))
    *_, ordinary, hostile, longer = topics.run(Plan(rounds=1, seconds=SHORT / 10))
    assert set(ordinary.samples) == set(hostile.samples) == {"3 filters", "500 filters"}
    assert set(longer.samples) == {"16 levels"}
    for result in (ordinary, hostile, longer):
        assert all(figure > 0 for figures in result.samples.values() for figure in figures)


def test_what_was_not_asked_for_is_not_run() -> None:
    plan = Plan(rounds=1, seconds=1, only=frozenset({"echo"}), peers=frozenset({"nobody"}))
    assert plan.chosen(["download", "echo"]) == ["echo"]
    assert plan.present() == []


def test_wrk_is_read_for_its_requests_and_their_rate() -> None:
    assert tools.read_wrk(WRK.format("")) == tools.Wrk(requests=56604, per_second=51463.98)


@pytest.mark.parametrize(
    "line", ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 56604\n"]
)
def test_wrk_with_one_failure_is_no_figure(line: str) -> None:
    with pytest.raises(tools.LoadFailed, match=line.strip()):
        tools.read_wrk(WRK.format(line))


@pytest.mark.parametrize("text", ["", WRK.format("").replace("56604", "0"), "unable to connect to 127.0.0.1:1"])
def test_wrk_that_did_nothing_is_no_figure(text: str) -> None:
    with pytest.raises(tools.LoadFailed, match="did nothing"):
        tools.read_wrk(text)


def test_ab_is_read_for_its_requests() -> None:
    assert tools.read_ab(AB.format(0, "")) == 11050


@pytest.mark.parametrize(
    "text", ["", AB.format(2, ""), AB.format(0, "Non-2xx responses:      7\n"), AB.format(0, "").replace("11050", "0")]
)
def test_ab_with_one_failure_or_nothing_done_is_no_figure(text: str) -> None:
    with pytest.raises(tools.LoadFailed, match="ab:"):
        tools.read_ab(text)


def test_curl_is_read_for_its_bytes() -> None:
    assert tools.read_curl("200 1073741824") == 1 << 30


@pytest.mark.parametrize("text", ["404 153", "000 0", "200 0"])
def test_curl_without_the_body_is_no_figure(text: str) -> None:
    with pytest.raises(tools.LoadFailed, match=f"status {text[:3]}"):
        tools.read_curl(text)


@pytest.mark.parametrize("key", ["Server Temp Key: X25519, 253 bits", "Negotiated TLS1.3 group: X25519"])
def test_openssl_is_read_for_what_was_agreed_on(key: str) -> None:
    said = f"{key}\n---\nNew, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384\n"
    assert tools.read_handshake(said) == "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"


def test_h2load_is_read_for_its_requests_and_bytes() -> None:
    assert tools.read_h2load(H2LOAD.format(5938, 0, 0)) == tools.H2load(requests=5938, data=71256)


@pytest.mark.parametrize(
    "text", ["", H2LOAD.format(0, 0, 0), H2LOAD.format(7, 1, 0), H2LOAD.format(7, 0, 1), "unable to connect"]
)
def test_h2load_with_one_failure_or_nothing_done_is_no_figure(text: str) -> None:
    with pytest.raises(tools.LoadFailed, match="h2load:"):
        tools.read_h2load(text)


def test_tools_that_run_at_once_are_all_heard(tmp_path: Path) -> None:
    # each waits for the other
    met = f"touch {tmp_path}/$0; until [ -e {tmp_path}/$1 ]; do sleep 0.01; done; echo $0"
    commands = [["sh", "-c", met, "one", "other"], ["sh", "-c", met, "other", "one"]]
    assert tools.outputs(commands, SHORT, CORES.load) == ["one\n", "other\n"]


def test_openssl_without_a_handshake_is_no_agreement() -> None:
    with pytest.raises(tools.LoadFailed, match="no handshake"):
        tools.read_handshake("New, (NONE), Cipher is (NONE)\n")


def test_a_tool_that_fails_says_why() -> None:
    with pytest.raises(tools.LoadFailed, match="sh ended with 3: no such thing"):
        tools.output(["sh", "-c", "echo no such thing >&2; exit 3"], SHORT, CORES.load)


def test_latency_added_is_that_through_the_peer_less_that_of_the_same_round_without() -> None:
    assert latency.added({latency.DIRECT: [100.0, 200.0], "nginx": [150.0, 190.0]}) == {
        "nginx": [50.0, latency.LEAST_US]
    }


def test_the_gateway_is_a_native_document() -> None:
    ours = HttpMeshproxy(7001, CORES.proxy)
    assert ours.relay() == {
        "listeners": [{"name": "in", "listen": f"127.0.0.1:{ours.port}", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": ["127.0.0.1:7001"]}},
    }


@pytest.mark.parametrize("kind", [*CARRIERS, PolicyMeshproxy], ids=lambda kind: kind.__name__)
def test_each_gateway_gives_what_the_origin_has(kind: type[Peer], origin: Origin) -> None:
    with runnable(kind)(origin.port, CORES.proxy) as peer:
        direct, through = (http.client.HTTPConnection("127.0.0.1", port) for port in (origin.port, peer.port))
        for method, path, body in (("GET", "/", None), ("GET", "/1m", None), ("POST", "/sink", bytes(1 << 20))):
            answers = []
            for connection in (direct, through):
                connection.request(method, path, body)
                answer = connection.getresponse()
                answers.append((answer.status, answer.read()))
            assert answers[0] == answers[1]
            assert answers[0][0] == 200
            assert len(answers[0][1]) == (1 << 20 if path == "/1m" else len(GREETING))
        direct.close()
        through.close()


@pytest.mark.parametrize("kind", PAGES, ids=lambda kind: kind.name)
def test_each_page_is_the_same_one(kind: type[Peer]) -> None:
    with runnable(kind)(process.free_port(), CORES.proxy) as peer:
        connection = http.client.HTTPConnection("127.0.0.1", peer.port)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read().decode()) == (200, PAGE)
        assert answer.headers["content-type"] == "text/html"
        connection.close()


def test_no_two_heads_of_the_origin_are_the_same(origin: Origin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", origin.port)
    heads = []
    for _ in range(3):
        connection.request("GET", "/api/v1/books")
        answer = connection.getresponse()
        answer.read()
        heads.append(sorted(answer.getheaders()))
    connection.close()
    assert {len(head) for head in heads} == {9}
    assert all(one != other for one, other in pairwise(heads))


def test_no_two_requests_that_differ_are_the_same() -> None:
    if reason := tools.missing("wrk"):
        pytest.skip(reason)
    heads: list[bytes] = []
    enough = 2500  # of which the pieces that were prepared have had their second turn

    def serve(listener: socket.socket) -> None:
        while not heads:  # it connects once only to see whether it can
            with listener.accept()[0] as connection, suppress(OSError):
                while len(heads) < enough and (head := connection.recv(65536)):
                    heads.append(head)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        script = str(http1.LUA / "differing.lua")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        child = process.start(["wrk", "-t1", "-c1", "-d30", "-s", script, url], CORES.load, output=subprocess.PIPE)
        server.join(process.DEADLINE)
        process.end(child)
    assert len(set(heads)) == len(heads) == enough
    assert {head.count(b"\r\n") - 2 for head in heads} == {9}


# One for each tool that makes the load; all of them run, briefly, by `tox -e bench`.
@pytest.mark.parametrize("work", ["same", "direct-ab", "body-1m"])
def test_a_work_over_http_is_measured(work: str) -> None:
    runnable(Origin)
    for tool in ("wrk", "ab", "curl"):
        if reason := tools.missing(tool):
            pytest.skip(reason)
    results = http1.run(Plan(rounds=1, seconds=SHORT, only=frozenset({work}), peers=frozenset({"nginx"})))
    assert results[0].samples["nginx"]
    assert all(figure > 0 for result in results for samples in result.samples.values() for figure in samples)


def test_what_is_said_to_be_written_and_told_is() -> None:
    """Or the benchmark would compare a proxy with itself."""
    runnable(Origin)
    with Origin(CORES.load) as origin, observe.Tracing(origin.port, CORES.proxy) as tracing:
        sinks = {}

        def told() -> bool:
            sinks.update(json.loads(tracing.ask("GET", "/stats")[1])["sinks"])
            return any(sink["written_total"] for sink in sinks.values())

        with urlopen(f"http://127.0.0.1:{tracing.port}/") as answer:
            assert answer.status == 200
        process.wait_until(told, "a span that is told")
        assert [name.partition(" ")[0] for name in sinks] == ["otlp"]
        with observe.Logging(origin.port, CORES.proxy) as logging:
            with urlopen(f"http://127.0.0.1:{logging.port}/") as answer:
                assert answer.status == 200
            lines = Path(logging.lines)
            process.wait_until(lambda: lines.exists() and lines.read_text().count("\n") == 1, "a line")
            assert json.loads(lines.read_text())["response_code"] == 200


def test_http_is_skipped_with_a_reason_where_a_tool_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runnable(Origin)
    monkeypatch.setattr(tools, "missing", lambda tool: f"no `{tool}` on this machine")
    plan = Plan(rounds=1, seconds=SHORT, only=frozenset({"direct-ab", "latency"}), peers=frozenset({"nginx"}))
    assert http1.run(plan) == []
    complaints = capsys.readouterr().err.splitlines()
    assert complaints == [
        "http direct-ab skipped: no `ab` on this machine",
        "http latency skipped: no `wrk` on this machine",
    ]


def spoken(peer: Peer, own: pki.Credential | None, ca: Path) -> http.client.HTTPSConnection:
    """A client that verifies who is there, and shows `own`."""
    context = ssl.create_default_context(cafile=ca)
    if own:
        context.load_cert_chain(own.certificate, own.key)
    return http.client.HTTPSConnection("127.0.0.1", peer.port, context=context, timeout=process.DEADLINE)


@pytest.mark.parametrize("kind", secured.CARRYING, ids=lambda kind: kind.__name__)
def test_each_gateway_gives_over_tls_what_the_origin_has(
    kind: type[secured.Trusted], origin: Origin, mesh: pki.Mesh
) -> None:
    with runnable(kind)(origin.port, CORES.proxy, mesh.rsa) as peer, closing(spoken(peer, None, mesh.rsa.ca)) as client:
        for method, path, body in (("GET", "/", None), ("GET", "/1m", None), ("POST", "/sink", bytes(1 << 20))):
            client.request(method, path, body)
            answer = client.getresponse()
            assert answer.status == 200
            assert len(answer.read()) == (1 << 20 if path == "/1m" else len(GREETING))
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.version() == "TLSv1.3"


@pytest.mark.parametrize("kind", [*secured.PAIRS, secured.PolicyTlsMeshproxy], ids=lambda kind: kind.__name__)
def test_who_knows_its_clients_serves_one_and_nobody_else(
    kind: type[secured.Trusted], origin: Origin, mesh: pki.Mesh
) -> None:
    with runnable(kind)(origin.port, CORES.proxy, mesh.ecdsa) as peer:
        statuses: list[int | None] = []
        for own in (mesh.client, mesh.ecdsa, None):
            with closing(spoken(peer, own, mesh.client.ca)) as client:
                try:
                    client.request("GET", "/")
                    statuses.append(client.getresponse().status)
                except (OSError, http.client.HTTPException):
                    statuses.append(None)
        assert statuses[0] == 200
        assert statuses[1] in (403, None)
        assert statuses[2] is None


@pytest.mark.parametrize("kind", secured.PAIRS, ids=lambda kind: kind.__name__)
def test_a_caller_talks_to_the_one_it_knows_and_to_nobody_else(
    kind: type[secured.Trusted], origin: Origin, mesh: pki.Mesh
) -> None:
    for server, expected in ((mesh.ecdsa, 200), (mesh.client, 503)):
        with (
            runnable(kind)(origin.port, CORES.proxy, server) as called,
            secured.PAIRS[kind](called.port, CORES.proxy, mesh.client) as caller,
            closing(http.client.HTTPConnection("127.0.0.1", caller.port, timeout=process.DEADLINE)) as client,
        ):
            client.request("GET", "/")
            assert client.getresponse().status == expected


def test_handshakes_are_of_their_kind_in_the_view_of_the_server(
    origin: Origin, mesh: pki.Mesh, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"

    class Telling(secured.TlsNginx):
        def config(self) -> str:
            log = f"log_format seen $ssl_session_reused;\naccess_log {seen} seen;"
            return super().config().replace("access_log off;", log)

    with runnable(Telling)(origin.port, CORES.proxy, mesh.ecdsa) as peer:
        for kind, reused, first in (("full", ".", 0), ("resumed", "r", 1)):
            before = len(seen.read_text())
            sample = tls_load.run(kind, peer.port, mesh.client, GREETING, peer.pids, SHORT, CORES.load)
            said = seen.read_text()[before:].split()
            assert len(said) >= sample.work > 5
            assert set(said[first:]) == {reused}


def test_a_handshake_of_the_other_kind_is_no_figure(origin: Origin, mesh: pki.Mesh) -> None:
    class Forgetful(secured.TlsNginx):
        def listen(self) -> str:
            return super().listen() + "; ssl_session_tickets off"

    with runnable(Forgetful)(origin.port, CORES.proxy, mesh.ecdsa) as peer, pytest.raises(RuntimeError, match="full"):
        tls_load.run("resumed", peer.port, mesh.client, GREETING, peer.pids, SHORT, CORES.load)


def test_what_is_not_the_answer_is_no_figure(origin: Origin, mesh: pki.Mesh) -> None:
    class Refusing(secured.TlsNginx):
        def listen(self) -> str:
            return super().listen() + "; if ($uri) { return 403; } ssl_session_tickets on"

    with runnable(Refusing)(origin.port, CORES.proxy, mesh.ecdsa) as peer:
        for kind in tls_load.KINDS:
            with pytest.raises(RuntimeError, match=r"not an answer: .*403"):
                tls_load.run(kind, peer.port, mesh.client, GREETING, peer.pids, SHORT, CORES.load)


def test_no_two_requests_of_the_client_with_a_certificate_are_the_same() -> None:
    several = list(islice(tls_load.heads(), 2 * tls_load.PREPARED))
    assert len(set(several)) == len(several)
    assert {head.count(b"\r\n") - 2 for head in several} == {9}
    assert {head[-4:] for head in several} == {b"\r\n\r\n"}


@pytest.mark.parametrize("work", ["small", "resumed", "memory"])
def test_a_work_over_tls_is_measured(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CONNECTIONS", 30)
    monkeypatch.setattr(memory, "SETTLE", 0.1)
    runnable(Origin)
    runnable(secured.TlsNginx)
    for tool in ("openssl", "wrk", "curl"):
        if reason := tools.missing(tool):
            pytest.skip(reason)
    results = tls.run(Plan(rounds=1, seconds=SHORT, only=frozenset({work}), peers=frozenset({"nginx"})))
    assert results[0].samples["nginx"]
    assert all(figure > 0 for result in results for samples in result.samples.values() for figure in samples)


def test_tls_is_skipped_with_a_reason_where_a_tool_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runnable(secured.TlsNginx)
    if reason := pki.missing():
        pytest.skip(reason)
    plan = Plan(rounds=1, seconds=SHORT, only=frozenset({"small", "body-1g", "pair"}), peers=frozenset({"nginx"}))
    absent = {"wrk", "curl"}
    monkeypatch.setattr(tools, "missing", lambda tool: f"no `{tool}` here" if tool in absent else None)
    assert tls.run(plan) == []
    assert capsys.readouterr().err.splitlines()[1:] == [
        "tls small skipped: no `wrk` here",
        "tls body-1g skipped: no `curl` here",
        "tls pair skipped: no `wrk` here",
    ]
    absent = {"openssl"}
    assert tls.run(plan) == []
    assert capsys.readouterr().err == "tls skipped: no `openssl` here\n"


def test_proxies_that_do_not_agree_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (secured.TlsNginx, secured.TlsHAProxy):
        runnable(kind)
    if reason := pki.missing():
        pytest.skip(reason)
    theirs = secured.TlsHAProxy.bind
    chosen = " ciphersuites TLS_CHACHA20_POLY1305_SHA256"
    monkeypatch.setattr(secured.TlsHAProxy, "bind", lambda peer: theirs(peer) + chosen)
    plan = Plan(rounds=1, seconds=SHORT, only=frozenset({"small"}), peers=frozenset({"nginx", "haproxy"}))
    with pytest.raises(tools.LoadFailed, match=r"nginx TLSv1.3 TLS_AES\w+ \w+, haproxy TLSv1.3 TLS_CHA"):
        tls.run(plan)


QUIET = soak.Level({1: 30_000}, {1: 20}, {1: {"tasks": 3, **soak.KEPT}}, [])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"memory_kib": {1: 60_000}}, "memory of 1: 30000 KiB became 60000"),
        ({"memory_kib": {2: 30_000}, "descriptors": {2: 20}}, "processes: [1] became [2]"),
        ({"descriptors": {1: 21}}, "descriptors of 1: 20 became 21"),
        ({"alive": {1: {"tasks": 4, **soak.KEPT}}}, "tasks of 1: 3 became 4"),
        ({"alive": {1: {"tasks": 3, **soak.KEPT, "Upstream": 2}}}, "alive in 1: {'Upstream': 2}"),
        ({"gauges": ["active 1"]}, "still counted: active 1"),
    ],
)
def test_the_soak_names_what_is_left(changed: dict[str, Any], said: str) -> None:
    assert QUIET.problems(QUIET) == []
    assert replace(QUIET, **changed).problems(QUIET) == [said]


def test_the_soak_compares_answers() -> None:
    crowd = clients.Crowd(1)
    wish = words.Wish("plain", "length", seed=7, size=100)
    nothing = hashlib.sha256().hexdigest()
    crowd.judge("good", wish, b"", clients.Answer(200, nothing, wish.body, last=False))
    assert crowd.account.wrong == 0
    for answer in (
        None,
        clients.Answer(502, "", b"", last=False),
        clients.Answer(200, nothing, b"poison", last=False),
        clients.Answer(200, "another", wish.body, last=False),
    ):
        crowd.judge("good", wish, b"", answer)
    assert crowd.account.wrong == len(crowd.account.examples) == 4
    assert words.Wish.of(wish.target("mixed")) == wish
    assert words.Wish.of("/mixed/p\x7fain/length/7/100") is None
