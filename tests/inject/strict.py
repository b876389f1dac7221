"""What a cluster would say of a pod, as far as an injection could get it wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\(([^)]*)\)")
CONTAINER = set(
    "name image command args env ports volumeMounts resources livenessProbe readinessProbe startupProbe lifecycle "
    "securityContext restartPolicy".split()
)
PROBE = set("periodSeconds failureThreshold timeoutSeconds initialDelaySeconds".split())
HANDLERS = {"httpGet", "tcpSocket", "grpc", "exec"}


def pods(value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        return
    if value.get("kind") == "List":
        for item in value["items"]:
            yield from pods(item)
    elif value.get("kind") == "Pod":
        yield "Pod", value
    elif value.get("kind") == "CronJob":
        yield "Job", value["spec"]["jobTemplate"]["spec"]["template"]
    elif value.get("apiVersion") in ("v1", "apps/v1", "batch/v1") and "template" in value.get("spec", {}):
        yield value["kind"], value["spec"]["template"]


def faults(value: Any) -> list[str]:
    return [fault for kind, pod in pods(value) for fault in _of_pod(kind, pod)]


def _of_pod(kind: str, pod: Any) -> Iterator[str]:
    spec = pod["spec"]
    for key, text in (pod.get("metadata", {}).get("annotations") or {}).items():
        if not isinstance(text, str):
            yield f"annotation {key} is no text"
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    names = [container["name"] for container in containers]
    volumes = [volume["name"] for volume in spec.get("volumes", ())]
    claims = {"data"}
    if len({*names}) < len(names) or len({*volumes}) < len(volumes):
        yield "a name stands twice"
    if any(len(volume) != 2 for volume in spec.get("volumes", ())):
        yield "a volume is of several kinds"
    for container in containers:
        name = container["name"]
        if not NAME.fullmatch(name) or not container.get("image"):
            yield f"{name}: no name, or no image"
        if more := container.keys() - CONTAINER:
            yield f"{name}: {more}"
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in {*volumes, *claims}:
                yield f"{name} mounts {mount['name']}"
        for port in container.get("ports", ()):
            if "name" in port and not PORT_NAME.fullmatch(port["name"]):
                yield f"{name}: {port['name']} is no name of a port"
        yield from _probes(container)
        yield from _variables(container)
    if kind in ("Job", "Pod") and spec.get("restartPolicy") not in (None, "Always", "Never", "OnFailure"):
        yield "a wrong restartPolicy"
    for container in spec["containers"]:
        if "restartPolicy" in container:
            yield f"{container['name']} is no init container, and has a restartPolicy"
    for container in spec.get("initContainers", ()):
        probed = container.keys() & {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"}
        if probed and container.get("restartPolicy") != "Always":
            yield f"{container['name']} ends, and has {probed}"


def _probes(container: Any) -> Iterator[str]:
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(key)
        if probe is not None and (len(probe.keys() & HANDLERS) != 1 or probe.keys() - HANDLERS - PROBE):
            yield f"{container['name']}: {key} {probe}"


def _variables(container: Any) -> Iterator[str]:
    """The kubelet puts in only what stands above."""
    known: set[str] = set()
    for variable in container.get("env", ()):
        for name in VARIABLE.findall(variable.get("value", "")):
            if name not in known:
                yield f"{container['name']}: {variable['name']} needs {name}"
        known.add(variable["name"])
    for argument in container.get("args", ()):
        for name in VARIABLE.findall(argument):
            if name not in known:
                yield f"{container['name']}: {argument} needs {name}"


def restricted(pod: Any) -> list[str]:
    """Containers that Pod Security does not admit as `restricted`."""
    spec = pod["spec"]
    return [
        container["name"]
        for container in (*spec.get("initContainers", ()), *spec["containers"])
        if not _is_restricted(container.get("securityContext", {}))
    ]


def _is_restricted(said: Any) -> bool:
    capabilities = said.get("capabilities", {})
    return (
        said.get("allowPrivilegeEscalation") is False
        and said.get("runAsNonRoot") is True
        and said.get("runAsUser") != 0
        and "ALL" in capabilities.get("drop", ())
        and {*capabilities.get("add", ())} <= {"NET_BIND_SERVICE"}
        and said.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost")
    )
