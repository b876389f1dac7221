"""What an operator can say about HTTP requests: tables of rules, each with what it matches and what becomes of that.

table = decode(RouteTable, {"name": "web", "rules": [{"match": {"path": {"prefix": "/v1"}}, "cluster": "books"}]})
table.rules[0].shares       # (Share("books", 1),)
list(problems(table))       # [], or the place of each thing that does not fit another, with the reason
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from meshproxy.model import forward, retry
from meshproxy.model.authorize import Admission, admission_problems
from meshproxy.model.balance import Labels, NoSubset
from meshproxy.model.filters import (
    Access,
    Buffer,
    Claim,
    Cors,
    Fault,
    GrpcWeb,
    access_problems,
    buffer_problems,
    cors_problems,
    fault_problems,
)
from meshproxy.model.forward import Forward
from meshproxy.model.limits import By, Count, Redis, RouteBandwidth
from meshproxy.model.matching import (
    EVERYTHING,
    MOST_OF_ANYTHING,
    Authority,
    Found,
    MatchedPath,
    PathMatch,
    RouteMatch,
    Value,
    at_most,
    below,
    header_names,
    match_problems,
    token,
)
from meshproxy.model.mirror import Mirror
from meshproxy.model.overload import Priority
from meshproxy.model.retry import Retry
from meshproxy.model.split import Share, SplitBy, split_problems
from meshproxy.schema.kinds import (
    Bool,
    Duration,
    Name,
    PositiveDuration,
    Scalar,
    Size,
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
"""Different ones for the paths of one host: they are tried one after the other."""
LONGEST_BODY = 65_536

NOT_TO_CHANGE = frozenset(
    "connection content-length host keep-alive proxy-connection te trailer transfer-encoding upgrade "
    "x-meshproxy-peer".split()
)
"""Header fields of one hop, or that say where a message ends or goes: the proxy's own affair."""
WITHOUT_BODY = frozenset({204, 205, 304})
FOR_TUNNELS = frozenset({"access", "claim", "extension", "fault", "rate_limit"})
"""Filters that have to do with who asks, and when."""

# Kinds --------------------------------------------------------------------------------------------

_surrogate = re.compile("[\ud800-\udfff]").search


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

# What becomes of it -------------------------------------------------------------------------------


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


NO_REWRITE = Rewrite()
NO_EDIT = HeaderEdit()


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
    shared: Annotated[
        Name | None, "rules of the table that say the same name here have one limit together; absent: one of its own"
    ] = None


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
    access: Annotated[Access | None, "refuses whom you do not want"] = None
    cors: Annotated[Cors | None, "says which pages of other origins may ask"] = None
    max_body: Annotated[Size | None, "refuses larger bodies, with 413; beside the listener's own limit"] = None
    fault: Annotated[Fault | None, "delays requests, or has them fail, on purpose"] = None
    bandwidth: Annotated[RouteBandwidth | None, "so many bytes each second and no more"] = None
    claim: Annotated[Claim | None, "refuses who calls itself by a name that it has not proved, with 403"] = None
    buffer: Annotated[Buffer | None, "bodies go on when all of them is there"] = None
    repeated: Annotated[
        Literal["last"] | None, choice("last"), "of repeated header fields but cookies only the last one goes on"
    ] = None
    grpc_web: Annotated[GrpcWeb | None, "calls that pages make go on as calls of gRPC; see docs/grpc.md"] = None
    extension: Annotated[Extension | None, "a class of your own"] = None

    @property
    def kind(self) -> str:
        return next(field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Who answers when all else has failed."""

    CHOICE: ClassVar[bool] = True

    cluster: Annotated[Name | None, "this cluster is asked, if all of the request is still at hand"] = None
    reply: Annotated[Reply | None, "the proxy"] = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests, and what becomes of them: exactly one of `cluster`, `split`, `redirect`, `reply` and `connect`."""

    name: Annotated[Name | None, "its name in metrics; absent: the table's and its place, such as `web/0`"] = None
    match: Annotated[RouteMatch, "which requests; empty: all of them"] = EVERYTHING
    cluster: Annotated[Name | None, "the cluster that gets them all"] = None
    subset: Annotated[Labels, "with `cluster`: only endpoints that have all these labels"] = ()
    no_subset: Annotated[NoSubset, "with `cluster`: who gets them where no such endpoint is fit"] = "none"
    split: Annotated[tuple[Share, ...], "the clusters that share them"] = ()
    split_by: Annotated[SplitBy | None, "who asks again draws the same share again"] = None
    fallback: Annotated[Fallback | None, "who answers when nobody can be reached, or no answer comes"] = None
    redirect: Annotated[Redirect | None, "the client is sent elsewhere"] = None
    reply: Annotated[Reply | None, "the proxy answers"] = None
    connect: Annotated[
        Forward | None, "for CONNECT, and nothing else: a tunnel to where the client says; see docs/forward-proxy.md"
    ] = None
    rewrite: Annotated[Rewrite, "what the upstream is asked for instead"] = NO_REWRITE
    request_headers: Annotated[HeaderEdit, "changes on the way to the upstream"] = NO_EDIT
    response_headers: Annotated[HeaderEdit, "changes on the way to the client"] = NO_EDIT
    timeouts: Annotated[RouteTimeouts, "how long it may take"] = RouteTimeouts()
    retry: Annotated[
        Retry | None, "when it is asked again; absent: where nobody can have heard of it, up to three endpoints"
    ] = None
    filters: Annotated[tuple[RouteFilter, ...], "what is done with each request, in this order"] = ()
    priority: Annotated[Priority, "who is refused first when there is too much to do; needs a section `overload`"] = (
        "normal"
    )
    mirror: Annotated[Mirror | None, "a cluster that is sent copies of what is sent upstream"] = None
    authorize: Annotated[
        tuple[Admission, ...] | None,
        "who may ask, by identity: what any of these admits, and nothing else; empty: nobody; absent: everybody",
    ] = None

    @property
    def shares(self) -> tuple[Share, ...]:
        """Who gets the requests; a single cluster is a split of one."""
        if self.cluster:
            return (Share(self.cluster, subset=self.subset, no_subset=self.no_subset),)
        return self.split

    @property
    def clusters(self) -> Iterator[tuple[Path, str]]:
        """Each that may be asked, with the place where it is named."""
        if self.cluster:
            yield ("cluster",), self.cluster
        else:
            for place, share in enumerate(self.split):
                yield ("split", place, "cluster"), share.cluster
        if self.fallback is not None and self.fallback.cluster is not None:
            yield ("fallback", "cluster"), self.fallback.cluster
        if self.mirror is not None:
            yield ("mirror", "cluster"), self.mirror.cluster


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


VARIABLES = ("client", "host", "method", "path", "cluster", "listener", "route", "identity")
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

def problems(table: RouteTable) -> Found:
    """What is wrong between the keys of a table, each with its place in it. Clusters are for others to look up."""
    yield from at_most(MOST_RULES, "rules", table.rules)
    expressions: dict[str, set[PathMatch]] = {}
    for rule in table.rules:
        said = rule.match.path
        if said is not None and (said.regex is not None or said.begins is not None):
            for host in rule.match.hosts or ("*",):
                expressions.setdefault(host, set()).add(said)
    if any(len(of_host) > MOST_REGEXES for of_host in expressions.values()):
        yield ("rules",), f"`rules` have more than {MOST_REGEXES} different regular expressions for paths of one host"
    for index, rule in enumerate(table.rules):
        for path, message in _rule_problems(rule):
            yield ("rules", index, *path), message
    yield from _shared_problems(table)


def _shared_problems(table: RouteTable) -> Found:
    """Those who share a limit say the same of it."""
    first: dict[str, tuple[int, RequestRate]] = {}
    for index, rule in enumerate(table.rules):
        for place, each in enumerate(rule.filters):
            rate = each.rate_limit
            if rate is None or rate.shared is None:
                continue
            before, said = first.setdefault(rate.shared, (index, rate))
            for key in ("requests", "per", "burst", "by"):
                if getattr(rate, key) != getattr(said, key):
                    yield (
                        ("rules", index, "filters", place, "rate_limit", key),
                        f"`{key}` must be as in `rules[{before}]`: they share the limit {rate.shared}",
                    )


def _rule_problems(rule: Rule) -> Found:
    outcomes = [name for name in ("cluster", "split", "redirect", "reply", "connect") if getattr(rule, name)]
    if len(outcomes) != 1:
        said = " and ".join(outcomes) or "none"
        yield (), f"the rule must say exactly one of cluster, split, redirect, reply, connect, not {said}"
    yield from below("match", match_problems(rule.match))
    # There may be ten thousand rules, and most say little: only what is said is looked at.
    if rule.split or rule.split_by is not None:
        yield from split_problems(rule.split, rule.split_by)
    yield from _fallback_problems(rule)
    if rule.split or rule.subset or rule.no_subset != "none":
        yield from _subset_problems(rule)
    if rule.filters:
        yield from at_most(MOST_OF_ANYTHING, "filters", rule.filters)
        yield from _filter_problems(rule)
    if rule.redirect and not (rule.redirect.path or rule.redirect.host or rule.redirect.scheme):
        yield ("redirect",), "`redirect` leads back to the same place: it needs a `path`, a `host` or a `scheme`"
    if rule.connect is not None:
        yield from below("connect", forward.problems(rule.connect))
        yield from _connect_problems(rule)
    if rule.reply:
        yield from below("reply", reply_problems(rule.reply))
    forwards = bool(rule.cluster or rule.split)
    if rule.rewrite is not NO_REWRITE:
        yield from below("rewrite", _rewrite_problems(rule))
    if rule.mirror is not None:
        yield from below("mirror", _mirror_problems(rule, rule.mirror))
    if rule.authorize:
        yield from below("authorize", admission_problems(rule.authorize))
    if rule.retry is not None:
        yield from below("retry", retry.problems(rule.retry))
        if not forwards:
            yield ("retry",), "`retry` needs a `cluster` or a `split`: nothing is sent upstream"
    if not forwards and rule.request_headers != NO_EDIT:
        yield ("request_headers",), "`request_headers` needs a `cluster` or a `split`: nothing is sent upstream"
    for name, edit in (("request_headers", rule.request_headers), ("response_headers", rule.response_headers)):
        if edit is not NO_EDIT:
            yield from below(name, _edit_problems(edit))
            yield from below(name, _variable_problems(edit, forwards))


def _subset_problems(rule: Rule) -> Found:
    if not rule.cluster and (rule.subset or rule.no_subset != "none"):
        key = "subset" if rule.subset else "no_subset"
        yield (key,), f"`{key}` needs a `cluster`; in a `split` each share says its own"
        return
    for place, share in enumerate(rule.shares):
        path: Path = ("split", place) if rule.split else ()
        yield from ((path + below, message) for below, message in at_most(MOST_OF_ANYTHING, "subset", share.subset))
        if share.no_subset != "none" and not share.subset:
            yield (*path, "no_subset"), f"`no_subset` {share.no_subset} needs a `subset` that may be missing"


def _fallback_problems(rule: Rule) -> Found:
    fallback = rule.fallback
    if fallback is None:
        return
    if not rule.shares:
        yield ("fallback",), "`fallback` needs a `cluster` or a `split`: nobody is asked who could fail"
    elif {share.cluster for share in rule.shares} == {fallback.cluster}:
        yield ("fallback", "cluster"), f"`cluster` {fallback.cluster} is the one that has failed then"
    if fallback.reply is not None:
        yield from below("fallback", below("reply", reply_problems(fallback.reply)))


def _filter_problems(rule: Rule) -> Found:
    for index, each in enumerate(rule.filters):
        if each.kind in PROBLEMS:
            for path, message in PROBLEMS[each.kind](getattr(each, each.kind)):
                yield ("filters", index, each.kind, *path), message


def _connect_problems(rule: Rule) -> Found:
    """A tunnel has no path, no query and no body, and no answer to change."""
    for key in ("path", "grpc", "query"):
        if getattr(rule.match, key):
            yield ("match", key), f"`{key}` is of no use with `connect`: CONNECT has a host and a port, and no path"
    if rule.response_headers != NO_EDIT:
        yield ("response_headers",), "`response_headers` is of no use with `connect`: what a tunnel carries is not read"
    for index, each in enumerate(rule.filters):
        if each.kind not in FOR_TUNNELS:
            known = ", ".join(sorted(FOR_TUNNELS))
            yield ("filters", index), f"`{each.kind}` is of no use with `connect`: filters for tunnels are {known}"


def _rate_problems(rate: RequestRate) -> Found:
    yield from field_problems("headers", rate.headers)
    if rate.by is not None and rate.redis is not None:
        yield ("by",), "`by` and `redis` do not go together in this version: Redis counts for the whole rule"
    if rate.shared is not None and rate.redis is not None:
        yield ("shared",), "`shared` and `redis` do not go together: who says the same `key` of a Redis shares a limit"


def _bandwidth_problems(said: RouteBandwidth) -> Found:
    if said.up is None and said.down is None:
        yield (), "`bandwidth` needs `up`, `down` or both"


PROBLEMS: Mapping[str, Callable[[Any], Found]] = {
    "rate_limit": _rate_problems,
    "bandwidth": _bandwidth_problems,
    "access": access_problems,
    "cors": cors_problems,
    "fault": fault_problems,
    "buffer": buffer_problems,
}
"""What can be wrong within a filter."""


def reply_problems(reply: Reply) -> Found:
    if reply.body and reply.status in WITHOUT_BODY:
        yield ("body",), f"`body` must be empty: an answer with status {reply.status} has none"
    yield from field_problems("headers", reply.headers)


def _rewrite_problems(rule: Rule) -> Found:
    rewrite, matched = rule.rewrite, rule.match.path
    if rewrite != NO_REWRITE and not rule.shares:
        yield (), "`rewrite` needs a `cluster` or a `split`: nothing is sent upstream"
    if rewrite.path and rewrite.prefix:
        yield ("prefix",), "`prefix` and `path` are two answers to one question: say one of them"
    if rewrite.prefix and (rule.match.grpc or (matched and not matched.prefix)):
        yield ("prefix",), "`prefix` needs a `match.path.prefix`, which it replaces"


def _mirror_problems(rule: Rule, mirror: Mirror) -> Found:
    if not rule.shares:
        yield (), "`mirror` needs a `cluster` or a `split`: nothing is sent upstream"
    if any(share.cluster == mirror.cluster for share in rule.shares):
        # It would take from the connections that the requests themselves need.
        yield ("cluster",), f"`cluster` {mirror.cluster} gets the requests themselves: a mirror is another one"


def _edit_problems(edit: HeaderEdit) -> Found:
    yield from field_problems("add", edit.add)
    yield from field_problems("set", edit.set)
    yield from at_most(MOST_OF_ANYTHING, "remove", edit.remove)
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


def field_problems(key: str, fields: tuple[tuple[str, str], ...]) -> Found:
    yield from at_most(MOST_OF_ANYTHING, key, fields)
    yield from below(key, header_names(name for name, _ in fields))
    for name, _ in fields:
        if name.lower() in NOT_TO_CHANGE:
            yield (key, name), _unchangeable(name)


def _unchangeable(name: str) -> str:
    if not token(name):
        return f"{shown(name)} is not the name of a header"
    if name.lower() == "host":
        return "`host` is changed by `rewrite`"
    if name.lower() in NOT_TO_CHANGE:
        return f"`{name}` belongs to the connection, and no rule can change it"
    return ""
