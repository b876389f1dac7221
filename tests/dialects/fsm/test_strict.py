"""What is wrong with a document is told at its place, all of it, and nothing of it is put in force."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.dialects import read, translated
from meshproxy.dialects.translation import Setting
from meshproxy.errors import Invalid
from meshproxy.model import Config, Node, decode
from tests.dialects.fsm.goldens import FOLDER

PEM = {"CertChain": "-----BEGIN A-----", "PrivateKey": "-----BEGIN PRIVATE KEY-----", "IssuingCA": "-----BEGIN B-----"}


def rules(*said: dict[str, Any], hosts: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A document with rules for requests from the mesh."""
    match = {
        "Protocol": "http",
        "HttpHostPort2Service": hosts or {"books": "b"},
        "HttpServiceRouteRules": {"b": {"RouteRules": [{"TargetClusters": {"c": 1}, **rule} for rule in said]}},
        **more,
    }
    return inbound({"80": match})


def inbound(matches: dict[str, Any], **more: Any) -> dict[str, Any]:
    clusters = {"c": {"127.0.0.1:80": 100}}
    return {
        "Spec": {},
        "Certificate": PEM,
        "Inbound": {"TrafficMatches": matches, "ClustersConfigs": clusters},
        "AllowedEndpoints": {"10.0.0.1": "", "10.1.0.0/16": ""},
        **more,
    }


def outbound(cluster: dict[str, Any], **match: Any) -> dict[str, Any]:
    """A document with one cluster to which connections go."""
    said = {"DestinationIPRanges": {"10.0.0.0/8": None}, "Protocol": "tcp", **match}
    said.setdefault("TcpServiceRouteRules", {"TargetClusters": {"shop/a|1": 1}})
    return {
        "Spec": {},
        "Certificate": PEM,
        "Outbound": {"TrafficMatches": {"80": [said]}, "ClustersConfigs": {"shop/a|1": cluster}},
    }


def problems(document: Any, **setting: Any) -> dict[str, str]:
    """Each by its place."""
    config = decode(Config, setting)
    with pytest.raises(Invalid) as caught:
        read_whole(document, Setting(config.node, config.sidecar, config.compat))
    return {problem.path: problem.message for problem in caught.value.problems}


def read_whole(document: Any, setting: Setting | None = None) -> None:
    translated([read(json.dumps(document, indent=1).encode(), "config.json")], setting or Setting())


@pytest.mark.parametrize(
    ("document", "place", "why"),
    [
        ({"Spec": [], "Inbound": None}, "Spec", "must be a mapping"),
        ({"Spec": {"SidecarTimeout": -1}, "Ts": None}, "Spec.SidecarTimeout", "0 or more"),
        ({"Spec": {"SidecarTimeout": "60"}, "Ts": None}, "Spec.SidecarTimeout", 'not "60"'),
        ({"Spec": {"Traffic": {"EnableEgress": 1}}, "Ts": None}, "Spec.Traffic.EnableEgress", "true or false"),
        ({"Spec": {}, "Certificate": {}}, "Certificate.PrivateKey", "must be PEM text"),
        ({"Spec": {}, "Certificate": {**PEM, "PrivateKey": "/etc/shadow"}}, "Certificate.PrivateKey", "must be PEM"),
        ({"Spec": {}, "AllowedEndpoints": {"10.0.0": ""}}, 'AllowedEndpoints["10.0.0"]', "must be a network"),
        (inbound({"http": {}}), "Inbound.TrafficMatches.http", "must be a port"),
        (inbound({"65536": {}}), 'Inbound.TrafficMatches["65536"]', "must be a port"),
        (inbound({"80": []}), 'Inbound.TrafficMatches["80"]', "must be a mapping"),
        (inbound({"80": {"SourceIPRanges": ["10.0.0.0/8", 7]}}), "MATCH.SourceIPRanges", "a list"),
        (
            inbound({"80": {"SourceIPRanges": {"10.1.0.0/16": {"mTLS": True}}}}, Certificate=None),
            'Inbound.TrafficMatches["80"].SourceIPRanges["10.1.0.0/16"]',
            "there is none",
        ),
        (
            inbound({"80": {"SourceIPRanges": {"10.1.0.0/16": {"mTLS": True, "AuthenticatedPrincipals": ["*.x"]}}}}),
            'Inbound.TrafficMatches["80"].SourceIPRanges["10.1.0.0/16"].AuthenticatedPrincipals',
            "without `*`",
        ),
        (rules(hosts={"books": "nil"}), "MATCH.HttpHostPort2Service.books", "no rules `nil`"),
        (rules(hosts={"books": {}}), "MATCH.HttpHostPort2Service.books.RuleName", "is missing"),
        (rules({"Type": "Glob"}), "RULE[0].Type", "Regex or Exact or Prefix"),
        (rules({}, {"TargetClusters": {"c": -1}}), "RULE[1].TargetClusters.c", "from 0 to"),
        (rules({"Path": "(a+)+b"}), "RULE[0]", "linear"),
        (rules({"Path": "books", "Type": "Exact"}), "RULE[0]", "must be a path"),
        (rules({"Methods": ["get"]}), "RULE[0]", "must be a method"),
        (rules({"AllowedServices": ["*.shop"]}), "RULE[0].AllowedServices[0]", "<service account>.<namespace>"),
        (rules({"Headers": {f"x{n}": "^$" for n in range(5)}}), "RULE[0].Headers", "more than 4"),
        (rules({"Headers": {f"x{n}": "^$" for n in range(60)}}), "RULE[0].Headers", "more than 4"),
        (rules({"RateLimit": {"Local": {"StatTimeWindow": 1}}}), "RULE[0].RateLimit.Local.Requests", "is missing"),
        (rules({"RateLimit": {"Local": {"Requests": 0}}}), "RULE[0]", "from 1 to"),
        (
            rules(RateLimit={"Local": {"Connections": 1, "StatTimeWindow": -1}}),
            "MATCH.RateLimit.Local.StatTimeWindow",
            "0 or more",
        ),
        (outbound({"Endpoints": {"10.0.0.1": 1}}), "CLUSTER", "a port is missing"),
        (outbound({"Endpoints": {"10.0.0.1:1": {"Weight": -1}}}), 'CLUSTER.Endpoints["10.0.0.1:1"].Weight', "0 to"),
        (outbound({"Endpoints": {}, "SourceCert": {}}), "CLUSTER.SourceCert.CertChain", "must be PEM text"),
        (outbound({"RetryPolicy": {"PerTryTimeout": -0.5}}), "CLUSTER.RetryPolicy.PerTryTimeout", "0 or more"),
        (
            {**outbound({"SourceCert": {"OsmIssued": True}}), "Certificate": None},
            "CLUSTER.SourceCert",
            "and there is none",
        ),
        (
            outbound({"ConnectionSettings": {"http": {"CircuitBreaking": {"ErrorRatioThreshold": 1.5}}}}),
            "CLUSTER.ConnectionSettings.http.CircuitBreaking.ErrorRatioThreshold",
            "from 0 to 1",
        ),
    ],
)
def test_what_is_refused(document: Any, place: str, why: str) -> None:
    match = 'Inbound.TrafficMatches["80"]'
    place = place.replace("RULE", "MATCH.HttpServiceRouteRules.b.RouteRules").replace("MATCH", match)
    place = place.replace("CLUSTER", 'Outbound.ClustersConfigs["shop/a|1"]')
    found = problems(document)
    assert place in found, found
    assert why in found[place]


def test_every_problem_is_told_with_its_line() -> None:
    text = """{"Spec": {"SidecarTimeout": -1},
    "AllowedEndpoints": {"here": ""},
    "Outbound": {"ClustersConfigs": {"a":
        {"10.0.0.1:80": -5}}}}"""
    with pytest.raises(Invalid) as caught:
        translated([read(text.encode(), "config.json")], Setting())
    assert {(problem.line, problem.path) for problem in caught.value.problems} == {
        (1, "Spec.SidecarTimeout"),
        (2, "AllowedEndpoints.here"),
        (4, 'Outbound.ClustersConfigs.a["10.0.0.1:80"].Weight'),
    }


def test_a_place_that_has_moved_is_told_as_it_was_written() -> None:
    document = inbound({"80": {"HttpServiceRouteRules": {"b": {"/a": {"TargetClusters": {"c": "all"}}}}}})
    assert list(problems(document)) == ['Inbound.TrafficMatches["80"].HttpServiceRouteRules.b["/a"].TargetClusters.c']


def test_a_problem_in_our_words_is_told_at_the_place_in_theirs() -> None:
    found = problems(rules({"Path": "/a{999}"}, {"Path": "(x+)+"}))
    assert list(found) == [f'Inbound.TrafficMatches["80"].HttpServiceRouteRules.b.RouteRules[{n}]' for n in (0, 1)]
    assert "(in our words, " in found['Inbound.TrafficMatches["80"].HttpServiceRouteRules.b.RouteRules[1]']


def test_there_is_one_document_only() -> None:
    documents = [read(b'{"Spec": {}, "Version": "%d"}' % number, f"{number}.json") for number in range(3)]
    with pytest.raises(Invalid) as caught:
        translated(documents, Setting())
    assert [(problem.source, "already, in 0.json" in problem.message) for problem in caught.value.problems] == [
        ("1.json", True),
        ("2.json", True),
    ]


def test_a_script_is_refused_where_the_operator_says_so() -> None:
    document = {"Spec": {}, "Chains": {"inbound-http": ["modules/a.js", "plugins/guard.js", "plugins/kept.js"]}}
    filters: dict[str, Any] = {"plugins": "refuse", "plugin_filters": {"kept": []}}
    assert list(problems(document, compat=filters)) == ["Chains.inbound-http[1]"]


def test_the_trust_domain_of_the_node_is_that_of_the_mesh() -> None:
    document = {**rules({}), "Certificate": {**PEM, "CommonName": "books.shop.mesh.local"}}
    config = translated([read(json.dumps(document).encode(), "config.json")], Setting()).documents[0].config
    assert config.node.trust_domain == "mesh.local"
    assert list(problems(document, node={"service_account": "books"})) == ["Certificate.CommonName"]
    read_whole(document, Setting(node=decode(Node, {"service_account": "books", "trust_domain": "mesh.local"})))


def test_by_header_an_identity_is_not_looked_at_twice() -> None:
    document = rules({"AllowedServices": ["a.b"], "Headers": {"ServiceIdentity": "x"}})
    [(place, why)] = problems(document, compat={"identity": "header"}).items()
    assert place.endswith("RouteRules[0].Headers")
    assert "already" in why


def test_clusters_that_become_one_are_spoken_to_in_one_way() -> None:
    targets = {"TargetClusters": {"shop/a|1": 1, "b": 1}}
    document = outbound({"Endpoints": {"10.0.0.1:1": 1}}, TcpServiceRouteRules=targets)
    given = {**PEM, "IssuingCA": "-----BEGIN C-----"}
    document["Outbound"]["ClustersConfigs"]["b"] = {"Endpoints": {"10.0.0.2:1": 1}, "SourceCert": given}
    [(place, why)] = problems(document).items()
    assert place.endswith(".TcpServiceRouteRules")
    assert "TLS" in why


def test_rules_are_bounded_before_they_are_made() -> None:
    hosts = {f"h{n}.shop": "b" for n in range(40)}
    many = rules(*({"Path": f"/{n}", "Headers": {f"x{m}": "^$" for m in range(4)}} for n in range(1300)), hosts=hosts)
    assert "more than 20000 rules" in problems(many)['Inbound.TrafficMatches["80"]']


def test_unknown_keys_are_told_once_each() -> None:
    document = json.loads((FOLDER / "example.json").read_text())
    for port, match in document["Inbound"]["TrafficMatches"].items():
        match[f"Novel{int(port) > 80}"] = match["Other"] = 1
    found = translated([read(json.dumps(document).encode(), "config.json")], Setting())
    told = [str(note.problem.path) for note in found.notes if "unknown key" in note.problem.message]
    assert sorted(path.rpartition(".")[2] for path in told) == ["NovelFalse", "NovelTrue", "Other"]
