"""What leaves the mesh through egress gateways: by which rule, through which of them, and what becomes of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.fsm.goldens import translated
from tests.dialects.fsm.test_strict import PEM, problems

ANYWHERE = {"TargetClusters": {"far:80": 100}}
WEB = {"RouteRules": [{"Path": ".*", **ANYWHERE}]}


def gateway(*addresses: str, weight: int = 100, **said: Any) -> dict[str, Any]:
    return {"Endpoints": {address: {"Weight": weight} for address in addresses}, **said}


def document(rules: dict[str, Any], gateways: dict[str, Any], *matches: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A workload that asks `far:80`, at the port 80."""
    cluster = {"Endpoints": {"far:80": {"Weight": 100}}}
    outbound = {"TrafficMatches": {"80": [*matches]}, "ClustersConfigs": {"far:80": cluster}}
    forward = {"ForwardMatches": rules, "EgressGateways": gateways}
    return {"Spec": {}, "Certificate": PEM, "Outbound": outbound, "Forward": forward, **more}


def tcp(**said: Any) -> dict[str, Any]:
    return {"Protocol": "tcp", "TcpServiceRouteRules": {**ANYWHERE, **said}}


def http(**said: Any) -> dict[str, Any]:
    return {"Protocol": "http", "HttpHostPort2Service": {"far": "r"}, "HttpServiceRouteRules": {"r": {**WEB, **said}}}


def words(value: dict[str, Any]) -> tuple[Any, list[str]]:
    found = translated(json.dumps(value).encode())
    assert found.problems == []
    return found.value, [note.problem.message for note in found.notes if "the name of the cluster" not in str(note)]


def of_one(*addresses: str, weight: int = 100, **said: Any) -> dict[str, Any]:
    """The tunnels for one gateway for everything."""
    found, _ = words(document({"*": {"gw": weight}}, {"gw": gateway(*addresses, **said)}, tcp()))
    tunnels: dict[str, Any] = found["tunnels"]
    assert found["clusters"]["far:80"]["via"] in tunnels
    return tunnels


@pytest.mark.parametrize(
    ("mode", "through"),
    [({"Mode": "http2tunnel"}, "h2"), ({"Mode": "sock5"}, "socks5"), ({}, "h2"), ({"Mode": None}, "h2")],
)
def test_how_a_gateway_is_spoken_to(mode: dict[str, Any], through: str) -> None:
    assert of_one("10.0.0.9:1080", **mode) == {"gw/10.0.0.9:1080": {"through": through, "server": "10.0.0.9:1080"}}


def test_all_of_its_endpoints_take_turns() -> None:
    tunnels = of_one("10.0.0.8:1080", "10.0.0.9:1080")
    assert tunnels["egress@"] == {"among": ["gw/10.0.0.8:1080", "gw/10.0.0.9:1080"]}


def test_in_older_versions_they_are_weights_alone() -> None:
    assert "gw/10.0.0.9:1080" in of_one(Endpoints={"10.0.0.9:1080": 100})


def shares(weights: dict[str, int], **gateways: dict[str, Any]) -> dict[str, int]:
    found, _ = words(document({"ns.rule.0": weights}, gateways, tcp(EgressForwardGateway="ns.rule.0")))
    assert found["clusters"]["far:80"]["via"] == "egress@ns.rule.0"
    among = found["tunnels"]["egress@ns.rule.0"]["among"]
    return {each["tunnel"].split("/")[1]: each["weight"] for each in among}


def test_gateways_have_the_shares_that_a_rule_says_and_endpoints_those_of_their_gateway() -> None:
    both = {"a": gateway("10.0.0.1:1", "10.0.0.2:1"), "b": gateway("10.0.0.3:1")}
    assert shares({"a": 60, "b": 40}, **both) == {"10.0.0.1:1": 30, "10.0.0.2:1": 30, "10.0.0.3:1": 40}


def test_no_weight_is_a_hundred() -> None:
    assert shares({"a": 0, "b": 50}, a=gateway("10.0.0.1:1", weight=0), b=gateway("10.0.0.2:1")) == {
        "10.0.0.1:1": 100, "10.0.0.2:1": 50
    }  # fmt: skip


@pytest.mark.parametrize(
    "match", [tcp(EgressForwardGateway="a"), {**tcp(), "EgressForwardGateway": "a"}, http(EgressForwardGateway="a")]
)
def test_a_rule_comes_before_the_one_for_everything(match: dict[str, Any]) -> None:
    gateways = {"one": gateway("10.0.0.1:1"), "two": gateway("10.0.0.2:1")}
    found, notes = words(document({"*": {"one": 1}, "a": {"two": 1}}, gateways, match))
    assert found["clusters"]["far:80"] == {"endpoints": ["far:80"], "via": "two/10.0.0.2:1"}
    assert notes == []


def test_without_any_it_leaves_as_it_is() -> None:
    found, _ = words(document({}, {"one": gateway("10.0.0.1:1")}, tcp()))
    assert found["clusters"]["far:80"] == {"endpoints": ["far:80"]}
    assert "tunnels" not in found


def test_what_stays_in_the_mesh_does_not_go_there() -> None:
    inside = {**http(), "DestinationIPRanges": {"10.1.0.0/16": None}}
    found, _ = words(document({"*": {"gw": 1}}, {"gw": gateway("10.0.0.9:1")}, inside, http()))
    assert "via" not in found["clusters"]["far:80"]
    assert "tls" in found["clusters"]["far:80"]
    assert found["clusters"]["far:80@egress"] == {"endpoints": ["far:80"], "via": "gw/10.0.0.9:1"}


def test_a_cluster_that_is_asked_in_several_ways_is_several() -> None:
    gateways = {"one": gateway("10.0.0.1:1"), "two": gateway("10.0.0.2:1")}
    value = document({"a": {"one": 1}, "b": {"two": 1}}, gateways)
    value["Outbound"]["TrafficMatches"] = {
        "80": [tcp(EgressForwardGateway="a")], "81": [tcp(EgressForwardGateway="b")], "82": [tcp()]
    }  # fmt: skip
    found, _ = words(value)
    assert {name: said.get("via") for name, said in found["clusters"].items()} == {
        "far:80": "one/10.0.0.1:1", "far:80@two/10.0.0.2:1": "two/10.0.0.2:1", "far:80@direct": None
    }  # fmt: skip
    assert [chain["cluster"] for chain in found["listeners"][0]["chains"]] == [*found["clusters"]]


@pytest.mark.parametrize("ranges", [None, {"192.0.2.0/24": None}])
def test_what_goes_on_to_where_it_was_to_go_goes_through_it_too(ranges: Any) -> None:
    match = {"Protocol": "tcp", "DestinationIPRanges": ranges, "TcpServiceRouteRules": {"AllowedEgressTraffic": True}}
    found, _ = words(document({"*": {"gw": 1}}, {"gw": gateway("10.0.0.9:1")}, match))
    assert found["clusters"] == {"original@gw/10.0.0.9:1": {"original": True, "via": "gw/10.0.0.9:1"}}


def test_a_certificate_is_shown_to_whom_is_behind_it() -> None:
    """Theirs goes past the gateway then."""
    match = {"Protocol": "tcp", "TcpServiceRouteRules": {"AllowedEgressTraffic": True, "EgressForwardGateway": "*"}}
    value = document(
        {"*": {"gw": 1}},
        {"gw": gateway("10.0.0.9:1")},
        {**match, "DestinationIPRanges": {"192.0.2.0/24": {"SourceCert": {"FsmIssued": True}}}},
    )
    (cluster,) = words(value)[0]["clusters"].values()
    assert (cluster["via"], cluster["tls"]["verify"]) == ("gw/10.0.0.9:1", "chain")


def test_clusters_that_share_connections_go_there_together() -> None:
    value = document({"*": {"gw": 1}}, {"gw": gateway("10.0.0.9:1")}, tcp(TargetClusters={"far:80": 1, "near:80": 1}))
    value["Outbound"]["ClustersConfigs"]["near:80"] = gateway("near:80")
    (cluster,) = words(value)[0]["clusters"].values()
    assert (len(cluster["endpoints"]), cluster["via"]) == (2, "gw/10.0.0.9:1")


def test_hosts_that_nobody_knows_go_there_too() -> None:
    value = document({"*": {"gw": 1}}, {"gw": gateway("10.0.0.9:1")}, http())
    value["Spec"] = {"FeatureFlags": {"EnableAutoDefaultRoute": True}}
    found, _ = words(value)
    asked = [rule["cluster"] for rule in found["routes"]["outbound/80"]["rules"] if "cluster" in rule]
    assert asked == ["far:80", "far:80"]
    assert found["clusters"]["far:80"]["via"] == "gw/10.0.0.9:1"


NOBODY: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"*": {"gw": 1}}, {}),
    ({"*": {"gw": 1}}, {"gw": gateway()}),
    ({"*": None}, {"gw": gateway("10.0.0.9:1")}),
]


@pytest.mark.parametrize(("rules", "gateways"), NOBODY)
def test_where_no_gateway_is_there_nothing_leaves(rules: dict[str, Any], gateways: dict[str, Any]) -> None:
    """Theirs leaves in another way then."""
    value = document(rules, gateways, tcp(EgressForwardGateway="*"), Spec={"Traffic": {"EnableEgress": True}})
    value["Outbound"]["TrafficMatches"]["81"] = [http(EgressForwardGateway="*")]
    found, notes = words(value)
    listener = found["listeners"][0]
    assert listener["chains"][0]["cluster"] == "nobody@"
    assert listener["cluster"] == ("nobody@" if rules["*"] else "original@")
    assert found["routes"]["outbound/81"]["rules"][0]["reply"] == {"status": 503, "body": "No egress gateway"}
    assert any("it does not leave, in any way" in note for note in notes)


def test_a_gateway_without_endpoints_is_told_and_the_others_are_used() -> None:
    value = document({"*": {"gone": 60, "gw": 40}}, {"gw": gateway("10.0.0.9:1")}, tcp())
    found, notes = words(value)
    assert found["clusters"]["far:80"]["via"] == "gw/10.0.0.9:1"
    assert notes == ["no such gateway with endpoints in `EgressGateways`"]


@pytest.mark.parametrize(
    ("rules", "gateways", "place", "why"),
    [
        ({}, {"gw": gateway(Mode="socks5")}, "Forward.EgressGateways.gw.Mode", "must be http2tunnel or sock5"),
        ({"*": {"gw": -1}}, {}, 'Forward.ForwardMatches["*"].gw', "must be"),
        ({"*": ["gw"]}, {}, 'Forward.ForwardMatches["*"]', "must be a mapping"),
        ({"*": {"gw": 1}}, {"gw": gateway("nowhere")}, "Forward.EgressGateways.gw.Endpoints.nowhere", "port"),
    ],
)
def test_what_is_wrong_is_told_where_it_was_said(rules: Any, gateways: Any, place: str, why: str) -> None:
    found = problems(document(rules, gateways, tcp()))
    assert why in found[place]
