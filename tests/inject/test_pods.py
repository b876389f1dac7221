"""What is put into a pod, where, and into which pods nothing is put."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.inject import Options, sidecar
from meshproxy.model import Config
from meshproxy.schema import decode
from tests.inject.pods import deployment, done, named, of_pod, tried
from tests.inject.strict import restricted

FIRST = {"name": "first", "image": "first:1"}


def names(spec: Any) -> tuple[list[str], list[str]]:
    return [each["name"] for each in spec.get("initContainers", ())], [each["name"] for each in spec["containers"]]


def test_the_proxy_stands_before_everything_that_it_serves() -> None:
    manifest = deployment(initContainers=[FIRST])
    assert names(done(manifest)) == (["meshproxy-redirect", "meshproxy", "first"], ["web"])
    assert names(done(manifest, cni=True)) == (["meshproxy", "first"], ["web"])
    assert names(done(manifest, interception="none")) == (["meshproxy", "first"], ["web"])
    assert names(done(manifest, form="older")) == (["meshproxy-redirect", "first"], ["meshproxy", "web"])
    assert names(done(deployment(), form="older", cni=True)) == ([], ["meshproxy", "web"])


def test_what_is_added_is_what_sidecar_says() -> None:
    manifest = deployment()
    del manifest["spec"]["template"]["metadata"]
    for options in ({}, {"form": "older"}, {"cni": True, "certificates": "mesh"}, {"interception": "tproxy"}):
        spec, added = done(manifest, **options), sidecar(Options(**options))
        assert spec.get("initContainers", []) == added["initContainers"]
        assert spec["containers"] == [*added["containers"], {"name": "web", "image": "web:1"}]
        assert spec["volumes"] == added["volumes"]


def test_only_the_redirecting_container_needs_more_than_restricted_pods_may() -> None:
    web = {
        "name": "web",
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    for form in ("native", "older"):
        assert restricted({"spec": done(deployment(web), form=form)}) == ["meshproxy-redirect"]
        assert restricted({"spec": done(deployment(web), form=form, cni=True)}) == []


def test_the_proxy_knows_whose_it_is() -> None:
    manifest = deployment()
    manifest["spec"]["template"]["metadata"]["labels"] = {"app.kubernetes.io/name": "web", "version": "v1"}
    told = of_pod(done(manifest))
    assert told["node"].pop("namespace") == "$(POD_NAMESPACE)"
    assert told["node"].pop("service_account") == "$(SERVICE_ACCOUNT)"
    assert dict(decode(Config, told).node.labels) == {
        "app.kubernetes.io/name": "web",
        "version": "v1",
    }


def test_a_control_plane_is_told_whose_policy_is_asked_for() -> None:
    spec = done(deployment(), control_plane="http://plane/{namespace}/{serviceAccount}?a=$b")
    arguments = named(spec["initContainers"], "meshproxy")["args"]
    assert arguments[-2:] == ["-c", "http://plane/$(POD_NAMESPACE)/$(SERVICE_ACCOUNT)?a=$$b"]


def test_pods_that_end_take_the_proxy_with_them() -> None:
    job = {**deployment(restartPolicy="Never"), "apiVersion": "batch/v1", "kind": "Job"}
    spec = done(job, form="older")
    assert spec["shareProcessNamespace"] is True
    assert named(spec["containers"], "meshproxy")["args"][-1] == "--end-with-pod"
    native = done(job)
    assert "shareProcessNamespace" not in native
    assert "--end-with-pod" not in named(native["initContainers"], "meshproxy")["args"]
    assert "shareProcessNamespace" not in done(deployment(), form="older")


@pytest.mark.parametrize(
    ("annotations", "arguments"),
    [
        ({}, ["--uid", "1500"]),
        ({"includeInboundPorts": "*"}, ["--uid", "1500", "--inbound-ports", "all"]),
        ({"includeInboundPorts": ""}, ["--uid", "1500", "--no-inbound"]),
        ({"includeInboundPorts": "80, 08000-8100"}, ["--uid", "1500", "--inbound-ports", "80,8000-8100"]),
        ({"excludeInboundPorts": "9000"}, ["--uid", "1500", "--exclude-inbound-ports", "9000"]),
        ({"includeOutboundPorts": "443"}, ["--uid", "1500", "--outbound-ports", "443"]),
        ({"excludeOutboundPorts": "", "includeOutboundIPRanges": "*"}, ["--uid", "1500"]),
        (
            {"includeOutboundIPRanges": "10.0.0.0/8, fd00::/8"},
            ["--uid", "1500", "--outbound-cidrs", "10.0.0.0/8,fd00::/8"],
        ),
    ],
)
def test_annotations_say_what_is_redirected(annotations: dict[str, str], arguments: list[str]) -> None:
    spec = done(deployment(annotations={f"traffic.meshproxy.io/{key}": value for key, value in annotations.items()}))
    assert named(spec["initContainers"], "meshproxy-redirect")["args"] == ["redirect", "--apply", *arguments]


def test_tproxy_needs_a_proxy_that_is_root() -> None:
    injected, problems, warnings = tried(deployment(annotations={"meshproxy.io/interceptionMode": "tproxy"}))
    spec = injected["spec"]["template"]["spec"]
    assert problems == []
    assert ["root and has NET_ADMIN" in warning for warning in warnings] == [True]
    said = named(spec["initContainers"], "meshproxy")["securityContext"]
    assert (said["runAsUser"], said["runAsGroup"], said["capabilities"]["add"]) == (0, 1500, ["NET_ADMIN"])
    arguments = named(spec["initContainers"], "meshproxy-redirect")["args"]
    assert arguments == ["redirect", "--apply", "--mode", "tproxy", "--gid", "1500"]


def test_annotations_win_over_the_command_line() -> None:
    annotations = {"meshproxy.io/proxyCPU": "1", "meshproxy.io/proxyImage": "own:2", "meshproxy.io/config": "mine"}
    annotations["readiness.meshproxy.io/failureThreshold"] = "9"
    spec = done(deployment(annotations=annotations), cpu="2", memory="1Gi", cpu_limit="3", image="any:1")
    proxy = named(spec["initContainers"], "meshproxy")
    assert proxy["image"] == "own:2"
    assert proxy["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert proxy["resources"]["limits"] == {"cpu": "3", "memory": "256Mi"}
    assert proxy["readinessProbe"]["failureThreshold"] == 9
    assert spec["volumes"][0]["configMap"] == {"name": "mine"}


def test_the_status_says_what_was_done() -> None:
    injected, _, _ = tried(deployment(), form="older")
    status = json.loads(injected["spec"]["template"]["metadata"]["annotations"]["meshproxy.io/status"])
    assert status["initContainers"] == ["meshproxy-redirect"]
    assert status["containers"] == ["meshproxy"]
    assert status["volumes"] == ["meshproxy-config", "meshproxy-run", "meshproxy-state"]
    other, _, _ = tried(deployment(), form="older", memory="1Gi")
    annotations = other["spec"]["template"]["metadata"]["annotations"]
    assert json.loads(annotations["meshproxy.io/status"])["template"] != status["template"]


# Where nothing is put -----------------------------------------------------------------------------


def test_who_does_not_want_a_proxy_gets_none_and_loses_the_one_that_was_injected() -> None:
    never = deployment(annotations={"meshproxy.io/inject": "false"})
    assert tried(never) == (never, [], [])
    injected, _, _ = tried(deployment({"name": "web", "livenessProbe": {"tcpSocket": {"port": 1}}}), form="older")
    injected["spec"]["template"]["metadata"]["annotations"]["meshproxy.io/inject"] = "false"
    assert tried(injected)[0] == deployment(
        {"name": "web", "livenessProbe": {"tcpSocket": {"port": 1}}}, annotations={"meshproxy.io/inject": "false"}
    )


@pytest.mark.parametrize("spec", [{"hostNetwork": True}, {"os": {"name": "windows"}}])
def test_some_pods_have_no_place_for_one(spec: dict[str, Any]) -> None:
    manifest = deployment(**spec)
    injected, problems, warnings = tried(manifest)
    assert (injected, problems) == (manifest, [])
    assert len(warnings) == 1
    assert warnings[0].startswith("spec.template.spec: no proxy is put here: the pod is ")


def test_one_that_has_no_place_any_more_loses_it() -> None:
    injected, _, _ = tried(deployment())
    injected["spec"]["template"]["spec"]["hostNetwork"] = True
    bare, problems, warnings = tried(injected)
    assert (bare, problems, len(warnings)) == (deployment(hostNetwork=True), [], 1)


@pytest.mark.parametrize(
    "manifest",
    [
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": {"template": {"spec": {"containers": []}}}},
        {"apiVersion": "example.org/v1", "kind": "Deployment", "spec": 7},
        {"kind": ["Pod"], "apiVersion": 1},
        {},
        ["a"],
    ],
)
def test_what_is_no_pod_of_kubernetes_stays(manifest: Any) -> None:
    assert tried(manifest) == (manifest, [], [])


def test_lists_of_one_kind() -> None:
    item = {key: value for key, value in deployment().items() if key not in ("apiVersion", "kind")}
    injected, problems, _ = tried({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [item]})
    assert problems == []
    assert names(injected["items"][0]["spec"]["template"]["spec"])[0] == ["meshproxy-redirect", "meshproxy"]


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"containers": [{"name": "web", "ports": [{"containerPort": 15001}]}]}, "port 15001, which the proxy needs"),
        ({"containers": [{"name": "web", "ports": [{"containerPort": 15904}]}]}, "port 15904, which the proxy needs"),
        ({"containers": [{"name": "web", "securityContext": {"runAsUser": 1500}}]}, "its traffic would go past it"),
        ({"securityContext": {"runAsUser": 1500}}, "its traffic would go past it"),
        ({"initContainers": [{"name": "meshproxy"}]}, "the name `meshproxy`, and was not injected by this"),
        ({"volumes": [{"name": "meshproxy-run"}]}, "the name `meshproxy-run`, and was not injected by this"),
        ({"containers": [{"name": "web"}, {"name": "web"}]}, "two containers have the name `web`"),
        ({"containers": "web"}, "`containers` must be a list"),
        ({"containers": [{"image": "web"}]}, "`name` is missing"),
        ({"containers": [None]}, "must be a mapping"),
        ({"hostNetwork": "yes"}, "must be true or false"),
    ],
)
def test_a_pod_that_would_not_work_is_refused(spec: dict[str, Any], words: str) -> None:
    manifest = deployment()
    manifest["spec"]["template"]["spec"] |= spec
    _, problems, _ = tried(manifest)
    assert len(problems) == 1
    assert problems[0].startswith("spec.template.spec")
    assert words in problems[0]


def test_a_user_of_its_own_is_no_matter_where_the_pod_has_the_proxys() -> None:
    web = {"name": "web", "securityContext": {"runAsUser": 1000}}
    assert tried(deployment(web, securityContext={"runAsUser": 1500}))[1] == []
    assert tried(deployment({"name": "web", "securityContext": {"runAsGroup": 1500}}))[1] == []
    assert "`runAsGroup` 1500" in tried(deployment(securityContext={"runAsGroup": 1500}), interception="tproxy")[1][0]


@pytest.mark.parametrize("may", [{"privileged": True}, {"capabilities": {"add": ["SYS_TIME", "NET_ADMIN"]}}])
def test_who_may_take_the_rules_away_is_warned_of(may: dict[str, Any]) -> None:
    _, problems, warnings = tried(deployment({"name": "web", "securityContext": may}))
    assert problems == []
    assert any("container `web` may take the rules away, and go past the proxy" in each for each in warnings)
    web = {"name": "web", "securityContext": {"privileged": False, "capabilities": {"drop": ["ALL"], "add": None}}}
    assert tried(deployment(web))[1:] == ([], [])
    assert tried(deployment({"name": "web", "securityContext": may}), interception="none")[2] == []


def test_the_port_for_names_is_needed_where_names_are_asked_for() -> None:
    web = {"name": "web", "ports": [{"containerPort": 5300}]}
    assert tried(deployment(web))[1] == []
    assert "port 5300" in tried(deployment(web), dns=True)[1][0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("meshproxy.io/inject", "no", 'must be "true" or "false", not "no"'),
        ("meshproxy.io/interceptionMode", "REDIRECT", "must be redirect or tproxy or none"),
        ("meshproxy.io/proxyCPU", "much", "must be an amount such as 100m or 2"),
        ("meshproxy.io/proxyImage", "a b", "must be an image"),
        ("traffic.meshproxy.io/excludeInboundPorts", "80,http", "must be ports such as 80,8000-8100"),
        ("traffic.meshproxy.io/excludeInboundPorts", "90-80", "must be ports from 1 to 65535"),
        ("traffic.meshproxy.io/excludeOutboundPorts", "1," * 64 + "1", "has 65 items; at most 64 are accepted"),
        ("traffic.meshproxy.io/includeOutboundIPRanges", "10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("traffic.meshproxy.io/includeOutboundIPRanges", "", "must be networks"),
        ("readiness.meshproxy.io/periodSeconds", "0", "must be a whole number above 0"),
        ("meshproxy.io/status", "{}", "is not what an injection leaves"),
        ("meshproxy.io/status", "[" * 5000, "is not what an injection leaves"),
    ],
)
def test_a_wrong_annotation_is_told_at_its_place(key: str, value: str, words: str) -> None:
    manifest = deployment(annotations={key: value})
    _, problems, _ = tried(manifest)
    assert len(problems) == 1
    assert problems[0].startswith(f'spec.template.metadata.annotations["{key}"]: `{key}` ')
    assert words in problems[0]


STATUS: dict[str, Any] = {
    "template": "",
    **{key: [] for key in ("initContainers", "containers", "volumes", "annotations")},
    "original": {"probes": {}, "fields": {}},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"volumes": [["a"]]},
        {"containers": {"a": 1}},
        {"original": {"probes": {"web": {"livenessProbe": {}}}, "fields": {}}},
        {"original": {"probes": {"web": 1}, "fields": {}}},
        {"original": {"probes": {}, "fields": {"containers": None}}},
        {"original": {"probes": {}, "fields": {}, "more": {}}},
        {"original": None},
    ],
)
def test_anybody_may_write_a_status(wrong: dict[str, Any]) -> None:
    assert tried(deployment(annotations={"meshproxy.io/status": json.dumps(STATUS)}))[1] == []
    _, problems, _ = tried(deployment(annotations={"meshproxy.io/status": json.dumps({**STATUS, **wrong})}))
    assert ["is not what an injection leaves" in problem for problem in problems] == [True]


def test_one_that_means_nothing_is_told_with_a_hint() -> None:
    _, problems, warnings = tried(deployment(annotations={"traffic.meshproxy.io/excludeInboundPort": "80"}))
    assert problems == []
    assert ["did you mean `traffic.meshproxy.io/excludeInboundPorts`?" in warning for warning in warnings] == [True]


def test_little_time_to_end_is_told() -> None:
    assert "may need 25 to end" in tried(deployment(terminationGracePeriodSeconds=10))[2][0]
    assert tried(deployment(terminationGracePeriodSeconds=25))[2] == []


def test_who_runs_before_the_proxy_in_the_older_form_is_told() -> None:
    manifest = deployment(initContainers=[FIRST])
    assert tried(manifest, form="older")[2] == [
        "spec.template.spec.initContainers[0]: init container `first` runs before the proxy: it reaches nobody"
    ]
    assert tried(manifest, form="older", cni=True)[2] == tried(manifest)[2] == []
