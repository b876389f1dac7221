"""What kubelet does with a pod, on a host of a lab: containers, their variables and mounts, hooks and probes.

    pod = Kubelet(lab["pod"], lab["node"], injected, {"config.yaml": "..."}, tmp_path)
    pod.initialize("meshproxy-redirect")                # to its end
    pod.begin("meshproxy")
    pod.hook("meshproxy", "postStart")
    pod.probe("books", "livenessProbe")                 # from the node: a status, 0 where there is no answer

The image is this checkout, and what is mounted into a container stands elsewhere: its arguments name that place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from benchmarks.hosts import ROOT
from tests.e2e.conftest import LONGEST, poll
from tests.lab import Host
from tests.manifests import Object, containers, environment, expanded

ENTRY_POINT = (sys.executable, "-m", "meshproxy")
NAMESPACE, ACCOUNT = "shop", "books"


class Kubelet:
    def __init__(self, host: Host, node: Host, template: Object, config: Mapping[str, str], directory: Path) -> None:
        self.host = host
        self._node = node
        self._spec = template["spec"]
        self._containers = {each["name"]: each for each in containers(self._spec)}
        self._directory = directory / host.name
        self._volumes = {each["name"]: self._volume(each["name"]) for each in self._spec["volumes"]}
        for name, text in config.items():
            (self._volumes["meshproxy-config"] / name).write_text(text)
        self._fields = {
            "metadata.name": f"{host.name}-0",
            "metadata.namespace": NAMESPACE,
            "metadata.uid": "2f1b1e6e-0000-4000-8000-000000000001",
            "status.podIP": host.v4,
            "spec.nodeName": node.name,
            "spec.serviceAccountName": ACCOUNT,
        }
        self._processes: dict[str, subprocess.Popen[Any]] = {}
        self._first = self._pause() if self._spec.get("shareProcessNamespace") else None

    def volume(self, name: str) -> Path:
        return self._volumes[name]

    def log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text()

    def initialize(self, name: str) -> None:
        """A container that has to end before the next one begins."""
        self.begin(name)
        assert self.ended(name) == 0, self.log(name)

    def begin(self, name: str) -> None:
        each = self._containers[name]
        command = [*each.get("command", ENTRY_POINT), *each.get("args", ())]
        entered = () if self._first is None else ("nsenter", f"--target={self._first}", "--pid", "--mount")
        apart = (*entered, "unshare", "--mount") if entered else ()
        self._processes[name] = self._start(name, apart, command)

    def runs(self, name: str) -> bool:
        """As it should."""
        assert self._processes[name].poll() is None, self.log(name)
        return True

    def ended(self, name: str) -> int:
        return self._processes[name].wait(LONGEST)

    def terminate(self, name: str) -> None:
        self._processes[name].terminate()

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait(LONGEST)

    def hook(self, name: str, which: str) -> subprocess.Popen[Any]:
        """The command, which runs beside the container in its namespaces."""
        command = self._containers[name]["lifecycle"][which]["exec"]["command"]
        assert command[0] == "meshproxy"
        shared = self._first is not None
        within = ("nsenter", f"--target={_child(self._processes[name])}", "--pid", "--mount") if shared else ()
        return self._start(name, within, [*ENTRY_POINT, *command[1:]])

    def probe(self, name: str, which: str) -> int:
        asked = self._containers[name][which]["httpGet"]
        return self.ask(asked["path"], asked["port"])[0]

    def wait(self, name: str, which: str) -> None:
        """Until a probe has succeeded once."""

        poll(lambda: self.runs(name) and 200 <= self.probe(name, which) < 400, f"{which} of {name}")

    def ask(self, path: str, port: int, *, six: bool = False) -> tuple[int, str]:
        """The pod, from the node."""
        connection = HTTPConnection(self.host.v6 if six else self.host.v4, port, timeout=LONGEST)
        try:
            with self._node.inside():
                connection.connect()
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, HTTPException):
            return 0, ""
        finally:
            connection.close()

    def _start(self, name: str, within: Sequence[str], command: Sequence[str]) -> subprocess.Popen[Any]:
        each = self._containers[name]
        mounted = {mount["mountPath"]: str(self._volumes[mount["name"]]) for mount in each.get("volumeMounts", ())}
        variables = environment(each, self._fields)
        command = [expanded(mounted.get(word, word), variables) for word in command]
        image = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        with (self._directory / f"{name}.log").open("ab") as log:
            return self.host.start(
                [*within, *self._as(each), *command], cwd=ROOT, env={**image, **variables}, stdout=log, stderr=log
            )

    def _as(self, each: Object) -> list[str]:
        """The user, who has the capabilities of the container if he is root; and all may read the checkout."""
        said = {**self._spec.get("securityContext", {}), **each["securityContext"]}
        user, group = said["runAsUser"], said.get("runAsGroup", said["runAsUser"])
        names = said["capabilities"].get("add", ()) if user == 0 else ()
        has = ",".join(("-all", "+dac_read_search", *(f"+{name.lower()}" for name in names)))
        who = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        return ["setpriv", *who, f"--bounding-set={has}", f"--inh-caps={has}", f"--ambient-caps={has}"]

    def _volume(self, name: str) -> Path:
        place = self._directory / name
        place.mkdir(parents=True)
        place.chmod(0o777)
        return place

    def _pause(self) -> int:
        """The first process of a pod whose containers see each other."""
        made = self.host.start(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "infinity"])
        # It hears nothing else.
        self.host.cleanup(made.kill)
        return _child(made)


def _child(process: subprocess.Popen[Any]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(poll(lambda: children.read_text().split(), "a child")[0])
