"""A mesh of FSM without its sidecars: the worked example served end to end, between two proxies that speak mTLS."""

from __future__ import annotations

import json
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, LOOPS, Echo, Running, poll
from tests.e2e.pods import App, LogServer, NginxPods, Town
from tests.e2e.tls_tools import curl
from tests.observe.collectors import Collector, Told

EXAMPLE = Path(__file__).parent.parent / "dialects" / "fsm" / "golden" / "example.json"
BOOKSTORE, STORE_SERVICE, WAREHOUSE = "127.244.1.5", "127.96.0.5", "127.96.44.2"
BOOKBUYER, BOOKTHIEF, STRANGER = "127.0.0.1", "127.244.1.9", "127.0.0.50"
PORTS = (80, 443, 3306, 5432, 14001, 15901, 15902, 15903)
HOST = "bookstore.shop"


def buyer() -> dict[str, Any]:
    """What a control plane would tell the sidecar of the bookbuyer."""
    service = "bookstore.shop.svc.cluster.local"
    hosts = dict.fromkeys(("bookstore", "bookstore.shop", "bookstore.shop:80", service), service)
    rule = {"Path": ".*", "Type": "Regex", "Headers": None, "Methods": None, "AllowedServices": None}
    match = {
        "DestinationIPRanges": {"10.96.0.5/32": None},
        "Port": 80,
        "Protocol": "http",
        "HttpHostPort2Service": hosts,
        "HttpServiceRouteRules": {
            service: {
                "RouteRules": [{**rule, "TargetClusters": {"shop/bookstore|14001": 100}}],
                "ServiceIdentity": "bookbuyer.shop",
            }
        },
    }
    tcp = {
        "DestinationIPRanges": {"10.96.0.5/32": None},
        "Port": 3306,
        "Protocol": "tcp",
        "TcpServiceRouteRules": {"TargetClusters": {"shop/bookstore|3306": 100}},
    }
    return {
        "Ts": None,
        "Version": "1",
        "Spec": {"SidecarTimeout": 60},
        "Certificate": {"CommonName": "bookbuyer.shop.cluster.local"},
        "Inbound": None,
        "Outbound": {
            "TrafficMatches": {"80": [match], "3306": [tcp]},
            "ClustersConfigs": {
                "shop/bookstore|14001": {"Endpoints": {"10.244.1.5:80": {"Weight": 100}}},
                "shop/bookstore|3306": {"Endpoints": {"10.244.1.5:3306": {"Weight": 100}}},
            },
        },
        "AllowedEndpoints": {},
    }


def unhurried(example: dict[str, Any]) -> dict[str, Any]:
    """The same, where a machine that is busy is not taken for a server that does not answer, nor for a client that
    keeps below the limit of a route."""
    example["Outbound"]["ClustersConfigs"]["shop/warehouse-v1|14001"]["RetryPolicy"]["PerTryTimeout"] = LONGEST
    (service,) = example["Inbound"]["TrafficMatches"]["80"]["HttpServiceRouteRules"].values()
    service["RouteRules"][0]["RateLimit"]["Local"]["Requests"] = 1
    return example


@dataclass(frozen=True, slots=True)
class Mesh:
    town: Town
    store: Running
    buyer: Running
    papers: dict[str, dict[str, str]]
    """By workload, its own."""
    collector: Collector
    logs: LogServer

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """As the bookbuyer does, which knows nothing of TLS."""
        return asked(HTTPConnection(STORE_SERVICE, self.town.port(80), timeout=LONGEST), path, method, headers)

    def as_workload(self, name: str, path: str, source: str = BOOKBUYER, **headers: str) -> tuple[int, Any]:
        """As somebody with the papers of a workload, past its sidecar."""
        address = (BOOKSTORE, self.town.port(80))
        connection = HTTPSConnection(
            *address, timeout=LONGEST, context=self.context(name), source_address=(source, 0)
        )
        return asked(connection, path, "GET", headers)

    def context(self, name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.papers["bookstore"]["IssuingCA"])
        context.check_hostname = False
        if name is not None:
            certificate = self.town.ca / f"{name}.both"
            certificate.write_text(self.papers[name]["PrivateKey"] + self.papers[name]["CertChain"])
            context.load_cert_chain(certificate)
        return context

    def warehouse(self, path: str, method: str = "GET") -> tuple[int, Any]:
        """As the bookstore asks."""
        connection = HTTPConnection(WAREHOUSE, self.town.port(80), timeout=LONGEST)
        return asked(connection, path, method, {"host": "warehouse.shop"})


def asked(connection: HTTPConnection, path: str, method: str, headers: dict[str, str]) -> tuple[int, Any]:
    sent = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        connection.request(method, path, headers=sent)
        response = connection.getresponse()
        data = response.read().decode()
    finally:
        connection.close()
    return response.status, json.loads(data) if data.startswith("{") else (data, dict(response.getheaders()))


@pytest.fixture(scope="module")
def make_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mesh]]:
    towns: list[Town] = []
    others: list[NginxPods] = []
    apps: list[tuple[App, Echo]] = []
    logs = LogServer()

    def make(compat: dict[str, Any] | None = None, names: tuple[str, ...] = ("warehouse",)) -> Mesh:
        pytest.importorskip("cryptography", reason="there are no certificates to test with")
        if reason := NginxPods.missing():
            pytest.skip(reason)
        app, database = App("bookstore"), Echo()
        apps.append((app, database))
        town = Town(tmp_path_factory.mktemp("town"), LOOPS[0], PORTS, {"10.244.1.7": BOOKBUYER})
        towns.append(town)
        town.ports["14001"] = str(app.port)
        town.ports["3306"] = database.address.rpartition(":")[2]
        documents = {"bookstore": town.fit(unhurried(json.loads(EXAMPLE.read_text()))), "bookbuyer": town.fit(buyer())}
        # A machine has one, and there are several meshes here.
        del documents["bookstore"]["Spec"]["LocalDNSProxy"]
        observability = documents["bookstore"]["Spec"]["Observability"]
        observability["remoteLogging"]["address"] = logs.address
        observability["tracing"] |= {"address": collector.url.removeprefix("http://"), "sampledFraction": "1.00"}
        documents["bookbuyer"]["Spec"]["Observability"] = {"tracing": observability["tracing"]}
        for name in ("bookthief", "stranger"):
            documents[name] = {"Certificate": {"CommonName": f"{name}.shop.cluster.local"}}
        hosts = {f"{name}{version}.shop.svc.cluster.local": "*" for name in names for version in ("", "-v1", "-v2")}
        documents["warehouse"] = {
            "Certificate": {"CommonName": "warehouse.shop.cluster.local"},
            "Inbound": {"TrafficMatches": {"80": {"HttpHostPort2Service": hosts}}},
        }
        files = town.certify(documents)
        papers = {name: json.loads(path.read_text())["Certificate"] for name, path in files.items()}
        port = town.ports["80"]
        own = papers["warehouse"]
        pods = NginxPods(
            {f"127.244.1.21:{port}": "v1", f"127.244.1.22:{port}": "v1 too", f"127.244.1.30:{port}": "v2"},
            own["CertChain"], own["PrivateKey"], own["IssuingCA"],
        )  # fmt: skip
        pods.__enter__()
        others.append(pods)
        here = [f"{BOOKSTORE}:{town.ports[str(known)]}" for known in (80, 3306)]
        node = {"namespace": "shop", "service": "bookstore", "service_account": "bookstore"}
        store = town.pod(
            "bookstore",
            {
                "node": node,
                "sidecar": {"inbound": [*here, f"{BOOKSTORE}:{app.port}"], "outbound": f"{WAREHOUSE}:{port}"},
                "compat": compat or {},
            },
            files["bookstore"],
        )
        buying = town.pod(
            "bookbuyer",
            {"sidecar": {"outbound": [f"{STORE_SERVICE}:{port}", f"{STORE_SERVICE}:{town.ports['3306']}"]}},
            files["bookbuyer"],
        )
        return Mesh(town, store, buying, papers, collector, logs)

    with Collector("zipkin") as collector:
        yield make
    for town in towns:
        town.end()
    for each in others:
        each.__exit__(None, None, None)
    for app, database in apps:
        app.close()
        database.sock.close()
    logs.close()


@pytest.fixture(scope="module")
def mesh(make_mesh: Callable[..., Mesh]) -> Mesh:
    """As it comes, with no fault had back."""
    return make_mesh()


@pytest.fixture(scope="module")
def lenient(make_mesh: Callable[..., Mesh]) -> Mesh:
    """With two faults had back, of which neither hides the other."""
    return make_mesh({"identity": "header", "server_name": "ignored"}, names=("depot",))


def test_a_request_goes_from_workload_to_workload_by_tls_and_identity(mesh: Mesh) -> None:
    status, told = mesh.ask("/books-bought", client_app="discount")
    assert (status, told["app"], told["headers"]["serviceidentity"]) == (200, "bookstore", "bookbuyer.shop")
    assert told["headers"]["host"] == HOST
    assert told["peer"] == "127.0.0.6"
    # What an application says of itself is replaced by what its sidecar knows.
    status, told = mesh.ask("/books-bought", serviceidentity="admin.shop")
    assert (status, told["headers"]["serviceidentity"]) == (200, "bookbuyer.shop")
    # Not a method of the first rule: the second one is open to all of the mesh.
    assert mesh.ask("/books-bought", "POST")[0] == 200
    # A host that is not served here
    assert mesh.as_workload("bookbuyer", "/books-bought", host="elsewhere.shop")[0] == 403
    with socket.create_connection((STORE_SERVICE, mesh.town.port(3306)), timeout=LONGEST) as sock:
        sock.sendall(b"select 1")
        assert sock.recv(64) == b"select 1"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(64) == b""


def test_nobody_is_who_has_not_proved_it(mesh: Mesh) -> None:
    assert mesh.as_workload("bookthief", "/books-bought", BOOKTHIEF, serviceidentity="bookthief.shop")[0] == 200
    # The incumbent believed this header.
    assert mesh.as_workload("bookthief", "/books-bought", BOOKTHIEF, serviceidentity="bookbuyer.shop")[0] == 403
    assert mesh.as_workload("stranger", "/books-bought", serviceidentity="bookbuyer.shop")[0] == 403
    for papers, source in ((None, BOOKBUYER), ("bookbuyer", STRANGER)):
        with pytest.raises(OSError):
            greet((BOOKSTORE, mesh.town.port(80)), source, mesh.context(papers))
    with socket.create_connection((BOOKSTORE, mesh.town.port(80)), timeout=LONGEST) as sock:
        sock.sendall(b"GET /books-bought HTTP/1.1\r\nHost: bookstore\r\n\r\n")
        assert sock.recv(64).startswith(b"HTTP/1.1 400 ")


def greet(address: tuple[str, int], source: str, context: ssl.SSLContext) -> None:
    """Raises OSError if nobody answers."""
    # Python would lose a connection that was reset before it is wrapped, and not close it.
    with context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as sock:
        sock.settimeout(LONGEST)
        sock.bind((source, 0))
        sock.connect(address)
        sock.do_handshake()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: bookstore\r\n\r\n")
        # An alert may be on its way when the client thinks that all is agreed on.
        if not sock.recv(1):
            raise ConnectionResetError


def test_the_header_alone_counts_by_a_switch(lenient: Mesh) -> None:
    assert lenient.as_workload("stranger", "/books-bought", serviceidentity="bookbuyer.shop")[0] == 200


def test_requests_are_shared_by_weight_and_names_of_servers_are_verified(mesh: Mesh) -> None:
    seen = Counter(mesh.warehouse("/api/stock")[1][0].split()[0] for _ in range(100))
    assert seen.keys() == {"v1", "v2"}
    assert 75 <= seen["v1"] <= 99
    answer = mesh.warehouse("/api/stock")[1][0]
    assert "bookstore.shop CN=bookstore.shop.cluster.local" in answer
    # Only GET and POST are for the split; any other goes to the root service's own endpoints.
    others = {mesh.warehouse("/api/stock", "PUT")[1][0].split(" bookstore")[0] for _ in range(6)}
    assert others == {"v1", "v1 too"}


def test_a_server_with_another_name_is_not_asked(make_mesh: Callable[..., Mesh]) -> None:
    mesh = make_mesh(names=("depot",))
    status, (body, _) = mesh.warehouse("/api/stock")
    assert (status, body) == (503, "connect failed\n")
    assert 'why="TLS: wrong name"' in mesh.store.log.read_text()


def test_a_server_with_another_name_is_asked_by_a_switch(lenient: Mesh) -> None:
    assert lenient.warehouse("/api/stock")[0] == 200


def test_a_limit_of_a_route_answers_with_its_own_words(mesh: Mesh) -> None:
    connection = HTTPConnection(STORE_SERVICE, mesh.town.port(80), timeout=LONGEST)

    for _ in range(2000):
        connection.request("GET", "/books-bought", headers={"Host": HOST})
        response = connection.getresponse()
        response.read()
        if response.status == 429:
            break
    connection.close()
    assert (response.status, response.headers["x-limited"]) == (429, "route")


def test_a_probe_reaches_the_application(mesh: Mesh) -> None:
    port = mesh.town.port(15902)
    headers = ["-H", f"Original-Http-Port: {mesh.town.port(14001)}", "-H", "Original-Http-Path: /ready"]
    answer = curl(*headers, f"http://127.0.0.1:{port}/osm-healthcheck").stdout
    assert json.loads(answer)["path"] == "/ready"


def test_a_request_is_one_trace_of_both_sidecars(mesh: Mesh) -> None:
    trace, span = "0af7651916cd43dd", "00f067aa0ba902b7"
    status, told = mesh.ask("/books-bought", "POST", x_b3_traceid=trace, x_b3_spanid=span)
    assert status == 200

    def spans() -> list[Told]:
        assert mesh.collector.problems == []
        found = [span for span in mesh.collector.spans if span.trace == trace]
        return found if len(found) == 4 else []

    found = {(span.service, span.kind): span for span in poll(spans, "four spans")}
    path = [found[who, kind] for who in ("bookbuyer", "bookstore") for kind in ("server", "client")]
    assert [span.parent for span in path] == [span, *(span.id for span in path[:3])]
    headers = told["headers"]
    assert [headers[f"x-b3-{name}"] for name in ("traceid", "spanid", "sampled")] == [trace, path[3].id, "1"]


def test_a_request_leaves_a_line_with_the_keys_of_fsm(mesh: Mesh) -> None:
    assert mesh.ask("/books-bought?line", "POST", x_request_id="line-1")[0] == 200

    def line() -> dict[str, Any] | None:
        return next((row for row in mesh.logs.rows if row["req"]["headers"]["x-request-id"] == "line-1"), None)

    found = poll(line, "a line")
    query = "/?query=insert%20into%20log(message)%20format%20JSONAsString"
    assert mesh.logs.asked == {(query, "application/json", "Basic ZGVmYXVsdDo=")}
    assert found["req"] == {
        "protocol": "HTTP/1.1", "method": "POST", "path": "/books-bought?line", "reqSize": 0,
        "headers": {
            "host": HOST, "serviceidentity": "bookbuyer.shop", "x-request-id": "line-1",
            "content-type": None, "user-agent": None, "x-forwarded-for": None,
        },
    }  # fmt: skip
    port = mesh.town.port(80)
    assert {key: found[key] for key in ("type", "remoteAddr", "localAddr", "localPort")} == {
        "type": "inbound", "remoteAddr": BOOKBUYER, "localAddr": BOOKSTORE, "localPort": port
    }  # fmt: skip
    assert (found["res"]["status"], found["pod"]["ns"]) == (200, "shop")
    assert found["service"]["target"] == f"127.0.0.1:{mesh.town.port(14001)}"
    assert int(found["reqTime"]) > 1_700_000_000_000
    assert found["trace"]["id"] in {span.trace for span in mesh.collector.spans}


def test_metrics_have_the_names_of_fsm(mesh: Mesh) -> None:
    def total() -> float:
        lines = mesh.store.ask("GET", "/metrics")[1].splitlines()
        start = (
            'sidecar_cluster_upstream_rq_total{source_namespace="shop",source_workload_kind="unknown",'
            f'source_workload_name="bookstore",source_workload_pod="{socket.gethostname()}",'
            f'sidecar_cluster_name="shop/bookstore|{mesh.town.port(14001)}|local"}} '
        )
        return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))

    before = total()
    assert mesh.ask("/books-bought", "POST")[0] == 200
    assert total() == before + 1


def test_what_is_not_yet_in_force_is_told(mesh: Mesh) -> None:
    notes = mesh.store.ask("GET", "/server_info")[1]["notes"]
    assert {note["kind"] for note in notes} >= {"not-in-force", "plugin"}
    metrics = mesh.store.ask("GET", "/metrics")[1]
    assert 'meshproxy_config_notes{kind="plugin"} 1' in metrics
    dumped = json.dumps(mesh.store.ask("GET", "/config_dump")[1])
    assert "PRIVATE KEY" not in dumped
    assert "PRIVATE KEY" not in json.dumps(mesh.store.ask("GET", "/config")[1])


# The last, for it stays open for a while.
def test_a_breaker_opens_and_answers_in_its_place(mesh: Mesh) -> None:
    found = poll(lambda: [answer for answer in [mesh.warehouse("/api/fail")] if answer[0] == 520], "an open breaker")
    assert found[0][1][0] == "try later"
