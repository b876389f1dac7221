"""Sidecars of `deploy/` are those that `meshproxy inject` makes, and what they are configured with fits them.

One thing says what a sidecar is: `meshproxy.inject.sidecar`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshproxy.cli import main, parser
from meshproxy.dialects import read
from meshproxy.inject import Options, sidecar
from meshproxy.inject.containers import DNS_PORT, INBOUND_PORT, OUTBOUND_PORT, STATUS_PORT
from meshproxy.model import Config, combine
from tests import manifests
from tests.manifests import CHART, DEPLOY, EVERYTHING, ROOT, Object, environment, of_kind, pods

KUSTOMIZE = DEPLOY / "kustomize"
EXAMPLES = {"sidecar": "native", "sidecar-before-1.29": "older"}
FIELDS = {
    "metadata.name": "books-0",
    "metadata.namespace": "shop",
    "metadata.uid": "2f1b1e6e-0000-4000-8000-000000000001",
    "status.podIP": "10.244.0.7",
    "spec.nodeName": "node-1",
    "spec.serviceAccountName": "books",
}


def written(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def lists(pod: Object) -> dict[str, Any]:
    return {key: pod.get(key, []) for key in ("initContainers", "containers", "volumes")}


def test_the_component_adds_what_inject_adds() -> None:
    pod = written(KUSTOMIZE / "components/sidecar/sidecar.yaml")["spec"]["template"]["spec"]
    assert lists(pod) == sidecar(Options(image="meshproxy", cni=True))


def test_the_component_redirects_as_inject_does() -> None:
    (patch,) = written(KUSTOMIZE / "components/redirect/kustomization.yaml")["patches"]
    (operation,) = yaml.safe_load(patch["patch"])
    assert (operation["op"], operation["path"]) == ("add", "/spec/template/spec/initContainers/0")
    assert operation["value"] == sidecar(Options(image="meshproxy"))["initContainers"][0]


def test_rendered_it_is_the_same() -> None:
    (pod,) = (each for each in pods(manifests.rendered("sidecar")) if "initContainers" in each)
    made = sidecar(Options(image="meshproxy:slim"))
    assert pod["initContainers"] == made["initContainers"]
    assert pod["volumes"] == made["volumes"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_the_sidecar_of_inject_with_ports_of_its_own(name: str) -> None:
    """What is not redirected comes to them."""
    (pod,) = pods(manifests.objects((DEPLOY / f"examples/{name}.yaml").read_text()))
    options = Options("meshproxy:distroless", EXAMPLES[name], interception="none", config_map="orders-meshproxy")
    made = sidecar(options)
    key = "initContainers" if options.form == "native" else "containers"
    proxy, wanted = pod[key][0], made[key][0]
    assert {**proxy, "ports": wanted["ports"]} == wanted
    assert pod["volumes"] == made["volumes"]


def test_a_hook_of_the_older_form_waits_as_long_as_the_startup_probe_of_the_other() -> None:
    native, older = (sidecar(Options(form=form)) for form in ("native", "older"))
    startup = native["initContainers"][1]["startupProbe"]
    hooks = older["containers"][0]["lifecycle"]
    waits, drains = (parser().parse_args(hooks[key]["exec"]["command"][1:]) for key in ("postStart", "preStop"))
    assert waits.timeout == startup["periodSeconds"] * startup["failureThreshold"]
    assert waits.admin == f"127.0.0.1:{startup['httpGet']['port']}"
    assert drains.until_idle
    assert drains.timeout < 30, "a pod that says nothing has so long"


# What they are configured with --------------------------------------------------------------------


def documented(*blocks: int) -> dict[str, str]:
    found = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/inject.md").read_text(), re.MULTILINE | re.DOTALL)
    return {f"{number}.yaml": found[number] for number in blocks}


def charted() -> dict[str, str]:
    objects = manifests.charted("-f", str(EVERYTHING))
    of_sidecars = [each for each in of_kind(objects, "ConfigMap") if component(each) == "sidecar"]
    (found,) = (each["data"] for each in of_sidecars)
    return dict(found)


def component(each: Object) -> Any:
    return each["metadata"]["labels"].get("app.kubernetes.io/component")


CONFIGURATIONS = [
    pytest.param(lambda: {"config.yaml": (KUSTOMIZE / "overlays/sidecar/config.yaml").read_text()}, id="overlay"),
    pytest.param(charted, id="chart"),
    pytest.param(lambda: documented(1), id="documented"),
    pytest.param(lambda: documented(1, 2), id="documented-with-dns"),
]


def placed(files: Mapping[str, str], directory: Path) -> Path:
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize("files", CONFIGURATIONS)
def test_check_accepts_it_beside_what_the_pod_says(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(sidecar(Options(cni=True))["initContainers"][0], FIELDS).items():
        monkeypatch.setenv(name, value)
    assert main(["check", str(placed(files(), tmp_path)), "env:MESHPROXY_POD"]) == 0, capsys.readouterr()


@pytest.mark.parametrize("files", CONFIGURATIONS)
def test_it_listens_where_the_rules_lead(files: Any) -> None:
    """Of both families: what is redirected to where nobody listens does not arrive."""
    found = files()
    said: Config = combine([read(text.encode(), name, {}) for name, text in sorted(found.items())])
    assert said.status is not None
    assert str(said.status.listen) == f"0.0.0.0:{STATUS_PORT}"
    listeners = {each.name: each for each in said.listeners}
    for name, port in (("outbound", OUTBOUND_PORT), ("inbound", INBOUND_PORT)):
        assert {*map(str, listeners[name].listen)} == {f"0.0.0.0:{port}", f"[::]:{port}"}
        assert listeners[name].transparent
    if "dns" in listeners:
        assert {*map(str, listeners["dns"].listen)} == {f"127.0.0.1:{DNS_PORT}", f"[::1]:{DNS_PORT}"}


def test_the_chart_says_how_its_config_map_is_called() -> None:
    objects = manifests.charted("-f", str(EVERYTHING))
    (name,) = (each["metadata"]["name"] for each in of_kind(objects, "ConfigMap") if component(each) == "sidecar")
    assert name == "mesh-meshproxy-books"
    assert "--config-map RELEASE-meshproxy-NAME" in (CHART / "values.yaml").read_text()
