"""What the injector says in variables becomes a document of ours, which an operator can add to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshproxy.dialects import read
from meshproxy.dropin import pipy
from meshproxy.dropin.bootstrap import trust_domain
from meshproxy.dropin.document import document, fronts, node, observability
from meshproxy.dropin.options import Options, Wrong, parse_options
from meshproxy.model import Config, combine
from tests.pki import Pki

URL = "http://fsm-controller.fsm-system:6060/repo/fsm-sidecar/0c5f.sidecar.books.shop/"
POD = {
    "MESH_NAME": "fsm", "POD_UID": "7d1c", "POD_NAME": "books-6d8f7c9b5-x2x4q", "POD_NAMESPACE": "shop",
    "POD_IP": "10.244.1.5", "SERVICE_ACCOUNT": "books", "POD_CONTROLLER_KIND": "Deployment",
    "POD_CONTROLLER_NAME": "books",
}  # fmt: skip
TRACING = {"TRACING_ADDRESS": "jaeger:9411", "TRACING_SAMPLED_FRACTION": "0.25"}
LOGGING = {"REMOTE_LOGGING_ADDRESS": "clickhouse:8123", "REMOTE_LOGGING_AUTHORIZATION": "Basic eA=="}


def options(*arguments: str) -> Options:
    return parse_options([*arguments, URL])


def understood(said: dict[str, Any]) -> Config:
    return combine([read(json.dumps(said).encode(), "the injector")])


def test_a_pod_is_told_in_our_words() -> None:
    found = understood(document(options("--admin-port=6060", "--threads=2"), POD, "/var/lib/meshproxy"))
    assert (found.node.namespace, found.node.service_account) == ("shop", "books")
    assert dict(found.node.labels) == {
        "mesh": "fsm", "pod": "books-6d8f7c9b5-x2x4q", "pod_uid": "7d1c", "pod_ip": "10.244.1.5", "kind": "Deployment",
        "workload": "books",
    }  # fmt: skip
    assert (found.sources[0].url, found.workers, found.state.dir) == (URL, 2, "/var/lib/meshproxy")
    assert str(found.admin.listen) == "unix:/var/lib/meshproxy/admin.sock"
    assert [(front.kind, str(front.listen[0]), front.quit) for front in found.fronts] == [
        ("fsm", "0.0.0.0:15000", True), ("fsm-metrics", "0.0.0.0:15010", False), ("pipy", "127.0.0.1:6060", False)
    ]  # fmt: skip
    assert found.drain.delay + found.drain.timeout < 30


def test_without_a_place_for_files_nobody_steers() -> None:
    first, second = (document(options(), POD, None)["admin"] for _ in range(2))
    assert first["listen"] == "127.0.0.1:0"
    assert first["token"] != second["token"]
    assert "state" not in document(options(), POD, None)


def test_a_pod_without_ipv6_has_fronts_without_it() -> None:
    assert [front["listen"] for front in fronts(options(), ["0.0.0.0"])] == [["0.0.0.0:15000"], ["0.0.0.0:15010"]]


def test_what_is_not_said_is_not_there() -> None:
    assert node({"POD_NAME": ""}) == {}
    assert observability(POD) == {}


def test_the_mounted_certificate_tells_the_trust_domain(tmp_path: Path) -> None:
    def mounted(name: str) -> None:
        pair = Pki(tmp_path).ca().issue(name=name)
        (tmp_path / "repo_cert.pem").write_bytes(pair.certificate.read_bytes())

    assert trust_domain(str(tmp_path), "books", "shop") is None
    (tmp_path / "repo_cert.pem").write_text("no certificate")
    assert trust_domain(str(tmp_path), "books", "shop") is None
    mounted("0c5f.sidecar.books.shop.corp.example")
    assert node(POD, str(tmp_path))["trust_domain"] == "corp.example"
    assert node({**POD, "MESHPROXY_TRUST_DOMAIN": "other"}, str(tmp_path))["trust_domain"] == "other"
    mounted("0c5f.sidecar.others.shop.corp.example")
    assert "trust_domain" not in node(POD, str(tmp_path))


def test_traces_of_an_older_mesh() -> None:
    found = understood(observability({**POD, **TRACING})).tracing
    assert found is not None
    assert found.export.zipkin is not None
    told = found.export.zipkin.url, found.sample.share, found.service
    assert told == ("http://jaeger:9411/api/v2/spans", 0.25, "books")


def test_the_access_log_of_an_older_mesh() -> None:
    (found,) = understood(observability({**POD, **LOGGING, "REMOTE_LOGGING_LEVEL": "1"})).access_log
    assert found.listeners == ()
    said = observability({**POD, **LOGGING})["access_log"]
    assert said["format"]["json"]["type"] == "%LISTENER%"
    assert said["format"]["json"]["pod"]["ns"] == "shop"
    assert said["to"]["http"]["headers"] == {"authorization": "Basic eA=="}
    seldom = {**LOGGING, "REMOTE_LOGGING_SAMPLED_FRACTION": "0.50"}
    assert "share" not in observability(seldom)["access_log"]["when"]
    assert observability({**seldom, "REMOTE_LOGGING_LEVEL": "2"})["access_log"]["when"]["share"] == 0.5
    assert observability({**LOGGING, "REMOTE_LOGGING_LEVEL": "1", "REMOTE_LOGGING_SAMPLED_FRACTION": "0"}) == {}


@pytest.mark.parametrize("text", ["often", "2", "-1", "nan"])
def test_a_share_is_one(text: str) -> None:
    with pytest.raises(Wrong, match=f"^TRACING_SAMPLED_FRACTION: .*{text}.* is not a number from 0 to 1$"):
        observability({**TRACING, "TRACING_SAMPLED_FRACTION": text})


def test_what_an_operator_says_of_a_section_is_all_that_is_said(tmp_path: Path) -> None:
    operator = tmp_path / "more.yaml"
    operator.write_text("compat: {identity: header}\ndrain: {delay: 1s}\nsources: []\n")
    said = document(options(), POD, None)
    assert said.keys() - pipy.without(said, str(operator), {}).keys() == {"drain"}
    operator.write_text("drain: [")
    assert pipy.without(said, str(operator), {}) == said


def test_a_directory_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    assert pipy.state_directory(str(tmp_path / "a" / "b")) == str(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert pipy.state_directory(str(tmp_path / "file")) is None


def test_it_becomes_the_process_that_anybody_else_runs() -> None:
    command = pipy.run_command(options("--log-level=warn"), "/dev/fd/7", "/etc/more.yaml")
    assert command[1:] == [
        "-m", "meshproxy", "run", "-c", "/dev/fd/7", "--log-level", "warning", "-c", "/etc/more.yaml"
    ]  # fmt: skip
