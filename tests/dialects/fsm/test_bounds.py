"""What must not come of a document, whatever it says: more than was meant, or more than there is room for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.dialects.fsm import draft
from meshproxy.errors import Invalid
from tests.dialects.fsm.goldens import translated

RULE = {"Path": ".*", "TargetClusters": {"c": 1}}


def put(**sections: Any) -> dict[str, Any]:
    return translated(json.dumps({"Spec": {}, "Inbound": None, **sections}).encode()).value


def probe(**headers: str) -> dict[str, Any]:
    said = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    found = put(Spec={"Probes": {"LivenessProbes": [{"httpGet": {"port": 15901, "httpHeaders": said}}]}})
    rule: dict[str, Any] = found["routes"]["probes"]["rules"][0]
    return rule


@pytest.mark.parametrize("headers", [{}, {"Original_Http_Path": ""}, {"Original_Http_Path": "?deep"}])
def test_a_probe_without_a_path_is_no_way_to_all_of_the_application(headers: dict[str, str]) -> None:
    assert probe(Original_Http_Port="8080", **headers)["rewrite"] == {"path": "/"}


def test_whoever_asks_in_the_place_of_the_kubelet_can_only_read() -> None:
    for port in ("Original_Http_Port", "Original_Tcp_Port"):
        assert probe(**{port: "8080"})["match"]["methods"] == ["GET", "HEAD"]


def test_no_destination_is_not_any_destination() -> None:
    clusters = {"c": {"Endpoints": {"10.0.0.1:80": {"Weight": 1}}}}

    def outbound(ranges: Any) -> dict[str, Any]:
        rules = {"r": {"RouteRules": [RULE]}}
        match = {"Protocol": "http", "HttpHostPort2Service": {"a": "r"}, "HttpServiceRouteRules": rules}
        return put(
            Outbound={"TrafficMatches": {"80": [{**match, "DestinationIPRanges": ranges}]}, "ClustersConfigs": clusters}
        )

    assert "listeners" not in outbound({})
    assert outbound(None)["listeners"][0]["chains"][0]["match"] == {"ports": [80]}


def test_a_small_document_does_not_make_a_large_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert draft.MOST_MADE == 1_000_000
    # A tenth is made in a tenth of the time.
    monkeypatch.setattr(draft, "MOST_MADE", 100_000)
    everybody = {f"10.0.{n >> 8}.{n & 255}": "" for n in range(500)}
    ports = {str(port): {"Protocol": "tcp"} for port in range(1, 240)}
    with pytest.raises(Invalid, match="more than 100000 addresses"):
        put(AllowedEndpoints=everybody, Inbound={"TrafficMatches": ports})
    hosts = {f"h{n}": "r" for n in range(160)}
    rules = {"r": {"RouteRules": [RULE] * 660}}
    match = {"Protocol": "http", "HttpHostPort2Service": hosts, "HttpServiceRouteRules": rules}
    clusters = {"c": {f"127.0.0.1:{port}": 1 for port in range(1, 201)}}
    with pytest.raises(Invalid, match="more than 100000 addresses"):
        put(AllowedEndpoints={"10.0.0.1": ""}, Inbound={"TrafficMatches": {"80": match}, "ClustersConfigs": clusters})
    joined = {
        str(port): [{"Protocol": "tcp", "TcpServiceRouteRules": {"TargetClusters": {f"c{n}": 1 for n in range(9)}}}]
        for port in range(1, 60)
    }
    clusters = {f"c{n}": {f"10.0.{n}.{k & 255}:{k + 1}": 1 for k in range(200)} for n in range(9)}
    with pytest.raises(Invalid, match="more than 100000 addresses"):
        put(Outbound={"TrafficMatches": joined, "ClustersConfigs": clusters})


def test_a_private_key_in_a_wrong_place_is_not_repeated() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEsecret"
    with pytest.raises(Invalid) as caught:
        put(Certificate={"CommonName": key})
    assert [problem.message for problem in caught.value.problems] == [
        "`CommonName` must be a string of printable characters, not a private key"
    ]


@pytest.mark.parametrize("text", ["10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/033", "fd00::/129"])
def test_a_range_that_is_none_is_a_problem(text: str) -> None:
    for allowed in ({text: ""}, {"10.0.0.1": "", text: ""}):
        with pytest.raises(Invalid, match="must be a network"):
            put(AllowedEndpoints=allowed, Inbound={"TrafficMatches": {"80": {"Protocol": "tcp"}}})
