"""What an operator can say about the filters of a rule: who may ask, from which pages, how much, and what goes wrong.

said = decode(Access, {"allow": [{"sources": ["10.0.0.0/8"]}], "deny": [{"path": {"prefix": "/admin"}}]})
list(access_problems(said))     # [], or the place of each thing that does not fit, with the reason
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from meshproxy.model.matching import (
    MOST_OF_ANYTHING,
    Found,
    Method,
    PathMatch,
    Regex,
    ValueMatch,
    at_most,
    below,
    header_names,
    token,
)
from meshproxy.model.regex import matcher
from meshproxy.schema.kinds import (
    Bool,
    Duration,
    Network,
    PositiveDuration,
    Ratio,
    Scalar,
    Size,
    refuse,
    same,
    show_size,
    shown,
    whole,
)

MOST_SOURCES = 1024
LONGEST_DELAY = 3600.0
LONGEST_AGE = 86400.0 * 7
LARGEST_BUFFER = 256 << 20

# Kinds --------------------------------------------------------------------------------------------

_host = r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?"
_origin = re.compile(rf"[a-z][a-z0-9+.-]*://(?:(?:\*\.)?{_host}|\[[0-9a-f:.]+\])(?::[1-9][0-9]{{0,4}})?").fullmatch
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _read_origin(value: object) -> str:
    if value == "*":
        return "*"
    if not isinstance(value, str) or len(value) > 300 or not _origin(value.lower()):
        raise refuse("an origin such as https://shop.local, https://*.shop.local or `*`", value)
    # As a browser says it
    origin = value.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def _read_field_name(value: object) -> str:
    if not isinstance(value, str) or len(value) > 253 or not token(value):
        raise refuse("the name of a header, or `*`", value)
    return value


def _read_header(value: object) -> str:
    if not isinstance(value, str) or len(value) > 253 or not token(value):
        raise refuse("the name of a header", value)
    return value


_ORIGIN_JSON = {"type": "string", "maxLength": 300}

Origin = Annotated[str, Scalar("origin", _read_origin, same, _ORIGIN_JSON)]
HeaderName = Annotated[str, Scalar("header", _read_header, same, {"type": "string", "maxLength": 253})]
FieldName = Annotated[str, Scalar("header", _read_field_name, same, {"type": "string", "maxLength": 253})]

# Who may ask --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccessMatch:
    """Requests that are let in, or kept out; everything that is said must hold."""

    sources: Annotated[tuple[Network, ...], "who asks is in any of these networks"] = ()
    path: Annotated[PathMatch | None, "absent: any"] = None
    methods: Annotated[tuple[Method, ...], "any of these; empty: any method"] = ()
    headers: Annotated[tuple[tuple[str, ValueMatch], ...], "all of these; a repeated header is one list"] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """Lets requests in or keeps them out; `deny` comes first, and where `allow` says anything, all else is refused."""

    deny: Annotated[tuple[AccessMatch, ...], "what any of these matches is refused"] = ()
    allow: Annotated[
        tuple[AccessMatch, ...], "of what is left, only what any of these matches is let in; empty: all of it"
    ] = ()
    status: Annotated[int, whole(400, 599), "with which it is refused"] = 403


@dataclass(frozen=True, slots=True)
class OriginMatch:
    """Pages that may ask, by where they are from."""

    CHOICE: ClassVar[bool] = True
    SHORTHAND: ClassVar[str] = "name"

    name: Annotated[
        Origin | None, "`https://shop.local`; `https://*.shop.local`: one label or more before it; `*`: any"
    ] = None
    regex: Annotated[Regex | None, "the whole origin matches; linear expressions only"] = None


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may use what the route offers; the proxy says so itself, and nobody else."""

    origins: Annotated[tuple[OriginMatch, ...], "from where"]
    methods: Annotated[tuple[Method, ...], "with which methods"] = ("GET", "HEAD", "POST")
    headers: Annotated[tuple[FieldName, ...], "with which headers, beside the harmless ones; `*`: any"] = ()
    expose: Annotated[tuple[FieldName, ...], "which headers of answers a page sees, beside the harmless ones"] = ()
    credentials: Annotated[Bool, "whether with cookies and the like"] = False
    max_age: Annotated[Duration | None, "how long a browser may remember that; absent: as it likes"] = None


# What goes wrong ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delay:
    """Requests that are held up."""

    duration: Annotated[PositiveDuration, "for how long"]
    share: Annotated[Ratio, "how many of them"] = 1.0


@dataclass(frozen=True, slots=True)
class Abort:
    """Requests that fail."""

    status: Annotated[int, whole(400, 599), "with which status"] = 503
    share: Annotated[Ratio, "how many of them"] = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults made on purpose, to see what becomes of those who meet them."""

    delay: Annotated[Delay | None, "first"] = None
    abort: Annotated[Abort | None, "then"] = None
    headers: Annotated[tuple[tuple[str, ValueMatch], ...], "only requests with all of these"] = ()


# What is made sure of -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A name that a client gives itself must be the one that it has proved."""

    header: Annotated[
        HeaderName,
        "`ACCOUNT.NAMESPACE` in it, if it is there, is `ACCOUNT.NAMESPACE.TRUST_DOMAIN` as a name, or the SPIFFE id of "
        "that account",
    ]


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bodies go on when all of them is there."""

    request: Annotated[Size | None, "of requests, at most; a larger one is refused with 413; absent: as it comes"] = (
        None
    )
    response: Annotated[Size | None, "of answers, at most; 502 instead of a larger one; absent: as it comes"] = None


# What is translated -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrpcWeb:
    """Calls of gRPC-Web, which pages make, go on as calls of gRPC; all else goes on as it is."""


# What does not fit together -----------------------------------------------------------------------


def access_problems(said: Access) -> Found:
    if not said.deny and not said.allow:
        yield (), "`access` says nothing: it needs `allow` or `deny`"
    for key, matches in (("deny", said.deny), ("allow", said.allow)):
        yield from at_most(MOST_OF_ANYTHING, key, matches)
        for index, match in enumerate(matches):
            for path, message in _match_problems(match):
                yield (key, index, *path), message


def _match_problems(match: AccessMatch) -> Found:
    if match == AccessMatch():
        yield (), "it says nothing, so every request would match: it needs `sources`, `path`, `methods` or `headers`"
    yield from at_most(MOST_SOURCES, "sources", match.sources)
    yield from at_most(MOST_OF_ANYTHING, "methods", match.methods)
    yield from _header_problems(match.headers)


def cors_problems(said: Cors) -> Found:
    if not said.origins:
        yield ("origins",), "`origins` must not be empty: no page could ask"
    for key in ("origins", "methods", "headers", "expose"):
        yield from at_most(MOST_OF_ANYTHING, key, getattr(said, key))
    if (said.max_age or 0) > LONGEST_AGE:
        yield ("max_age",), "`max_age` is longer than 7d, and no browser remembers for longer than a day"
    if said.credentials:
        for index, origin in enumerate(said.origins):
            if origin.name == "*" or (origin.regex is not None and _takes_anybody(origin.regex)):
                shown_as = origin.name or origin.regex
                yield ("origins", index), f"{shown(shown_as)} with `credentials` would let any page act as its visitor"
        for key, names in (("headers", said.headers), ("expose", said.expose)):
            if "*" in names:
                yield (key, names.index("*")), f"`*` in `{key}` means nothing with `credentials`: name them"


def _takes_anybody(pattern: str) -> bool:
    return any(matcher(pattern)(origin) for origin in (b"https://of-nobody.invalid", b"http://of-nobody.invalid:8080"))


def fault_problems(said: Fault) -> Found:
    if said.delay is None and said.abort is None:
        yield (), "`fault` says nothing: it needs `delay` or `abort`"
    if said.delay is not None and said.delay.duration > LONGEST_DELAY:
        yield ("delay", "duration"), "`duration` is longer than 1h"
    yield from _header_problems(said.headers)


def buffer_problems(said: Buffer) -> Found:
    if said.request is None and said.response is None:
        yield (), "`buffer` says nothing: it needs `request` or `response`"
    for key in ("request", "response"):
        if (getattr(said, key) or 0) > LARGEST_BUFFER:
            yield (key,), f"`{key}` must be at most {show_size(LARGEST_BUFFER)}: it is kept in memory"


def _header_problems(headers: tuple[tuple[str, ValueMatch], ...]) -> Found:
    yield from at_most(MOST_OF_ANYTHING, "headers", headers)
    yield from below("headers", header_names(name for name, _ in headers))
