"""What `meshproxy inject` writes runs: containers as kubelet begins, probes and ends them, behind rules of the kernel.

There is no cluster here.  A host of a lab is the pod, another one is the node.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshproxy.errors import Problem
from meshproxy.inject import Findings, Options, inject
from meshproxy.schema.shapes import path_text
from tests.e2e.conftest import LONGEST, poll
from tests.e2e.in_place import connected
from tests.e2e.kubelet import ACCOUNT, NAMESPACE, Kubelet
from tests.lab import Host, Lab, needs_lab
from tests.manifests import DEPLOY, ROOT

PORT = 8080
PROXY, REDIRECT = "meshproxy", "meshproxy-redirect"
APPLICATION = 1000
SECURITY = {"runAsUser": APPLICATION, "capabilities": {"drop": ["ALL"]}}
SERVED = ("python3", "-m", "http.server", "--bind", "::", "--directory")
"""Of both families."""
ASKS = "import sys, urllib.request as r; print(r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=9).status)"
NAME = b"\5books\4test\0"
RESOLVES = (
    "import socket, sys; to, query = sys.argv[1:]; family = socket.AF_INET6 if ':' in to else socket.AF_INET\n"
    "s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(9); s.sendto(bytes.fromhex(query), (to, 53))\n"
    "print(s.recv(512).hex())"
)
QUICKLY = {"drain.yaml": "drain: {delay: 0s}"}


def documented(block: int = 1) -> dict[str, str]:
    """The ConfigMap of docs/inject.md, or the part of it for `--dns`."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/inject.md").read_text(), re.M | re.S)
    return {"dns.yaml" if block == 2 else "config.yaml": blocks[block]}


def keeping_sources() -> dict[str, str]:
    """The same for TPROXY."""
    said = yaml.safe_load(documented()["config.yaml"])
    said["listeners"][1] |= {"tproxy": True, "cluster": "clients"}
    said["clusters"]["clients"] = {"original": True, "source": "client"}
    return {"config.yaml": yaml.safe_dump(said)}


def shipped() -> dict[str, str]:
    """That of the example in `deploy/kustomize`, which answers for a name as well."""
    names = {"names.yaml": "dns: {names: {books.test: [192.0.2.7]}, unknown: refuse}"}
    return {"config.yaml": (DEPLOY / "kustomize/overlays/sidecar/config.yaml").read_text(), **documented(2), **names}


def serving(pages: Path) -> dict[str, Any]:
    """An application with all its probes."""
    books = {
        "name": "books",
        "image": "books",
        "command": [*SERVED, str(pages), str(PORT)],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {"httpGet": {"path": "/started", "port": "http"}, "periodSeconds": 1},
        "livenessProbe": {
            "httpGet": {"path": "healthz?full", "port": PORT, "httpHeaders": [{"name": "A", "value": "$(POD_NAME)"}]}
        },
        "readinessProbe": {"tcpSocket": {"port": "http"}, "timeoutSeconds": 3},
        "securityContext": SECURITY,
    }
    spec = {"serviceAccountName": ACCOUNT, "containers": [books]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "books"},
        "spec": {"template": {"metadata": {"labels": {"app": "books"}}, "spec": spec}},
    }


def working(url: str) -> dict[str, Any]:
    """A Job that asks once."""
    once = {"name": "once", "image": "once", "command": ["python3", "-c", ASKS, url], "securityContext": SECURITY}
    template = {"spec": {"restartPolicy": "Never", "containers": [once]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}


def template(manifest: dict[str, Any], options: Options) -> Any:
    findings = Findings(lambda path, words: Problem(path_text(path), words))
    injected = inject(manifest, (), options, findings)
    assert findings.problems == []
    assert len(findings.warnings) == options.tproxy, "that is for privileged pods"
    return injected["spec"]["template"]


@dataclass(frozen=True, slots=True)
class Node:
    host: Host
    native: Kubelet
    older: Kubelet
    tproxy: Kubelet
    job: Kubelet

    @property
    def serving(self) -> dict[str, Kubelet]:
        return {"native": self.native, "older": self.older, "tproxy": self.tproxy}

    def begin(self) -> None:
        """All of them at once."""
        with ThreadPoolExecutor(4) as pool:
            natives = [pool.submit(self._native, pod) for pod in (self.native, self.tproxy)]
            others = [pool.submit(self._older), pool.submit(self._job)]
            for done in (*natives, *others):
                done.result()

    def _native(self, pod: Kubelet) -> None:
        pod.initialize(REDIRECT)
        pod.begin(PROXY)
        pod.wait(PROXY, "startupProbe")
        self._application(pod)

    def _older(self) -> None:
        self._held_back(self.older)
        self._application(self.older)

    def _job(self) -> None:
        self._held_back(self.job)
        self.job.begin("once")

    def _held_back(self, pod: Kubelet) -> None:
        """The next container begins when the hook of the proxy is over."""
        pod.initialize(REDIRECT)
        pod.begin(PROXY)
        hook = pod.hook(PROXY, "postStart")
        poll(lambda: pod.runs(PROXY) and hook.poll() is not None, "it is waited for")
        assert hook.returncode == 0, pod.log(PROXY)
        assert pod.probe(PROXY, "readinessProbe") == 200

    def _application(self, pod: Kubelet) -> None:
        assert pod.probe("books", "livenessProbe") == 503, "nobody is there yet"
        pod.begin("books")
        pod.wait("books", "startupProbe")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    needs_lab()
    for name in ("unshare", "nsenter", "python3"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} here")
    directory = tmp_path_factory.mktemp("injected")
    pages = directory / "pages"
    pages.mkdir()
    for name in ("started", "healthz", "page"):
        (pages / name).write_text(name)
    with Lab("native", "older", "tproxy", "job", "node") as lab:
        host = lab["node"]
        quiet = subprocess.DEVNULL
        host.start([*SERVED, str(pages), "80"], stdout=quiet, stderr=quiet)

        def pod(name: str, manifest: dict[str, Any], options: Options, config: Mapping[str, str]) -> Kubelet:
            return Kubelet(lab[name], host, template(manifest, options), {**config, **QUICKLY}, directory)

        made = Node(
            host,
            pod("native", serving(pages), Options(), documented()),
            pod("older", serving(pages), Options(form="older", dns=True), shipped()),
            pod("tproxy", serving(pages), Options(interception="tproxy"), keeping_sources()),
            pod("job", working(f"http://{host.v4}/page"), Options(form="older"), documented()),
        )
        made.begin()
        yield made


@pytest.fixture(params=["native", "older", "tproxy"])
def pod(node: Node, request: pytest.FixtureRequest) -> Kubelet:
    return node.serving[request.param]


def passed(pod: Kubelet, listener: str) -> int:
    """Connections that a listener has taken."""
    metrics = pod.ask("/metrics", 15020)[1]
    (count,) = re.findall(rf'^meshproxy_listener_connections_total{{listener="{listener}"}} (\d+)$', metrics, re.M)
    return int(count)


def test_kubelet_hears_of_the_application_what_it_would_hear_itself(pod: Kubelet) -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod.probe("books", probe) == 200
    for probe in ("livenessProbe", "readinessProbe"):
        assert pod.probe(PROXY, probe) == 200
    # By loopback, and as it was written.
    assert re.search(r'127\.0\.0\.1 - - \[[^]]+\] "GET /healthz\?full HTTP/1\.1" 200', pod.log("books"))


@pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])
def test_what_comes_in_passes_the_proxy(node: Node, pod: Kubelet, six: bool) -> None:
    before = passed(pod, "inbound")
    assert pod.ask("/page", PORT, six=six) == (200, "page")
    assert passed(pod, "inbound") == before + 1
    client = node.host.v6 if six else f"::ffff:{node.host.v4}"
    assert (f"{client} - - " in pod.log("books")) is (pod is node.tproxy), "whom the application sees"


@pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])
def test_what_goes_out_passes_the_proxy(node: Node, pod: Kubelet, six: bool) -> None:
    before = passed(pod, "outbound")
    url = f"http://[{node.host.v6}]/page" if six else f"http://{node.host.v4}/page"
    asked = pod.host.finish(("python3", "-c", ASKS, url), uid=APPLICATION)
    assert asked.stdout == "200\n", asked.stderr + pod.log(PROXY)
    assert passed(pod, "outbound") == before + 1


@pytest.mark.parametrize("server", ["10.77.0.254", "fd77::fe"])
def test_whoever_is_asked_for_a_name_the_proxy_answers(node: Node, server: str) -> None:
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + NAME + b"\0\1\0\1"
    asked = node.older.host.finish(("python3", "-c", RESOLVES, server, query.hex()), uid=APPLICATION)
    assert bytes.fromhex(asked.stdout).endswith(bytes((192, 0, 2, 7))), asked.stderr


def test_the_proxy_knows_its_pod_and_keeps_its_state_in_the_volume(node: Node) -> None:
    said = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:15000/config').read().decode())"
    (told,) = yaml.safe_load_all(node.native.host.run("python3", "-c", said))
    assert told["node"]["namespace"] == NAMESPACE
    assert told["node"]["service_account"] == ACCOUNT
    assert told["node"]["labels"] == {"app": "books"}
    assert [*node.native.volume("meshproxy-state").iterdir()]


def test_a_native_sidecar_ends_after_its_application(node: Node) -> None:
    pod = node.native
    pod.kill("books")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod.probe("books", probe) == 503
    assert pod.probe(PROXY, "readinessProbe") == 200
    pod.terminate(PROXY)
    assert pod.ended(PROXY) == 0


def test_an_older_sidecar_serves_until_its_application_has_finished(node: Node) -> None:
    """Both are told at once: the proxy by a hook, which is over when everybody has gone."""
    pod = node.older
    held = connected(node.host, (pod.host.v4, PORT))
    hook = pod.hook(PROXY, "preStop")
    poll(lambda: pod.probe(PROXY, "readinessProbe") == 503, "it is not ready any more")
    assert pod.ask("/page", PORT) == (200, "page")
    assert pod.probe("books", "livenessProbe") == 200
    pod.terminate("books")
    held.close()
    assert hook.wait(LONGEST) == 0
    assert pod.ended(PROXY) == 0


def test_a_job_ends_and_its_older_sidecar_with_it(node: Node) -> None:
    assert node.job.ended("once") == 0, node.job.log("once")
    assert node.job.log("once") == "200\n"
    assert node.job.ended(PROXY) == 0
    assert "pod-over" in node.job.log(PROXY)


def test_nothing_went_wrong_unseen(node: Node) -> None:
    for pod in (*node.serving.values(), node.job):
        assert "Traceback" not in pod.log(PROXY)
