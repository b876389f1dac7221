"""What an operator can say about tracing: what is read and written, what is recorded, and who is told.

    tracing:
      propagate: [w3c, b3]
      sample: {share: 0.1, rate: 50}
      export: {otlp: "http://collector:4318"}

    decode(Tracing, {"export": {"zipkin": "http://zipkin:9411"}}).export.to.target      # with the path of its API
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from meshproxy.model.matching import Found, at_most, below, header_names
from meshproxy.model.source import Url
from meshproxy.model.tls import ClientTls, client_problems
from meshproxy.schema.kinds import (
    Bool,
    PositiveDuration,
    Ratio,
    Secret,
    SecretText,
    SecretValue,
    Text,
    choice,
    size,
    string,
    whole,
)
from meshproxy.schema.shapes import ONE_OR_MANY

MOST_TAGS = 32
MOST_HEADERS = 16
OURS = ("content-type", "content-length", "host", "connection", "transfer-encoding")
"""Header fields that are said anyway."""
NAMED = ("service.name", "service.instance.id", "service.version")
"""What is told of the proxy anyway."""
KIB, MIB = 1 << 10, 1 << 20

Kind = Annotated[Literal["w3c", "b3", "b3multi", "sw8"], choice("w3c", "b3", "b3multi", "sw8")]
ServiceName = Annotated[str, string("name", "a name of 1 to 50 printable characters", r"\S(?:.*\S)?", 50)]
TagName = Annotated[
    str, string("tag", "a name of letters, digits and _ . -, which begins with a letter", "[A-Za-z][A-Za-z0-9_.-]*", 64)
]


@dataclass(frozen=True, slots=True)
class Sample:
    """Which requests are recorded."""

    share: Annotated[Ratio, "of the requests about which their sender says nothing"] = 1.0
    rate: Annotated[
        Annotated[int, whole(1, 1_000_000)] | None,
        "of these at most so many each second, in each worker; null: any number",
    ] = 100
    parent: Annotated[Bool, "whether a sender that says that a request is recorded, or is not, is heeded"] = True


@dataclass(frozen=True, slots=True)
class Otlp:
    """A collector that takes OTLP over HTTP, in JSON: OpenTelemetry's, Jaeger, Tempo and others."""

    SHORTHAND: ClassVar[str] = "url"
    PATH: ClassVar[str] = "/v1/traces"

    url: Annotated[Url, "where it is; without a path, /v1/traces is meant"]
    headers: Annotated[tuple[tuple[str, SecretValue], ...], "header fields that are sent, such as keys"] = ()
    tls: Annotated[ClientTls | None, "how TLS is spoken where the address begins with https; absent: the defaults"] = (
        None
    )

    @property
    def target(self) -> str:
        return _at(self.url, self.PATH)


@dataclass(frozen=True, slots=True)
class Zipkin:
    """A collector that takes spans in the second version of Zipkin's format."""

    SHORTHAND: ClassVar[str] = "url"
    PATH: ClassVar[str] = "/api/v2/spans"

    url: Annotated[Url, "where it is; without a path, /api/v2/spans is meant"]
    headers: Annotated[tuple[tuple[str, SecretValue], ...], "header fields that are sent, such as keys"] = ()
    tls: Annotated[ClientTls | None, "how TLS is spoken where the address begins with https; absent: the defaults"] = (
        None
    )

    @property
    def target(self) -> str:
        return _at(self.url, self.PATH)


@dataclass(frozen=True, slots=True)
class SkyWalking:
    """SkyWalking's OAP, at its port for HTTP."""

    SHORTHAND: ClassVar[str] = "url"
    PATH: ClassVar[str] = "/v3/segments"

    url: Annotated[Url, "where it is; without a path, /v3/segments is meant"]
    token: Annotated[SecretText | None, "is sent as `Authentication`"] = None
    tls: Annotated[ClientTls | None, "how TLS is spoken where the address begins with https; absent: the defaults"] = (
        None
    )

    @property
    def target(self) -> str:
        return _at(self.url, self.PATH)

    @property
    def headers(self) -> tuple[tuple[str, Secret], ...]:
        return (("authentication", self.token),) if self.token is not None else ()


@dataclass(frozen=True, slots=True)
class Export:
    """Who is told what was recorded."""

    CHOICE: ClassVar[bool] = True

    otlp: Annotated[Otlp | None, "OTLP over HTTP in JSON"] = None
    zipkin: Annotated[Zipkin | None, "Zipkin v2"] = None
    skywalking: Annotated[SkyWalking | None, "segments of SkyWalking"] = None

    @property
    def kind(self) -> Literal["otlp", "zipkin", "skywalking"]:
        return "otlp" if self.otlp is not None else "zipkin" if self.zipkin is not None else "skywalking"

    @property
    def to(self) -> Otlp | Zipkin | SkyWalking:
        found = self.otlp or self.zipkin or self.skywalking
        assert found is not None, "the decoder sees to it that there is one"
        return found


@dataclass(frozen=True, slots=True)
class Tracing:
    """Requests over HTTP as spans of traces; see docs/tracing.md."""

    export: Annotated[Export, "who is told what was recorded"]
    propagate: Annotated[
        tuple[Kind, ...],
        ONE_OR_MANY,
        "the headers that carry traces: the first of these that is valid is read, and all are written",
    ] = ("w3c",)
    sample: Annotated[Sample, "which requests are recorded"] = Sample()
    service: Annotated[
        ServiceName | None, "what the proxy is called in traces; absent: `node.service`, or meshproxy if that is empty"
    ] = None
    instance: Annotated[ServiceName | None, "which of them it is; absent: the name of the host"] = None
    tags: Annotated[tuple[tuple[TagName, Text], ...], "what else is told of the proxy"] = ()
    timeout: Annotated[PositiveDuration, "how long the collector may take for its answer"] = 10.0
    buffer: Annotated[
        Annotated[int, size(64 * KIB, 256 * MIB)], "bytes of spans that wait in each worker; more are dropped"
    ] = 4 * MIB
    flush: Annotated[PositiveDuration, "how long spans wait for others to go with them"] = 1.0


def _at(url: str, path: str) -> str:
    said = urlsplit(url)
    return url if said.path not in ("", "/") or said.query else url.rstrip("/") + path


# What does not fit together -----------------------------------------------------------------------


def tracing_problems(said: Tracing) -> Found:
    """Each with its place in it."""
    first: dict[str, int] = {}
    for index, kind in enumerate(said.propagate):
        before = first.setdefault(kind, index)
        if before != index:
            yield ("propagate", index), f"`propagate` has {kind} twice: first in `propagate[{before}]`"
    if not said.sample.share and not said.sample.parent:
        yield ("sample",), "`sample` records nothing: `share` is 0, and `parent` is false"
    yield from at_most(MOST_TAGS, "tags", said.tags)
    for name, _ in said.tags:
        if name in NAMED:
            yield ("tags", name), f"`{name}` is told anyway, as `service` and `instance` say"
    yield from below("export", below(said.export.kind, _collector_problems(said.export.to)))


def _collector_problems(said: Otlp | Zipkin | SkyWalking) -> Found:
    if not isinstance(said, SkyWalking):
        yield from at_most(MOST_HEADERS, "headers", said.headers)
        yield from below("headers", header_names(name for name, _ in said.headers))
        for name, _ in said.headers:
            if name.lower() in OURS:
                yield ("headers", name), f"`{name}` is said anyway"
    if said.tls is not None:
        if not said.url.startswith("https:"):
            yield ("tls",), "`tls` needs a `url` that begins with https"
        for path, message in client_problems(said.tls):
            yield ("tls", *path), message
