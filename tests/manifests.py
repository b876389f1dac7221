"""The manifests of `deploy/` as a cluster would be given them: rendered, and read as objects.

    for pod in pods(rendered("overlays/gateway")): ...
    environment(container, {"metadata.name": "books-0"})        # as kubelet makes it

What renders them need not be there: kubectl is the machine's own, helm comes from scripts/try-manifests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "charts/meshproxy"
EVERYTHING = DEPLOY / "charts/everything.yaml"
KUBERNETES = "1.32.0"
"""For which the chart is rendered; helm asks for a number where there is no cluster."""
OVERLAYS = ("sidecar", "daemonset", "gateway", "fsm")
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")

Object = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    return objects(_said("kubectl", "kustomize", str(DEPLOY / "kustomize/overlays" / overlay)))


@cache
def charted(*options: str) -> tuple[Object, ...]:
    return objects(_said(helm(), "template", "mesh", str(CHART), "--kube-version", KUBERNETES, *options))


def helm() -> str:
    found = shutil.which("helm", path=str(ROOT / ".tools")) or shutil.which("helm")
    if found is None:
        pytest.skip("no helm here (scripts/try-manifests)")
    return found


def examples() -> list[Path]:
    return sorted((DEPLOY / "examples").glob("*.yaml"))


def objects(text: str) -> tuple[Object, ...]:
    return tuple(each for each in yaml.safe_load_all(text) if each)


def of_kind(found: Iterable[Object], *kinds: str) -> Iterator[Object]:
    return (each for each in found if each["kind"] in kinds)


def pods(found: Iterable[Object]) -> Iterator[Object]:
    """The `spec` of the pods of each workload."""
    return (each["spec"]["template"]["spec"] for each in of_kind(found, "Deployment", "DaemonSet"))


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def configured(pod: Object, found: Iterable[Object]) -> dict[str, str]:
    """The files at /etc/meshproxy of a pod."""
    proxy = next(each for each in containers(pod) if each["name"] == "meshproxy")
    volume = next(each["name"] for each in proxy["volumeMounts"] if each["mountPath"] == "/etc/meshproxy")
    name = next(each["configMap"]["name"] for each in pod["volumes"] if each["name"] == volume)
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(found, "ConfigMap")}
    files: dict[str, str] = maps[name]
    return files


def environment(container: Object, fields: Mapping[str, str]) -> dict[str, str]:
    """The variables of a container, in a pod with these fields."""
    variables: dict[str, str] = {}
    for each in container.get("env", ()):
        if "value" in each:
            variables[each["name"]] = expanded(each["value"], variables)
        else:
            variables[each["name"]] = fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
    return variables


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """With values in the place of `$(NAME)`; one that nobody knows stays, and `$$` is a plain `$`."""
    return _REFERENCE.sub(lambda found: variables.get(found[1], found[0]) if found[1] else "$", text)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
