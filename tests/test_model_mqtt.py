"""What a policy of MQTT may say, and which listeners and clusters go with it."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode

CLUSTERS = {"brokers": {"endpoints": ["10.0.0.1:1883"]}, "lake": {"endpoints": ["10.0.0.2:1883"]}}
LISTENER = {"name": "devices", "listen": "127.0.0.1:1883", "protocol": "mqtt", "cluster": "brokers"}


def taken(policy: dict[str, Any] | None = None, listener: dict[str, Any] | None = None, **more: Any) -> Config:
    said = {
        "listeners": [{**LISTENER, **({"mqtt": "plant"} if policy is not None else {}), **(listener or {})}],
        "mqtt": {"plant": policy} if policy is not None else {},
        "clusters": CLUSTERS,
        **more,
    }
    return combine([Document("test", decode(Config, said), frozenset(said), lambda _: None)])


def refused(*parts: Any, **more: Any) -> list[str]:
    with pytest.raises(Invalid) as caught:
        taken(*parts, **more)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    "policy",
    [
        None,
        {},
        {"sessions": [{"match": {"clients": ["p-*"]}, "cluster": "lake"}, {"cluster": "brokers", "prefix": "t/%u/"}]},
        {"topics": [{"name": "x", "filters": ["a/#"], "cluster": "lake", "mirror": "lake", "rate": {"bytes": 9999}}]},
        {"authenticate": [{"anonymous": "guest"}], "authorize": [], "websocket": {}},
        {"failover": {}, "spool": {"dir": "/tmp/spool"}},
        {"fan_in": {}},
    ],
)
def test_what_fits(policy: dict[str, Any] | None) -> None:
    taken(policy)


def test_a_listener_may_leave_the_cluster_to_its_policy() -> None:
    taken({"sessions": [{"cluster": "lake"}]}, {"cluster": None})
    assert refused({}, {"cluster": None}) == ["listeners[0]: listener `devices` needs `cluster` or `chains`"]


def test_a_chain_takes_the_policy_of_its_listener() -> None:
    chains = [{"match": {"sources": ["10.0.0.0/8"]}}, {"match": {"sources": ["10.1.0.0/16"]}, "protocol": "tcp"}]
    config = taken({}, {"chains": chains})
    assert [chain.mqtt for chain in config.listeners[0].outcomes] == ["plant", None, "plant"]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (
            {"sessions": [{"cluster": "broker"}]},
            "mqtt.plant.sessions[0].cluster: no cluster `broker`; did you mean `brokers`?",
        ),
        (
            {"sessions": [{"cluster": "lake"}, {"cluster": "brokers"}]},
            "mqtt.plant.sessions[0]: `match` is empty: those after it are never asked",
        ),
        (
            {"topics": [{"name": "x", "filters": ["a"]}, {"name": "x", "filters": ["b"]}]},
            "mqtt.plant.topics[1].name: `name` x is that of `topics[0]`",
        ),
        (
            {"topics": [{"name": "x", "filters": ["a"], "rate": {}}]},
            "mqtt.plant.topics[0].rate: `rate` needs `messages`, `bytes` or both",
        ),
        ({"rate": {"per": "1m"}}, "mqtt.plant.rate: `rate` needs `messages`, `bytes` or both"),
        (
            {"topics": [{"name": "x", "filters": ["a"], "mirror": "sea"}]},
            "mqtt.plant.topics[0].mirror: no cluster `sea`",
        ),
        (
            {"fan_in": {}, "failover": {}},
            "mqtt.plant.failover: `fan_in` has connections of its own, which come back by themselves",
        ),
        (
            {"fan_in": {}, "spool": {"dir": "/tmp"}},
            "mqtt.plant.spool: `spool` needs sessions of their own at the broker, not `fan_in`",
        ),
        (
            {"websocket": {"paths": ["/mqtt?x"]}},
            "mqtt.plant.websocket.paths[0]: `paths` are without a query, which /mqtt?x has",
        ),
        (
            {"authenticate": []},
            "mqtt.plant.authenticate: `authenticate` must not be empty: nobody would be let in; leave it out, and "
            "everybody is",
        ),
        (
            {"authenticate": [{"certificate": "identity"}]},
            "listeners[0].mqtt: policy `plant` knows clients by `certificate`, which needs `tls` with `client_ca`",
        ),
    ],
)
def test_what_does_not_fit(policy: dict[str, Any], problem: str) -> None:
    assert refused(policy) == [problem]


@pytest.mark.parametrize(
    ("listener", "problem"),
    [
        ({"mqtt": "plan"}, "listeners[0].mqtt: no policy `plan` under `mqtt`; did you mean `plant`?"),
        (
            {"protocol": "tcp", "mqtt": "plant"},
            "listeners[0].mqtt: `mqtt` needs `protocol` mqtt or auto, not tcp",
        ),
    ],
)
def test_a_policy_is_for_listeners_that_speak_it(listener: dict[str, Any], problem: str) -> None:
    assert refused({}, listener) == [problem]


def test_who_hashes_by_client_id_is_for_clients_of_mqtt_alone() -> None:
    ring = {"brokers": {"endpoints": ["10.0.0.1:1883"], "balance": "ring_hash", "hash": {"client_id": True}}}
    taken(None, None, clusters=ring)
    assert refused(None, {"protocol": "tcp"}, clusters=ring) == [
        "listeners[0].cluster: cluster `brokers` hashes by client_id, which needs `protocol: mqtt`, not tcp"
    ]
    assert refused(None, None, clusters=CLUSTERS | ring, routes={"web": [{"cluster": "brokers"}]}) == [
        "routes.web.rules[0].cluster: cluster `brokers` hashes by client_id, which needs `protocol: mqtt`"
    ]


def test_a_policy_that_leads_back_to_its_listener_is_refused() -> None:
    here = {**CLUSTERS, "lake": {"endpoints": ["127.0.0.1:1883"]}}
    rule = {"topics": [{"name": "x", "filters": ["a"], "cluster": "lake"}]}
    (problem,) = refused(rule, None, clusters=here)
    assert problem.startswith("clusters.lake.endpoints[0]: endpoint 127.0.0.1:1883 is listener `devices`")
