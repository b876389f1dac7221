"""What may be said of health, what is refused and in which words, and that it is read back as it was written."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Cluster, Config, Document, Expect, Health, Outlier, combine, decode, encode
from meshproxy.schema import json_schema

SCHEMA = jsonschema.Draft202012Validator(json_schema(Config))


def plain(**cluster: Any) -> dict[str, Any]:
    return {"clusters": {"up": {"endpoints": ["127.0.0.1:1"], **cluster}}}


def read(**cluster: Any) -> Cluster:
    document = Document("test", decode(Config, plain(**cluster)), frozenset({"clusters"}), lambda _: None)
    found: Cluster = combine([document]).clusters[0]
    return found


def refusal(**cluster: Any) -> list[str]:
    with pytest.raises(Invalid) as refused:
        read(**cluster)
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"path": "/ready?deep=1", "method": "HEAD", "host": "shop.local:80", "headers": {"x-probe": "1"}, "port": 9000},
        {"path": "/ready", "expect": {"statuses": ["200-299", "404"], "body": "ok"}},
        {"send": "PING\r\n", "expect": "+PONG"},
        {"grpc": "books.v1.Books", "host": "books", "port": 9000},
        {"grpc": {}},
        {"mqtt": {}},
        {"mqtt": {"version": "5", "user": "checker", "password": "secret"}, "port": 1884},
        {"send": "hex:00ff", "expect": "hex:ff"},
        {"expect": "SSH-2.0", "interval": "1m", "interval_unhealthy": "2s", "timeout": "250ms", "jitter": 0},
    ],
)
def test_a_check_is_read_back_as_it_was_written(said: dict[str, Any]) -> None:
    SCHEMA.validate(plain(health=said))
    cluster = read(health=said)
    assert encode(cluster)["health"] == said
    assert read(health=encode(cluster)["health"]) == cluster


def test_what_is_not_said() -> None:
    assert read(health={"path": "/"}).health == Health(path="/")
    assert read(health={"expect": {"statuses": [204, "300-302"], "body": "x"}, "path": "/"}).health == Health(
        path="/", expect=decode(Expect, {"statuses": ["204", "300-302"], "body": "x"})
    )
    assert (read().health, read().outlier) == (None, None)
    assert read(outlier={}).outlier == Outlier()
    accented = Health(send=b"\xc3\xa9", expect=Expect(body=b"\xc3\xa9"))
    assert read(health={"send": "é", "expect": "hex:c3a9"}).health == accented


HEALTH = "clusters.up.health"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"tls": {}}, f"{HEALTH}.tls: `tls` must be true or false, not a mapping"),
        ({"path": "ready"}, "must be a path such as /v2, perhaps with a query, not \"ready\""),
        ({"path": "/a b"}, "must be a path"),
        ({"interval": 0}, "must be a duration longer than 0"),
        ({"unhealthy_after": 0}, "must be a whole number from 1 to 100, not 0"),
        ({"jitter": 101}, "must be a whole number from 0 to 100, not 101"),
        ({"port": 0}, "must be a whole number from 1 to 65535, not 0"),
        ({"expect": {"statuses": ["299-200"]}, "path": "/"}, "must be statuses from 200 to 599, the lower one first"),
        ({"expect": {"statuses": [100]}, "path": "/"}, "must be statuses from 200 to 599"),
        ({"expect": {"statuses": ["2xx"]}, "path": "/"}, "must be a status such as 204, or a range such as 200-299"),
        ({"expect": {"statuses": [True]}, "path": "/"}, "must be a status such as 204"),
        ({"expect": {"statuses": []}, "path": "/"}, "must not be an empty list"),
        ({"expect": {"statuses": [200] * 65}, "path": "/"}, "`statuses` has 65 entries, more than 64"),
        ({"expect": {"statuses": [204]}}, "`statuses` need a `path`"),
        ({"send": "x"}, "`send` needs an `expect`: nothing would come of it"),
        ({"send": "x", "path": "/", "expect": "x"}, "`send` and `path` are two ways to ask: say one of them"),
        ({"send": "", "expect": "x"}, "must be 1 to 1024 bytes, not 0"),
        ({"send": "x" * 1025, "expect": "x"}, "must be 1 to 1024 bytes, not 1025"),
        ({"send": "hex:0", "expect": "x"}, "must be text, or hex: and an even number of digits"),
        ({"send": "\ud800", "expect": "x"}, "must be text"),
        ({"expect": 7}, "must be text, or hex: and digits, not 7"),
        ({"method": "GET"}, "`method` needs a `path`"),
        ({"host": "x"}, "`host` needs a `path`"),
        ({"grpc": {}, "path": "/"}, "`grpc` and `path` are two ways to ask"),
        ({"mqtt": {}, "path": "/"}, "`mqtt` and `path` are two ways to ask"),
        ({"mqtt": {}, "grpc": {}}, "`mqtt` and `grpc` are two ways to ask"),
        ({"mqtt": {}, "send": "x"}, "`mqtt` and `send` are two ways to ask"),
        ({"mqtt": {}, "expect": "y"}, "`expect` and `mqtt` do not go together"),
        ({"mqtt": {}, "host": "a"}, "`host` needs a `path`"),
        ({"mqtt": {"password": "x"}}, "`password` needs a `user`"),
        ({"mqtt": {"version": "3.1"}}, "must be 3.1.1 or 5"),
        ({"grpc": {}, "expect": "y"}, "`expect` and `grpc` do not go together"),
        ({"grpc": {}, "method": "POST"}, "`method` needs a `path`"),
        ({"grpc": "a b"}, "must be a service such as books.v1.Books"),
        ({"headers": {"a": "b"}}, "`headers` needs a `path`"),
        ({"path": "/", "method": "CONNECT"}, "`method` CONNECT asks for a tunnel"),
        ({"path": "/", "method": "HEAD", "expect": "ok"}, "`method` HEAD is answered without a body"),
        ({"path": "/", "headers": {"Content-Length": "3"}}, "belongs to the connection"),
        ({"path": "/", "headers": {"a": "b", "A": "c"}}, "is there twice"),
        ({"path": "/", "headers": {"a": "b\r\nc: d"}}, "must be printable ASCII"),
    ],
)
def test_what_is_wrong_with_a_check_is_said(said: dict[str, Any], words: str) -> None:
    (problem,) = refusal(health=said)
    assert HEALTH in problem
    assert words in problem


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"max_ejected": 0}, "must be a whole number from 1 to 100, not 0"),
        ({"ejection": "10m"}, "`max_ejection` must not be shorter than `ejection`"),
        ({"success_rate": {"factor": 0}}, "must be a number from 0.1 to 10, not 0"),
        ({"success_rate": {"factor": float("nan")}}, "must be a number from 0.1 to 10"),
        ({"success_rate": {"factor": True}}, "must be a number from 0.1 to 10, not true"),
        ({"consecutive_5xx": -1}, "must be a whole number from 0 to 10000, not -1"),
    ],
)
def test_what_is_wrong_with_a_judge_is_said(said: dict[str, Any], words: str) -> None:
    (problem,) = refusal(outlier=said)
    assert words in problem


def test_what_is_judged_by_traffic_needs_answers() -> None:
    said = plain(outlier={})
    said["listeners"] = [{"name": "in", "listen": "127.0.0.1:0", "protocol": "udp", "cluster": "up"}]
    document = Document("test", decode(Config, said), frozenset({"clusters", "listeners"}), lambda _: None)
    with pytest.raises(Invalid, match=r"cluster `up` has `outlier`, which needs `protocol: http` or tcp, not udp"):
        combine([document])
