"""How a request is looked at: by host, path, method, headers and query, in rules and in filters.

match = decode(RouteMatch, {"path": {"prefix": "/v1"}, "headers": {"x-beta": {"exact": "1"}}})
match.path.prefix           # "/v1"
list(match_problems(match)) # [], or the place of each thing that does not fit, with the reason
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Annotated, ClassVar

from meshproxy.model import regex
from meshproxy.model.whom import MOST_IDENTITIES, Whom
from meshproxy.schema.kinds import Bool, Scalar, refuse, same, shown, string
from meshproxy.schema.shapes import Path

MOST_OF_ANYTHING = 64
"""Hosts, methods, headers and parameters that a rule asks for, and header fields that it changes."""

# Kinds --------------------------------------------------------------------------------------------

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*"
_PORT = r"(?::[1-9][0-9]{0,4})?"
_AUTHORITY = rf"(?:{_NAME}|\[[0-9A-Fa-f:.]+\]){_PORT}"
_HOST = rf"\*|\*\.{_NAME}{_PORT}|{_AUTHORITY}"
_WORD = "[A-Za-z_][A-Za-z0-9_]*"
_PATH = r"/[!\"$->@-~]*"

AUTHORITY = string("host", "a host such as shop.local or shop.local:8080", _AUTHORITY, 253)
HOST = string("host", "a host such as shop.local, *.shop.local or shop.local:8080", _HOST, 253)
PATH = string("path", "a path such as /v1, as it is sent, without a query", _PATH, 1024)
token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch


def _read_host(value: object) -> str:
    return str(HOST.read(value)).lower()


def _read_path(value: object) -> str:
    path = str(PATH.read(value))
    if {".", ".."}.intersection(path.split("/")):
        raise ValueError(f"must be a path without `.` and `..`, not {shown(value)}: no request arrives with them")
    return path


def _read_regex(value: object) -> str:
    if not isinstance(value, str):
        raise refuse("a regular expression", value)
    try:
        regex.check(value)
    except ValueError as why:
        raise ValueError(f"must be a regular expression that takes linear time, not {shown(value)}: {why}") from None
    return value


MatchedHost = Annotated[str, Scalar("host", _read_host, same, HOST.json)]
MatchedPath = Annotated[str, Scalar("path", _read_path, same, PATH.json)]
Authority = Annotated[str, AUTHORITY]
Regex = Annotated[str, Scalar("regular expression", _read_regex, same, {"type": "string", "maxLength": regex.LONGEST})]
GrpcService = Annotated[
    str, string("service", "a service such as books.v1.Books", rf"{_WORD}(?:\.{_WORD})*", 128)
]
GrpcMethod = Annotated[str, string("method", "a method such as Get", _WORD, 128)]
Method = Annotated[str, string("method", "a method such as GET", r"[A-Z][A-Z0-9_-]*", 32)]
Value = Annotated[
    str, string("value", "printable ASCII without a space at either end", r"(?:[!-~](?:[ -~]*[!-~])?)?", 1024)
]

# What matches -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathMatch:
    """One way to look at the path of a request, which has no query and is normalised."""

    CHOICE: ClassVar[bool] = True

    exact: Annotated[MatchedPath | None, "this path and no other"] = None
    prefix: Annotated[MatchedPath | None, "this path and all below it: `/v1` takes `/v1/x`, and not `/v12`"] = None
    regex: Annotated[Regex | None, "the whole path matches; linear expressions only"] = None
    begins: Annotated[Regex | None, "a beginning of the path matches, as in SMI; linear expressions only"] = None


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """One way to look at the value of a header or of a query parameter."""

    CHOICE: ClassVar[bool] = True

    exact: Annotated[Value | None, "this value"] = None
    prefix: Annotated[Value | None, "values that begin like this"] = None
    regex: Annotated[Regex | None, "the whole value matches; linear expressions only"] = None
    begins: Annotated[Regex | None, "a beginning of the value matches, as in SMI; linear expressions only"] = None
    present: Annotated[Bool | None, "whether it is there, with any value"] = None


@dataclass(frozen=True, slots=True)
class GrpcMatch:
    """Calls of gRPC, from programs or from pages."""

    SHORTHAND: ClassVar[str] = "service"

    service: Annotated[GrpcService, "of this service"]
    method: Annotated[GrpcMethod | None, "this one; absent: all its methods"] = None

    @property
    def path(self) -> PathMatch:
        """Where they arrive."""
        if self.method is None:
            return PathMatch(prefix=f"/{self.service}")
        return PathMatch(exact=f"/{self.service}/{self.method}")


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """Which requests a rule is for; everything that is said must hold."""

    hosts: Annotated[
        tuple[MatchedHost, ...],
        "any of these, in any case: `name`, `*.suffix`, `*`; with a port, that port only; empty: any host",
    ] = ()
    path: Annotated[PathMatch | None, "absent: any, as with prefix `/`"] = None
    methods: Annotated[tuple[Method, ...], "any of these; empty: any method"] = ()
    headers: Annotated[tuple[tuple[str, ValueMatch], ...], "all of these; a repeated header is one list"] = ()
    query: Annotated[tuple[tuple[str, ValueMatch], ...], "all of these; of a repeated parameter the first counts"] = ()
    identities: Annotated[
        tuple[Whom, ...],
        "for these clients only, as named in `authorize`; for all others the rule is not there; empty: for anybody",
    ] = ()
    grpc: Annotated[GrpcMatch | None, "calls of gRPC, by service and method, instead of a `path`"] = None


EVERYTHING = RouteMatch()


def expression(match: PathMatch | ValueMatch) -> Callable[[bytes], object] | None:
    """Tells whether a text is one that the expression is for; None: it is none."""
    if match.regex is not None:
        return regex.matcher(match.regex)
    return regex.beginner(match.begins) if match.begins is not None else None


def fitting(match: ValueMatch) -> Callable[[bytes | None], bool]:
    """Whether a value, or that there is none, is what is asked for."""
    if match.exact is not None:
        exact = match.exact.encode("ascii")
        return lambda value: value == exact
    if match.prefix is not None:
        prefix = match.prefix.encode("ascii")
        return lambda value: value is not None and value.startswith(prefix)
    matches = expression(match)
    if matches is not None:
        return lambda value: value is not None and matches(value) is not None
    return lambda value: (value is not None) is match.present


# What does not fit together -----------------------------------------------------------------------

Found = Iterator[tuple[Path, str]]
"""Problems, each with its place."""


def match_problems(match: RouteMatch) -> Found:
    if match.grpc is not None and match.path is not None:
        yield ("grpc",), "`grpc` and `path` both say which path: say one of them"
    for name in ("hosts", "methods", "headers", "query"):
        if said := getattr(match, name):
            yield from at_most(MOST_OF_ANYTHING, name, said)
    yield from at_most(MOST_IDENTITIES, "identities", match.identities)
    if match.headers:
        yield from below("headers", header_names(name for name, _ in match.headers))


def header_names(names: Iterable[str]) -> Found:
    """A header has one name in any case; a mapping has keys that may differ in case."""
    first: dict[str, str] = {}
    for name in names:
        before = first.setdefault(name.lower(), name)
        if not token(name):
            yield (name,), f"{shown(name)} is not the name of a header"
        elif before != name:
            yield (name,), f"`{name}` is there twice: first as `{before}`"


def at_most(most: int, key: str, items: Sized) -> Found:
    if len(items) > most:
        yield (key,), f"`{key}` has {len(items)} entries, more than {most}"


def below(key: str, found: Found) -> Found:
    for path, message in found:
        yield (key, *path), message
