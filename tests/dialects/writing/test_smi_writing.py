"""A configuration in, resources of SMI and a list of what is lost out."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.dialects import native
from meshproxy.dialects.writing import Written, write
from meshproxy.errors import Invalid
from meshproxy.model import combine

TLS = {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem"}
BUYER = {"kind": "ServiceAccount", "name": "bookbuyer", "namespace": "shop"}
STORE = {"kind": "ServiceAccount", "name": "bookstore", "namespace": "shop"}
NODE = {"namespace": "shop", "service_account": "bookstore", "service": "bookstore"}


def written(rules: list[dict[str, Any]], order: str = "specific", **more: Any) -> Written:
    value = {
        "node": NODE,
        "listeners": [{"name": "in", "listen": "127.0.0.1:80", "protocol": "http", "routes": "web", "tls": TLS}],
        "routes": {"web": {"order": order, "rules": rules}},
        "clusters": {"mine": {"endpoints": ["127.0.0.1:8080"]}, "v1": {"endpoints": []}, "v2": {"endpoints": []}},
        **more,
    }
    document = native.load(value, "f.yaml", lambda path: len(path))
    return write("smi", combine([document]), [document])


def of_kind(found: Written, kind: str) -> list[dict[str, Any]]:
    return [each for each in found.documents if each["kind"] == kind]


def lost(found: Written) -> list[str]:
    """Of rules: all else of such a configuration is never said by SMI."""
    return [str(each).partition(": ")[2] for each in found.lost if each.path.startswith("routes")]


def rule(**more: Any) -> dict[str, Any]:
    return {"cluster": "mine", "authorize": [{"identities": ["shop/bookbuyer"]}], **more}


def test_who_may_ask_what() -> None:
    found = written([rule(match={"path": {"prefix": "/v1"}, "methods": ["GET"], "headers": {"x-a": {"exact": "1"}}})])
    asked = {"methods": ["GET"], "headers": {"x-a": "^1$"}}
    assert found.documents == [
        {
            "apiVersion": "specs.smi-spec.io/v1alpha4",
            "kind": "HTTPRouteGroup",
            "metadata": {"name": "web-0", "namespace": "shop"},
            "spec": {"matches": [{"name": "match-0", "pathRegex": "^/v1(?:/.*)?$", **asked}]},
        },
        {
            "apiVersion": "access.smi-spec.io/v1alpha3",
            "kind": "TrafficTarget",
            "metadata": {"name": "web-0", "namespace": "shop"},
            "spec": {
                "destination": STORE,
                "rules": [{"kind": "HTTPRouteGroup", "name": "web-0"}],
                "sources": [BUYER],
            },
        },
    ]
    assert lost(found) == []


def test_a_rule_for_some_clients_lets_them_in() -> None:
    found = written([{"match": {"identities": ["shop/bookbuyer"], "methods": ["PUT"]}, "cluster": "mine"}], "written")
    assert of_kind(found, "TrafficTarget")[0]["spec"]["sources"] == [BUYER]
    assert of_kind(found, "HTTPRouteGroup")[0]["spec"]["matches"] == [{"name": "match-0", "methods": ["PUT"]}]
    assert lost(found) == []


def test_what_a_rule_and_an_entry_ask_must_both_hold() -> None:
    entry = {"identities": ["shop/bookbuyer"], "methods": ["GET", "PUT"], "paths": [{"exact": "/a"}, {"exact": "/b"}]}
    found = written([rule(match={"methods": ["GET"]}, authorize=[entry])])
    assert of_kind(found, "HTTPRouteGroup")[0]["spec"]["matches"] == [
        {"name": "match-0", "methods": ["GET"], "pathRegex": "^/a$"},
        {"name": "match-1", "methods": ["GET"], "pathRegex": "^/b$"},
    ]
    assert lost(found) == []


@pytest.mark.parametrize(
    ("match", "entry", "place"),
    [
        ({"query": {"a": {"exact": "1"}}}, {}, "authorize"),
        ({"headers": {"a": {"present": False}}}, {}, "authorize"),
        ({}, {"sources": ["10.0.0.0/8"]}, "authorize[0]"),
        ({"path": {"prefix": "/a"}}, {"paths": [{"exact": "/a/b"}]}, "authorize[0]"),
        ({"headers": {"x-a": {"exact": "1"}}}, {"headers": {"x-a": {"prefix": "1"}}}, "authorize[0]"),
    ],
)
def test_what_cannot_be_said_in_full_lets_in_nobody(match: dict[str, Any], entry: dict[str, Any], place: str) -> None:
    found = written([rule(match=match, authorize=[{"identities": ["shop/bookbuyer"], **entry}])])
    assert found.documents == []
    assert any(f"rules[0].{place}: SMI cannot say all of what is asked" in each for each in lost(found))


def test_methods_that_no_request_has_both_let_in_nobody() -> None:
    entry = {"identities": ["shop/bookbuyer"], "methods": ["PUT"]}
    assert written([rule(match={"methods": ["GET"]}, authorize=[entry])]).documents == []


def test_nobody_is_what_smi_says_anyhow() -> None:
    found = written([rule(authorize=[])])
    assert (found.documents, lost(found)) == ([], [])


def test_identities_that_are_no_service_accounts() -> None:
    found = written([rule(authorize=[{"identities": ["*", "shop/*", "bookbuyer.shop.cluster.local"]}])])
    assert of_kind(found, "TrafficTarget")[0]["spec"]["sources"] == [BUYER]
    assert [each.partition(": ")[0] for each in lost(found)] == [
        f"routes.web.rules[0].authorize[0].identities[{index}]" for index in (0, 1)
    ]


def test_what_adds_up_is_told() -> None:
    found = written([rule(match={"path": {"prefix": "/v1"}}), rule(authorize=[{"identities": ["shop/admin"]}])])
    assert lost(found) == [
        "routes.web.rules[0]: SMI adds up what is allowed: whom `web/1` lets in may ask this too"
    ]


def test_of_a_table_by_specificity_the_one_that_would_decide_is_told() -> None:
    rules = [rule(authorize=[{"identities": ["shop/admin"]}]), rule(match={"path": {"prefix": "/v1"}})]
    found = written(rules)
    assert [each.partition(": ")[0] for each in lost(found)] == ["routes.web.rules[1]"]
    found = written(rules, "written")
    assert [each.partition(": ")[0] for each in lost(found)] == ["routes.web.rules[0]"]


def test_shares() -> None:
    shares = [{"cluster": "v1", "weight": 90}, {"cluster": "v2", "weight": 10}]
    hosts = ["books", "books.shop:80", "books.shop.svc.cluster.local"]
    found = written([{"match": {"hosts": hosts, "headers": {"x-beta": {"present": True}}}, "split": shares}])
    assert found.documents[1] == {
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": "web-0", "namespace": "shop"},
        "spec": {
            "service": "books.shop.svc.cluster.local",
            "backends": [{"service": "v1", "weight": 90}, {"service": "v2", "weight": 10}],
            "matches": [{"kind": "HTTPRouteGroup", "name": "web-0"}],
        },
    }
    assert found.documents[0]["spec"]["matches"] == [{"name": "match-0", "headers": {"x-beta": ".*"}}]
    assert lost(found) == []
    (split,) = written([{"match": {"hosts": hosts}, "split": shares}]).documents
    assert "matches" not in split["spec"]


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"match": {}}, "split"),
        ({"match": {"hosts": ["books.example.com"]}}, "split"),
        ({"match": {"hosts": ["a", "b"]}}, "split"),
        ({"match": {"hosts": ["a"], "query": {"q": {"exact": "1"}}}}, "split"),
        ({"split": [{"cluster": "v1"}, {"cluster": "v2", "headers": {"x": {"exact": "1"}}}]}, "split[1]"),
        ({"split": [{"cluster": "v1", "weight": 1, "steps": [{"after": "5s", "weight": 2}]}]}, "split[0].steps"),
        ({"split_by": {"client": True}}, "split_by"),
        ({"retry": {"attempts": 3}}, "retry"),
    ],
)
def test_what_is_lost_of_shares(more: dict[str, Any], place: str) -> None:
    shares = [{"cluster": "v1", "weight": 90}, {"cluster": "v2", "weight": 10}]
    found = written([{"match": {"hosts": ["books"]}, "split": shares, **more}])
    assert any(each.startswith(f"routes.web.rules[0].{place}: ") for each in lost(found))


def test_connections() -> None:
    listener = {"name": "db", "listen": "127.0.0.1:3306", "protocol": "tcp", "cluster": "mine", "tls": TLS}
    chain = {"match": {"ports": [3307]}, "authorize": [{"identities": ["shop/bookbuyer"]}]}
    found = written([], listeners=[{**listener, "authorize": chain["authorize"]}])
    assert [each["kind"] for each in found.documents] == ["TCPRoute", "TrafficTarget"]
    assert found.documents[0]["spec"] == {"matches": {"ports": [3306]}}
    found = written([], listeners=[{**listener, "chains": [chain]}])
    assert found.documents[0]["spec"] == {"matches": {"ports": [3307]}}
    narrow = {**chain, "match": {"ports": [3307], "sources": ["10.0.0.0/8"]}}
    found = written([], listeners=[{**listener, "chains": [narrow]}])
    assert found.documents == []
    assert "listeners[0].chains[0].authorize" in [each.path for each in found.lost]


def test_every_other_section_is_told_with_its_line() -> None:
    found = written([], drain={"delay": "1s"})
    assert "f.yaml:1: drain: it is no policy: keep it in a document of ours beside the resources" in [
        str(each) for each in found.lost
    ]


def test_whose_policy_it_is_must_be_known() -> None:
    with pytest.raises(Invalid) as caught:
        written([rule()], node={"namespace": "shop"})
    assert [problem.path for problem in caught.value.problems] == ["node.service_account"]
