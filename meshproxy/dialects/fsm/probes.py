"""Probes of Kubernetes that were turned to the sidecar, which knows by their headers where they were to go.

The mesh has put `Original-Http-Port` and `Original-Http-Path` in a probe of the application, which does not speak TLS
to the kubelet; or `Original-Tcp-Port`, for a helper beside it that connects there. Only these probes are answered.
Anybody can ask here, so of the application only the path is asked that the document says, `/` if it says none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshproxy.dialects.fsm.draft import Data, Draft
from meshproxy.dialects.fsm.rules import Placed, put_table
from meshproxy.dialects.fsm.said import Probe
from meshproxy.model.sidecar import ANY
from meshproxy.schema.shapes import Path

NAME = "probes"
METHODS = ["GET", "HEAD"]
HELPER = 15904
PATH: Path = ("Spec", "Probes")
HTTP_PORT, HTTP_PATH, TCP_PORT = "original-http-port", "original-http-path", "original-tcp-port"


def put_probes(draft: Draft) -> None:
    ports: dict[int, None] = {}
    rules = [*_rules(draft, ports)]
    if rules:
        put_table(draft, NAME, rules, PATH)
        listen = [f"{ANY}:{port}" for port in ports]
        draft.put("listeners", NAME, {"listen": listen, "protocol": "http", "routes": NAME}, PATH)


def _probes(draft: Draft) -> Iterator[tuple[Probe, Path]]:
    said = draft.said.spec.probes
    of_kinds = {"LivenessProbes": said.liveness, "ReadinessProbes": said.readiness, "StartupProbes": said.startup}
    for key, probes in of_kinds.items():
        for place, probe in enumerate(probes):
            yield probe, (*PATH, key, place, "httpGet")


def _rules(draft: Draft, ports: dict[int, None]) -> Iterator[Placed]:
    """What each of them asks for; `ports` are those that they are turned to."""
    for probe, at in _probes(draft):
        get = probe.http_get
        if get is None:
            continue
        headers = {header.name.lower(): header.value for header in get.headers}
        if HTTP_PORT in headers or TCP_PORT in headers:
            ports[get.port] = None
        if HTTP_PORT in headers:
            asked = {key: headers[key] for key in (HTTP_PORT, HTTP_PATH) if key in headers}
            rewrite = {"path": headers.get(HTTP_PATH, "").partition("?")[0] or "/"}
            yield {**_rule(asked, _local(draft, headers[HTTP_PORT], at)), "rewrite": rewrite}, at
        elif TCP_PORT in headers:
            yield _rule({TCP_PORT: headers[TCP_PORT]}, _local(draft, str(HELPER), at)), at
        else:
            draft.note("ignored", at, "nothing says for which port of the application the probe is")


def _rule(asked: Mapping[str, str], cluster: str) -> Data:
    match = {"methods": METHODS, "headers": {name: {"exact": value} for name, value in asked.items()}}
    return {"match": match, "cluster": cluster}


def _local(draft: Draft, port: str, path: Path) -> str:
    name = f"probe@{port}"
    draft.put("clusters", name, {"endpoints": [f"127.0.0.1:{port}"]}, path)
    return name
