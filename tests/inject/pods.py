"""What tests say of pods in few words."""

from __future__ import annotations

import json
from typing import Any

from meshproxy.errors import Problem
from meshproxy.inject import Findings, Options, inject
from meshproxy.schema.shapes import path_text


def deployment(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    listed = containers or ({"name": "web", "image": "web:1"},)
    metadata = {"labels": {"app": "web"}} | ({"annotations": annotations} if annotations else {})
    template = {"metadata": metadata, "spec": {"containers": [*listed], **spec}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}}


def tried(manifest: Any, **options: Any) -> tuple[Any, list[str], list[str]]:
    """What comes of it, what is wrong, and what is warned of."""
    findings = Findings(lambda path, words: Problem(path_text(path), words))
    injected = inject(manifest, (), Options(**options), findings)
    return injected, [*map(str, findings.problems)], [*map(str, findings.warnings)]


def done(manifest: Any, **options: Any) -> Any:
    """The `spec` of the pod, where nothing is wrong."""
    injected, problems, _ = tried(manifest, **options)
    assert problems == []
    return injected["spec"]["template"]["spec"]


def named(containers: list[Any], name: str) -> Any:
    (found,) = [container for container in containers if container["name"] == name]
    return found


def of_pod(spec: Any) -> Any:
    """What the proxy is told of its pod, before the kubelet puts anything in."""
    proxy = named([*spec.get("initContainers", ()), *spec["containers"]], "meshproxy")
    return json.loads(named(proxy["env"], "MESHPROXY_POD")["value"])
