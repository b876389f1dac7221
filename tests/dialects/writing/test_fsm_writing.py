"""A configuration in, `config.json` of a sidecar and a list of what is lost out."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.dialects import native
from meshproxy.dialects.fsm.observability import Log, access_log
from meshproxy.dialects.writing import Written, write
from meshproxy.model import combine

BOOKS = "shop/books|80"
INBOUND = {"name": "in", "listen": "0.0.0.0:15003", "protocol": "tcp", "transparent": True}
OUTBOUND = {"name": "out", "listen": "0.0.0.0:15001", "protocol": "tcp", "transparent": True}
SERVED = {"match": {"ports": [80]}, "protocol": "http", "routes": "web"}


def written(rule: dict[str, Any], *, out: bool = False, cluster: dict[str, Any] | None = None, **more: Any) -> Written:
    listener = {**(OUTBOUND if out else INBOUND), "chains": [SERVED]}
    source = {} if out else {"source": "127.0.0.6"}
    value = {
        "node": {"namespace": "shop", "service_account": "books"},
        "listeners": [listener],
        "routes": {"web": [{"match": {"hosts": ["books.shop"]}, "cluster": BOOKS, **rule}]},
        "clusters": {BOOKS: {"endpoints": ["127.0.0.1:8080"], **source, **(cluster or {})}},
        **more,
    }
    document = native.load(value, "f.yaml", lambda _: None)
    return write("fsm", combine([document]), [document])


def lost(found: Written) -> list[str]:
    return [each.path for each in found.lost]


def said(found: Written) -> Any:
    return found.documents[0]["Inbound"]["TrafficMatches"]["80"]["HttpServiceRouteRules"]["books.shop"]


def test_who_may_ask_what() -> None:
    match = {"hosts": ["books.shop"], "path": {"exact": "/v1"}, "methods": ["GET"], "identities": ["shop/buyer"]}
    found = written({"match": match, "filters": [{"rate_limit": {"requests": 5, "per": "1m"}}]})
    assert said(found)["RouteRules"] == [
        {
            "Path": "/v1",
            "Type": "Exact",
            "Headers": None,
            "Methods": ["GET"],
            "TargetClusters": {BOOKS: 100},
            "AllowedServices": ["buyer.shop"],
            "RateLimit": {"Local": {"Requests": 5, "StatTimeWindow": 60}},
        }
    ]
    assert found.documents[0]["Inbound"]["ClustersConfigs"] == {BOOKS: {"127.0.0.1:8080": 100}}
    assert lost(found) == []


def test_how_much_is_asked_and_how_often() -> None:
    breaker = {"max_requests": 7, "error_amount": 3, "open": "5s", "reply": {"status": 520, "body": "later"}}
    cluster = {"endpoints": ["10.0.0.1:80", {"address": "10.0.0.2:80", "priority": 1}], "breaker": breaker}
    found = written({"retry": {"on": ["5xx"], "attempts": 4, "backoff": "50ms", "max_backoff": "500ms"}},
                    out=True, cluster=cluster)  # fmt: skip
    assert found.documents[0]["Outbound"]["ClustersConfigs"][BOOKS] == {
        "Endpoints": {"10.0.0.1:80": {"Weight": 100}, "10.0.0.2:80": {"Weight": 0}},
        "ConnectionSettings": {
            "tcp": {"ConnectTimeout": 1},
            "http": {
                "MaxRequests": 7,
                "CircuitBreaking": {
                    "ErrorAmountThreshold": 3,
                    "DegradedTimeWindow": 5,
                    "DegradedStatusCode": 520,
                    "DegradedResponseContent": "later",
                },
            },
        },
        "RetryPolicy": {"RetryOn": "5xx", "NumRetries": 3, "PerTryTimeout": 0, "RetryBackoffBaseInterval": 0.05},
    }
    assert lost(found) == []


@pytest.mark.parametrize(("version", "protocol"), [("h1", "http"), ("h2", "grpc"), ("prior", "grpc")])
def test_what_is_asked_in_http2_is_grpc(version: str, protocol: str) -> None:
    found = written({}, cluster={"http": {"version": version}})
    assert found.documents[0]["Inbound"]["TrafficMatches"]["80"]["Protocol"] == protocol
    assert lost(found) == []


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"match": {"hosts": ["books.shop"], "query": {"a": {"exact": "1"}}}}, ""),
        ({"match": {"hosts": ["*.shop"]}}, ""),
        ({"match": {}}, ""),
        ({"cluster": None, "reply": {"status": 200}}, ""),
        ({"timeouts": {"request": "5s"}}, ".timeouts"),
        ({"retry": {"attempts": 3}}, ".retry"),
        ({"filters": [{"rate_limit": {"requests": 5, "by": "source"}}]}, ".filters"),
        ({"fallback": {"reply": {"status": 503}}}, ".fallback"),
        ({"match": {"hosts": ["books.shop"], "identities": ["*"]}}, ".match.identities[0]"),
    ],
)
def test_what_is_lost_of_a_rule(rule: dict[str, Any], place: str) -> None:
    assert f"routes.web.rules[0]{place}" in lost(written(rule))


def test_certificates_must_stand_in_the_text() -> None:
    tls = {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem"}
    found = written({}, listeners=[{**INBOUND, "chains": [SERVED], "tls": tls}])
    assert (found.documents[0]["Certificate"], lost(found)) == (None, ["listeners[0].tls"])
    inline = {key: f"-----BEGIN {key}" for key in tls}
    found = written({}, listeners=[{**INBOUND, "chains": [SERVED], "tls": inline}])
    assert found.documents[0]["Certificate"]["CommonName"] == "books.shop.cluster.local"
    assert lost(found) == []


def test_other_listeners_and_sections_are_told() -> None:
    other = {"name": "more", "listen": "127.0.0.1:81", "protocol": "http", "routes": "web"}
    found = written({}, listeners=[{**INBOUND, "chains": [SERVED]}, other], drain={"delay": "1s"})
    assert set(lost(found)) == {"listeners[1]", "drain"}


def test_a_port_for_several_protocols_is_lost() -> None:
    found = written({}, listeners=[{**INBOUND, "chains": [{**SERVED, "protocol": "auto", "cluster": BOOKS}]}])
    assert "listeners[0].chains[0].protocol" in lost(found)
    assert not found.documents[0]["Inbound"]


def test_whom_a_later_rule_lets_in_is_told() -> None:
    rules = [
        {"match": {"hosts": ["books.shop"], "path": {"prefix": "/v1"}}, "cluster": BOOKS, "authorize": []},
        {"match": {"hosts": ["books.shop"]}, "cluster": BOOKS},
    ]
    found = written({}, routes={"web": rules})
    assert [str(each) for each in found.lost] == [
        "f.yaml: routes.web.rules[0]: FSM goes on to a later rule: whom `web/1` lets in may ask this too"
    ]


ZIPKIN = {"propagate": "b3multi", "sample": {"share": 0.25, "rate": None}, "export": {"zipkin": "http://z:9411/x"}}


def test_a_collector_of_zipkin_is_said() -> None:
    found = written({}, tracing={**ZIPKIN, "service": "books"}, metrics={"presets": ["fsm"]})
    assert found.documents[0]["Spec"]["Observability"] == {
        "tracing": {"address": "z:9411", "endpoint": "/x", "sampledFraction": "0.250000"}
    }
    assert lost(found) == []


def test_a_log_that_the_sidecar_would_write_is_said() -> None:
    log = Log("http://logs:8123/in?a=b", "Basic ZGVm", 0.5, "shop")
    found = written({}, access_log=access_log(log, {"in": "inbound"}))
    assert found.documents[0]["Spec"]["Observability"] == {
        "remoteLogging": {
            "address": "logs:8123", "endpoint": "/in?a=b", "authorization": "Basic ZGVm", "level": 1,
            "sampledFraction": "0.500000",
        }
    }  # fmt: skip
    assert lost(found) == []


@pytest.mark.parametrize(
    "more",
    [
        {"tracing": {**ZIPKIN, "service": "books", "sample": {"share": 0.25}}},
        {"tracing": {**ZIPKIN, "service": "books", "export": {"zipkin": "https://z:9411"}}},
        {"tracing": {**ZIPKIN, "service": "books", "sample": {"share": 0.0000001, "rate": None}}},
        {"tracing": {"service": "books", "export": {"otlp": "http://z:9411"}}},
        {"access_log": {"to": "stdout"}},
        {"access_log": {"to": {"http": "http://logs:8123/"}}},
        {"metrics": {"presets": ["istio"]}},
    ],
)
def test_other_ways_to_be_told_are_lost(more: dict[str, Any]) -> None:
    found = written({}, **more)
    assert lost(found) == [*more]
    assert "Observability" not in found.documents[0]["Spec"]


def test_a_sidecar_has_no_other_name_in_traces() -> None:
    found = written({}, tracing={**ZIPKIN, "service": "library"})
    assert lost(found) == ["tracing.service"]
    assert "tracing" in found.documents[0]["Spec"]["Observability"]
