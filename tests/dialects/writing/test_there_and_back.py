"""From our words to those of another mesh and back: what is not told to be lost is as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.cli.policy import rows
from meshproxy.dialects import native, read, translated
from meshproxy.dialects.translation import Setting
from meshproxy.dialects.writing import Written, write
from meshproxy.dialects.writing.in_yaml import text
from meshproxy.model import Config, Document, combine, encode
from meshproxy.plan.explain import Explainer, Question
from tests.dialects.fsm.goldens import Case, cases
from tests.examples import examples

SETTING = ("node", "sidecar", "compat")
"""What stands beside a document of FSM, there and back."""

PAPERS = {"certificate": "-----BEGIN CERTIFICATE-----own", "key": "-----BEGIN PRIVATE KEY-----own"}
CA = "-----BEGIN CERTIFICATE-----ca"
NODE = {"namespace": "shop", "service_account": "books", "service": "books"}
KUBERNETES = b"""
apiVersion: v1
kind: Pod
metadata: {name: books-0, namespace: shop, labels: {app: books}}
spec: {serviceAccountName: books}
status: {podIP: 10.1.0.7}
---
apiVersion: v1
kind: Service
metadata: {name: books, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: books}, ports: [{name: http, port: 8080}]}
"""


def understood(*documents: Document) -> tuple[Config, tuple[Document, ...]]:
    found = translated(documents, Setting.of(documents))
    return combine(found.documents), found.documents


def ours(value: dict[str, Any]) -> Document:
    return native.load(value, "ours.yaml", lambda _: None)


# The sidecar of FSM -------------------------------------------------------------------------------


def again(written: Written, config: Config) -> tuple[Config, tuple[Document, ...]]:
    document = read(json.dumps(written.documents[0]).encode(), "again.json")
    said = encode(config)
    return understood(document, ours({key: said.get(key, {}) for key in SETTING}))


def served(config: Config, *, names: bool) -> list[dict[str, object]]:
    """Who may ask what, and where it leads; where names had to be others, not to which."""
    found = []
    for row in rows(config):
        headers = row.get("headers")
        lower = tuple(str(each).lower() for each in headers) if isinstance(headers, tuple) else headers
        found.append({**row, "headers": lower, "to": row["to"] if names else None})
    return found


@pytest.mark.parametrize("case", [*cases()], ids=lambda case: case.name)
def test_what_fsm_says_can_be_said_again(case: Case) -> None:
    config, documents = understood(read(case.given, "first.json"), ours(case.setting))
    written = write("fsm", config, documents)
    second, twice = again(written, config)
    if not [each for each in written.lost if not each.path.startswith(SETTING)]:
        names = not any("@" in cluster.name for cluster in config.clusters)
        # An expression in a group is the same expression.
        bare = [str(served(each, names=names)).replace("(?:", "(").replace("((", "(") for each in (config, second)]
        assert bare[0].replace("(", "").replace(")", "") == bare[1].replace("(", "").replace(")", "")
    once_more = write("fsm", second, twice)
    assert {**once_more.documents[0], "Version": ""} == {**written.documents[0], "Version": ""}


# Requests, and who is let in ----------------------------------------------------------------------

ACCOUNTS = ["shop/a", "shop/b"]
PATHS = ["/", "/v1", "/v1/x", "/v1x", "/v2", "/a.b", "/aab"]
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "path": st.one_of(
            st.sampled_from(PATHS[:3]).map(lambda path: {"prefix": path}),
            st.sampled_from(["/v1", "/a.b"]).map(lambda path: {"exact": path}),
            st.sampled_from(["/v[12]", "/v1|/v2", "/a[.]b"]).map(lambda path: {"regex": path}),
            st.sampled_from(["/v[12]", "/v1|/v2"]).map(lambda path: {"begins": path}),
        ),
        "methods": st.lists(st.sampled_from(["GET", "PUT"]), min_size=1, unique=True),
        "headers": st.sampled_from(
            [{"x-a": {"exact": "1"}}, {"x-a": {"prefix": "1"}}, {"x-a": {"regex": "1|2"}}, {"x-a": {"present": True}}]
        ),
    },
)
WHO = st.lists(
    st.lists(st.sampled_from(ACCOUNTS), min_size=1, unique=True).map(lambda names: {"identities": names}), max_size=2
)
RULES = st.lists(st.builds(lambda match, who: {"match": match, "authorize": who}, MATCHES, WHO), min_size=1, max_size=4)
QUESTIONS = [
    Question(method, "books.shop", path, headers, "inbound", identity=who, port=8080)
    for method in ("GET", "DELETE")
    for path in PATHS
    for headers in ((), ("x-a: 12",))
    for who in (*ACCOUNTS, None)
]


def inbound(rules: list[dict[str, Any]], order: str) -> Document:
    hosts = ["books", "books.shop"]
    whole = [{**rule, "cluster": "local|8080", "match": {**rule["match"], "hosts": hosts}} for rule in rules]
    return ours(
        {
            "node": NODE,
            "listeners": [
                {
                    "name": "inbound",
                    "listen": "0.0.0.0:15003",
                    "transparent": True,
                    "protocol": "tcp",
                    "tls": {**PAPERS, "client_ca": CA, "identity": "cn"},
                    "chains": [{"match": {"ports": [8080]}, "protocol": "http", "routes": "in"}],
                }
            ],
            "routes": {"in": {"order": order, "rules": whole}},
            "clusters": {"local|8080": {"endpoints": ["127.0.0.1:8080"], "source": "127.0.0.6"}},
        }
    )


def let_in(config: Config, *, by_name: bool = False) -> list[bool]:
    explain = Explainer()
    if not config.listeners:
        return [False] * len(QUESTIONS)
    answers = []
    for asked in QUESTIONS:
        namespace, _, account = (asked.identity or "").partition("/")
        who = f"{account}.{namespace}.cluster.local" if by_name and asked.identity else asked.identity
        question = Question(asked.method, asked.host, asked.path, asked.headers, identity=who, port=8080,
                            listener="inbound")  # fmt: skip
        answer = str(explain(config, question)["answer"])
        answers.append(not answer.startswith(("403", "404", "reply 403")))
    return answers


def compared(before: list[bool], after: list[bool], written: Written) -> None:
    told = [str(each) for each in written.lost if each.path.startswith("routes")]
    if not told:
        assert after == before
    elif not any("may ask this too" in each for each in told):
        # What cannot be said lets in fewer, and nobody else.
        assert all(was or not now for was, now in zip(before, after, strict=True))


@examples(40, deadline=None)
@given(RULES, st.sampled_from(["written", "specific"]))
def test_smi_lets_in_whom_we_did(rules: list[dict[str, Any]], order: str) -> None:
    config, documents = understood(inbound(rules, order))
    written = write("smi", config, documents)
    beside = ours({"node": NODE, "sidecar": {**PAPERS, "ca": CA}})
    policy = [read(text(written.documents).encode(), "policy.yaml")] if written.documents else []
    second, _ = understood(beside, *policy, read(KUBERNETES, "cluster.yaml"))
    compared(let_in(config), let_in(second), written)


@examples(40, deadline=None)
@given(RULES, st.sampled_from(["written", "specific"]))
def test_fsm_lets_in_whom_we_did(rules: list[dict[str, Any]], order: str) -> None:
    config, documents = understood(inbound(rules, order))
    written = write("fsm", config, documents)
    second, _ = again(written, config)
    compared(let_in(config), let_in(second, by_name=True), written)
