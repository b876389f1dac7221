"""What may be said of the application's probes, what is refused and in which words, and how it is combined."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode, diff, encode
from meshproxy.model.probes import MOST_CHECKS, Probes
from meshproxy.schema import json_schema

SCHEMA = jsonschema.Draft202012Validator(json_schema(Config))


def document(source: str = "test", **said: Any) -> Document:
    return Document(source, decode(Config, said), frozenset(said), lambda _: None)


def read(*checks: dict[str, Any], listen: str = "0.0.0.0:15021") -> Probes:
    found = combine([document(probes={"listen": listen, "checks": list(checks)})]).probes
    assert found is not None
    return found


def refusal(*checks: dict[str, Any], listen: str = "0.0.0.0:15021") -> list[str]:
    with pytest.raises(Invalid) as refused:
        read(*checks, listen=listen)
    return [str(problem) for problem in refused.value.problems]


CHECKS = [
    {
        "path": "/app-health/books/livez",
        "http": {"port": 8080, "path": "/healthz?deep=1", "scheme": "https", "host": "x", "headers": {"k": "v"}},
        "timeout": "3s",
        "source": "127.0.0.6",
    },
    {"path": "/app-health/books/readyz", "tcp": {"port": 5432}, "address": "::1"},
    {"path": "/app-health/books/startupz", "grpc": {"port": 9000, "service": "a.B"}},
]


def test_it_is_read_and_shown_again() -> None:
    probes = read(*CHECKS)
    said = {"probes": encode(probes)}
    assert encode(decode(Config, said)) == said
    SCHEMA.validate(said)
    SCHEMA.validate({"probes": {"listen": "0.0.0.0:15021", "checks": CHECKS}})
    assert [str(check.target) for check in probes.checks] == ["127.0.0.1:8080", "[::1]:5432", "127.0.0.1:9000"]


@pytest.mark.parametrize(("key", "text"), [("address", "client"), ("source", "client"), ("address", "fe80::1%lo\nx")])
def test_there_is_no_client_whose_address_could_be_meant(key: str, text: str) -> None:
    (problem,) = refusal({"path": "/livez", "tcp": 80, key: text})
    assert f"`{key}` must be an IP address such as 127.0.0.6" in problem


def test_what_is_not_said_is_what_kubelet_does() -> None:
    (check,) = read({"path": "/livez", "http": {"port": 80}}).checks
    assert check.http is not None
    assert (check.http.path, check.http.scheme, check.timeout, check.address) == ("/", "http", 1.0, "127.0.0.1")
    assert read({"path": "/livez", "tcp": 80}) == read({"path": "/livez", "tcp": {"port": 80}})
    whole = {"path": "/livez", "grpc": {"port": 80}}
    assert read({"path": "/livez", "grpc": {"port": 80, "service": ""}}) == read(whole)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"path": "/a"}, "probes.checks[0]: say one of `http`, `tcp` and `grpc`, not nothing"),
        ({"path": "/a", "tcp": 1, "grpc": {"port": 1}}, "not `tcp` and `grpc`"),
        ({"path": "/a", "tcp": 15021}, "probes.checks[0].tcp.port: `port` 15021 is that of `probes.listen`"),
        ({"path": "/a", "tcp": 1, "source": "::1"}, "`source` ::1 is of another family than `address` 127.0.0.1"),
        ({"path": "/a", "http": {"port": 1, "headers": {"Host": "x"}}}, "probes.checks[0].http.headers.Host: "),
        ({"path": "/a", "tcp": 1, "address": "books.shop"}, "must be an IP address"),
        ({"path": "/a", "tcp": 0}, "a whole number from 1 to 65535"),
        ({"path": "/a", "tcp": 1, "timeout": 0}, "must be a duration longer than 0"),
        ({"path": "/a?b", "tcp": 1}, "must be a path such as /app-health/web/livez"),
        ({"path": "/a%20b", "tcp": 1}, "must be a path such as /app-health/web/livez"),
    ],
)
def test_what_is_refused(check: dict[str, Any], words: str) -> None:
    (problem,) = refusal(check)
    assert words in problem


def test_another_address_at_the_same_port_is_not_the_listener() -> None:
    assert read({"path": "/a", "tcp": 15021}, listen="10.0.0.1:15021")
    assert refusal({"path": "/a", "tcp": 15021}, listen="127.0.0.1:15021")


def test_a_path_is_said_once_and_there_are_only_so_many() -> None:
    check = {"path": "/a", "tcp": 1}
    (problem,) = refusal(check, check)
    assert problem.endswith("probes.checks[1].path: `path` /a is said twice: first in `checks[0]`")
    (problem,) = refusal(*({"path": f"/{number}", "tcp": 1} for number in range(MOST_CHECKS + 1)))
    assert f"`checks` has {MOST_CHECKS + 1} entries" in problem
    assert refusal()


def test_it_comes_and_changes_while_a_process_runs() -> None:
    running = combine([document()])
    fresh = combine([document(probes={"listen": "0.0.0.0:15021", "checks": CHECKS})], running)
    assert diff(running, fresh) == ["probes: added"]
    fewer = combine([document(probes={"listen": "0.0.0.0:15021", "checks": CHECKS[:1]})], fresh)
    assert diff(fresh, fewer) == ["probes: changed (checks)"]
    assert diff(fewer, combine([document()], fewer)) == ["probes: removed"]


def test_its_address_is_nobody_elses() -> None:
    said = {"listen": "0.0.0.0:15020", "checks": CHECKS}
    with pytest.raises(Invalid) as refused:
        combine([document("a", status={"listen": "0.0.0.0:15020"}), document("b", probes=said)])
    (problem,) = refused.value.problems
    assert str(problem) == "b: probes.listen: `listen` 0.0.0.0:15020 is already taken by `status`, 0.0.0.0:15020"
