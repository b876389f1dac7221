"""Probes of the application ask the proxy, which asks the application."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.sources.files import Files
from tests.inject.pods import deployment, done, named, of_pod, tried

PORTS = [{"name": "http", "containerPort": 8080}]


def web(**more: Any) -> dict[str, Any]:
    return {"name": "web", "image": "web:1", "ports": PORTS, **more}


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ({"httpGet": {"port": 8080}}, {"http": {"port": 8080, "path": "/", "scheme": "http"}}),
        ({"httpGet": {"port": "http", "path": "/a?b=c"}}, {"http": {"port": 8080, "path": "/a?b=c", "scheme": "http"}}),
        (
            {"httpGet": {"port": "8443", "path": "ok", "scheme": "HTTPS"}},
            {"http": {"port": 8443, "path": "/ok", "scheme": "https"}},
        ),
        (
            {"httpGet": {"port": 1, "httpHeaders": [{"name": "hOst", "value": "a.b"}, {"name": "X", "value": "$1"}]}},
            {"http": {"port": 1, "path": "/", "scheme": "http", "host": "a.b", "headers": {"X": "$$1"}}},
        ),
        ({"httpGet": {"port": 1, "host": "127.0.0.1"}}, {"http": {"port": 1, "path": "/", "scheme": "http"}}),
        ({"tcpSocket": {"port": "http"}}, {"tcp": {"port": 8080}}),
        ({"grpc": {"port": 9000}}, {"grpc": {"port": 9000, "service": ""}}),
        ({"grpc": {"port": 9000, "service": "a.B"}}, {"grpc": {"port": 9000, "service": "a.B"}}),
        ({"tcpSocket": {"port": 1}, "exec": None, "timeoutSeconds": 4}, {"tcp": {"port": 1}, "timeout": "4s"}),
    ],
)
def test_what_was_asked_is_asked_by_the_proxy(said: dict[str, Any], asked: dict[str, Any]) -> None:
    spec = done(deployment(web(livenessProbe={**said, "periodSeconds": 7})))
    (check,) = of_pod(spec)["probes"]["checks"]
    assert check == {"path": "/app-health/web/livez", "timeout": "1s", **asked}
    probe = named(spec["containers"], "web")["livenessProbe"]
    assert probe["httpGet"] == {"path": "/app-health/web/livez", "port": 15021}
    assert probe["periodSeconds"] == 7
    assert probe.get("timeoutSeconds") == said.get("timeoutSeconds")
    assert not probe.keys() & {"tcpSocket", "grpc"}


def test_no_probe_names_a_variable_of_the_proxy() -> None:
    """What looks like one is said as it stands, as kubelet would say it."""
    words = "${TOKEN} $${X} $(POD_IP) ${"
    probe = {"httpGet": {"port": 1, "httpHeaders": [{"name": "x", "value": words}]}}
    (container,) = done(deployment(web(livenessProbe=probe)))["initContainers"][1:]
    said = named(container["env"], "MESHPROXY_POD")["value"]
    # Kubelet makes one of two, and nothing else, where no variable of its own is meant.
    said = said.replace("$(POD_NAMESPACE)", "shop").replace("$(SERVICE_ACCOUNT)", "web").replace("$$", "$")
    (document,) = Files(["env:POD"], {"POD": said, "TOKEN": "secret"}).read()
    assert document.config.probes is not None
    (check,) = document.config.probes.checks
    assert check.http is not None
    assert check.http.headers == (("x", words),)


def test_each_kind_has_a_word() -> None:
    probe = {"tcpSocket": {"port": 1}}
    stays = {"name": "stays", "image": "s", "restartPolicy": "Always", "startupProbe": probe}
    spec = done(deployment(web(livenessProbe=probe, readinessProbe=probe, startupProbe=probe), initContainers=[stays]))
    assert [check["path"] for check in of_pod(spec)["probes"]["checks"]] == [
        "/app-health/stays/startupz",
        "/app-health/web/livez",
        "/app-health/web/readyz",
        "/app-health/web/startupz",
    ]
    assert of_pod(spec)["probes"]["listen"] == "0.0.0.0:15021"


def test_what_needs_no_net_stays() -> None:
    spec = done(deployment(web(livenessProbe={"exec": {"command": ["true"]}}, readinessProbe=None)))
    assert named(spec["containers"], "web")["livenessProbe"] == {"exec": {"command": ["true"]}}
    assert "probes" not in of_pod(spec)


def test_it_can_be_switched_off() -> None:
    probe = {"tcpSocket": {"port": 1}}
    spec = done(deployment(web(livenessProbe=probe), annotations={"meshproxy.io/rewriteAppProbes": "false"}))
    assert named(spec["containers"], "web")["livenessProbe"] == probe
    assert "probes" not in of_pod(spec)


@pytest.mark.parametrize(
    ("probe", "why"),
    [
        ({"httpGet": {"port": 1, "host": "other.shop"}}, 'it asks "other.shop", which is not the pod'),
        ({"tcpSocket": {"port": 1, "host": "10.0.0.1"}}, 'it asks "10.0.0.1", which is not the pod'),
        ({"httpGet": {"port": 1, "httpHeaders": [{"name": "a"}, {"name": "A"}]}}, "it has the header A more than once"),
        ({"httpGet": {"port": 1, "path": "/a b"}}, '`path` must be a path such as /v2, perhaps with a query'),
        (
            {"httpGet": {"port": 1, "httpHeaders": [{"name": "Connection", "value": "close"}]}},
            "`Connection` belongs to the connection, and no rule can change it",
        ),
        (
            {"httpGet": {"port": 1, "httpHeaders": [{"name": "X", "value": "é"}]}},
            '`X` must be printable ASCII without a space at either end, not "\\u00e9"',
        ),
    ],
)
def test_what_cannot_be_asked_over_loopback_is_left(probe: dict[str, Any], why: str) -> None:
    injected, problems, warnings = tried(deployment(web(livenessProbe=probe)))
    assert problems == []
    place = "spec.template.spec.containers[0].livenessProbe: `livenessProbe`"
    assert [warning.startswith(f"{place} is left as it is: {why}") for warning in warnings] == [True]
    assert named(injected["spec"]["template"]["spec"]["containers"], "web")["livenessProbe"] == probe


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"tcpSocket": {"port": "admin"}}, '`port` "admin" is the name of no port of container `web`'),
        (
            {"tcpSocket": {"port": 1}, "grpc": {"port": 1}},
            "`livenessProbe` must say exactly one of exec, httpGet, tcpSocket, grpc",
        ),
        ({"httpGet": {"port": 1, "scheme": "GOPHER"}}, '`scheme` must be HTTP or HTTPS, not "GOPHER"'),
    ],
)
def test_what_is_wrong_is_told(probe: dict[str, Any], words: str) -> None:
    _, problems, _ = tried(deployment(web(livenessProbe=probe)))
    assert problems == [f"spec.template.spec.containers[0].livenessProbe: {words}"]


def test_a_hook_is_left_and_told() -> None:
    hook = {"preStop": {"httpGet": {"path": "/bye", "port": 8080}}}
    injected, problems, warnings = tried(deployment(web(lifecycle=hook)))
    assert (problems, len(warnings)) == ([], 1)
    assert "`preStop` of container `web` is asked by the kubelet" in warnings[0]
    assert named(injected["spec"]["template"]["spec"]["containers"], "web")["lifecycle"] == hook


def test_a_probe_that_somebody_changed_since_is_theirs() -> None:
    manifest, _, _ = tried(deployment(web(livenessProbe={"tcpSocket": {"port": 1}})))
    theirs = {"httpGet": {"path": "/new", "port": 8080}}
    named(manifest["spec"]["template"]["spec"]["containers"], "web")["livenessProbe"] = theirs
    (check,) = of_pod(done(manifest))["probes"]["checks"]
    assert check["http"]["path"] == "/new"
