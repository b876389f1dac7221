"""Probes as kubelet makes them, with curl for kubelet, and real servers for the application behind the proxy."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from benchmarks.process import free_port
from tests.e2e.conftest import Start, poll, starting

NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{secret} ssl;
        server_name books.shop;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        location = /healthz {{ return 200 "all of it is well"; }}
        location = /moved {{ return 302 /elsewhere; }}
        location = /broken {{ return 500 "a secret"; }}
    }}
}}
"""


def _needs(*tools: str) -> None:
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        pytest.skip(f"no {', '.join(absent)} here (scripts/install-peers)")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    _needs("nginx", "openssl", "curl")
    directory = tmp_path_factory.mktemp("nginx")
    ports = {name: free_port() for name in ("plain", "secret", "gone")}
    key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=nobody"
    subprocess.run(
        ["openssl", *key.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=directory, check=True,
        capture_output=True,
    )  # fmt: skip
    (directory / "nginx.conf").write_text(NGINX.format(**ports))
    with (directory / "log").open("wb") as log:
        served = subprocess.Popen(["nginx", "-p", str(directory), "-c", "nginx.conf"], stderr=log)
    try:
        poll(lambda: (directory / "nginx.pid").exists(), "nginx")
        yield ports
    finally:
        served.terminate()
        served.wait()


def kubelet(port: int, path: str) -> tuple[int, str]:
    """It follows a redirect of the same host, and takes what is below 400 for a success."""
    found = subprocess.run(
        ["curl", "-sS", "-L", "--max-time", "5", "-A", "kube-probe/1.33", "-w", "\n%{http_code}",
         f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    body, _, status = found.stdout.rpartition("\n")
    return int(status or 0), body.strip() or found.stderr.strip()


def checks(nginx: dict[str, int]) -> list[dict[str, Any]]:
    plain, secret = nginx["plain"], nginx["secret"]
    return [
        {"path": "/app-health/web/livez", "http": {"port": plain, "path": "/healthz"}},
        {"path": "/app-health/web/readyz", "http": {"port": secret, "path": "/healthz", "scheme": "https"}},
        {
            "path": "/app-health/web/named",
            "http": {"port": secret, "path": "/healthz", "scheme": "https", "host": "books.shop"},
        },
        {"path": "/app-health/web/startupz", "tcp": plain},
        {"path": "/moved", "http": {"port": plain, "path": "/moved"}},
        {"path": "/broken", "http": {"port": plain, "path": "/broken"}},
        {"path": "/gone", "tcp": nginx["gone"]},
    ]


@pytest.fixture(scope="module")
def probed(nginx: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a proxy with two workers that has all checks from a variable of its environment."""
    port = free_port()
    with starting(tmp_path_factory.mktemp("probed")) as start, pytest.MonkeyPatch.context() as patch:
        pod = {"probes": {"listen": f"127.0.0.1:{port}", "checks": checks(nginx)}, "node": {"service": "web"}}
        patch.setenv("MESHPROXY_POD", json.dumps(pod))
        proxy = start({"workers": 2}, "-c", "env:MESHPROXY_POD")
        assert proxy.ask("GET", "/server_info")[1]["node"] == {"service": "web"}
        yield port
        assert "app-not-well path=/broken" in proxy.log.read_text()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/app-health/web/livez", (200, "ok")),
        ("/app-health/web/readyz", (200, "ok")),
        ("/app-health/web/named", (200, "ok")),
        ("/app-health/web/startupz", (200, "ok")),
        ("/moved", (302, "ok")),
        ("/broken", (500, "the application answered 500")),
        ("/gone", (503, "connect Connection refused")),
        ("/healthz", (404, "no such check")),
    ],
)
def test_kubelet_is_told_how_the_application_is(probed: int, path: str, answer: tuple[int, str]) -> None:
    assert kubelet(probed, path) == answer


def test_grpc_services_are_asked_one_by_one(start: Start) -> None:
    _needs("curl")
    grpc = pytest.importorskip("grpc")
    health = pytest.importorskip("grpc_health.v1.health")
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
    health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc")
    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        servicer = health.HealthServicer()
        servicer.set("books", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        at = server.add_insecure_port("127.0.0.1:0")
        server.start()
        port = free_port()
        said = [
            {"path": "/all", "grpc": {"port": at, "service": ""}},
            {"path": "/books", "grpc": {"port": at, "service": "books"}},
            {"path": "/none", "grpc": {"port": at, "service": "none"}},
        ]
        start({"probes": {"listen": f"127.0.0.1:{port}", "checks": said}})
        assert kubelet(port, "/all") == (200, "ok")
        assert kubelet(port, "/books") == (503, "status not-serving")
        assert kubelet(port, "/none") == (503, "status not-found")
        servicer.set("books", health_pb2.HealthCheckResponse.SERVING)
        assert kubelet(port, "/books") == (200, "ok")
        server.stop(None).wait()


def test_a_reload_and_a_successor_answer_at_the_same_port(start: Start, tmp_path: Path) -> None:
    _needs("curl")
    port, other = free_port(), free_port()
    state = ("--state-dir", str(tmp_path / "state"))

    def said(path: str, port: int) -> dict[str, Any]:
        return {"probes": {"listen": f"127.0.0.1:{port}", "checks": [{"path": path, "tcp": other}]}}

    first = start(said("/a", port), *state)
    assert kubelet(port, "/a")[0] == 503
    first.write(said("/b", port))
    first.signal(signal.SIGHUP)
    poll(lambda: kubelet(port, "/b")[0] == 503, "the new check")
    assert kubelet(port, "/a")[0] == 404
    second = start(None, *state, "--take-over", wait=False)
    assert first.exit_code() == 0
    poll(second.serves_by_itself, "the successor")
    assert kubelet(port, "/b")[0] == 503
    assert "socket-not-needed" not in second.log.read_text()


def test_a_variable_that_is_not_there_ends_the_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESHPROXY_POD", raising=False)
    proxy = start({}, "-c", "env:MESHPROXY_POD", wait=False)
    assert proxy.exit_code() == 3
    assert "env:MESHPROXY_POD: there is nothing in this variable of the environment" in proxy.log.read_text()
