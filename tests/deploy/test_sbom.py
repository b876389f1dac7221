"""The bill of materials names all that an image has, the same way each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import SCRIPTS

ZLIB = "Package: zlib1g\nArchitecture: arm64\nSource: zlib (1:1.3)\nVersion: 1:1.3+really1.3.1-1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Of an image, as far as the script looks at it."""
    installed = tmp_path / "opt/meshproxy"
    package(installed, "meshproxy", "1.0", "h11>=0.16", "uvloop>=0.21; os_name == 'x'", "PyYAML; extra == 'more'")
    package(installed, "h11", "0.16.0")
    package(installed, "PyYAML", "6.0.3")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\n')
    told = tmp_path / "var/lib/dpkg/status.d"
    told.mkdir(parents=True)
    (told / "zlib1g").write_text(ZLIB)
    return tmp_path


def package(where: Path, name: str, version: str, *requires: str) -> None:
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", "License-Expression: MIT"]
    directory = where / f"{name.lower()}-{version}.dist-info"
    directory.mkdir(parents=True)
    (directory / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires), "", ""]))


def printed(*arguments: str, **environment: str) -> str:
    command = [sys.executable, str(SCRIPTS / "sbom"), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30, env={**os.environ, **environment}
    ).stdout


def bill(*arguments: str, **environment: str) -> Any:
    return json.loads(printed(*arguments, **environment))


def test_an_image_has_its_python_packages_and_those_of_debian(root: Path) -> None:
    said = bill("--root", str(root))
    assert (said["bomFormat"], said["specVersion"], said["version"]) == ("CycloneDX", "1.6", 1)
    assert said["metadata"]["component"]["name"] == "meshproxy"
    assert said["metadata"]["component"]["type"] == "application"
    assert {(each["name"], each["version"]) for each in said["components"]} == {
        ("h11", "0.16.0"),
        ("PyYAML", "6.0.3"),
        ("zlib1g", "1:1.3+really1.3.1-1"),
    }
    zlib = said["components"][-1]
    assert zlib["purl"] == "pkg:deb/debian/zlib1g@1%3A1.3%2Breally1.3.1-1?arch=arm64&distro=debian-13"
    assert said["dependencies"] == [
        {"ref": "python:h11@0.16.0", "dependsOn": []},
        {"ref": "python:meshproxy@1.0", "dependsOn": ["python:h11@0.16.0"]},
        {"ref": "python:pyyaml@6.0.3", "dependsOn": []},
    ]


def test_the_same_things_give_the_same_bytes_and_others_another_number(root: Path) -> None:
    first = printed("--root", str(root))
    assert printed("--root", str(root)) == first
    assert "timestamp" not in first
    (root / "var/lib/dpkg/status.d/zlib1g").write_text(ZLIB.replace("really1.3.1-1", "really1.3.1-2"))
    assert bill("--root", str(root))["serialNumber"] != json.loads(first)["serialNumber"]
    assert bill("--root", str(root), SOURCE_DATE_EPOCH="0")["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"


def test_references_lead_to_components(root: Path) -> None:
    said = bill("--root", str(root))
    named = [each["bom-ref"] for each in (said["metadata"]["component"], *said["components"])]
    assert len(named) == len(set(named))
    assert {each["ref"] for each in said["dependencies"]} <= set(named)
    assert {one for each in said["dependencies"] for one in each["dependsOn"]} <= set(named)


def test_an_environment_has_what_meshproxy_requires_and_nothing_besides(tmp_path: Path) -> None:
    package(tmp_path, "meshproxy", "99.0", "only-here")
    package(tmp_path, "only-here", "1", "beside.it (>=2)")
    package(tmp_path, "beside_it", "2")
    package(tmp_path, "nobody-wants-it", "3")
    said = bill(PYTHONPATH=str(tmp_path))
    assert said["metadata"]["component"]["version"] == "99.0"
    assert [each["name"] for each in said["components"]] == ["beside_it", "only-here"]


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        printed("--root", str(tmp_path))
    assert refused.value.returncode == 2
    assert str(tmp_path) in refused.value.stderr


def test_it_is_what_the_schema_of_cyclonedx_describes(root: Path) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="no cyclonedx-python-lib here")
    version = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    assert validation.JsonStrictValidator(version).validate_str(printed("--root", str(root))) is None
