"""One pod, or the template of pods: what was injected goes, and what is wanted now comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from meshproxy.errors import Invalid, Problem
from meshproxy.inject import checks, probes
from meshproxy.inject.containers import added
from meshproxy.inject.findings import Findings
from meshproxy.inject.options import INJECT, STATUS, Options, chosen, unknown
from meshproxy.inject.undo import LISTS, SHARED, Injection, undo
from meshproxy.inject.view import Head, Pod
from meshproxy.schema import decode
from meshproxy.schema.shapes import Path

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def inject(pod: dict[str, Any], path: Path, job: bool, options: Options, findings: Findings) -> dict[str, Any]:
    """The pod that stands at `path` with a proxy; the same one, if it is to have none or cannot. `job`: of pods that
    are to end."""
    try:
        return _Place(pod, path, findings).injected(job, options)
    except Invalid as invalid:
        findings.problems += invalid.problems
        return pod


@dataclass(slots=True)
class _Place:
    raw: dict[str, Any]
    path: Path
    findings: Findings

    def told(self, place: Path, words: str) -> Problem:
        return self.findings.told((*self.path, *place), words)

    def injected(self, job: bool, options: Options) -> dict[str, Any]:
        annotations = dict(decode(Head, self.raw, self.told).metadata.annotations)
        wanted = self._of(INJECT, annotations, chosen, True)
        injection = self._of(STATUS, annotations, Injection.of, None)
        if not wanted and injection is None:
            return self.raw
        view = decode(Pod, self.raw, self.told)
        if refused := _no_place(view):
            self.findings.warn((*self.path, "spec"), f"no proxy is put here: {refused}")
            return self.raw if injection is None else undo(self.raw, injection)
        bare = undo(self.raw, injection)
        return self._with(bare, decode(Pod, bare, self.told), job, options) if wanted else bare

    def _of(self, key: str, annotations: Mapping[str, str], read: Callable[[str], Any], otherwise: Any) -> Any:
        try:
            return read(annotations[key]) if key in annotations else otherwise
        except ValueError as why:
            raise Invalid([self.told(("metadata", "annotations", key), f"`{key}` {why}")]) from None

    def _with(self, bare: dict[str, Any], view: Pod, job: bool, options: Options) -> dict[str, Any]:
        annotations = dict(view.metadata.annotations)
        at = (*self.path, "metadata", "annotations")
        options = options.of(annotations, lambda key, why: self.findings.wrong((*at, key), f"`{key}` {why}"))
        spec: dict[str, Any] = dict(bare["spec"])
        asked, originals = self._probes(spec, view) if options.rewrite_probes else ([], {})
        ends = job or view.spec.restart != "Always"
        more = added(options, asked, dict(view.metadata.labels), ends=ends)
        names = {key: [item["name"] for item in more[key]] for key in LISTS}
        self._look_at(view, names["volumes"], options)
        fields = {}
        if ends and options.form == "older":
            # What makes the proxy see that the others have ended.
            fields[SHARED] = spec.get(SHARED)
            spec[SHARED] = True
        notes = {} if options.form == "native" or DEFAULT_CONTAINER in annotations else _first(view)
        template = sha256(json.dumps(more, sort_keys=True).encode()).hexdigest()[:16]
        injection = Injection(template, {**names, "annotations": [*notes]}, originals, fields)
        metadata = {**bare.get("metadata", {})}
        metadata["annotations"] = {**metadata.get("annotations", {}), **notes, STATUS: injection.text()}
        return _put({**bare, "spec": _lists(spec, more)}, "metadata", metadata, before="spec")

    def _look_at(self, view: Pod, volumes: Sequence[str], options: Options) -> None:
        for key, hint in unknown(dict(view.metadata.annotations)):
            self.findings.warn((*self.path, "metadata", "annotations", key), f"`{key}` means nothing{hint}")
        for name, words in checks.refusals(view, set(volumes), options):
            self.findings.wrong(self._where(name), words)
        for name, words in checks.warnings(view, options):
            self.findings.warn(self._where(name), words)

    def _probes(self, spec: dict[str, Any], view: Pod) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """The checks of all containers; what their probes were. In `spec` they are other ones then."""
        asked: list[dict[str, Any]] = []
        originals: dict[str, dict[str, Any]] = {}
        for key, views in (("initContainers", view.spec.init_containers), ("containers", view.spec.containers)):
            containers = []
            for raw, each in zip(spec.get(key) or (), views, strict=True):
                moved = probes.move(raw, each, self._where(each.name), self.findings)
                containers.append(moved.container)
                asked += moved.checks
                if moved.originals:
                    originals[each.name] = moved.originals
            if containers:
                spec[key] = containers
        return asked, originals

    def _where(self, name: str) -> Path:
        """Where a container stands in what was given; or else the pod."""
        for key in LISTS[:2]:
            for index, container in enumerate(self.raw["spec"].get(key) or ()):
                if name and container["name"] == name:
                    return (*self.path, "spec", key, index)
        return (*self.path, "spec")


def _no_place(view: Pod) -> str:
    if view.spec.host_network:
        return "the pod is on the network of its node, whose traffic would be redirected"
    return "the pod is not of Linux" if view.spec.system.name != "linux" else ""


def _first(view: Pod) -> dict[str, str]:
    """Whom `kubectl logs` and `exec` mean if they are not told, though the proxy stands before it."""
    return {DEFAULT_CONTAINER: view.spec.containers[0].name} if view.spec.containers else {}


def _lists(spec: dict[str, Any], more: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    for key in LISTS:
        there = spec.get(key, [])
        if together := [*there, *more[key]] if key == "volumes" else [*more[key], *there]:
            spec = _put(spec, key, together, before="containers" if key == "initContainers" else "")
    return spec


def _put(mapping: Mapping[str, Any], key: str, value: Any, before: str) -> dict[str, Any]:
    """With this value; where the key is new, it stands before another one, or else at the end."""
    if key in mapping or before not in mapping:
        return {**mapping, key: value}
    put: dict[str, Any] = {}
    for known, item in mapping.items():
        if known == before:
            put[key] = value
        put[known] = item
    return put
