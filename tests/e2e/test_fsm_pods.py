"""A mesh of FSM whose sidecars have been replaced: applications that know nothing of it, behind iptables, by mTLS."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack, suppress
from functools import partial
from http.client import HTTPConnection

import pytest

from tests.e2e.conftest import LONGEST, Echo, poll
from tests.e2e.fsm_pods import PLANE, SIDECAR, Pods
from tests.e2e.fsm_shop import (
    APP,
    CALLED,
    CALLS,
    CALLS_APP,
    DATABASE,
    FLAKY,
    HOST,
    IDENTITY,
    LIMITED_SQL,
    SERVICE,
    STORES,
    Mesh,
    buyer,
    store,
)
from tests.lab import Host, needs_lab
from tests.observe.collectors import Collector, Told
from tests.wire import dns_messages as dns

ELSEWHERE = "192.0.2.7"
"""The address of every name that the server of names knows, and the mesh does not."""
CALLER = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1], [("grpc.default_authority", sys.argv[2])])
print(channel.unary_unary("/test.Service/Echo")(b"hello", timeout=10).decode())
print(*(each.decode() for each in channel.stream_stream("/test.Service/Talk")(iter([b"one", b"two"]), timeout=10)))
try:
    channel.unary_unary("/test.Service/Steal")(b"", timeout=10)
except grpc.RpcError as error:
    print(error.code().name)
"""

INCUMBENT = """
import socket, ssl, sys
from h2.connection import H2Connection
context = ssl.create_default_context(cafile=sys.argv[1])
context.check_hostname = False
context.load_cert_chain(sys.argv[1])
sock = context.wrap_socket(socket.create_connection((sys.argv[2], 80), 10))
assert sock.selected_alpn_protocol() is None
talk = H2Connection()
talk.initiate_connection()
fields = dict(zip((":method", ":scheme", ":authority", ":path", "serviceidentity"), ("GET", "https", *sys.argv[3:])))
talk.send_headers(1, list(fields.items()), end_stream=True)
events = []
while not any(type(event).__name__ == "StreamEnded" for event in events):
    sock.sendall(talk.data_to_send())
    events += talk.receive_data(sock.recv(65536))
print(next(dict(event.headers)[b":status"].decode() for event in events if hasattr(event, "headers")))
"""
"""A sidecar of FSM, as it asks with HTTP/2: at once, within TLS by which nothing was agreed on."""


class Names:
    """A server of names that knows all of them."""

    def __init__(self, host: Host) -> None:
        with host.inside():
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sock.bind((host.v4, 53))
        self.address = host.v4
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, client = self._sock.recvfrom(4096)
            if not data:
                return
            question = dns.heard(data)
            found = dns.record(dns.TO_QUESTION, dns.A, 60, socket.inet_aton(ELSEWHERE))
            asked = question.asked.endswith(dns.A.to_bytes(2) + b"\0\1")
            self._sock.sendto(dns.message(question.id, question.asked, [found] if asked else []), client)

    def close(self) -> None:
        with suppress(OSError):  # It wakes who reads, and says that there was no connection.
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(LONGEST)
        self._sock.close()


class Shop:
    def __init__(self, pods: Pods, collector: Collector) -> None:
        self.pods = pods
        self.buyer = pods["buyer"]
        self.collector = collector

    def buy(self, path: str, *more: str) -> tuple[int, str]:
        text, _, status = self.buyer.curl(
            "-w", "\n%{http_code}", "-H", f"Host: {HOST}", *more, f"http://{SERVICE}{path}"
        ).rpartition("\n")
        return int(status), text

    def connect(self, port: int) -> socket.socket:
        """To the database."""
        with self.buyer.host.inside():
            return socket.create_connection((DATABASE, port), LONGEST)

    def echoed(self, port: int) -> bytes:
        with self.connect(port) as sock:
            try:
                sock.sendall(b"select 1")
                return sock.recv(64)
            except ConnectionError:
                return b""

    def metric(self, name: str, cluster: str) -> int:
        """Of the buyer."""
        page = self.buyer.curl("http://127.0.0.1:15010/stats/prometheus")
        found = re.search(rf'^{name}\{{[^}}]*sidecar_cluster_name="{re.escape(cluster)}"\}} (\d+)', page, re.MULTILINE)
        assert found is not None, page
        return int(found[1])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    pytest.importorskip("cryptography", reason="there are no certificates to test with")
    needs_lab()
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("pods")
        pods = stack.enter_context(Pods(directory, buyer="bookbuyer", v1="bookstore", v2="bookstore"))
        plane = pods.lab[PLANE]
        names = Names(plane)
        stack.callback(names.close)
        with pods["v1"].host.inside():
            database = Echo()
        stack.callback(database.sock.close)
        with plane.inside():
            collector = Collector("zipkin", plane.v4)
        stack.enter_context(collector)
        mesh = Mesh(collector.url.removeprefix("http://"), names.address)
        addresses = {version: pods[version].host.v4 for version in STORES}
        documents = {"buyer": buyer(addresses, mesh)}
        for version in STORES:
            pods[version].app(version, APP)
            documents[version] = store(version, pods["buyer"].host.v4, database.address, mesh)
        pods.serve(documents)
        pods.start()
        yield Shop(pods, collector)


@pytest.fixture(scope="module")
def calls(shop: Shop) -> Iterator[None]:
    """A server of gRPC in the first store."""
    grpc = pytest.importorskip("grpc", reason="there is no gRPC to test with")
    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
        "Talk": grpc.stream_stream_rpc_method_handler(lambda requests, _: (each[::-1] for each in requests)),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
    with shop.pods["v1"].host.inside():
        server.add_insecure_port(f"127.0.0.1:{CALLS_APP}")
    server.start()
    yield
    server.stop(None).wait(LONGEST)


@pytest.fixture(params=["meshproxy redirect", "init container"])
def rules(shop: Shop, request: pytest.FixtureRequest) -> Iterator[None]:
    """Rules of redirection in all pods: our own program's, or as they are for all other tests."""
    ours = request.param == "meshproxy redirect"
    pods = [shop.pods[name] for name in ("buyer", *STORES)]
    with futures.ThreadPoolExecutor(len(pods)) as several:
        if ours:
            [*several.map(lambda pod: pod.redirect_ourselves(), pods)]
        yield
        if ours:
            [*several.map(lambda pod: pod.ours("--remove"), pods)]
            [*several.map(lambda pod: pod.redirect(), pods)]


@pytest.mark.usefixtures("rules")
def test_requests_of_an_application_that_knows_nothing_are_shared_and_prove_who_asks(shop: Shop) -> None:
    answers = [shop.buy("/buy") for _ in range(20)]
    assert {status for status, _ in answers} == {200}
    told = [json.loads(text) for _, text in answers]
    assert {each["app"] for each in told} == {"v1", "v2"}
    assert {each["peer"] for each in told} == {"127.0.0.6"}
    assert {each["headers"]["serviceidentity"] for each in told} == {IDENTITY}
    assert json.loads(shop.buyer.curl("http://127.0.0.1:15000/certs"))["CommonName"] == "bookbuyer.shop.cluster.local"
    assert "PRIVATE" not in shop.buyer.curl("http://127.0.0.1:15000/certs", "http://127.0.0.1:15000/config_dump")


def test_who_may_not_is_refused_whatever_its_application_says_of_itself(shop: Shop) -> None:
    assert shop.buy("/steal") == (403, "Access denied")
    assert shop.buy("/steal", "-H", "serviceidentity: bookthief.shop") == (403, "Access denied")
    assert shop.buyer.status("-H", "Host: elsewhere.shop", f"http://{SERVICE}/buy") == 403
    assert shop.buyer.curl(f"http://{SERVICE}:81/buy") == ""


@pytest.mark.usefixtures("rules")
def test_nobody_comes_past_the_sidecar_and_names_are_those_of_the_mesh(shop: Shop) -> None:
    for port in (80, 14001, 15000, 6060):
        address = f"http://{shop.pods['v1'].host.v4}:{port}/buy"
        assert shop.buyer.elsewhere.run("curl", "-s", "-m", "0.5", "-H", f"Host: {HOST}", address, check=False) == ""
    assert shop.echoed(3306) == b"select 1"
    assert json.loads(shop.buyer.curl(f"http://{HOST}/buy"))["path"] == "/buy"
    found = shop.buyer.python("import socket; print(socket.gethostbyname('elsewhere.example'))")
    assert found.strip() == ELSEWHERE


def test_probes_come_past_it(shop: Shop) -> None:
    headers = "-H", "Original-Http-Port: 14001", "-H", "Original-Http-Path: /alive"
    url = f"http://{shop.pods['v1'].host.v4}:15901/osm-healthcheck"
    assert json.loads(shop.buyer.elsewhere.run("curl", "-s", *headers, url))["path"] == "/alive"


@pytest.mark.usefixtures("calls")
def test_calls_go_through_both_sidecars_message_by_message(shop: Shop) -> None:
    said = shop.buyer.python(CALLER, f"{CALLS}:9000", f"{CALLED}:9000")
    assert said.splitlines() == ["hello", "eno owt", "PERMISSION_DENIED"]
    assert shop.metric("sidecar_cluster_upstream_rq_total", "shop/bookstore-v1|9000") == 3


def test_a_sidecar_that_is_not_replaced_yet_is_understood_in_http2(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("h2", reason="there is nobody to ask in HTTP/2")
    papers = tmp_path_factory.mktemp("incumbent") / "papers.pem"
    said = shop.pods.documents["buyer"]["Certificate"]
    papers.write_text("".join(said[key] for key in ("CertChain", "PrivateKey", "IssuingCA")))
    address = shop.pods["v1"].host.v4
    for path, status in (("/buy", "200"), ("/steal", "403")):
        command = [sys.executable, "-c", INCUMBENT, str(papers), address, HOST, path, IDENTITY]
        assert shop.buyer.host.finish(command, uid=SIDECAR, check=True).stdout.strip() == status


def test_connections_are_limited(shop: Shop) -> None:
    assert [shop.echoed(LIMITED_SQL) for _ in range(3)] == [b"select 1", b"select 1", b""]


def test_requests_are_limited(shop: Shop) -> None:
    assert [shop.buy("/buy/limited")[0] for _ in range(3)] == [200, 200, 429]
    assert "\nx-wait: 1m" in shop.buy("/buy/limited", "-i")[1]


def test_a_cluster_that_fails_is_left_alone(shop: Shop) -> None:
    answers = [shop.buy("/buy/broken/fail") for _ in range(3)]
    assert [status for status, _ in answers] == [503, 503, 520]
    assert answers[-1][1] == "later"


def test_who_fails_once_is_asked_again(shop: Shop) -> None:
    assert shop.buy("/buy/flaky/once")[0] == 200
    assert shop.metric("sidecar_cluster_upstream_rq_retry", FLAKY) == 1
    assert shop.metric("sidecar_cluster_upstream_rq_total", FLAKY) == 1


@pytest.mark.parametrize(("path", "app"), [("/buy/second", "v1"), ("/buy/spare", "v2")])
def test_if_nobody_is_there_the_spare_one_is_asked(shop: Shop, path: str, app: str) -> None:
    status, text = shop.buy(path)
    assert (status, json.loads(text)["app"]) == (200, app)


def test_a_request_is_one_trace(shop: Shop) -> None:
    trace = "0af7651916cd43dd"
    assert shop.buy("/buy/traced", "-H", f"x-b3-traceid: {trace}", "-H", "x-b3-spanid: 00f067aa0ba902b7")[0] == 200

    def spans() -> list[Told]:
        assert shop.collector.problems == []
        found = [span for span in shop.collector.spans if span.trace == trace]
        return found if len(found) == 4 else []

    assert Counter((span.service, span.kind) for span in poll(spans, "four spans")) == {
        (who, kind): 1 for who in ("bookbuyer", "bookstore") for kind in ("server", "client")
    }


def test_a_change_of_policy_fails_no_request(shop: Shop) -> None:
    pods, shares = shop.pods, f"shop/bookstore-{{}}|{APP}".format
    over = threading.Event()
    apps: list[str] = []

    def buying() -> None:
        with shop.buyer.host.inside():
            while not over.is_set():
                connection = HTTPConnection(SERVICE, timeout=LONGEST)
                for _ in range(3):
                    connection.request("GET", "/buy", headers={"Host": HOST})
                    answer = connection.getresponse()
                    assert answer.status == 200
                    apps.append(json.loads(answer.read())["app"])
                connection.close()

    def changed(new: str, enough: int) -> bool:
        return {*apps[-20:]} == {new} and len(apps) > enough

    with futures.ThreadPoolExecutor(2) as several:
        buyers = [several.submit(buying) for _ in range(2)]
        try:
            for version, new in enumerate(("v2", "v1"), 2):
                rules = pods.documents["buyer"]["Outbound"]["TrafficMatches"]["80"][0]["HttpServiceRouteRules"]
                [service] = rules.values()
                service["RouteRules"][-1]["TargetClusters"] = {shares(new): 100}
                enough = len(apps) + 40
                pods.documents[new]["Spec"]["SidecarTimeout"] = 60 + version
                pods.commit("buyer", str(version))
                pods.commit(new, str(version))
                poll(partial(changed, new, enough), "the change")
        finally:
            over.set()
        for each in buyers:
            each.result(LONGEST)


# The last ones, for they end the bookstores.


def test_only_a_container_of_the_pod_can_end_the_sidecar(shop: Shop) -> None:
    pod = shop.pods["v1"]
    pod.host.run("iptables", "-t", "nat", "-F", "PREROUTING")  # else nobody would come there at all
    there, here = f"http://{pod.host.v4}:15000", "http://127.0.0.1:15000"
    for asked in (["-X", "POST", f"{there}/quitquitquit"], [f"{there}/config_dump"]):
        assert shop.buyer.elsewhere.run("curl", "-s", *asked).startswith("Forbidden")
    assert shop.buyer.elsewhere.run("curl", "-s", f"{there}/ready") == "LIVE\n"
    assert pod.status("-X", "POST", "-H", "Host: evil.example", f"{here}/quitquitquit") == 403
    assert pod.status(f"{here}/quitquitquit") == 404
    assert pod.curl("-X", "POST", f"{here}/quitquitquit") == "DONE\n"
    assert pod.sidecar is not None
    assert pod.sidecar.wait(LONGEST) == 0


def test_the_signal_of_the_image_drains(shop: Shop) -> None:
    pod = shop.pods["v2"]
    assert pod.sidecar is not None
    pod.sidecar.send_signal(signal.SIGQUIT)
    poll(lambda: "INFO draining" in pod.log.read_text(), "draining")
    assert pod.status("http://127.0.0.1:15000/ready") == 503
    pod.sidecar.send_signal(signal.SIGQUIT)
    assert pod.sidecar.wait(LONGEST) == 0
    for each in ("buyer", "v1", "v2"):
        said = shop.pods[each].log.read_text()
        assert "Traceback" not in said
        assert "not-in-force" not in said
