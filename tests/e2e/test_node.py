"""Two nodes with a proxy each for all workloads that live there: each is let out and in as itself, and as nobody else.

Workloads are further addresses of their node.  Connections by them and for them are redirected, and what a proxy sends
to a workload of its own node as well: only what comes from `sidecar.source` has been let in already.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import LONGEST, poll
from tests.lab import Host, Lab, needs_lab
from tests.pki import Pki

ONE_LOOP = True
UID = 1500
BUYER, BOOKS, THIEF, STRANGER, CARTS = "10.88.1.2", "10.88.1.3", "10.88.1.4", "10.88.1.5", "10.88.2.2"
SOURCES = {"one": "10.88.1.9", "two": "10.88.2.9"}
LIVING = {"one": {"buyer": BUYER, "books": BOOKS, "thief": THIEF}, "two": {"carts": CARTS}}
SERVICES = {"books": "10.96.0.3", "carts": "10.96.0.4"}


def mesh() -> str:
    """The buyer may buy books, and have carts; the thief may nothing."""
    resources: list[dict[str, Any]] = []

    def add(version: str, kind: str, name: str, **more: Any) -> None:
        more["metadata"] = {"name": name, "namespace": "shop", **more.get("metadata", {})}
        resources.append({"apiVersion": version, "kind": kind, **more})

    for name, address in (LIVING["one"] | LIVING["two"]).items():
        add("v1", "ServiceAccount", name)
        pod = {"spec": {"serviceAccountName": name}, "status": {"podIP": address}}
        add("v1", "Pod", name, **pod | {"metadata": {"labels": {"app": name}}})
    for name, address in SERVICES.items():
        port = {"name": "http", "port": 80, "targetPort": 8080}
        add("v1", "Service", name, spec={"clusterIP": address, "selector": {"app": name}, "ports": [port]})
        target = {"kind": "ServiceAccount", "name": name, "namespace": "shop"}
        rules = [{"kind": "HTTPRouteGroup", "name": "all", "matches": ["buy"]}]
        sources = [{**target, "name": "buyer"}]
        add("access.smi-spec.io/v1alpha3", "TrafficTarget", name, spec={
            "destination": target, "sources": sources, "rules": rules
        })  # fmt: skip
    add("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", "all", spec={
        "matches": [{"name": "buy", "pathRegex": "/buy", "methods": ["GET"]}]
    })  # fmt: skip
    return str(yaml.safe_dump_all(resources))


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = f"from {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


def redirect(host: Host, node: str) -> None:
    here = ",".join([*LIVING[node].values(), *([STRANGER] if node == "one" else [])])
    own = f"-p tcp -m owner --uid-owner {UID}"
    for rule in (
        f"OUTPUT -p tcp -s {SOURCES[node]} -j RETURN",
        f"OUTPUT {own} -d {here} -j REDIRECT --to-ports 15003",
        f"OUTPUT {own} -j RETURN",
        f"OUTPUT -p tcp -s {here} -j REDIRECT --to-ports 15001",
        f"PREROUTING -p tcp -d {here} -j REDIRECT --to-ports 15003",
    ):
        host.run("iptables", "-t", "nat", "-A", *rule.split())


class Site:
    def __init__(self, lab: Lab, directory: Path, stack: ExitStack) -> None:
        self.lab = lab
        self.directory = directory
        self.stack = stack
        directory.chmod(0o755)
        (directory / "mesh.yaml").write_text(mesh())
        self.ca = Pki(directory).ca()
        self.processes: dict[str, subprocess.Popen[Any]] = {}
        for node, living in LIVING.items():
            host, other = lab[node], "two" if node == "one" else "one"
            for address in (*living.values(), SOURCES[node], *([STRANGER] if node == "one" else [])):
                host.run("ip", "addr", "add", f"{address}/32", "dev", "lo")
            there = f"10.88.{2 if node == 'one' else 1}.0/24"
            host.run("ip", "route", "add", there, "via", lab[other].v4)
            host.run("ip", "route", "add", "10.96.0.0/16", "dev", "eth0")
            lab["away"].run("ip", "route", "add", f"10.88.{1 if node == 'one' else 2}.0/24", "via", host.v4)
            redirect(host, node)
            self._proxy(host, node)
        self._app("one", BOOKS)
        self._app("two", CARTS)

    def _proxy(self, host: Host, node: str) -> None:
        workloads = []
        for name, address in LIVING[node].items():
            pair = self.ca.issue(f"shop/{name}")
            papers = {"certificate": str(pair.certificate), "key": str(pair.key), "ca": str(self.ca.root)}
            whose = {"namespace": "shop", "service_account": name, "addresses": [address]}
            workloads.append({"name": name, **whose, **papers})
        said = {
            "admin": {"listen": "127.0.0.1:15000"},
            "status": {"listen": "0.0.0.0:15020"},
            "drain": {"delay": 0, "timeout": "1s"},
            "sidecar": {"source": SOURCES[node]},
            "workloads": workloads,
        }
        file = self.directory / f"{node}.yaml"
        file.write_text(yaml.safe_dump(said))
        log = self.stack.enter_context((self.directory / f"{node}.log").open("wb"))
        files = ["-c", str(file), "-c", str(self.directory / "mesh.yaml")]
        self.processes[node] = host.python("-m", "meshproxy", "run", *files, uid=UID, stderr=log)
        poll(lambda: self._ready(node), f"the proxy of node {node} is ready")

    def _ready(self, node: str) -> bool:
        assert self.processes[node].poll() is None, (self.directory / f"{node}.log").read_text()
        try:
            return self.ask(node, None, self.lab[node].v4, "/ready", port=15020)[0] == 200
        except OSError:
            return False

    def _app(self, node: str, address: str) -> None:
        with self.lab[node].inside():
            server = ThreadingHTTPServer((address, 8080), App)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)

    def ask(
        self, node: str, who: str | None, where: str, path: str, *, port: int = 80, host: str = ""
    ) -> tuple[int, str]:
        """What a workload of a node hears; None: the node itself."""
        with self.lab[node].inside():
            sock = socket.create_connection((where, port), LONGEST, (who, 0) if who is not None else None)
        connection = HTTPConnection(where, timeout=LONGEST)
        connection.sock = sock
        try:
            connection.request("GET", path, headers={"Host": host or where})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def counted(self, node: str, name: str) -> float:
        _, text = self.ask(node, None, "127.0.0.1", "/metrics", port=15020)
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    needs_lab()
    with Lab("one", "two", "away") as lab, ExitStack() as stack:
        yield Site(lab, tmp_path, stack)


def test_each_workload_of_a_node_is_let_out_and_in_as_itself(site: Site) -> None:
    books, carts = SERVICES["books"], SERVICES["carts"]

    def says(who: str, where: str, path: str, host: str) -> tuple[int, str]:
        return site.ask("one", who, where, path, host=host)

    # On its own node: by its own proxy twice, and as far as the policy goes.
    assert says(BUYER, books, "/buy", "books.shop") == (200, f"from {SOURCES['one']}")
    assert says(BUYER, books, "/sell", "books.shop")[0] == 403
    assert says(THIEF, books, "/buy", "books.shop")[0] == 403
    # On the other one: the two proxies prove each other for whom they speak.
    assert says(BUYER, carts, "/buy", "carts.shop") == (200, f"from {SOURCES['two']}")
    assert says(BUYER, carts, "/sell", "carts.shop")[0] == 403
    assert says(THIEF, carts, "/buy", "carts.shop")[0] == 403
    # Who is no workload has no chain, whatever it asks.
    refused = 'meshproxy_listener_rejected_total{listener="outbound",reason="no_chain"}'
    before = site.counted("one", refused)
    with pytest.raises(OSError):
        says(STRANGER, books, "/buy", "books.shop")
    assert site.counted("one", refused) == before + 1
    # Who comes from elsewhere, and can prove nothing, does not come in.
    assert site.ask("away", None, CARTS, "/buy", port=8080, host="carts.shop")[0] == 400
