"""Pods of FSM in network namespaces: each with the rules of its init container and our image's `pipy` as its sidecar.

    with Pods(tmp_path, bookbuyer="bookbuyer", store="bookstore") as pods:     # by pod, its service account
        pods.serve({"bookbuyer": document, "store": document})      # from a control plane, to each its own
        pods.start()
        pods["bookbuyer"].curl("http://10.96.0.5/books")            # as the application does, which knows nothing

Sidecars run as uid 1500 and applications as uid 1000; services have addresses of 10.96.0.0/16, which nobody owns.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.conftest import poll
from tests.e2e.plane_thread import PlaneThread
from tests.e2e.pods import ROOT, App, certified
from tests.lab import Host, Lab

SERVICES = "10.96.0.0/16"
SIDECAR, APPLICATION = 1500, 1000
RESOLVER = "127.0.0.153"
PLANE = "plane"

RULES = """*nat
:FSM_PROXY_INBOUND - [0:0]
:FSM_PROXY_IN_REDIRECT - [0:0]
:FSM_PROXY_OUTBOUND - [0:0]
:FSM_PROXY_OUT_REDIRECT - [0:0]
-A FSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-port 15003
-A PREROUTING -p tcp -j FSM_PROXY_INBOUND
-A FSM_PROXY_INBOUND -p tcp --dport 15010 -j RETURN
-A FSM_PROXY_INBOUND -p tcp --dport 15901 -j RETURN
-A FSM_PROXY_INBOUND -p tcp --dport 15902 -j RETURN
-A FSM_PROXY_INBOUND -p tcp --dport 15903 -j RETURN
-A FSM_PROXY_INBOUND -p tcp --dport 15904 -j RETURN
-A FSM_PROXY_INBOUND -p tcp -j FSM_PROXY_IN_REDIRECT
-A FSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-port 15001
-A OUTPUT -p udp -d 127.0.0.153 --dport 53 -j DNAT --to-destination 127.0.0.153:5300
-A OUTPUT -p tcp -j FSM_PROXY_OUTBOUND
-A FSM_PROXY_OUTBOUND -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j FSM_PROXY_IN_REDIRECT
-A FSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner 1500 -j RETURN
-A FSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A FSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN
-A FSM_PROXY_OUTBOUND -j FSM_PROXY_OUT_REDIRECT
COMMIT
"""
"""As the init container writes them."""


class Pod:
    def __init__(self, host: Host, plane: Host, directory: Path, stack: ExitStack, account: str) -> None:
        self.host = host
        self.elsewhere = plane
        """A host that is in no mesh."""
        self.control = PlaneThread(plane)
        stack.callback(self.control.end)
        self.log = directory / f"{host.name}.log"
        self.sidecar: subprocess.Popen[Any] | None = None
        self._stack = stack
        self._environment = {
            "MESH_NAME": "fsm", "POD_UID": f"uid-{host.name}", "POD_NAME": f"{host.name}-6d8f7c9b5-x2x4q",
            "POD_NAMESPACE": "shop", "POD_IP": host.v4, "SERVICE_ACCOUNT": account,
            "POD_CONTROLLER_KIND": "Deployment", "POD_CONTROLLER_NAME": host.name,
        }  # fmt: skip

    def place(self) -> None:
        """As kubelet and the init container leave it."""
        self.host.run("ip", "route", "add", SERVICES, "dev", "eth0")
        self.redirect()
        place = Path("/etc/netns", self.host.namespace)
        place.mkdir(parents=True)
        self.host.cleanup(shutil.rmtree, place)
        (place / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:2 attempts:2\n")

    def redirect(self) -> None:
        self.host.run("iptables-restore", input=RULES)

    def redirect_ourselves(self) -> None:
        """The same by our own program, and nothing of theirs."""
        self.host.run("iptables", "-t", "nat", "-F")
        self.host.run("iptables", "-t", "nat", "-X")
        self.ours("--apply")

    def ours(self, what: str) -> None:
        options = "--layout", "fsm", "--dns-port", "5300", "--families", "4"
        self.host.run(sys.executable, "-m", "meshproxy", "redirect", what, *options, cwd=ROOT)

    def start(self, *options: str, **environment: str) -> subprocess.Popen[Any]:
        """The sidecar, by the command line of the injector."""
        command = "pipy", "--log-level=info", "--admin-port=6060", *options, self.control.plane.url
        said = {**self._environment, "XDG_STATE_HOME": "", **environment}
        with self.log.open("ab") as log:
            self.sidecar = self.host.python("-m", "meshproxy.dropin", *command, uid=SIDECAR, env=said, stderr=log)
        return self.sidecar

    def program(self, name: str, *arguments: str) -> subprocess.Popen[Any]:
        """One that kubelet runs in the sidecar's container."""
        with self.log.open("ab") as log:
            return self.host.python("-m", "meshproxy.dropin", name, *arguments, uid=SIDECAR, stderr=log)

    def app(self, name: str, port: int) -> App:
        with self.host.inside():
            app = App(name, ("127.0.0.1", port))
        self._stack.callback(app.close)
        return app

    def curl(self, *arguments: str) -> str:
        """As the application."""
        who = "setpriv", "--reuid", str(APPLICATION), "--regid", str(APPLICATION), "--clear-groups"
        return self.host.run(*who, "curl", "-s", "-m", "10", *arguments, check=False)

    def python(self, program: str, *arguments: str) -> str:
        """Likewise; what it prints."""
        command = [sys.executable, "-c", program, *arguments]
        return self.host.finish(command, uid=APPLICATION, check=True).stdout

    def status(self, *arguments: str) -> int:
        return int(self.curl("-o", "/dev/null", "-w", "%{http_code}", *arguments))

    def ready(self) -> bool:
        return self.status("http://127.0.0.1:15000/ready") == 200


class Pods:
    def __init__(self, directory: Path, **accounts: str) -> None:
        """Names of pods, each with its service account."""
        self._directory = directory
        self._accounts = accounts
        self._stack = ExitStack()
        self._pods: dict[str, Pod] = {}
        self.documents: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> Pod:
        return self._pods[name]

    def __enter__(self) -> Pods:
        try:
            self.lab = self._stack.enter_context(Lab(PLANE, *self._accounts))
            plane = self.lab[PLANE]
            for name, account in self._accounts.items():
                pod = Pod(self.lab[name], plane, self._directory, self._stack, account)
                pod.place()
                self._pods[name] = pod
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pod in self._pods.values():
            if pod.sidecar is not None:
                pod.sidecar.kill()  # else it would drain
        self._stack.close()

    def serve(self, documents: Mapping[str, dict[str, Any]]) -> None:
        """With certificates, which are made for all of them at once."""
        for name, path in certified(self._directory, dict(documents)).items():
            self.documents[name] = json.loads(path.read_text())
            self.commit(name, "1")

    def commit(self, name: str, version: str) -> None:
        """What stands in `documents` is pushed to the sidecar."""
        self._pods[name].control.commit(version, self.documents[name])

    def start(self) -> None:
        for pod in self._pods.values():
            pod.start()
        for name, pod in self._pods.items():
            poll(pod.ready, f"{name} is ready: {pod.log.read_text()}")
