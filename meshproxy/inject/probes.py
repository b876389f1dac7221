"""Probes of the application, asked through the proxy: the kubelet comes without a certificate, and would be refused.

    moved = move(container, view, place, findings)      # of a container without handlers that are null
    moved.container     # its probes ask port 15021 of the pod
    moved.checks        # what the proxy asks the application then
    moved.originals     # what stood there

The times of a probe stay as they are. What cannot be asked over loopback is left, and said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshproxy.errors import Invalid
from meshproxy.inject.containers import PROBES_PORT
from meshproxy.inject.findings import Findings
from meshproxy.inject.view import Asked, Container, HttpGet
from meshproxy.model.probes import AppCheck
from meshproxy.model.routes import field_problems
from meshproxy.schema import decode
from meshproxy.schema.kinds import shown
from meshproxy.schema.shapes import Path

WORDS = {"livenessProbe": "livez", "readinessProbe": "readyz", "startupProbe": "startupz"}
HANDLERS = ("httpGet", "tcpSocket", "grpc")
LOOPBACK = ("", "localhost", "127.0.0.1", "::1", "[::1]")


class Left(Exception):
    """Why a probe stays as it is."""


@dataclass(slots=True)
class Moved:
    container: dict[str, Any]
    checks: list[dict[str, Any]] = field(default_factory=list)
    originals: dict[str, Any] = field(default_factory=dict)


def move(raw: dict[str, Any], view: Container, place: Path, findings: Findings) -> Moved:
    moved = Moved(dict(raw))
    for key, probe in view.probes:
        asking = [handler for handler in HANDLERS if handler in raw[key]]
        if not asking:
            continue
        if len(asking) > 1 or raw[key].get("exec") is not None:
            findings.wrong((*place, key), f"`{key}` must say exactly one of exec, {', '.join(HANDLERS)}")
            continue
        try:
            check = _check(view, key, probe)
        except Left as why:
            findings.warn((*place, key), f"`{key}` is left as it is: {why}")
        except ValueError as why:
            findings.wrong((*place, key), str(why))
        else:
            moved.checks.append(check)
            moved.originals[key] = {asking[0]: raw[key][asking[0]]}
            moved.container[key] = _exchanged(raw[key], asking[0], "httpGet", _ours(view.name, key))
    return moved


def restore(raw: dict[str, Any], originals: Mapping[str, Any]) -> dict[str, Any]:
    """The container with its own probes, without handlers that are null; one that somebody has changed since is
    theirs."""
    restored = dict(raw)
    for key in WORDS:
        probe = raw.get(key)
        if isinstance(probe, dict):
            said = {word: value for word, value in probe.items() if word not in HANDLERS or value is not None}
            if key in originals and said.get("httpGet") == _ours(str(raw["name"]), key):
                ((handler, original),) = originals[key].items()
                said = _exchanged(said, "httpGet", handler, original)
            restored[key] = said
    return restored


def _ours(container: str, key: str) -> dict[str, Any]:
    return {"path": f"/app-health/{container}/{WORDS[key]}", "port": PROBES_PORT}


def _exchanged(probe: Mapping[str, Any], old: str, new: str, handler: Any) -> dict[str, Any]:
    """With another handler in the place of the old one."""
    return {new if key == old else key: handler if key == old else value for key, value in probe.items()}


# What the proxy asks ------------------------------------------------------------------------------


def _check(view: Container, key: str, probe: Asked) -> dict[str, Any]:
    check: dict[str, Any] = {"path": f"/app-health/{view.name}/{WORDS[key]}"}
    if probe.http is not None:
        check["http"] = _http(view, probe.http)
    elif probe.tcp is not None:
        _on_loopback(probe.tcp.host)
        check["tcp"] = {"port": _port(view, probe.tcp.port)}
    elif probe.grpc is not None:
        check["grpc"] = {"port": probe.grpc.port, "service": probe.grpc.service}
    check["timeout"] = f"{probe.timeout or 1}s"
    _can_be_asked(check)
    return check


def _http(view: Container, http: HttpGet) -> dict[str, Any]:
    _on_loopback(http.host)
    if http.scheme not in ("HTTP", "HTTPS"):
        raise ValueError(f"`scheme` must be HTTP or HTTPS, not {shown(http.scheme)}")
    headers: dict[str, str] = {}
    for header in http.headers:
        name = next((known for known in headers if known.lower() == header.name.lower()), None)
        if name is not None:
            raise Left(f"it has the header {header.name} more than once")
        headers[header.name] = header.value
    host = next((headers.pop(name) for name in [*headers] if name.lower() == "host"), "")
    request: dict[str, Any] = {"path": http.path if http.path.startswith("/") else f"/{http.path}"}
    request |= ({"host": host} if host else {}) | ({"headers": headers} if headers else {})
    return {"port": _port(view, http.port), "scheme": http.scheme.lower(), **request}


def _can_be_asked(check: Mapping[str, Any]) -> None:
    """A manifest may say more than the proxy takes."""
    try:
        http = decode(AppCheck, check).http
    except Invalid as invalid:
        raise Left(invalid.problems[0].message) from None
    for _, why in field_problems("headers", http.headers if http else ()):
        raise Left(why)


def _on_loopback(host: str) -> None:
    if host not in LOOPBACK:
        raise Left(f"it asks {shown(host)}, which is not the pod")


def _port(view: Container, port: int | str) -> int:
    if isinstance(port, int):
        return port
    number = next((each.number for each in view.ports if each.name == port), None)
    if number is None:
        raise ValueError(f"`port` {shown(port)} is the name of no port of container `{view.name}`")
    return number
