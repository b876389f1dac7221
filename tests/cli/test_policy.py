"""A folder of policy, as an operator works with it: check, explain, convert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshproxy.cli import main

SHOP = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: bookbuyer, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: v1-0, namespace: shop, labels: {app: books, version: v1}}
spec: {serviceAccountName: books-v1}
status: {podIP: 10.1.0.7}
---
apiVersion: v1
kind: Pod
metadata: {name: v2-0, namespace: shop, labels: {app: books, version: v2}}
spec: {serviceAccountName: books-v2}
status: {podIP: 10.1.0.8}
---
apiVersion: v1
kind: Service
metadata: {name: books, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: books}, ports: [{name: http, port: 80, targetPort: 14001}]}
---
apiVersion: v1
kind: Service
metadata: {name: books-v1, namespace: shop}
spec: {clusterIP: 10.96.0.11, selector: {version: v1}, ports: [{name: http, port: 80, targetPort: 14001}]}
---
apiVersion: v1
kind: Service
metadata: {name: books-v2, namespace: shop}
spec: {clusterIP: 10.96.0.12, selector: {version: v2}, ports: [{name: http, port: 80, targetPort: 14001}]}
"""
POLICY = """\
kind: HTTPRouteGroup
apiVersion: specs.smi-spec.io/v1alpha4
metadata: {name: books, namespace: shop}
spec:
  matches:
    - {name: buy, pathRegex: /buy, methods: [GET]}
---
kind: TrafficTarget
apiVersion: access.smi-spec.io/v1alpha3
metadata: {name: v1, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: books-v1, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: books}]
  sources: [{kind: ServiceAccount, name: bookbuyer, namespace: shop}]
---
kind: TrafficSplit
apiVersion: split.smi-spec.io/v1alpha4
metadata: {name: canary, namespace: shop}
spec:
  service: books
  backends: [{service: books-v1, weight: 90}, {service: books-v2, weight: 10}]
"""
BUYER = ["--from-account", "shop/bookbuyer"]
SIDECAR = ["--as", "sidecar", "--service-account"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("policy")
    path.mkdir()
    (path / "shop.yaml").write_text(SHOP)
    (path / "policy.yaml").write_text(POLICY)
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as wrong:
        code = int(str(wrong.code))
    out, err = capsys.readouterr()
    return code, out, err


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, _ = told(capsys, *arguments, "-o", "json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


# check --------------------------------------------------------------------------------------------


def test_it_is_checked_for_every_workload(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "check", "policy")[:2] == (0, "valid for 3 workloads\n")
    (folder / "policy.yaml").write_text(POLICY.replace("name: books}]", "name: boks}]"))
    code, out, err = told(capsys, "check", "policy")
    assert (code, out) == (3, "")
    (problem,) = err.splitlines()
    assert problem.startswith("policy/policy.yaml:13: spec.rules[0].name: ")
    assert "boks" in problem


def test_what_it_comes_to_for_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "check", *SIDECAR, "shop/books-v1", "policy")
    assert (code, err.startswith("warning: sidecar.certificate: ")) == (0, True)
    assert out.splitlines()[2].split() == [
        "inbound", "14001", "http", "shop/bookbuyer", "-", "GET", "begins", "/buy", "local|14001"
    ]  # fmt: skip
    rows = asked(capsys, "check", *SIDECAR, "shop/books-v2", "policy")["policy"]
    assert (rows[0]["direction"], rows[0]["ports"], rows[0]["who"]) == ("inbound", [14001], "nobody")


def test_a_native_file_beside_it_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "node.yaml").write_text(
        "node: {namespace: shop, service_account: books-v1}\nsidecar: {inbound: 127.0.0.1:1, outbound: 127.0.0.1:2}\n"
    )
    code, out, err = told(capsys, "check", "policy")
    assert (code, out) == (0, "valid: 2 listeners, 4 clusters\n")
    assert "shop/v1 admits nobody: without `sidecar.certificate`" in err
    assert "shop/bookbuyer" in told(capsys, "check", *SIDECAR, "shop/books-v1", "policy")[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--as", "sidecar"], "--as needs --service-account"),
        (["--label", "a=b"], "--label needs --service-account"),
        (["--service-account", "shop/books"], "--service-account needs --as sidecar"),
        (["--as", "sidecar", "--service-account", "books"], "must be a namespace and a service account"),
        (["--as", "sidecar", "--service-account", "a/b", "--label", "c"], "must be a key and a value"),
    ],
)
def test_wrong_usage(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    code, _, err = told(capsys, "check", "policy", *options)
    assert code == 2
    assert words in err


# explain ------------------------------------------------------------------------------------------


def test_partly_by_who_gets_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "explain", "policy", *BUYER, "--to", "shop/books", "--path", "/buy/1")
    assert (code, err) == (0, "")
    assert out == (
        "partly, by who gets it: shop/bookbuyer GET /buy/1 on shop/books, port 80\n"
        "  sent as said by TrafficSplit shop/canary, policy/policy.yaml:15\n"
        "  90% to shop/books-v1: let in by service account shop/books-v1, port 14001\n"
        "    TrafficTarget shop/v1, policy/policy.yaml:13\n"
        "    HTTPRouteGroup shop/books, policy/policy.yaml:6\n"
        "  10% to shop/books-v2: refused by service account shop/books-v2, port 14001\n"
        "    no TrafficTarget lets it in\n"
    )


@pytest.mark.parametrize(
    ("path", "method", "allowed", "lacks"),
    [("/buy", "GET", "yes", []), ("/sell", "GET", "no", ["path"]), ("/buy", "PUT", "no", ["method"])],
)
def test_one_who_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str, method: str, allowed: str, lacks: list[str]
) -> None:
    answer = asked(
        capsys, "explain", "policy", *BUYER, "--to", "shop/books-v1:80", "--path", path, "--method", method
    )
    assert answer["allowed"] == allowed
    (backend,) = answer["backends"]
    assert (backend["share"], [other["lacks"] for other in backend.get("others", ())]) == (1.0, lacks)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*BUYER], "--from-account and --to need each other"),
        ([], "say --host, or --from-account and --to"),
        ([*BUYER, "--to", "shop/books", "--host", "a"], "--host is asked of one proxy"),
        ([*BUYER, "--to", "shop/bocks"], "nobody is known to serve shop/bocks"),
        (["--from-account", "shop/thief", "--to", "shop/books"], "there is no shop/thief; there are: shop/bookbuyer"),
        ([*BUYER, "--to", "shop/books:81"], "say the port of shop/books; there are: 80"),
        ([*BUYER, "--to", "shop/books:0"], "must be a whole number from 1 to 65535"),
    ],
)
def test_asked_in_vain(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    code, out, err = told(capsys, "explain", "policy", *options)
    assert (code, out) == (2, "")
    assert words in err


# convert ------------------------------------------------------------------------------------------


def test_converted_to_ours_it_means_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sidecar.yaml").write_text("sidecar: {certificate: a.pem, key: a.key, ca: ca.pem}\n")
    code, out, _ = told(capsys, "convert", "--to", "native", *SIDECAR, "shop/books-v1", "policy")
    assert code == 0
    Path("native.yaml").write_text(out)
    before, after = (
        asked(capsys, "check", *SIDECAR, "shop/books-v1", path)["policy"] for path in ("policy", "native.yaml")
    )
    assert before == after
    assert told(capsys, "convert", "--to", "native", "native.yaml")[:2] == (0, out)


def test_what_is_lost_is_told_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "drain.yaml").write_text("drain: {delay: 1s}\n")
    code, out, err = told(capsys, "convert", "--to", "fsm", *SIDECAR, "shop/bookbuyer", "policy")
    assert (code, json.loads(out)["Inbound"]) == (0, None)
    assert err.splitlines() == [
        "lost: policy/drain.yaml:1: drain: it is no policy: keep it in a document of ours beside the resources",
        # Nobody is sent there: all requests are for those that share them.
        'lost: policy/shop.yaml:21: spec.ports[0]: FSM has no words for it (in our words, clusters["shop/books|80"])',
    ]


def test_several_resources_are_a_list_of_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys, "convert", "--to", "smi", *SIDECAR, "shop/books-v1", "policy")
    assert (found["kind"], {item["kind"] for item in found["items"]}) == ("List", {"TrafficSplit"})


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--from", "fsm", "--to", "native"], 3, "this is smi, not fsm"),
        (["--to", "native"], 3, "`node.namespace` and `node.service_account` must say whose proxy this is"),
        (["--to", "istio"], 2, "invalid choice: 'istio'"),
        (["--to", "native", "--as", "sidecar"], 2, "--as needs --service-account"),
    ],
)
def test_converted_in_vain(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, words: str
) -> None:
    found, out, err = told(capsys, "convert", *options, "policy")
    assert (found, out) == (code, "")
    assert words in err
