"""Probes of Kubernetes that were turned to the sidecar, which knows by their headers where they were to go.

The mesh has put `Original-Http-Port` and `Original-Http-Path` in a probe of the application, which does not speak TLS
to the kubelet; or `Original-Tcp-Port`, for a helper beside it that connects there. Only these probes are answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.rules import Placed, put_table
from meshproxy.dialects.fsm.said import Probe
from meshproxy.model.sidecar import ANY
from meshproxy.schema.shapes import Path

PORTS = {"liveness": 15901, "readiness": 15902, "startup": 15903}
KEYS = {"liveness": "LivenessProbes", "readiness": "ReadinessProbes", "startup": "StartupProbes"}
HELPER = 15904
PATH: Path = ("Spec", "Probes")
HTTP_PORT, HTTP_PATH, TCP_PORT = "original-http-port", "original-http-path", "original-tcp-port"


def put_probes(draft: Draft) -> None:
    said = draft.said.spec.probes
    for kind, probes in (("liveness", said.liveness), ("readiness", said.readiness), ("startup", said.startup)):
        path = (*PATH, KEYS[kind])
        rules = [*_rules(draft, PORTS[kind], probes, path)]
        if rules:
            name = f"probe-{kind}"
            listener: Data = {"listen": f"{ANY}:{PORTS[kind]}", "protocol": "http", "routes": name}
            put_table(draft, name, rules, path)
            draft.put("listeners", name, listener, path)


def _rules(draft: Draft, port: int, probes: Sequence[Probe], path: Path) -> Iterator[Placed]:
    for place, probe in enumerate(probes):
        get, at = probe.http_get, (*path, place, "httpGet")
        if get is None or get.port != port:
            continue
        headers = {header.name.lower(): header.value for header in get.headers}
        if HTTP_PORT in headers:
            asked = {key: {"exact": headers[key]} for key in (HTTP_PORT, HTTP_PATH) if key in headers}
            rule: Data = {"match": {"headers": asked}, "cluster": _local(draft, headers[HTTP_PORT], at)}
            if headers.get(HTTP_PATH):
                rule["rewrite"] = {"path": headers[HTTP_PATH].partition("?")[0]}
            yield rule, at
        elif TCP_PORT in headers:
            asked = {TCP_PORT: {"exact": headers[TCP_PORT]}}
            yield {"match": {"headers": asked}, "cluster": _local(draft, str(HELPER), at)}, at
        else:
            draft.note("ignored", at, "nothing says for which port of the application the probe is")


def _local(draft: Draft, port: str, path: Path) -> str:
    name = f"probe@{port}"
    draft.put("clusters", name, {"endpoints": [f"127.0.0.1:{port}"]}, path)
    return name
