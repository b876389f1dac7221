"""What can be said about filters, splits and fallbacks, and what does not fit together."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, Rule, combine, decode, encode
from meshproxy.model.outline import destination
from meshproxy.model.routes import RouteTable, problems
from meshproxy.schema import json_schema
from meshproxy.schema.shapes import path_text

ORIGINS = ["https://Shop.Local:443", "https://*.shop.local:8443", "*", {"regex": "https://a[0-9]+[.]b"}]
EVERYTHING: dict[str, Any] = {
    "name": "web",
    "rules": [
        {
            "split": [
                {"cluster": "b", "headers": {"x-beta": {"exact": "1"}}, "cookies": {"Beta": {"present": True}}},
                {"cluster": "a", "weight": 95},
                {"cluster": "b", "steps": [{"after": 0, "weight": 5}, {"after": "10m", "weight": 50}]},
            ],
            "split_by": {"cookie": "user"},
            "fallback": {"reply": {"status": 200, "body": "later"}},
            "filters": [
                {
                    "access": {
                        "deny": [{"path": {"prefix": "/admin"}}, {"methods": ["DELETE"]}],
                        "allow": [{"sources": ["10.0.0.0/8", "fd00::/8"], "headers": {"x": {"present": True}}}],
                        "status": 404,
                    }
                },
                {
                    "cors": {
                        "origins": ORIGINS, "methods": ["PUT"], "headers": ["x-a"], "expose": ["*"], "max_age": "1h",
                    }
                },
                {"max_body": "1MiB"},
                {
                    "fault": {
                        "delay": {"duration": "2s", "share": 0.1}, "abort": {"share": 1},
                        "headers": {"x": {"exact": ""}},
                    }
                },
            ],
        },
    ],
}  # fmt: skip


def table(rule: dict[str, Any]) -> RouteTable:
    return decode(RouteTable, {"name": "web", "rules": [rule]})


def undecoded(rule: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        table(rule)
    return {problem.path.removeprefix("rules[0]."): problem.message for problem in caught.value.problems}


def wrong(rule: dict[str, Any]) -> dict[str, str]:
    return {path_text(path[2:]): message for path, message in problems(table(rule))}


def filtered(**said: Any) -> dict[str, Any]:
    return {"cluster": "a", "filters": [said]}


def test_all_of_it_survives_being_written_and_is_what_its_schema_describes() -> None:
    decoded = decode(RouteTable, EVERYTHING)
    assert list(problems(decoded)) == []
    assert decode(RouteTable, encode(decoded)) == decoded
    jsonschema.Draft202012Validator(json_schema(RouteTable)).validate(EVERYTHING)
    cors = decoded.rules[0].filters[1].cors
    assert cors is not None
    assert cors.origins[0].name == "https://shop.local", "as a browser says it"


@pytest.mark.parametrize(
    ("said", "path", "why"),
    [
        (filtered(access={"allow": [{"sources": ["10.0.0.1/8"]}]}), "access.allow[0].sources[0]", "mean 10.0.0.0/8"),
        (filtered(access={"deny": [{"sources": ["nowhere"]}]}), "access.deny[0].sources[0]", "must be a network"),
        (filtered(access={"deny": [{"methods": ["get"]}]}), "access.deny[0].methods[0]", "must be a method such as"),
        (filtered(access={"deny": [{"path": {"regex": "(a+)+"}}]}), "access.deny[0].path.regex", "takes linear time"),
        (filtered(access={"deny": [{"path": {"prefix": "/a"}}], "status": 200}), "access.status", "from 400 to 599"),
        (filtered(cors={}), "cors.origins", "is missing"),
        (filtered(cors={"origins": ["shop.local"]}), "cors.origins[0].name", "must be an origin such as"),
        (filtered(cors={"origins": ["*.shop.local"]}), "cors.origins[0].name", "must be an origin such as"),
        (filtered(cors={"origins": ["https://shop.local/"]}), "cors.origins[0].name", "must be an origin such as"),
        (filtered(cors={"origins": ["https://*"]}), "cors.origins[0].name", "must be an origin such as"),
        (filtered(cors={"origins": ["null"]}), "cors.origins[0].name", "must be an origin such as"),
        (filtered(cors={"origins": [{"regex": "(.*a)*b"}]}), "cors.origins[0].regex", "takes linear time"),
        (filtered(cors={"origins": ["*"], "headers": ["a b"]}), "cors.headers[0]", "must be the name of a header"),
        (filtered(cors={"origins": ["*"], "max_age": "-1s"}), "cors.max_age", "must be a duration"),
        (filtered(max_body="-1"), "max_body", "must be a size such as"),
        (filtered(fault={"delay": {"duration": "-2s"}}), "fault.delay.duration", "must be a duration"),
        (filtered(fault={"delay": {"duration": 0}}), "fault.delay.duration", "must be a duration longer than 0"),
        (filtered(fault={"delay": {"duration": "1s", "share": 1.5}}), "fault.delay.share", "such as 0.5, not 1.5"),
        (filtered(fault={"abort": {"share": -0.1}}), "fault.abort.share", "from 0 to 1, such as 0.5, not -0.1"),
        (filtered(fault={"abort": {"share": float("nan")}}), "fault.abort.share", "from 0 to 1, such as 0.5, not NaN"),
        (filtered(fault={"abort": {"share": True}}), "fault.abort.share", "from 0 to 1, such as 0.5, not true"),
        (filtered(fault={"abort": {"status": 200}}), "fault.abort.status", "from 400 to 599"),
        (filtered(claim={}), "claim.header", "is missing"),
        (filtered(claim={"header": "*/"}), "claim.header", "must be the name of a header"),
        (filtered(buffer={"request": "-1"}), "buffer.request", "must be a size such as"),
        (filtered(repeated="first"), "repeated", "must be last"),
        (filtered(), "", "must say exactly one of rate_limit, access, cors, max_body, fault, bandwidth, "
         "claim, buffer, repeated, grpc_web, extension"),
    ],
)  # fmt: skip
def test_what_a_wrong_value_is_told(said: dict[str, Any], path: str, why: str) -> None:
    assert why in undecoded(said)[f"filters[0].{path}".rstrip(".")]


STEPS = [{"after": 0, "weight": 1}]
SPLIT: list[dict[str, Any]] = [{"cluster": "a"}, {"cluster": "b"}]


@pytest.mark.parametrize(
    ("said", "path", "why"),
    [
        ({"split": [{"cluster": "a", "weight": -1}]}, "split[0].weight", "from 0 to 65535"),
        ({"split": [{"cluster": "a", "steps": [{"weight": 1}]}]}, "split[0].steps[0].after", "is missing"),
        ({"split": [{"cluster": "a", "steps": [{"after": "-1s", "weight": 1}]}]}, "split[0].steps[0].after", "a dura"),
        ({"split": SPLIT, "split_by": {"header": "a", "cookie": "b"}}, "split_by", "must say exactly one of"),
        ({"split": SPLIT, "fallback": {}}, "fallback", "must say exactly one of cluster, reply"),
        ({"split": SPLIT, "fallback": {"cluster": "a", "reply": {}}}, "fallback", "must say exactly one of"),
    ],
)
def test_what_a_wrong_split_or_fallback_is_told(said: dict[str, Any], path: str, why: str) -> None:
    assert why in undecoded(said)[path]


ADMIN = {"path": {"prefix": "/admin"}}
REFLECTING = {"credentials": True, "origins": [{"regex": "https?://.*"}]}


@pytest.mark.parametrize(
    ("said", "path", "why"),
    [
        (filtered(access={}), "filters[0].access", "says nothing"),
        (filtered(access={"allow": [ADMIN, {}]}), "filters[0].access.allow[1]", "every request would match"),
        (filtered(access={"allow": [ADMIN] * 65}), "filters[0].access.allow", "65 entries, more than 64"),
        (
            filtered(access={"allow": [{"sources": ["10.0.0.0/8"] * 1025}]}),
            "filters[0].access.allow[0].sources", "1025 entries, more than 1024",
        ),
        (
            filtered(access={"allow": [{"headers": {"x:y": {"exact": "1"}}}]}),
            "filters[0].access.allow[0].headers[\"x:y\"]", "is not the name of a header",
        ),
        (filtered(cors={"origins": []}), "filters[0].cors.origins", "must not be empty"),
        (
            filtered(cors={"origins": ["https://a.b", "*"], "credentials": True}),
            "filters[0].cors.origins[1]", 'with `credentials` would let any page act as its visitor',
        ),
        (filtered(cors=REFLECTING), "filters[0].cors.origins[0]", "would let any page act as its visitor"),
        (
            filtered(cors={"origins": ["https://a.b"], "headers": ["x", "*"], "credentials": True}),
            "filters[0].cors.headers[1]", "means nothing with `credentials`",
        ),
        (filtered(cors={"origins": ["*"], "max_age": "8d"}), "filters[0].cors.max_age", "longer than 7d"),
        (filtered(fault={}), "filters[0].fault", "needs `delay` or `abort`"),
        (filtered(buffer={}), "filters[0].buffer", "needs `request` or `response`"),
        (filtered(buffer={"response": "257MiB"}), "filters[0].buffer.response", "must be at most 256MiB"),
        (filtered(fault={"delay": {"duration": "2h"}}), "filters[0].fault.delay.duration", "longer than 1h"),
        (
            {"split": [{"cluster": "a", "weight": 0}, {"cluster": "b", "headers": {"x": {"present": True}}}]},
            "split", "no `weight` above 0, so nobody gets the requests",
        ),
        (
            {"split": [{"cluster": "a", "steps": [{"after": "5m", "weight": 0}]}]},
            "split", "no `weight` above 0 after 5m",
        ),
        (
            {"split": [{"cluster": "a", "steps": [{"after": "5m", "weight": 2}, {"after": "5m", "weight": 3}]}]},
            "split[0].steps[1].after", "must be later than",
        ),
        (
            {"split": [{"cluster": "a", "steps": [{"after": f"{n}s", "weight": 2} for n in range(65)]}]},
            "split[0].steps", "65 entries, more than 64",
        ),
        (
            {"split": [*SPLIT, {"cluster": "a", "weight": 9, "cookies": {"x": {"present": True}}}]},
            "split[2].weight", "say the cluster twice",
        ),
        (
            {"split": [*SPLIT, {"cluster": "b", "steps": STEPS, "cookies": {"x": {"exact": ""}}}]},
            "split[2].steps", "say the cluster twice",
        ),
        (
            {"split": [*SPLIT, {"cluster": "a", "cookies": {"x@y": {"exact": ""}}}]},
            'split[2].cookies["x@y"]', "is not the name of a cookie",
        ),
        ({"cluster": "a", "split_by": {"client": True}}, "split_by", "needs a `split` in which two or more"),
        ({"split": SPLIT, "split_by": {"client": False}}, "split_by.client", "can only be true"),
        ({"split": SPLIT, "split_by": {"header": "a:b"}}, "split_by.header", "is not the name of a header"),
        ({"reply": {}, "fallback": {"cluster": "a"}}, "fallback", "needs a `cluster` or a `split`"),
        ({"cluster": "a", "fallback": {"cluster": "a"}}, "fallback.cluster", "is the one that has failed"),
        (
            {"cluster": "a", "fallback": {"reply": {"status": 204, "body": "x"}}},
            "fallback.reply.body", "must be empty",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(said: dict[str, Any], path: str, why: str) -> None:
    found = wrong(said)
    assert list(found) == [path], found
    assert why in found[path]


def combined(**rule: Any) -> Config:
    config = {
        "listeners": [{"name": "in", "listen": "127.0.0.1:8080", "protocol": "http", "routes": "web"}],
        "routes": {"web": [rule]},
        "clusters": {"a": {"endpoints": ["127.0.0.1:9090"]}, "back": {"endpoints": ["127.0.0.1:8080"]}},
    }
    return combine([Document("a.yaml", decode(Config, config), frozenset(config), lambda _: None)])


def test_a_fallback_leads_to_a_cluster_that_is_there_and_not_back() -> None:
    with pytest.raises(Invalid) as caught:
        combined(cluster="a", fallback={"cluster": "bak"})
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("routes.web.rules[0].fallback.cluster", "no cluster `bak`; did you mean `back`?")
    ]
    with pytest.raises(Invalid) as caught:
        combined(cluster="a", fallback={"cluster": "back"})
    assert "leads back to cluster `back`" in str(caught.value)
    with pytest.raises(Invalid) as caught:
        combined(split=[{"cluster": "a"}, {"cluster": "c", "headers": {"x": {"exact": "1"}}}])
    assert caught.value.problems[0].path == "routes.web.rules[0].split[1].cluster"


def test_where_it_leads_in_few_words() -> None:
    (rule,) = EVERYTHING["rules"]
    assert destination(decode(Rule, rule)) == (
        "b for header x-beta exact 1 and cookie Beta present, a 95, b 5 then 50 after 10m, else reply 200"
    )
    assert destination(decode(Rule, {"cluster": "a", "fallback": {"cluster": "b"}})) == "a, else b"
