"""What is shipped for Prometheus and Grafana asks for metrics that there are, and each alert is in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshproxy.observe.table import METRICS

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RULES = DEPLOY / "prometheus" / "rules.yaml"
CASES = DEPLOY / "prometheus" / "rules-test.yaml"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()

LABELS = {metric.name: {*metric.labels, *(("le",) if metric.type == "histogram" else ())} for metric in METRICS}
OF_PROMETHEUS = {"job", "instance"}
TO_ITSELF = {"up": OF_PROMETHEUS}
SELECTOR = re.compile(r"(?P<name>\b(?:meshproxy|process)_\w+|\bup\b)(?:\{(?P<matchers>[^}]*)\})?")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def metric_of(name: str) -> str:
    """Of a histogram there are three names."""
    whole = re.sub(r"_(bucket|sum|count)$", "", name)
    return whole if whole in LABELS and name not in LABELS and "le" in LABELS[whole] else name


def wrong(expression: str) -> Iterator[str]:
    """What an expression asks for that is not there."""
    known = {**LABELS, **TO_ITSELF}
    able: set[str] = set(OF_PROMETHEUS)
    for found in SELECTOR.finditer(expression):
        labels = known.get(metric_of(found["name"]))
        if labels is None:
            yield f"there is no {found['name']}"
            continue
        able |= labels
        matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found["matchers"] or ""))
        yield from (f"{found['name']} has no {label}" for label in sorted(matched - labels - OF_PROMETHEUS))
    if "meshproxy:" not in expression:
        grouped = {label for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", by)}
        yield from (f"nothing there has {label}: {expression}" for label in sorted(grouped - able))


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("rate(meshproxy_requests_total[5m])", []),
        ("sum by (code) (meshproxy_requests_total{route='a'})", []),
        ("meshproxy_request_total", ["there is no meshproxy_request_total"]),
        ("meshproxy_workers_count", ["there is no meshproxy_workers_count"]),
        ("meshproxy_request_seconds_bucket{le='1.0', code='200'}", ["meshproxy_request_seconds_bucket has no code"]),
    ],
)
def test_the_test_itself_finds_what_it_should(expression: str, words: list[str]) -> None:
    assert [*wrong(expression)] == words


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_for_what_there_is(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    asked = [*expressions(dashboard)]
    assert [fault for each in asked for fault in wrong(each)] == []
    assert len(asked) > 10


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported_beside_the_others(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == f"meshproxy-{path.stem}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", "\n".join(expressions(dashboard)))) - {"__rate_interval"}
    assert used <= variables
    assert variables - used <= {"datasource"}


def test_there_are_dashboards() -> None:
    assert {path.stem for path in DASHBOARDS} == {"overview", "routes", "upstreams", "mqtt"}


def test_rules_ask_for_what_there_is() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert [*wrong(rule["expr"])] == []
        assert set(re.findall(r"meshproxy:[\w:]+", rule["expr"])) <= recorded


def test_every_alert_leads_to_its_entry_which_says_what_to_do() -> None:
    entries = {title: text for title, _, text in (part.partition("\n") for part in RUNBOOK.split("\n### ")[1:])}
    assert entries.keys() == alerts().keys()
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert re.findall(r"^- \*\*(.+?)\*\*:", entries[name], re.M) == ["Means", "Look at", "Do"]


def test_the_runbook_names_metrics_that_there_are() -> None:
    assert set(re.findall(r"\b(?:meshproxy|process)_\w+", RUNBOOK)) - LABELS.keys() == set()


def test_every_alert_is_tried() -> None:
    assert {case["name"] for case in yaml.safe_load(CASES.read_text())["tests"]} == {"all is well", *alerts()}


def promtool(*words: str | Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed: scripts/install-peers")
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault_with_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_each_alert_fires_for_what_it_is_there_for_and_for_nothing_else() -> None:
    promtool("test", "rules", CASES)


def test_promtool_understands_what_dashboards_ask(tmp_path: Path) -> None:
    asked = [
        re.sub(r"\$__rate_interval", "5m", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    rules = [{"record": f"asked:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "asked.yaml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "asked.yaml")
