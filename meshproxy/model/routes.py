"""What an operator can say about HTTP requests: tables of rules, each with what it matches and what becomes of that.

table = decode(RouteTable, {"name": "web", "rules": [{"match": {"path": {"prefix": "/v1"}}, "cluster": "books"}]})
table.rules[0].shares       # (Share("books", 1),)
list(problems(table))       # [], or the place of each thing that does not fit another, with the reason
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from meshproxy.model import regex
from meshproxy.model.limits import By, Count, Redis, RouteBandwidth
from meshproxy.schema.kinds import (
    Bool,
    Duration,
    Name,
    PositiveDuration,
    Scalar,
    choice,
    cut,
    refuse,
    same,
    shown,
    string,
    whole,
)
from meshproxy.schema.shapes import Path

MOST_RULES = 20_000
MOST_REGEXES = 1000
"""Different ones for the paths of a table: they are tried one after the other."""
MOST_SHARES = 64
MOST_OF_ANYTHING = 64
"""Hosts, methods, headers and parameters that a rule asks for, and header fields that it changes."""
LONGEST_BODY = 65_536

NOT_TO_CHANGE = frozenset(
    "connection content-length host keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)
"""Header fields of one hop, or that say where a message ends or goes: the proxy's own affair."""
WITHOUT_BODY = frozenset({204, 205, 304})

# Kinds --------------------------------------------------------------------------------------------

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*"
_PORT = r"(?::[1-9][0-9]{0,4})?"
_AUTHORITY = rf"(?:{_NAME}|\[[0-9A-Fa-f:.]+\]){_PORT}"
_HOST = rf"\*|\*\.{_NAME}{_PORT}|{_AUTHORITY}"
_PATH = r"/[!\"$->@-~]*"

AUTHORITY = string("host", "a host such as shop.local or shop.local:8080", _AUTHORITY, 253)
HOST = string("host", "a host such as shop.local, *.shop.local or shop.local:8080", _HOST, 253)
PATH = string("path", "a path such as /v1, as it is sent, without a query", _PATH, 1024)
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_surrogate = re.compile("[\ud800-\udfff]").search


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


def _read_body(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_BODY:
        raise refuse(f"a string of at most {LONGEST_BODY} characters", value)
    if _surrogate(value):
        raise ValueError("must be text that UTF-8 can hold, without halves of surrogate pairs")
    return value


def _read_redirect_status(value: object) -> int:
    if not isinstance(value, int) or value not in _REDIRECT_STATUSES:
        raise refuse("301, 302, 303, 307 or 308", value)
    return value


_REDIRECT_STATUSES = (301, 302, 303, 307, 308)

MatchedHost = Annotated[str, Scalar("host", _read_host, same, HOST.json)]
MatchedPath = Annotated[str, Scalar("path", _read_path, same, PATH.json)]
Authority = Annotated[str, AUTHORITY]
Regex = Annotated[str, Scalar("regular expression", _read_regex, same, {"type": "string", "maxLength": regex.LONGEST})]
Method = Annotated[str, string("method", "a method such as GET", r"[A-Z][A-Z0-9_-]*", 32)]
Value = Annotated[
    str, string("value", "printable ASCII without a space at either end", r"(?:[!-~](?:[ -~]*[!-~])?)?", 1024)
]
Location = Annotated[str, string("path", "a path such as /v2, perhaps with a query", r"/[!\"$-~]*", 1024)]
Body = Annotated[str, Scalar("string", _read_body, same, {"type": "string", "maxLength": LONGEST_BODY})]
RedirectStatus = Annotated[
    int,
    Scalar(" \\| ".join(map(str, _REDIRECT_STATUSES)), _read_redirect_status, same, {"enum": [*_REDIRECT_STATUSES]}),
]
Order = Annotated[Literal["specific", "written"], choice("specific", "written")]



@dataclass(frozen=True, slots=True)
class Plain:
    """A mapping of plain data, of which only the text is compared."""

    text: str

    @property
    def value(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


def _read_plain(value: object) -> Plain:
    if not isinstance(value, Mapping):
        raise refuse("a mapping", value)
    text = json.dumps(value, sort_keys=True)
    if len(text) > LONGEST_BODY:
        raise ValueError(f"must be a mapping of at most {LONGEST_BODY} characters")
    return Plain(text)


NO_CONFIG = Plain("{}")
PlainMapping = Annotated[Plain, Scalar("mapping", _read_plain, lambda plain: plain.value, {"type": "object"})]
ClassName = Annotated[
    str,
    string(
        "module:Class",
        "a class such as package.module:Class",
        r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*",
        253,
    ),
]

# What matches -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathMatch:
    """One way to look at the path of a request, which has no query and is normalised."""

    CHOICE: ClassVar[bool] = True

    exact: Annotated[MatchedPath | None, "this path and no other"] = None
    prefix: Annotated[MatchedPath | None, "this path and all below it: `/v1` takes `/v1/x`, and not `/v12`"] = None
    regex: Annotated[Regex | None, "the whole path matches; linear expressions only"] = None


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """One way to look at the value of a header or of a query parameter."""

    CHOICE: ClassVar[bool] = True

    exact: Annotated[Value | None, "this value"] = None
    prefix: Annotated[Value | None, "values that begin like this"] = None
    regex: Annotated[Regex | None, "the whole value matches; linear expressions only"] = None
    present: Annotated[Bool | None, "whether it is there, with any value"] = None


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


# What becomes of it -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """A cluster, and its part of the requests of a rule."""

    cluster: Annotated[Name, "a name under `clusters`"]
    weight: Annotated[int, whole(0, 65535), "its share of the requests; 0: it gets none"] = 1


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that sends the client elsewhere; what is not said stays as in the request."""

    SHORTHAND: ClassVar[str] = "path"

    path: Annotated[Location | None, "the path to go to, and the query; absent: those of the request"] = None
    host: Annotated[Authority | None, "the host to go to, with its port"] = None
    scheme: Annotated[Literal["http", "https"] | None, choice("http", "https"), "the scheme to go to"] = None
    status: Annotated[RedirectStatus, "the status of the answer"] = 302


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that the proxy gives itself."""

    status: Annotated[int, whole(200, 599), "its status"] = 200
    headers: Annotated[tuple[tuple[str, Value], ...], "its header fields, but for the length of the body"] = ()
    body: Annotated[Body, "its body, in UTF-8"] = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the upstream is asked for instead of what the client asked for."""

    path: Annotated[MatchedPath | None, "this path; the query stays"] = None
    prefix: Annotated[MatchedPath | None, "this instead of the prefix that matched"] = None
    host: Annotated[Authority | None, "this host"] = None


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """Changes to the fields of a head: first what is removed, then what is set, then what is added.

    Values may have variables, such as `%{client}`.
    """

    add: Annotated[tuple[tuple[str, Value], ...], "fields that come after those of the same name"] = ()
    set: Annotated[tuple[tuple[str, Value], ...], "fields that replace those of the same name"] = ()
    remove: Annotated[tuple[Name, ...], "names of fields that are left out"] = ()


@dataclass(frozen=True, slots=True)
class RouteTimeouts:
    """How long an exchange may take; what is absent is taken from the listener."""

    request: Annotated[Duration | None, "all of it, 0: no limit"] = None
    idle: Annotated[Duration | None, "silence in its middle, 0: for ever"] = None


@dataclass(frozen=True, slots=True)
class RequestRate:
    """So many requests in a time, for all workers together; see docs/limits.md."""

    requests: Annotated[Count, "how many; more are refused"]
    per: Annotated[PositiveDuration, "in which time"] = 1.0
    burst: Annotated[Count | None, "how many may come at once; absent: as many as `requests`"] = None
    by: Annotated[By | None, "each value of this has a limit of its own; absent: all requests of the rule have one"] = (
        None
    )
    status: Annotated[int, whole(400, 599), "the status of a refusal"] = 429
    headers: Annotated[tuple[tuple[str, Value], ...], "more header fields of a refusal"] = ()
    announce: Annotated[Bool, "whether a refusal has `RateLimit-*` and `Retry-After`"] = True
    redis: Annotated[Redis | None, "who counts for many proxies; absent: this one counts for itself"] = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A filter of your own; see docs/filters.md."""

    SHORTHAND: ClassVar[str] = "call"

    call: Annotated[ClassName, "`module:Class`"]
    config: Annotated[PlainMapping, "what the class is made with"] = NO_CONFIG
    deadline: Annotated[PositiveDuration, "how long what it awaits may take"] = 1.0
    on_error: Annotated[
        Literal["refuse", "skip"], choice("refuse", "skip"), "answer 500, or go on as if it were not there"
    ] = "refuse"


@dataclass(frozen=True, slots=True)
class RouteFilter:
    """One thing that is done with all requests of a rule, called by its only key."""

    CHOICE: ClassVar[bool] = True

    rate_limit: Annotated[RequestRate | None, "refuses what comes too fast"] = None
    bandwidth: Annotated[RouteBandwidth | None, "so many bytes each second and no more"] = None
    extension: Annotated[Extension | None, "a class of your own"] = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests, and what becomes of them: exactly one of `cluster`, `split`, `redirect` and `reply`."""

    RESERVED: ClassVar[Mapping[str, str]] = {
        "retry": "retrying",
        "authorize": "authorization",
    }

    name: Annotated[Name | None, "its name in metrics; absent: the table's and its place, such as `web/0`"] = None
    match: Annotated[RouteMatch, "which requests; empty: all of them"] = RouteMatch()
    cluster: Annotated[Name | None, "the cluster that gets them all"] = None
    split: Annotated[tuple[Share, ...], "the clusters that share them"] = ()
    redirect: Annotated[Redirect | None, "the client is sent elsewhere"] = None
    reply: Annotated[Reply | None, "the proxy answers"] = None
    rewrite: Annotated[Rewrite, "what the upstream is asked for instead"] = Rewrite()
    request_headers: Annotated[HeaderEdit, "changes on the way to the upstream"] = HeaderEdit()
    response_headers: Annotated[HeaderEdit, "changes on the way to the client"] = HeaderEdit()
    timeouts: Annotated[RouteTimeouts, "how long it may take"] = RouteTimeouts()
    filters: Annotated[tuple[RouteFilter, ...], "what is done with each request, in this order"] = ()

    @property
    def shares(self) -> tuple[Share, ...]:
        """Who gets the requests; a single cluster is a split of one."""
        return (Share(self.cluster),) if self.cluster else self.split


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Rules of which one decides about a request; a plain list is short for one by specificity."""

    SHORTHAND: ClassVar[str] = "rules"

    name: Annotated[Name, "the key under `routes`"]
    rules: Annotated[tuple[Rule, ...], "a request that none is for is answered 404"]
    order: Annotated[Order, "which of several rules decides: the most specific, or the first as written"] = "specific"

    def named(self) -> Iterator[tuple[str, Rule]]:
        """Each rule with its name in metrics."""
        for place, rule in enumerate(self.rules):
            yield rule.name or f"{self.name}/{place}", rule

    @property
    def redis(self) -> Iterator[Redis]:
        """Who counts for limits that many proxies have together."""
        for rule in self.rules:
            for each in rule.filters:
                if each.rate_limit is not None and each.rate_limit.redis is not None:
                    yield each.rate_limit.redis


VARIABLES = ("client", "host", "method", "path", "cluster", "listener", "route")
_variable = re.compile(r"%\{([^{}]*)\}")


def variables(value: str) -> list[str]:
    """The names of variables in the value of a field that a rule sets."""
    return _variable.findall(value)


def split_variables(value: str) -> Iterator[tuple[str, bool]]:
    """The pieces of such a value, and whether each is a variable."""
    for place, piece in enumerate(_variable.split(value)):
        if piece:
            yield piece, place % 2 == 1


# What does not fit together -----------------------------------------------------------------------

Found = Iterator[tuple[Path, str]]


def problems(table: RouteTable) -> Found:
    """What is wrong between the keys of a table, each with its place in it. Clusters are for others to look up."""
    yield from _at_most(MOST_RULES, "rules", table.rules)
    expressions = {rule.match.path.regex for rule in table.rules if rule.match.path and rule.match.path.regex}
    if len(expressions) > MOST_REGEXES:
        yield ("rules",), f"`rules` have more than {MOST_REGEXES} different regular expressions for paths"
    for index, rule in enumerate(table.rules):
        for path, message in _rule_problems(rule):
            yield ("rules", index, *path), message


def _rule_problems(rule: Rule) -> Found:
    outcomes = [name for name in ("cluster", "split", "redirect", "reply") if getattr(rule, name)]
    if len(outcomes) != 1:
        said = " and ".join(outcomes) or "none"
        yield (), f"the rule must say exactly one of cluster, split, redirect, reply, not {said}"
    yield from _below("match", _match_problems(rule.match))
    yield from _at_most(MOST_SHARES, "split", rule.split)
    yield from _at_most(MOST_OF_ANYTHING, "filters", rule.filters)
    for place, each in enumerate(rule.filters):
        if each.rate_limit is not None:
            for path, message in _rate_problems(each.rate_limit):
                yield ("filters", place, "rate_limit", *path), message
        if each.bandwidth is not None and each.bandwidth.up is None and each.bandwidth.down is None:
            yield ("filters", place), "`bandwidth` needs `up`, `down` or both"
    if rule.split and not any(share.weight for share in rule.split):
        yield ("split",), "`split` has no `weight` above 0, so nobody gets the requests"
    if rule.redirect and not (rule.redirect.path or rule.redirect.host or rule.redirect.scheme):
        yield ("redirect",), "`redirect` leads back to the same place: it needs a `path`, a `host` or a `scheme`"
    if rule.reply:
        yield from _below("reply", _reply_problems(rule.reply))
    yield from _below("rewrite", _rewrite_problems(rule))
    if not rule.shares and rule.request_headers != HeaderEdit():
        yield ("request_headers",), "`request_headers` needs a `cluster` or a `split`: nothing is sent upstream"
    for name, edit in (("request_headers", rule.request_headers), ("response_headers", rule.response_headers)):
        yield from _below(name, _edit_problems(edit))
        yield from _below(name, _variable_problems(edit, bool(rule.shares)))


def _match_problems(match: RouteMatch) -> Found:
    for name in ("hosts", "methods", "headers", "query"):
        yield from _at_most(MOST_OF_ANYTHING, name, getattr(match, name))
    yield from _below("headers", _names(name for name, _ in match.headers))


def _reply_problems(reply: Reply) -> Found:
    if reply.body and reply.status in WITHOUT_BODY:
        yield ("body",), f"`body` must be empty: an answer with status {reply.status} has none"
    yield from _fields("headers", reply.headers)


def _rate_problems(rate: RequestRate) -> Found:
    yield from _fields("headers", rate.headers)
    if rate.by is not None and rate.redis is not None:
        yield ("by",), "`by` and `redis` do not go together in this version: Redis counts for the whole rule"


def _rewrite_problems(rule: Rule) -> Found:
    rewrite, matched = rule.rewrite, rule.match.path
    if rewrite != Rewrite() and not rule.shares:
        yield (), "`rewrite` needs a `cluster` or a `split`: nothing is sent upstream"
    if rewrite.path and rewrite.prefix:
        yield ("prefix",), "`prefix` and `path` are two answers to one question: say one of them"
    if rewrite.prefix and matched and not matched.prefix:
        yield ("prefix",), "`prefix` needs a `match.path.prefix`, which it replaces"


def _edit_problems(edit: HeaderEdit) -> Found:
    yield from _fields("add", edit.add)
    yield from _fields("set", edit.set)
    yield from _at_most(MOST_OF_ANYTHING, "remove", edit.remove)
    for index, name in enumerate(edit.remove):
        if why := _unchangeable(name):
            yield ("remove", index), why


def _variable_problems(edit: HeaderEdit, forwards: bool) -> Found:
    for key, fields in (("set", edit.set), ("add", edit.add)):
        for name, value in fields:
            for variable in variables(value):
                if variable not in VARIABLES:
                    known = ", ".join(VARIABLES)
                    yield (key, name), f"`{name}` has an unknown variable `%{{{cut(variable)}}}`: there are {known}"
                elif not forwards:
                    yield (key, name), f"`{name}` has a variable, which needs a `cluster` or a `split`"


def _fields(key: str, fields: tuple[tuple[str, str], ...]) -> Found:
    yield from _at_most(MOST_OF_ANYTHING, key, fields)
    yield from _below(key, _names(name for name, _ in fields))
    for name, _ in fields:
        if name.lower() in NOT_TO_CHANGE:
            yield (key, name), _unchangeable(name)


def _names(names: Iterable[str]) -> Found:
    """A header has one name in any case; a mapping has keys that may differ in case."""
    first: dict[str, str] = {}
    for name in names:
        before = first.setdefault(name.lower(), name)
        if not _token(name):
            yield (name,), f"{shown(name)} is not the name of a header"
        elif before != name:
            yield (name,), f"`{name}` is there twice: first as `{before}`"


def _unchangeable(name: str) -> str:
    if not _token(name):
        return f"{shown(name)} is not the name of a header"
    if name.lower() == "host":
        return "`host` is changed by `rewrite`"
    if name.lower() in NOT_TO_CHANGE:
        return f"`{name}` belongs to the connection, and no rule can change it"
    return ""


def _at_most(most: int, key: str, items: Sized) -> Found:
    if len(items) > most:
        yield (key,), f"`{key}` has {len(items)} entries, more than {most}"


def _below(key: str, found: Found) -> Found:
    for path, message in found:
        yield (key, *path), message
