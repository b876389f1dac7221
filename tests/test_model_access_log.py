"""What can be said about access logs, and what is refused with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model.access_log import AccessLog, Format, Sink, When, access_log_problems
from meshproxy.model.log_format import JSON, OPERATORS, TEXTS, Operator, pieces
from meshproxy.schema import decode, encode, json_schema
from meshproxy.schema.shapes import ONE_OR_MANY


@dataclass(frozen=True)
class Said:
    access_log: Annotated[tuple[AccessLog, ...], ONE_OR_MANY, "the logs"] = ()


def logs(*said: dict[str, Any]) -> tuple[AccessLog, ...]:
    return decode(Said, {"access_log": list(said)}).access_log


def refused(**said: Any) -> str:
    """What is wrong with a log to standard output of which this is said."""
    try:
        found = logs({"to": "stdout", **said})
    except Invalid as invalid:
        return str(invalid)
    return "; ".join(f"{path}: {message}" for path, message in access_log_problems(found, ["web", "mesh"]))


def test_one_log_in_one_word() -> None:
    said = decode(Said, {"access_log": {"to": "stdout"}})
    assert said.access_log == (AccessLog(Sink(stream="stdout"), Format(preset="json"), When()),)
    assert encode(said) == {"access_log": {"to": "stdout"}}


@pytest.mark.parametrize(
    "said",
    [
        {"to": "stderr", "format": "combined"},
        {"to": {"file": "/var/log/access.log"}, "format": {"text": "%REQ(A?:PATH):5% 100%% %START_TIME(%s.%3f)%"}},
        {"to": {"syslog": {"address": "127.0.0.1:514", "tag": "web"}}, "format": {"json": {"took": "%DURATION%"}}},
        {"to": "stdout", "format": {"json": {"req": {"path": "%PATH(NQ)%", "who": {"ip": "-"}}, "took": "%DURATION%"}}},
        {"to": {"http": {"url": "http://l/", "body": "array", "headers": {"authorization": "Basic ZGVm"}}}},
        {"to": {"http": "https://logs.local/push"}, "buffer": "4MiB", "flush": "250ms", "listeners": ["web"]},
        {"to": "stdout", "when": {"status": ["5xx", 404, "400-410"], "slower": "1s", "flags": True, "share": 0.1}},
        {"to": "stdout", "when": {"headers": {"x-debug": {"present": True}}}},
    ],
)
def test_what_is_said_is_said_again(said: dict[str, Any]) -> None:
    [log] = logs(said)
    assert encode(log) == said
    assert list(access_log_problems((log,), ["web"])) == []


def test_an_end_of_the_line_may_be_written_and_is_there_anyway() -> None:
    [log] = logs({"to": "stdout", "format": {"text": "%PROTOCOL%\n"}})
    assert log.format.line == "%PROTOCOL%"


def test_keys_for_a_server_are_never_shown() -> None:
    [log] = logs({"to": {"http": {"url": "http://logs.local/", "token": "t0k3n", "headers": {"x-key": "k3y"}}}})
    shown = str(encode(log, redact=True)) + repr(log)
    assert "t0k3n" not in shown
    assert "k3y" not in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%BYTES_SENTT%", "unknown operator `%BYTES_SENTT%`; did you mean `BYTES_SENT`?"),
        ("%DURATON%", "did you mean `DURATION`?"),
        ("%XYZ%", "unknown operator `%XYZ%`"),
        ("%protocol%", "begins with no operator"),
        ("100%", "`%%` is a percent sign"),
        ("%REQ%", "takes the name of a header"),
        ("%REQ(a b)%", 'takes the name of a header, not "a b"'),
        ("%REQ(:scheme)%", 'takes the name of a header, not ":scheme"'),
        ("%RESP(:path)%", "takes the name of a header"),
        ("%REQ(a?b?c)%", "or two with `?` between them"),
        ("%PROTOCOL(x)%", 'takes no argument, and has "x"'),
        ("%DURATION:3%", "is written whole, without `:3`"),
        ("%REQ(a):0%", "begins with no operator"),
        ("%DURATION%:3%", "`%%` is a percent sign"),
        ("%PATH(X)%", "takes WQ or NQ"),
        ("%START_TIME(%Q)%", "takes directives such as"),
        ("%START_TIME(%n)%", "takes directives such as"),
        ('%START_TIME("%Y")%', "takes directives such as"),
        ("%START_TIME(%Y %3f %6f)%", "takes one fraction of a second"),
        ("%START_TIME(" + "%Y" * 17 + ")%", "takes directives such as"),
        ("a\nb", "must be one line of at most 4096 printable ASCII characters"),
        ("é", "printable ASCII"),
        ("a" * 4097, "at most 4096"),
    ],
)
def test_a_text_that_means_nothing_is_refused(text: str, words: str) -> None:
    assert words in refused(format={"text": text})
    assert words in refused(format={"json": {"key": text}})


def test_only_what_may_be_long_is_cut() -> None:
    assert pieces("%REQ(a?b):12%") == [Operator("REQ", "a?b", 12)]
    assert pieces("%PATH(NQ):12%") == [Operator("PATH", "NQ", 12)]


@pytest.mark.parametrize(
    "name",
    "Authorization Proxy-Authorization Cookie Set-Cookie X-Api-Key x-auth-token X-Amz-Security-Token apikey "
    "x-my_secret X-Session-Id x-goog-iap-jwt-assertion".split(),
)
def test_secrets_can_never_be_asked_for(name: str) -> None:
    for operator in ("REQ", "RESP", "REQUEST_HEADER", "RESPONSE_HEADER"):
        assert "is a secret and is never logged" in refused(format={"text": f"%{operator}({name})%"})
        assert "is a secret and is never logged" in refused(format={"json": {"k": f"a %{operator}(x-id?{name}):8%"}})


@pytest.mark.parametrize("name", "X-Request-Id Idempotency-Key User-Agent WWW-Authenticate Sec-Fetch-Mode".split())
def test_names_that_only_sound_like_them_can(name: str) -> None:
    assert refused(format={"text": f"%REQ({name})%"}) == ""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"to": "stdin"}, "must be stdout or stderr"),
        ({"to": {}}, "must say exactly one of stream, file, syslog, http"),
        ({"to": {"file": "a", "syslog": {}}}, "must say exactly one of"),
        ({"to": {"file": " "}}, "must be the path of a file"),
        ({"to": {"syslog": {"facility": "local8"}}}, "facility"),
        ({"to": {"syslog": {"severity": "loud"}}}, "severity"),
        ({"to": {"syslog": {"tag": "a b"}}}, "tag"),
        ({"to": {"syslog": {"address": "nowhere"}}}, "address"),
        ({"to": {"http": {"url": "ftp://logs/"}}}, "must be an address such as"),
        ({"to": {"http": {"url": "http://l/", "headers": {"Host": "a"}}}}, "`Host` is said anyway"),
        ({"to": {"http": {"url": "http://l/", "token": "a", "headers": {"authorization": "b"}}}}, "is said anyway"),
        ({"to": {"http": {"url": "http://l/", "headers": {"a": "b", "A": "c"}}}}, "`a` is there twice"),
        ({"to": {"http": {"url": "http://l/", "headers": {f"a{i}": "b" for i in range(17)}}}}, "more than 16"),
        ({"to": {"http": {"url": "http://l/", "tls": {}}}}, "`tls` needs a `url` that begins with https"),
        ({"to": {"http": {"url": "https://l/", "tls": {"certificate": "a.pem"}}}}, "`certificate` needs `key`"),
        ({"format": "nginx"}, "must be json or envoy or common or combined"),
        ({"format": {"text": "a", "json": {"a": "b"}}}, "must say exactly one of preset, json, text"),
        ({"format": {"json": {}}}, "`json` must have a key"),
        ({"format": {"json": {f"k{i}": "" for i in range(65)}}}, "`json` has 65 entries, more than 64"),
        ({"format": {"json": {"a": {f"k{i}": "" for i in range(65)}}}}, "`json` has 65 entries, more than 64"),
        ({"format": {"json": {"a": {"b": {"c d": ""}}}}}, "wrong at `b`, which is wrong at `c d`, which must be a"),
        ({"format": {"json": {"a": {"b": "%NO%"}}}}, "`a` is wrong at `b`, which must be a text with operators"),
        ({"format": {"json": {"a": {}}}}, "must be a text, or an object that has a key"),
        ({"format": {"json": {"a": {"b": {"c": {"d": {"e": {"f": ""}}}}}}}}, "no more than 4 objects within"),
        ({"to": {"http": {"url": "http://l/", "body": "array"}}, "format": "envoy"}, "`body` array needs a `format`"),
        ({"format": {"json": {"a": "x" * 4000, "b": "y" * 200}}}, "4202 characters, more than 4096"),
        ({"format": {"text": "%DURATION%" * 65}}, "`text` has 65 operators, more than 64"),
        ({"when": {"status": ["6xx"]}}, "must be statuses such as 404, 5xx or 400-499"),
        ({"when": {"status": ["499-400"]}}, "the lower one first"),
        ({"when": {"status": [True]}}, "must be statuses such as"),
        ({"when": {"status": []}}, "must not be an empty list"),
        ({"when": {"slower": 0}}, "slower"),
        ({"when": {"share": 1.5}}, "a share from 0 to 1"),
        ({"when": {"share": 0}}, "leave the log out"),
        ({"when": {"headers": {"a b": {"present": True}}}}, "a name"),
        ({"when": {"headers": {"a": {"regex": "(a|a)*b("}}}}, "regular expression"),
        ({"when": {"statuses": [404]}}, "did you mean `status`?"),
        ({"listeners": ["wep"]}, "no listener is called wep; did you mean `web`?"),
        ({"listeners": []}, "must not be an empty list"),
        ({"buffer": 1}, "a size from 64KiB to 1GiB"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], words: str) -> None:
    assert words in refused(**said)


def test_there_are_only_so_many() -> None:
    many = logs(*[{"to": "stdout"}] * 9)
    assert list(access_log_problems(many, [])) == [((), "`access_log` has 9 entries, more than 8")]


def test_known_formats_are_said_in_operators_that_there_are() -> None:
    for text in (*TEXTS.values(), *(text for _, text in JSON)):
        assert {piece.name for piece in pieces(text) if isinstance(piece, Operator)} <= set(OPERATORS)


def test_a_schema_for_machines() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="validates the schema")
    schema = json_schema(Said)
    jsonschema.validate({"access_log": [{"to": "stdout", "when": {"status": ["5xx", 404]}}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"access_log": [{"to": "stdin"}]}, schema)
