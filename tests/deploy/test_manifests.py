"""What a cluster is given: pods that may do little, configurations that can be run, and ports that both agree on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshproxy import __version__
from meshproxy.admin import api
from meshproxy.dialects import read
from meshproxy.model import Config, combine
from meshproxy.model.config import LOOPBACK
from tests import manifests
from tests.manifests import CHART, DEPLOY, EVERYTHING, OVERLAYS, Object, containers, of_kind, pods

DEPLOYING = [
    *(pytest.param(overlay, id=f"kustomize-{overlay}") for overlay in OVERLAYS if overlay != "fsm"),
    pytest.param(("chart",), id="chart"),
    pytest.param(("chart", "-f", str(EVERYTHING)), id="chart-with-everything"),
    *(pytest.param(path, id=path.stem) for path in manifests.examples() if "fsm" not in path.stem),
]
"""All that has pods with a proxy."""
ALL = [
    *DEPLOYING,
    pytest.param("fsm", id="kustomize-fsm"),
    pytest.param(DEPLOY / "examples/fsm-namespace.yaml", id="fsm-namespace"),
]
USER = 1500
"""Of the image."""
STARTED = ["run", "-c", "/etc/meshproxy", "--state-dir", "/var/lib/meshproxy"]
"""By the image itself."""
TOLD = ["-c", "env:MESHPROXY_POD"]
REDIRECTING = "meshproxy-redirect"
OF_NODES = "DaemonSet"


def found(which: str | tuple[str, ...] | Path) -> tuple[Object, ...]:
    if isinstance(which, Path):
        return manifests.objects(which.read_text())
    return manifests.rendered(which) if isinstance(which, str) else manifests.charted(*which[1:])


def config(files: dict[str, str]) -> Config:
    return combine([read(text.encode(), name, {}) for name, text in sorted(files.items())])


def proxies(objects: tuple[Object, ...]) -> list[tuple[Object, Object, Config]]:
    """Each pod with a proxy, that container, and what it is configured to do."""
    return [
        (pod, proxy, config(manifests.configured(pod, objects)))
        for pod in pods(objects)
        for proxy in containers(pod)
        if proxy["name"] == "meshproxy"
    ]


@pytest.mark.parametrize("which", ALL)
def test_there_is_something_to_apply_and_names_are_said_once(which: Any) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in found(which)]
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("which", DEPLOYING)
def test_containers_may_do_what_the_restricted_profile_allows_and_no_more(which: Any) -> None:
    for pod in pods(found(which)):
        general = pod.get("securityContext", {})
        assert not pod.get("hostPID")
        assert not pod.get("hostIPC")
        assert not any("hostPath" in volume for volume in pod.get("volumes", ()))
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            own = {**general, **container["securityContext"]}
            added = set(own["capabilities"].get("add", ()))
            assert own["capabilities"]["drop"] == ["ALL"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["seccompProfile"] == {"type": "RuntimeDefault"}
            # The one that writes rules is what the profile forbids; it says so, and is told apart by its name.
            redirects = container["name"] == REDIRECTING
            assert own["runAsNonRoot"] is not redirects
            assert (own["runAsUser"] == 0) is redirects
            assert added == ({"NET_ADMIN", "NET_RAW"} if redirects else set())


@pytest.mark.parametrize("which", DEPLOYING)
def test_ports_of_the_host_are_for_the_proxies_of_nodes_alone(which: Any) -> None:
    for each in of_kind(found(which), "Deployment"):
        pod = each["spec"]["template"]["spec"]
        assert not pod.get("hostNetwork")
        assert not any("hostPort" in port for container in containers(pod) for port in container.get("ports", ()))


@pytest.mark.parametrize("which", DEPLOYING)
def test_the_proxy_is_configured_with_what_it_accepts_and_opens_what_the_manifest_says(which: Any) -> None:
    for pod, proxy, said in proxies(found(which)):
        ports = {each["name"]: each["containerPort"] for each in proxy["ports"]}
        opened = {address.port for listener in said.listeners for address in listener.listen}
        outside = {
            address.port for listener in said.listeners for address in listener.listen if address.host != LOOPBACK.host
        }
        assert said.status is not None
        # kubelet and Prometheus come from outside the pod; the admin API is for those within.
        assert said.status.listen.host == "0.0.0.0"
        assert said.admin.listen == LOOPBACK
        assert set(ports.values()) == outside | {said.status.listen.port}
        assert all(port >= 1024 for port in opened)
        # `auto` counts the CPUs of a limit; without one it would be those of the node.
        assert said.workers != "auto" or "cpu" in proxy["resources"]["limits"]
        grace = said.drain.delay + said.drain.timeout
        assert pod["terminationGracePeriodSeconds"] > grace


@pytest.mark.parametrize("which", DEPLOYING)
def test_probes_and_scrapes_ask_what_the_status_listener_answers(which: Any) -> None:
    answered = {route.path for route in api.STATUS_ROUTES}
    for _, proxy, said in proxies(found(which)):
        assert said.status is not None
        ports = {each["name"]: each["containerPort"] for each in proxy["ports"]}
        # A container that holds back the next by a hook has been ready when it is over.
        starting = () if "lifecycle" in proxy else ("startupProbe",)
        for probe in (*starting, "readinessProbe", "livenessProbe"):
            asked = proxy[probe]["httpGet"]
            assert asked["path"] in answered
            assert ports.get(asked["port"], asked["port"]) == said.status.listen.port
        assert proxy["livenessProbe"]["httpGet"]["path"] == "/live"
    for each in of_kind(found(which), "Deployment", "DaemonSet"):
        scraped = each["spec"]["template"]["metadata"].get("annotations", {})
        if "prometheus.io/port" in scraped:
            assert scraped["prometheus.io/path"] in answered
            assert scraped["prometheus.io/port"] == "15020"


@pytest.mark.parametrize("which", DEPLOYING)
def test_the_root_is_read_only_so_the_state_has_a_volume(which: Any) -> None:
    assert f"CMD {json.dumps(STARTED)}" in (manifests.ROOT / "Dockerfile.multiarch").read_text()
    for pod, proxy, _ in proxies(found(which)):
        mounted = {each["mountPath"]: each for each in proxy["volumeMounts"]}
        volumes = {each["name"]: each for each in pod["volumes"]}
        assert mounted["/etc/meshproxy"]["readOnly"] is True
        assert "emptyDir" in volumes[mounted["/var/lib/meshproxy"]["name"]]
        own = {**pod.get("securityContext", {}), **proxy["securityContext"]}
        assert own["runAsUser"] == own["runAsGroup"] == USER
        # A sidecar is told of its pod besides.
        assert proxy.get("args", STARTED) == [*STARTED[:3], *(TOLD if "env" in proxy else ()), *STARTED[3:]]
        assert ":" in proxy["image"]
        assert not proxy["image"].endswith(":latest")


@pytest.mark.parametrize("which", DEPLOYING)
def test_selectors_find_their_pods_and_services_their_ports(which: Any) -> None:
    objects = found(which)
    templates = [each["spec"]["template"] for each in of_kind(objects, "Deployment", "DaemonSet")]
    for each in of_kind(objects, "Deployment", "DaemonSet"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for each in of_kind(objects, "Service"):
        chosen = [one for one in templates if each["spec"]["selector"].items() <= one["metadata"]["labels"].items()]
        assert len(chosen) == 1
        ports = {
            (port["name"], port.get("protocol", "TCP"))
            for container in containers(chosen[0]["spec"])
            for port in container.get("ports", ())
        }
        for port in each["spec"]["ports"]:
            assert (port["targetPort"], port.get("protocol", "TCP")) in ports
    for each in of_kind(objects, "PodDisruptionBudget"):
        wanted = each["spec"]["selector"]["matchLabels"].items()
        assert [one for one in templates if wanted <= one["metadata"]["labels"].items()]


def test_the_proxy_of_a_node_has_a_file_for_each_workload_and_is_replaced_one_after_the_other() -> None:
    objects = found("daemonset")
    (each,) = of_kind(objects, OF_NODES)
    assert each["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}
    pod = each["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["hostNetwork"] is False
    files = manifests.configured(pod, objects)
    assert {"node.yaml", "books.yaml", "reviews.yaml"} == set(files)
    assert [len(yaml.safe_load(files[name]).get("listeners", ())) for name in sorted(files)] == [1, 0, 1]


def test_fsm_is_told_of_the_image_by_one_key() -> None:
    (told,) = found("fsm")
    assert told["spec"] == {"sidecar": {"sidecarImage": "meshproxy:fsm"}}
    (namespace,) = found(DEPLOY / "examples/fsm-namespace.yaml")
    assert namespace["metadata"]["annotations"]["flomesh.io/sidecar-image"] == "meshproxy:fsm"


def test_the_chart_is_of_this_version_and_has_what_lies_beside_it() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    objects = manifests.charted("-f", str(EVERYTHING))
    dashboards = {
        name: json.loads(text)
        for each in of_kind(objects, "ConfigMap")
        if "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }
    assert dashboards == {path.name: json.loads(path.read_text()) for path in (DEPLOY / "grafana").glob("*.json")}
    (rules,) = of_kind(objects, "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())
    (monitor,) = of_kind(objects, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for pod in pods(objects):
        labels = {port["name"] for port in containers(pod)[0]["ports"]}
        assert endpoint["port"] in labels
    (sidecar,) = (each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"].endswith("-books"))
    assert config(sidecar["data"]).listeners


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("gateway.service.ports[0].target=80", "target"),
        ("terminationGracePeriodSeconds=0", "terminationGracePeriodSeconds"),
        ("gateway.autoscaling.cpu=200", "100"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("gatewey.enabled=true", "gatewey"),
        ("node.workloads.Books=x", "Books"),
    ],
)
def test_the_chart_refuses_values_that_it_does_not_know(setting: str, named: str) -> None:
    command = [manifests.helm(), "template", str(CHART), "--kube-version", manifests.KUBERNETES, "--set", setting]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode != 0
    assert named in refused.stderr


KNOWN_BY_THE_CLUSTER = ("PodMonitor", "PrometheusRule", "MeshConfig")
"""By definitions of their own, of which a schema of Kubernetes says nothing."""


@pytest.mark.parametrize("which", ALL)
def test_the_schema_of_kubernetes_knows_every_key(which: Any) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate here (scripts/try-manifests)")
    for each in found(which):
        if each["kind"] not in KNOWN_BY_THE_CLUSTER:
            validate.validate(each, manifests.KUBERNETES, strict=True)
