"""What a document says of tracing and of the access log, and how that stands beside what an operator says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshproxy.dialects import native, read, translated
from meshproxy.dialects.translation import Setting, Translation
from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine
from tests.dialects.fsm.goldens import FOLDER
from tests.dialects.fsm.test_strict import inbound, problems

MATCHES = {"80": {"Protocol": "http", "HttpServiceRouteRules": {}}}


def told(*, tracing: Any = None, log: Any = None, **spec: Any) -> Document:
    said = {"tracing": tracing, "remoteLogging": log}
    document = inbound(MATCHES, Spec={"ServiceIdentity": "books.shop", "Observability": said, **spec})
    return read(json.dumps(document, indent=1).encode(), "config.json")


def ours(**said: Any) -> Document:
    return native.load(said, "ours.yaml", lambda _: None)


def understood(*documents: Document) -> Translation:
    return translated(documents, Setting.of(documents))


def config_of(*documents: Document) -> Config:
    return combine(understood(*documents).documents)


def notes(document: Document) -> list[str]:
    return [str(note).partition(": config.json:")[2] for note in understood(document).notes]


@pytest.mark.parametrize(
    ("fraction", "share"),
    [("0.10", 0.1), ("1.00", 1), ("1", 1), (".5", 0.5), ("0.00", 0), (0.25, 0.25), (0, 0), ("", 1), (None, 1)],
)
def test_a_fraction_is_a_number_or_its_text(fraction: Any, share: float) -> None:
    tracing = config_of(told(tracing={"address": "zipkin:9411", "sampledFraction": fraction})).tracing
    assert tracing is not None
    # FSM has no bound for what a second may bring.
    assert (tracing.sample.share, tracing.sample.rate, tracing.sample.parent) == (share, None, True)
    assert (tracing.propagate, tracing.service) == (("b3multi",), "books")


@pytest.mark.parametrize(
    ("endpoint", "target"), [("", "/api/v2/spans"), ("/api/v2/spans", "/api/v2/spans"), ("/z?a=b", "/z?a=b")]
)
def test_a_collector_has_a_path_or_the_usual_one(endpoint: str, target: str) -> None:
    tracing = config_of(told(tracing={"address": "10.0.0.1:9411", "endpoint": endpoint})).tracing
    assert tracing is not None
    assert tracing.export.to.target == f"http://10.0.0.1:9411{target}"


@pytest.mark.parametrize(
    ("said", "share"),
    [({"level": 0, "sampledFraction": "0.10"}, 1.0), ({"level": 2, "sampledFraction": "0.10"}, 0.1), ({}, 1.0)],
)
def test_a_level_heeds_the_fraction(said: dict[str, Any], share: float) -> None:
    [log] = config_of(told(log={"address": "logs:8123", **said})).access_log
    assert log.to.http is not None
    assert (log.to.http.url, log.to.http.headers) == (
        "http://logs:8123/?query=insert%20into%20log(message)%20format%20JSONAsString", (),
    )  # fmt: skip
    assert (log.when.share, log.when.status, log.listeners) == (share, ((100, 599),), ("inbound",))


def test_nobody_is_told_where_no_address_is_said() -> None:
    document = told(tracing={"endpoint": "/"}, log={"level": 2}, RemoteLoggingLevel=2)
    config = config_of(document)
    assert (config.tracing, config.access_log) == (None, ())
    found = [each for each in notes(document) if "Spec." in each]
    assert [each.partition(": ")[2].partition(":")[0] for each in found] == [
        "Spec.Observability.tracing", "Spec.Observability.remoteLogging", "Spec.RemoteLoggingLevel"
    ]  # fmt: skip
    assert "in variables of the sidecar" in found[-1]


def test_a_log_that_no_request_is_in_is_none() -> None:
    document = told(log={"address": "logs:1", "level": 1, "sampledFraction": "0"})
    assert config_of(document).access_log == ()
    assert "no request is to be in it" in "".join(notes(document))


def test_the_line_says_of_a_trace_what_is_known_of_it() -> None:
    def of(document: Document) -> str:
        return str(dict(config_of(document).access_log[0].format.fields or ())["trace"])

    alone = told(log={"address": "logs:1", "level": 2})
    assert "x-b3-traceid" in of(alone)
    assert "B3 headers are made where there is `tracing`" in "".join(notes(alone))
    assert "TRACE_ID" in of(told(log={"address": "logs:1"}, tracing={"address": "zipkin:1"}))


def test_two_layers_that_differ_are_told_at_their_places() -> None:
    theirs = told(tracing={"address": "zipkin:9411"}, log={"address": "logs:1"})
    mine = ours(tracing={"export": {"otlp": "http://collector:4318"}}, access_log={"to": "stdout"})
    with pytest.raises(Invalid) as caught:
        config_of(mine, theirs)
    assert [(each.path, each.source, each.message) for each in caught.value.problems] == [
        (f"Spec.Observability.{place}", "config.json",
         f"`{section}` is said differently in ours.yaml (in our words, {section})")
        for place, section in (("remoteLogging", "access_log"), ("tracing", "tracing"))
    ]  # fmt: skip
    # Who says the same has said nothing else.
    same = ours(tracing={
        "propagate": "b3multi", "export": {"zipkin": "http://z:1"}, "service": "books", "sample": {"rate": None}
    })  # fmt: skip
    assert config_of(same, told(tracing={"address": "z:1"})).tracing == same.config.tracing


def test_the_names_of_fsm_are_there_unless_an_operator_says_which() -> None:
    assert config_of(told()).metrics.presets == ("fsm",)
    mine = config_of(ours(metrics={"slow": "2s"}), told())
    assert (mine.metrics.presets, mine.metrics.slow) == ((), 2.0)


@pytest.mark.parametrize(
    ("said", "place", "why"),
    [
        ({"tracing": {"address": "z:1", "sampledFraction": "1.5"}}, "tracing.sampledFraction", "a share from 0 to 1"),
        ({"tracing": {"address": "z:1", "sampledFraction": "half"}}, "tracing.sampledFraction", 'such as "0.10"'),
        ({"tracing": {"address": "z:1", "sampledFraction": -1}}, "tracing.sampledFraction", "a share from 0 to 1"),
        ({"tracing": {"address": "z:1", "sampledFraction": True}}, "tracing.sampledFraction", "a share from 0 to 1"),
        ({"tracing": {"address": "z 1"}}, "tracing", "must be an address such as"),
        ({"tracing": {"address": "z:99999"}}, "tracing", "with a port from 1 to 65535"),
        ({"tracing": []}, "tracing", "must be a mapping"),
        ({"remoteLogging": {"address": "l:1", "level": -1}}, "remoteLogging.level", "a whole number"),
        ({"remoteLogging": {"address": "user:pw@l:1"}}, "remoteLogging", "must be an address such as"),
        ({"remoteLogging": {"authorization": "Basic s3cret\n"}}, "remoteLogging.authorization", "printable ASCII"),
    ],
)
def test_what_is_refused(said: dict[str, Any], place: str, why: str) -> None:
    found = problems(inbound(MATCHES, Spec={"Observability": said}))
    assert why in found[f"Spec.Observability.{place}"]
    assert "s3cret" not in str(found)


def test_a_key_for_the_log_is_never_shown() -> None:
    document = json.loads((FOLDER / "example.json").read_text())
    config = config_of(read(json.dumps(document).encode(), "config.json"))
    assert {log.to for log in config.access_log} == {config.access_log[0].to}
    assert "ZGVmYXVsdDo" not in repr(config.access_log)
