"""SMI's own workflow with real processes: nobody may ask, one may, a split of 90 to 10, a canary by a header."""

from __future__ import annotations

import json
import signal
import ssl
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import LONGEST, LOOPS, Running, poll
from tests.e2e.pods import App, Town
from tests.pki import Ca, Pair, Pki

SERVICE = "127.96.1.1"
PODS = {"bookstore-v1": "127.244.2.1", "bookstore-v2": "127.244.2.2"}

ACCOUNTS = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: bookbuyer, namespace: books}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: bookthief, namespace: books}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: bookstore-v1, namespace: books}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: bookstore-v2, namespace: books}}
"""

ROUTES = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: bookstore-routes, namespace: books}
spec:
  matches:
  - {name: buy, pathRegex: /buy, methods: [GET]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: testers, namespace: books}
spec:
  matches:
  - {name: firefox, headers: {user-agent: ".*Firefox.*"}}
"""


def target(version: str) -> str:
    return f"""
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: bookstore-{version}, namespace: books}}
spec:
  destination: {{kind: ServiceAccount, name: bookstore-{version}, namespace: books}}
  rules: [{{kind: HTTPRouteGroup, name: bookstore-routes, matches: [buy]}}]
  sources: [{{kind: ServiceAccount, name: bookbuyer, namespace: books}}]
"""


def split(v1: int, v2: int, matches: str = "") -> str:
    return f"""
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: bookstore, namespace: books}}
spec:
  service: bookstore
  {matches}
  backends: [{{service: bookstore-v1, weight: {v1}}}, {{service: bookstore-v2, weight: {v2}}}]
"""


def workloads(ports: dict[str, int], service_port: int) -> str:
    """Two versions of the bookstore, each with a service of its own, and one that stands for the first."""
    services = {"bookstore": "bookstore-v1", "bookstore-v1": "bookstore-v1", "bookstore-v2": "bookstore-v2"}
    found: list[dict[str, Any]] = []
    for number, (name, version) in enumerate(services.items(), 1):
        port, target_port = {"name": "http", "port": service_port}, ports[version]
        found += [
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "books"},
                "spec": {
                    "clusterIP": f"127.96.1.{number}", "selector": {"version": version},
                    "ports": [{**port, "targetPort": "web"}],
                },
            },
            {
                "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name, "namespace": "books"},
                "subsets": [{
                    "addresses": [{"ip": PODS[version], "targetRef": {"kind": "Pod", "name": version}}],
                    "ports": [{"name": "http", "port": target_port}],
                }],
            },
        ]  # fmt: skip
    found += [
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "books", "labels": {"version": name}},
            "spec": {
                "serviceAccountName": name,
                "containers": [{"name": "app", "ports": [{"name": "web", "containerPort": ports[name]}]}],
            },
            "status": {"podIP": address},
        }
        for name, address in PODS.items()
    ]  # fmt: skip
    return str(yaml.safe_dump_all(found))


class Bookstore:
    def __init__(self, directory: Path) -> None:
        # First: where there are no certificates the test is skipped, and nothing may be left open.
        pki = directory / "pki"
        pki.mkdir()
        self._ca: Ca = Pki(pki).ca()
        self.town = Town(directory, LOOPS[0], (80,), {})
        self.port = self.town.port(80)
        self._apps = {name: App(name) for name in PODS}
        self._policy = directory / "policy"
        self._policy.mkdir()
        ports = {name: app.port for name, app in self._apps.items()}
        self._write("0-accounts.yaml", ACCOUNTS)
        self._write("1-workloads.yaml", workloads(ports, self.port))
        self._write("2-routes.yaml", ROUTES)
        self.papers = {name: self._ca.issue(f"books/{name}") for name in (*PODS, "bookbuyer", "bookthief")}
        stores = {name: {"inbound": f"{address}:{ports[name]}"} for name, address in PODS.items()}
        self._stores = [self._pod(name, where) for name, where in stores.items()]
        self._buyer = self._pod("bookbuyer", {"outbound": f"{SERVICE}:{self.port}"})
        self.addresses = {name: (address, ports[name]) for name, address in PODS.items()}

    def _write(self, name: str, text: str) -> None:
        (self._policy / name).write_text(text)

    def _pod(self, name: str, where: dict[str, str]) -> Running:
        pair: Pair = self.papers[name]
        papers = {"certificate": str(pair.certificate), "key": str(pair.key), "ca": str(self._ca.root)}
        elsewhere = {"inbound": "127.0.0.1:0", "outbound": "127.0.0.1:0"}
        node = {"namespace": "books", "service_account": name}
        return self.town.pod(name, {"node": node, "sidecar": {**elsewhere, **where, **papers}}, self._policy)

    def apply(self, name: str, text: str) -> None:
        """All sidecars serve it when this returns."""
        before = {pod: pod.ask("GET", "/server_info")[1]["generation"] for pod in (*self._stores, self._buyer)}
        self._write(name, text)
        for pod in before:
            pod.signal(signal.SIGHUP)
        changed = [pod for pod in before if pod is self._buyer or "target" in name]
        poll(lambda: any(pod.ask("GET", "/server_info")[1]["generation"] > before[pod] for pod in changed), name)

    def ask(self, path: str = "/buy", **headers: str) -> tuple[int, str]:
        """As the bookbuyer."""
        connection = HTTPConnection(SERVICE, self.port, timeout=LONGEST)
        return self._asked(connection, path, headers)

    def steal(self, version: str, path: str = "/buy") -> int:
        """As the bookthief, who has papers of the mesh."""
        context = ssl.create_default_context(cafile=str(self._ca.root))
        context.check_hostname = False
        pair = self.papers["bookthief"]
        context.load_cert_chain(pair.certificate, pair.key)
        return self._asked(HTTPSConnection(*self.addresses[version], timeout=LONGEST, context=context), path, {})[0]

    @staticmethod
    def _asked(connection: HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, str]:
        connection.request("GET", path, headers={"Host": "bookstore.books", **headers})
        response = connection.getresponse()
        data = response.read().decode()
        connection.close()
        return response.status, json.loads(data)["app"] if response.status == 200 else ""

    def end(self) -> None:
        self.town.end()
        for app in self._apps.values():
            app.close()


@pytest.fixture
def bookstore(tmp_path: Path) -> Iterator[Bookstore]:
    it = Bookstore(tmp_path)
    yield it
    it.end()


def test_the_workflow_of_smi(bookstore: Bookstore) -> None:
    # Nothing is allowed that nobody has allowed.
    assert bookstore.ask() == (403, "")
    bookstore.apply("3-target-v1.yaml", target("v1"))
    poll(lambda: bookstore.ask() == (200, "bookstore-v1"), "the bookbuyer may buy")
    assert bookstore.ask("/sell") == (403, "")
    assert bookstore.steal("bookstore-v1") == 403

    bookstore.apply("4-split.yaml", split(90, 10))
    # The new version has not allowed anybody yet: a split says where, and a target says who.
    found = Counter(bookstore.ask() for _ in range(100))
    assert found.keys() == {(200, "bookstore-v1"), (403, "")}
    bookstore.apply("3-target-v2.yaml", target("v2"))
    poll(lambda: (200, "bookstore-v2") in {bookstore.ask() for _ in range(50)}, "the bookbuyer may buy of the new one")
    found = Counter(bookstore.ask() for _ in range(200))
    assert found.keys() == {(200, "bookstore-v1"), (200, "bookstore-v2")}
    assert 160 <= found[200, "bookstore-v1"] <= 198

    bookstore.apply("4-split.yaml", split(0, 100, "matches: [{kind: HTTPRouteGroup, name: testers}]"))
    poll(lambda: {bookstore.ask(**{"User-Agent": "a Firefox"}) for _ in range(9)} == {(200, "bookstore-v2")}, "testers")
    # Who matches nothing goes where the service itself leads.
    assert {bookstore.ask(**{"User-Agent": "curl"}) for _ in range(9)} == {(200, "bookstore-v1")}
    assert bookstore.steal("bookstore-v2") == 403
