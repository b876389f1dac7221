"""What can be said about tracing, and what is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Secret, decode, encode
from meshproxy.model.tracing import Otlp, Sample, SkyWalking, Tracing, Zipkin, tracing_problems

PLAIN = {"export": {"otlp": "http://collector:4318"}}


def read(**said: Any) -> Tracing:
    found: Tracing = decode(Tracing, {**PLAIN, **said})
    return found


def test_a_collector_is_enough() -> None:
    said = read()
    assert (said.propagate, said.sample) == (("w3c",), Sample(1.0, 100, True))
    assert said.export.to == Otlp("http://collector:4318")
    assert said.export.to.target == "http://collector:4318/v1/traces"
    assert encode(said) == PLAIN
    assert list(tracing_problems(said)) == []


@pytest.mark.parametrize(
    ("kind", "url", "target"),
    [
        ("otlp", "http://c:4318/", "http://c:4318/v1/traces"),
        ("otlp", "https://c/otlp/v1/traces?key=a", "https://c/otlp/v1/traces?key=a"),
        ("otlp", "https://c/?key=a", "https://c/?key=a"),
        ("zipkin", "http://c:9411", "http://c:9411/api/v2/spans"),
        ("zipkin", "http://c:9411/spans", "http://c:9411/spans"),
        ("skywalking", "http://[fd00::1]:12800", "http://[fd00::1]:12800/v3/segments"),
    ],
)
def test_each_has_a_path_of_its_own(kind: str, url: str, target: str) -> None:
    said = read(export={kind: url}).export
    assert (said.kind, said.to.target) == (kind, target)


def test_everything_that_can_be_said() -> None:
    said = {
        "propagate": ["b3", "w3c", "sw8"],
        "sample": {"share": 0.01, "rate": None, "parent": False},
        "service": "shop",
        "instance": "shop-1",
        "tags": {"deployment.environment.name": "test"},
        "timeout": "2s",
        "buffer": "1MiB",
        "flush": "500ms",
        "export": {"zipkin": {"url": "https://c", "headers": {"authorization": "Basic YTpi"}, "tls": {"ca": "ca.pem"}}},
    }
    found = decode(Tracing, said)
    assert list(tracing_problems(found)) == []
    assert found.sample == Sample(0.01, None, False)
    assert isinstance(found.export.to, Zipkin)
    assert found.export.to.headers == (("authorization", Secret.of("Basic YTpi")),)
    assert decode(Tracing, encode(found)) == found


def test_secrets_are_not_shown_and_can_come_back() -> None:
    for export in (
        {"otlp": {"url": "http://c", "headers": {"x-key": "hidden"}}},
        {"skywalking": {"url": "http://c", "token": "hidden"}},
    ):
        said = read(export=export)
        shown = encode(said, redact=True)
        assert "hidden" not in repr(shown)
        assert "hidden" not in repr(said)
        assert decode(Tracing, shown) == said


def test_a_token_of_skywalking_is_a_header() -> None:
    to = read(export={"skywalking": {"url": "http://c", "token": "abc"}}).export.to
    assert to == SkyWalking("http://c", Secret.of("abc"))
    assert to.headers == (("authentication", Secret.of("abc")),)
    assert SkyWalking("http://c").headers == ()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"export": {}}, "`export` must say exactly one of otlp, zipkin, skywalking"),
        ({"export": {"otlp": "http://a", "zipkin": "http://b"}}, "`export` must say exactly one of"),
        ({"export": {"jaeger": "http://a"}}, "unknown key `jaeger`"),
        ({"export": {"otlp": "collector:4317"}}, "must be an address"),
        ({"export": {"otlp": {"url": "http://a", "headers": {"x": "a\nb"}}}}, "without a space at either end"),
        ({"export": {"otlp": {"url": "http://a", "headers": {"x": " b"}}}}, "without a space at either end"),
        ({"export": {"otlp": {"url": "http://a", "headers": {"x": 1}}}}, "must be a string"),
        ({"propagate": ["jaeger"]}, "must be w3c or b3 or b3multi or sw8"),
        ({"propagate": []}, "must not be an empty list"),
        ({"sample": {"share": 1.5}}, "a share from 0 to 1"),
        ({"sample": {"rate": 0}}, "from 1 to 1000000"),
        ({"service": ""}, "a name of 1 to 50"),
        ({"service": "a" * 51}, "a name of 1 to 50"),
        ({"tags": {"1a": "b"}}, "a name of letters"),
        ({"buffer": "1KiB"}, "from 64KiB to 256MiB"),
        ({"flush": 0}, "longer than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as invalid:
        read(**said)
    assert any(words in problem.message for problem in invalid.value.problems)


@pytest.mark.parametrize(
    ("said", "path", "words"),
    [
        ({"propagate": ["w3c", "b3", "w3c"]}, ("propagate", 2), "w3c twice: first in `propagate[0]`"),
        ({"sample": {"share": 0, "parent": False}}, ("sample",), "records nothing"),
        ({"tags": {"service.name": "a"}}, ("tags", "service.name"), "is told anyway"),
        ({"tags": {f"a{n}": "b" for n in range(33)}}, ("tags",), "33 entries, more than 32"),
        ({"export": {"otlp": {"url": "http://a", "tls": {}}}}, ("export", "otlp", "tls"), "begins with https"),
        (
            {"export": {"zipkin": {"url": "https://a", "tls": {"certificate": "a.pem"}}}},
            ("export", "zipkin", "tls", "certificate"),
            "`certificate` needs `key`",
        ),
        (
            {"export": {"otlp": {"url": "http://a", "headers": {"Host": "b"}}}},
            ("export", "otlp", "headers", "Host"),
            "`Host` is said anyway",
        ),
        (
            {"export": {"otlp": {"url": "http://a", "headers": {"X-Key": "b", "x-key": "c"}}}},
            ("export", "otlp", "headers", "x-key"),
            "is there twice",
        ),
        (
            {"export": {"otlp": {"url": "http://a", "headers": {f"a{n}": "b" for n in range(17)}}}},
            ("export", "otlp", "headers"),
            "17 entries, more than 16",
        ),
    ],
)
def test_what_does_not_fit_together(said: dict[str, Any], path: tuple[str | int, ...], words: str) -> None:
    [(found, message)] = tracing_problems(read(**said))
    assert found == path
    assert words in message
