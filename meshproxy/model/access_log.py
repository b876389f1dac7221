"""What an operator can say about the access log: where its lines go, what they say, and which of them are written.

    access_log:
      - {to: stdout}
      - {to: {file: /var/log/meshproxy/errors.log}, format: envoy, when: {status: [5xx], share: 0.1}}

Each is a log of its own; a request, a connection or a session leaves one line in each that wants it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from meshproxy.model.address import Address, EndpointAddress
from meshproxy.model.log_format import (
    JSON,
    JSON_OF_SESSION,
    LONGEST_TEXT,
    MOST_OPERATORS,
    TEXTS,
    LogLine,
    LogObject,
    LogValue,
    Operator,
    leaves,
    pieces,
)
from meshproxy.model.matching import MOST_OF_ANYTHING, Found, ValueMatch, at_most, below, header_names
from meshproxy.model.source import Url
from meshproxy.model.tls import ClientTls, client_problems
from meshproxy.schema.kinds import (
    Bool,
    Name,
    PositiveDuration,
    Ratio,
    Scalar,
    SecretText,
    SecretValue,
    Text,
    choice,
    refuse,
    size,
    string,
)
from meshproxy.schema.shapes import AT_LEAST_ONE, Names

MOST_LOGS = 8
MOST_HEADERS = 16
OURS = ("content-type", "content-length", "host", "connection", "transfer-encoding")
"""Header fields that are said anyway."""
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DEV_LOG = Address("unix", path="/dev/log")

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)
"""Each at its number."""
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Each at its number."""

Stream = Annotated[Literal["stdout", "stderr"], choice("stdout", "stderr")]
Preset = Annotated[Literal["json", "envoy", "common", "combined"], choice("json", *TEXTS)]
Facility = Annotated[str, choice(*FACILITIES)]
Severity = Annotated[str, choice(*SEVERITIES)]
Tag = Annotated[str, string("tag", "a name of 1 to 48 printable ASCII characters without spaces", "[!-~]+", 48)]
Body = Annotated[Literal["lines", "array"], choice("lines", "array")]
Buffer = Annotated[int, size(64 * KIB, 1 * GIB)]

# Which statuses -----------------------------------------------------------------------------------

_STATUSES = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


def _read_statuses(value: object) -> tuple[int, int]:
    found = _STATUSES.fullmatch(str(value)) if isinstance(value, str | int) else None
    if found is None:
        raise refuse("statuses such as 404, 5xx or 400-499", value)
    if found[1]:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    first, last = int(found[2]), int(found[3] or found[2])
    if first > last:
        raise refuse("statuses such as 400-499, the lower one first", value)
    return first, last


def _show_statuses(bounds: tuple[int, int]) -> object:
    first, last = bounds
    if first == last:
        return first
    return f"{first // 100}xx" if first % 100 == 0 and last == first + 99 else f"{first}-{last}"


Statuses = Annotated[
    tuple[int, int],
    Scalar(
        "statuses",
        _read_statuses,
        _show_statuses,
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": f"^(?:{_STATUSES.pattern})$"},
            ]
        },
    ),
]

# A log --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Syslog:
    """A syslog that takes RFC 5424."""

    address: Annotated[EndpointAddress, "where it listens: a unix socket; or an address or a name, by UDP"] = (
        DEV_LOG
    )
    facility: Annotated[Facility, "what kind of program writes"] = "local0"
    severity: Annotated[Severity, "how much each line matters"] = "info"
    tag: Annotated[Tag, "the name of the program"] = "meshproxy"


@dataclass(frozen=True, slots=True)
class HttpSink:
    """A server that gets lines by POST, many at once."""

    SHORTHAND: ClassVar[str] = "url"

    url: Annotated[Url, "where they are posted"]
    headers: Annotated[tuple[tuple[str, SecretValue], ...], "header fields that are sent, such as keys"] = ()
    token: Annotated[SecretText | None, "the bearer token that is shown"] = None
    body: Annotated[
        Body, "what is posted: lines as they are; or an array in JSON, of the objects that the format makes"
    ] = "lines"
    timeout: Annotated[PositiveDuration, "how long an answer may take"] = 5.0
    tls: Annotated[ClientTls | None, "how TLS is spoken where the address begins with https; absent: the defaults"] = (
        None
    )


@dataclass(frozen=True, slots=True)
class Sink:
    """Where lines go."""

    CHOICE: ClassVar[bool] = True
    SHORTHAND: ClassVar[str] = "stream"

    stream: Annotated[Stream | None, "what the process was started with"] = None
    file: Annotated[Text | None, "a file, to which lines are appended"] = None
    syslog: Annotated[Syslog | None, "a syslog"] = None
    http: Annotated[HttpSink | None, "a server that is posted to"] = None


@dataclass(frozen=True, slots=True)
class Format:
    """What a line says."""

    CHOICE: ClassVar[bool] = True
    SHORTHAND: ClassVar[str] = "preset"

    preset: Annotated[Preset | None, "one of the known formats"] = None
    json: Annotated[
        tuple[tuple[str, LogValue], ...] | None,
        "an object: each key with a text, in which operators stand for values, or with an object of such",
    ] = None
    text: Annotated[LogLine | None, "a text, in which operators stand for values"] = None

    @property
    def fields(self) -> tuple[tuple[str, str | LogObject], ...] | None:
        """Keys and what they stand for; None: a line is no object."""
        return JSON if self.preset == "json" else self.json

    @property
    def of_session(self) -> Format:
        """That for sessions of MQTT, of which there is more to say."""
        return Format(json=(*JSON, *JSON_OF_SESSION)) if self.preset == "json" else self

    @property
    def line(self) -> str:
        """The text of a line that is no object."""
        return TEXTS[self.preset] if self.preset is not None else self.text or ""


@dataclass(frozen=True, slots=True)
class When:
    """Which requests, connections and sessions leave a line; everything that is said must hold."""

    status: Annotated[tuple[Statuses, ...], AT_LEAST_ONE, "answered with any of these; absent: any, or none"] = ()
    slower: Annotated[PositiveDuration | None, "which took at least so long; absent: any"] = None
    headers: Annotated[tuple[tuple[str, ValueMatch], ...], "with these header fields, as in the match of a rule"] = ()
    flags: Annotated[Bool | None, "true: those with response flags; false: those without; absent: both"] = None
    share: Annotated[Ratio, "of those, how many: by the end of the request's id, else by chance"] = 1.0


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One access log."""

    to: Annotated[Sink, "where its lines go"]
    format: Annotated[Format, "what they say"] = Format(preset="json")
    when: Annotated[When, "what leaves a line; empty: everything"] = When()
    listeners: Annotated[tuple[Name, ...], AT_LEAST_ONE, "of these only; absent: of all"] = ()
    buffer: Annotated[Buffer, "how much may wait to be written; more is dropped and counted"] = 1 * MIB
    flush: Annotated[PositiveDuration, "how long a line waits for others at most"] = 1.0


# What does not fit together -----------------------------------------------------------------------


def access_log_problems(said: tuple[AccessLog, ...], listeners: Collection[str]) -> Found:
    """Each with its place among them."""
    if len(said) > MOST_LOGS:
        yield (), f"`access_log` has {len(said)} entries, more than {MOST_LOGS}"
    known = Names(listeners)
    for index, log in enumerate(said):
        for place, name in enumerate(log.listeners):
            if name not in listeners:
                yield (index, "listeners", place), f"no listener is called {name}{known.nearest(name)}"
        for path, words in _sink_problems(log.to):
            yield (index, "to", *path), words
        if log.to.http is not None and log.to.http.body == "array" and log.format.fields is None:
            yield (index, "to", "http", "body"), "`body` array needs a `format` that makes objects in JSON"
        for path, words in _format_problems(log.format):
            yield (index, "format", *path), words
        for path, words in _when_problems(log.when):
            yield (index, "when", *path), words


def _sink_problems(to: Sink) -> Found:
    if to.file is not None and not to.file.strip():
        yield ("file",), "`file` must be the path of a file"
    if to.http is None:
        return
    yield from below("http", at_most(MOST_HEADERS, "headers", to.http.headers))
    yield from below("http", below("headers", header_names(name for name, _ in to.http.headers)))
    for name, _ in to.http.headers:
        if name.lower() in OURS or (name.lower() == "authorization" and to.http.token is not None):
            yield ("http", "headers", name), f"`{name}` is said anyway"
    if to.http.tls is not None:
        if not to.http.url.startswith("https:"):
            yield ("http", "tls"), "`tls` needs a `url` that begins with https"
        for path, words in client_problems(to.http.tls):
            yield ("http", "tls", *path), words


def _format_problems(said: Format) -> Found:
    key = "text" if said.text is not None else "json"
    if said.json is not None and not said.json:
        yield ("json",), "`json` must have a key"
    texts = [text for _, text in leaves(said.fields)] if said.fields is not None else [said.line]
    operators = sum(isinstance(piece, Operator) for text in texts for piece in pieces(text))
    if operators > MOST_OPERATORS:
        yield (key,), f"`{key}` has {operators} operators, more than {MOST_OPERATORS}"
    own = [*leaves(said.json or ())]
    yield from at_most(MOST_OPERATORS, "json", own)
    written = sum(len(name) + len(text) for name, text in own)
    if written > LONGEST_TEXT:
        yield (key,), f"`json` has {written} characters, more than {LONGEST_TEXT}"


def _when_problems(when: When) -> Found:
    yield from at_most(MOST_OF_ANYTHING, "status", when.status)
    yield from at_most(MOST_OF_ANYTHING, "headers", when.headers)
    yield from below("headers", header_names(name for name, _ in when.headers))
    if when.share == 0:
        yield ("share",), "`share` 0 leaves no line: leave the log out"
