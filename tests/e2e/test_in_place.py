"""Two pods of a mesh, between which the kernel redirects all that their applications send and are sent.

What runs in them knows nothing of a proxy: curl, clients of MQTT and Redis, and one of a server that speaks first.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, poll
from tests.e2e.in_place import ANYBODY, GREETING, Greeter, Pod, connected, listening, program
from tests.e2e.pods import App
from tests.lab import Host, Lab, needs_lab
from tests.pki import Pki

SERVICE, SERVICE_SIX = "10.96.1.1", "fd96::1"
"""Of the bookstore.  Nobody has them: who connects to them comes to the proxy or nowhere."""
NAME = "bookstore.books"
WEB, REDIS, MQTT, MYSQL = 8080, 6379, 1883, 3306
PORTS = {"http": WEB, "tcp-redis": REDIS, "tcp-mqtt": MQTT, "tcp-mysql": MYSQL}


def account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "books"}}


def workloads(store: Host) -> list[dict[str, Any]]:
    meta = {"name": "bookstore", "namespace": "books"}
    ports = [{"name": name, "port": port, "targetPort": port} for name, port in PORTS.items()]
    containers = [{"name": "app", "ports": [{"containerPort": port} for port in PORTS.values()]}]
    pod = {"kind": "Pod", "name": "bookstore"}
    return [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {
                "clusterIP": SERVICE, "clusterIPs": [SERVICE, SERVICE_SIX], "selector": {"app": "bookstore"},
                "ports": ports,
            },
        },
        {
            "apiVersion": "v1", "kind": "Endpoints", "metadata": meta,
            "subsets": [{
                "addresses": [{"ip": address, "targetRef": pod} for address in (store.v4, store.v6)],
                "ports": [{"name": name, "port": port} for name, port in PORTS.items()],
            }],
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "labels": {"app": "bookstore"}},
            "spec": {"serviceAccountName": "bookstore", "containers": containers}, "status": {"podIP": store.v4},
        },
    ]  # fmt: skip


def policy() -> list[dict[str, Any]]:
    """The bookbuyer may ask for everything below /buy, and speak to what is not HTTP."""
    match = {"name": "buy", "pathRegex": "/buy", "methods": ["GET"]}
    rules = [
        {"kind": "HTTPRouteGroup", "name": "store", "matches": ["buy"]}, {"kind": "TCPRoute", "name": "behind"},
    ]  # fmt: skip
    meta = {"namespace": "books"}
    return [
        {
            "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": {**meta, "name": "store"},
            "spec": {"matches": [match]},
        },
        {
            "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "TCPRoute", "metadata": {**meta, "name": "behind"},
            "spec": {"matches": {"ports": list(PORTS.values())}},
        },
        {
            "apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget", "metadata": {**meta, "name": "store"},
            "spec": {
                "destination": {"kind": "ServiceAccount", "name": "bookstore", "namespace": "books"},
                "rules": rules,
                "sources": [{"kind": "ServiceAccount", "name": "bookbuyer", "namespace": "books"}],
            },
        },
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mesh:
    buyer: Pod
    store: Pod
    stranger: Host
    """Without a sidecar."""


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    needs_lab()
    directory = tmp_path_factory.mktemp("in-place")
    pki = directory / "pki"
    pki.mkdir()
    ca = Pki(pki).ca()
    with Lab("buyer", "store", "stranger") as lab:
        buyer, store = Pod(lab["buyer"], directory), Pod(lab["store"], directory)
        for family in ("-4", "-6"):
            # To services, which are nowhere.
            lab["buyer"].run("ip", family, "route", "add", "default", "dev", "eth0")
        said = directory / "mesh.json"
        items = [account("bookbuyer"), account("bookstore"), *workloads(lab["store"]), *policy()]
        said.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        ends = furnish(lab["store"], directory)
        for name, pod in (("bookbuyer", buyer), ("bookstore", store)):
            pair = ca.issue(f"books/{name}")
            papers = {"certificate": str(pair.certificate), "key": str(pair.key), "ca": str(ca.root)}
            ports = (("inbound", 15003), ("outbound", 15001))
            both = {side: [f"0.0.0.0:{port}", f"[::]:{port}"] for side, port in ports}
            dns = {"name": "dns", "listen": ["127.0.0.1:5300", "[::1]:5300"], "protocol": "dns"}
            native = {
                "node": {"namespace": "books", "service_account": name},
                "sidecar": {**both, **papers},
                "listeners": [dns],
                "dns": {"names": {NAME: [SERVICE, SERVICE_SIX]}, "unknown": "refuse"},
            }
            pod.proxy(native, said)
        buyer.resolver("10.77.0.254")
        for pod in (buyer, store):
            pod.wait()
        yield Mesh(buyer, store, lab["stranger"])
        for end in ends:
            end.close()


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def mesh(pods: Mesh, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    for pod in (pods.buyer, pods.store):
        pod.redirect("--backend", request.param, "--dns-port", "5300")
    yield pods
    for pod in (pods.buyer, pods.store):
        pod.redirect("--backend", request.param, does="--remove")


def furnish(store: Host, directory: Path) -> list[Any]:
    """The applications, at loopback alone."""
    with store.inside():
        app = App("bookstore", ("127.0.0.1", WEB))
    redis, mosquitto = program("redis-server"), program("mosquitto")
    for name, found in (("redis-server", redis), ("mosquitto", mosquitto)):
        if found is None:
            pytest.skip(f"no {name} here (scripts/install-peers)")
    quiet = (directory / "apps.log").open("ab")
    store.start([str(redis), "--port", str(REDIS), "--save", "", "--dir", str(directory)], stdout=quiet, stderr=quiet)
    conf = directory / "mosquitto.conf"
    conf.write_text(f"listener {MQTT} 127.0.0.1\nallow_anonymous true\nuser root\n")
    store.start([str(mosquitto), "-c", str(conf)], stdout=quiet, stderr=quiet)
    for port in (REDIS, MQTT):
        poll(listening(store, port), f"port {port}")
    return [app, Greeter(store, MYSQL), quiet]


def test_a_path_is_allowed_and_another_one_is_not(mesh: Mesh) -> None:
    status, body = mesh.buyer.curl(f"http://{NAME}:{WEB}/buy/1")
    assert status == 200, mesh.buyer.log + mesh.store.log
    told = json.loads(body)
    assert (told["app"], told["path"], told["peer"]) == ("bookstore", "/buy/1", "127.0.0.1")
    assert mesh.buyer.curl(f"http://{NAME}:{WEB}/sell")[0] == 403
    assert mesh.buyer.curl("-X", "POST", f"http://{NAME}:{WEB}/buy/1")[0] == 403


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_the_name_of_a_service_leads_to_it_in_both_families(mesh: Mesh, family: str) -> None:
    """A short name, by the search domain of the pod; the answer is the proxy's, whoever was asked."""
    status, body = mesh.buyer.curl(family, f"http://bookstore:{WEB}/buy")
    assert (status, json.loads(body)["app"]) == (200, "bookstore")


def test_who_is_not_in_the_mesh_does_not_come_in(mesh: Mesh) -> None:
    for address in (mesh.store.host.v4, mesh.store.host.v6):
        peer = connected(mesh.stranger, (address, WEB))
        peer.sendall(f"GET /buy HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        peer.settimeout(LONGEST)
        try:
            heard = peer.recv(4096)
        except ConnectionResetError:
            heard = b""
        assert b" 200 " not in heard
        peer.close()
    # Nor past the rules: at the proxy's own ports nobody is from outside.
    for port in (15001, 15003, 15000):
        with mesh.stranger.inside(), pytest.raises(OSError):
            socket.create_connection((mesh.store.host.v4, port), 0.3).recv(1)


def test_what_is_nobody_s_service_is_not_let_out(mesh: Mesh) -> None:
    with mesh.stranger.inside():
        server = socket.create_server(("0.0.0.0", 80))
    assert mesh.buyer.curl(f"http://{mesh.stranger.v4}/") == (0, "")
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()
    server.close()
    assert mesh.buyer.rejected("outbound").get("no_chain", 0) >= 1
    # The proxy itself may go anywhere.
    with mesh.stranger.inside():
        app = App("stranger", ("0.0.0.0", 80))
    assert mesh.buyer.curl(f"http://{mesh.stranger.v4}/", uid=1500)[0] == 200
    app.close()


def test_redis_and_mqtt_know_nothing(mesh: Mesh) -> None:
    for name in ("redis-cli", "mosquitto_pub", "mosquitto_sub"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} here (scripts/install-peers)")
    buyer = mesh.buyer
    assert buyer.run("redis-cli", "-h", NAME, "-p", str(REDIS), "set", "a", "1").stdout == "OK\n"
    assert buyer.run("redis-cli", "-h", SERVICE, "-p", str(REDIS), "get", "a").stdout == "1\n"
    broker = ("-h", NAME, "-p", str(MQTT), "-t", "books/sold", "-q", "1")
    buyer.run("mosquitto_pub", *broker, "-m", "three", "-r")
    assert buyer.run("mosquitto_sub", *broker, "-C", "1", "-W", "5").stdout == "three\n"


def test_a_server_that_speaks_first_is_heard_at_once(mesh: Mesh) -> None:
    """Its port is said: nobody waits for the client to say what it speaks."""
    said = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); s.settimeout(2.5)\n"
        "first = s.recv(99); s.sendall(b'select 1'); print(first, s.recv(99))"
    )
    assert mesh.buyer.run("python3", "-c", said, NAME, str(MYSQL)).stdout == f"{GREETING!r} b'SELECT 1'\n"


def test_a_name_that_nobody_has_is_refused(mesh: Mesh) -> None:
    asked = mesh.buyer.run("getent", "ahosts", "elsewhere.example", check=False)
    assert (asked.returncode, asked.stdout) == (2, "")
    found = mesh.buyer.run("getent", "ahosts", NAME).stdout
    assert {line.split()[0] for line in found.splitlines()} == {SERVICE, SERVICE_SIX}


def test_while_the_proxy_is_down_nothing_goes_by(mesh: Mesh) -> None:
    """The rules stay: fail closed.  It comes back, and all is as before."""
    mesh.buyer.kill()
    assert mesh.buyer.curl(f"http://{SERVICE}:{WEB}/buy") == (0, "")
    assert mesh.buyer.curl(f"http://{mesh.store.host.v4}:{WEB}/buy") == (0, "")
    mesh.buyer.again()
    mesh.buyer.wait()
    assert mesh.buyer.curl(f"http://{SERVICE}:{WEB}/buy")[0] == 200
    assert mesh.buyer.run("id", "-u").stdout == f"{ANYBODY}\n"
