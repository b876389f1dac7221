"""Every file in `configs/` can be run, and the documentation of the keys is that of the model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from meshproxy.cli import main
from meshproxy.dialects import read, text, variables, yaml12
from meshproxy.dialects.trail import Mark
from meshproxy.model import Config, combine, encode
from meshproxy.schema import json_schema, reference
from meshproxy.schema.shapes import path_text

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SCHEMA = jsonschema.Draft202012Validator(json_schema(Config))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    config = combine([read(path.read_bytes(), path.name, {})])
    assert config.workloads or (config.listeners and config.clusters)
    SCHEMA.validate(encode(config))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_an_example_is_what_the_schema_describes(path: Path) -> None:
    SCHEMA.validate(yaml12.parse(text.decode(path.read_bytes(), path.name), path.name, variables.expander({})))


def test_a_node_serves_its_workloads_by_the_policy_that_is_put_beside_its_configuration(tmp_path: Path) -> None:
    accounts = (f"{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {who}, namespace: shop}}}}" for who in WHO)
    (tmp_path / "mesh.yaml").write_text("\n---\n".join([*accounts, SERVICE]))
    assert main(["check", str(ROOT / "configs" / "node.yaml"), str(tmp_path)]) == 0


WHO = ("books", "bookbuyer")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: books, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: books}, ports: [{name: http, port: 80}]}
"""


@pytest.mark.parametrize("page", ["grpc"])
def test_what_a_page_shows_can_be_run(page: str) -> None:
    """The first block is a whole configuration; each one after it has some of its sections in other words."""
    blocks = re.findall("```yaml\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)
    first, *more = [yaml12.parse(block, page, variables.expander({})) for block in blocks]
    for said in ({}, *more):
        document = json.dumps({**first, **said}).encode()
        assert combine([read(document, page, {})]).listeners


def test_the_readme_leads_to_every_page_and_no_change_is_told_twice() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages == set(re.findall(r"\((docs/[a-z0-9-]+\.md)\)", readme))
    entries = re.split(r"\n(?=- |#)", (ROOT / "CHANGELOG.md").read_text())
    assert len(entries) == len(set(entries))


EXPLAINED = """
listeners: [{name: web, listen: "127.0.0.1:80", protocol: http, routes: web}]
routes:
  web:
    - match: {hosts: [shop.local], path: {prefix: /v1}, methods: [GET], headers: {x-beta: {exact: "1"}}}
      split: [{cluster: books-v1, weight: 90}, {cluster: books-v2, weight: 10}]
    - {cluster: books-v1}
clusters: {books-v1: {endpoints: ["127.0.0.1:9"]}, books-v2: {endpoints: ["127.0.0.1:9"]}}
"""


def test_explain_says_what_the_documentation_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "web.yaml").write_text(EXPLAINED)
    asked = "--host shop.local --path /v1/./books -H".split()
    assert main(["explain", str(tmp_path / "web.yaml"), *asked, "x-beta: 2"]) == 0
    out = capsys.readouterr().out
    for page in ("command-line.md", "admin.md"):
        shown = (ROOT / "docs" / page).read_text()
        assert out in shown


def paths(mark: Mark, above: tuple[str | int, ...] = ()) -> Iterator[str]:
    for step, below in mark.below.items():
        yield path_text((*above, step))
        yield from paths(below, (*above, step))


def test_the_reference_holds_every_key_at_its_default() -> None:
    content = (ROOT / "configs" / "reference.yaml").read_text()
    present = {path.replace("[0]", "[]").replace(".example", ".NAME") for path in paths(yaml12.lines(content).top)}
    rule = "routes.NAME.rules[]"
    absent_by_default = (
        "status.",
        "broker.",
        "probes.",
        "overload.",
        "bridges[].",
        "access_log[].",
        "tracing.",
        "sources[].",
        "workloads[].",
        "fronts[].",
        "tunnels.",
        "compat.plugin_filters.",
        "listeners[].proxy_protocol.",
        "listeners[].filters[].",
        "listeners[].socks5.",
        "listeners[].chains[].socks5.",
        "listeners[].tls[].",
        "listeners[].chains[].tls[].",
        "listeners[].chains[].filters[].",
        *(f"{rule}.match.{key}." for key in ("path", "headers", "query", "grpc")),
        f"{rule}.connect.",
        *(f"{rule}.{key}." for key in ("split[]", "split_by", "fallback", "redirect", "reply", "retry", "filters[]")),
        *(f"{place}.authorize[]." for place in ("listeners[]", "listeners[].chains[]", rule)),
        f"{rule}.mirror.",
        "clusters.NAME.breaker.reply.",
        "clusters.NAME.hash[].",
        "clusters.NAME.sticky.",
        "clusters.NAME.health.",
        "clusters.NAME.outlier.",
        "clusters.NAME.tls.",
        "bridges[].",
        "access_log[].",
        "tracing.",
        *(
            f"mqtt.NAME.{key}"
            for key in (
                "websocket.", "authenticate[].", "sessions[].", "authorize[].", "rewrite[].", "topics[].", "rate.",
                "failover.", "spool.", "fan_in.",
            )
        ),
    )  # fmt: skip
    rows = (line for line in reference(Config).partition("\n\n")[0].splitlines()[2:])
    keys = {line.split("`")[1] for line in rows}
    assert {key for key in keys if not key.startswith(absent_by_default)} <= present
    assert encode(read(content.encode(), "reference.yaml", {}).config) == {
        "listeners": [
            {"name": "example", "listen": "127.0.0.1:15080", "protocol": "http", "routes": "example", "chains": [{}]}
        ],
        "routes": {"example": [{"cluster": "example"}]},
        "mqtt": {"example": {}},
        "clusters": {"example": {"endpoints": ["127.0.0.1:9090"]}},
    }


def test_the_documentation_has_the_reference() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert reference(Config) in page, (
        "docs/configuration.md is stale; replace its tables by what this prints: "
        "python -c 'from meshproxy import model, schema; print(schema.reference(model.Config))'"
    )
