"""Manifests as they are met, and what they become: `golden/` is what a cluster is given.

`MESHPROXY_GOLDEN=1` writes it anew, to be looked at before it is committed.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from meshproxy.cli import main, parser
from meshproxy.dialects import read, yaml12
from meshproxy.inject import undo
from meshproxy.inject.containers import PROXY, REDIRECT
from meshproxy.model import combine
from tests.inject.strict import faults, pods

FOLDER = Path(__file__).parent
IMAGE = ("--image", "example.org/meshproxy:1.0")
CASES = {
    "deployment": (),
    "deployment-older": ("--form", "older", "--dns", "--certificates", "mesh"),
    "statefulset": ("--control-plane", "http://plane.mesh:8080/v1/{namespace}/{serviceAccount}?$x"),
    "statefulset-older": ("--form", "older"),
    "daemonset": ("--cni", "--cpu", "50m", "--cpu-limit", "2", "--config-map", "agents"),
    "host-network": (),
    "job": (),
    "job-older": ("--form", "older"),
    "cronjob": (),
    "cronjob-older": ("--form", "older"),
    "pod": (),
    "list": (),
    "several": ("--log-level", "warning"),
    "tproxy": (),
}


def source(case: str) -> Path:
    return FOLDER / "manifests" / f"{case.removesuffix('-older')}.yaml"


def injected(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["inject", *IMAGE, *arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _of_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "__version__", "1.0")


@pytest.mark.parametrize("case", CASES)
def test_it_becomes_what_it_should(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    golden = FOLDER / "golden" / f"{case}.yaml"
    text = injected(capsys, "-f", str(source(case)), *CASES[case])
    if os.environ.get("MESHPROXY_GOLDEN"):
        golden.write_text(text)
        pytest.fail(f"{golden} is written")
    assert text == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_twice_is_once(
    case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = injected(capsys, "-f", str(source(case)), *CASES[case])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(once.encode())))
    assert injected(capsys, "-f", "-", *CASES[case]) == once

    # Other options replace the old injection wholly.
    (tmp_path / "once.yaml").write_text(once)
    other = ("--form", "older", "--dns", "--certificates", "other", "--memory-limit", "9Gi", "--cni")
    assert injected(capsys, "-f", str(tmp_path / "once.yaml"), *other) == injected(
        capsys, "-f", str(source(case)), *other
    )


@pytest.mark.parametrize("case", CASES)
def test_the_pods_are_such_as_a_cluster_takes(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    for value in yaml12.parse_all(injected(capsys, "-f", str(source(case)), *CASES[case]), case):
        assert faults(value) == []


@pytest.mark.parametrize("case", CASES)
def test_what_it_is_told_is_understood(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the commands that the containers run, and by the model for what stands in the environment."""
    for value in yaml12.parse_all(injected(capsys, "-f", str(source(case)), *CASES[case]), case):
        for _, pod in pods(value):
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
                if container["name"] in (REDIRECT, PROXY):
                    parser().parse_args(container["args"])
                for variable in container.get("env", ()):
                    if variable["name"] == "MESHPROXY_POD":
                        combine([read(variable["value"].replace("$$", "$").encode(), "env:MESHPROXY_POD")])


@pytest.mark.parametrize("case", ["deployment", "several", "tproxy"])
def test_json_says_the_same(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values = yaml12.parse_all(injected(capsys, "-f", str(source(case)), *CASES[case]), case)
    text = injected(capsys, "-f", str(source(case)), *CASES[case], "-o", "json")
    whole = values[0] if len(values) == 1 else {"apiVersion": "v1", "kind": "List", "items": values}
    assert json.loads(text) == whole
    (tmp_path / "x.json").write_text(text)
    assert injected(capsys, "-f", str(tmp_path / "x.json"), *CASES[case], "-o", "json") == text
