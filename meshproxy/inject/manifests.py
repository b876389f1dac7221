"""Where pods stand in an object of Kubernetes: in the object itself, in a template, in the items of a list."""

from __future__ import annotations

from typing import Any

from meshproxy.inject import pod
from meshproxy.inject.findings import Findings
from meshproxy.inject.options import Options
from meshproxy.schema.shapes import Path

Known = tuple[str | None, str]
"""Group and kind, which the items of a list of one kind need not repeat."""
_TEMPLATE = ("spec", "template")
_WHERE: dict[Known, Path] = {
    ("", "Pod"): (),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
"""By group and kind."""


def inject(manifest: Any, path: Path, options: Options, findings: Findings, known: Known = (None, "")) -> Any:
    """The manifest with proxies in its pods. What is no pod, and has none, is the same as before."""
    if not isinstance(manifest, dict):
        return manifest
    version = manifest.get("apiVersion")
    group, kind = (_group(version), str(manifest.get("kind"))) if version is not None else known
    items = manifest.get("items")
    one = (group, kind.removesuffix("List"))
    if isinstance(items, list) and ((group, kind) == ("", "List") or one in _WHERE):
        below = [inject(item, (*path, "items", index), options, findings, one) for index, item in enumerate(items)]
        return {**manifest, "items": below}
    where = _WHERE.get((group, kind))
    return manifest if where is None else _exchanged(manifest, where, path, group == "batch", options, findings)


def _group(version: object) -> str | None:
    if not isinstance(version, str):
        return None
    group, slash, _ = version.partition("/")
    return group if slash else ""


def _exchanged(value: Any, where: Path, path: Path, job: bool, options: Options, findings: Findings) -> Any:
    """With another pod at the end of the way."""
    if not isinstance(value, dict):
        findings.wrong(path, "must be a mapping")
        return value
    if not where:
        return pod.inject(value, path, job, options, findings)
    step = where[0]
    if value.get(step) is None:
        findings.wrong((*path, step), f"`{step}` is missing")
        return value
    below = _exchanged(value[step], where[1:], (*path, step), job, options, findings)
    return {**value, step: below}
