"""Topics of MQTT as an operator writes them: filters, variables, who may use which, and what they are called elsewhere.

    decode(TopicAccess, {"clients": ["press-*"], "publish": ["plant/%c/#"], "subscribe": ["$share/+/jobs/#"]})
    said = decode(TopicRewrite, {"from": "old/+/temp/#", "to": "new/%1/temp/%2"})
    list(rewrite_problems([said]))      # [], or the place of each thing that does not fit, with the reason
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from meshproxy.model.matching import Found, at_most
from meshproxy.model.whom import MOST_IDENTITIES, Whom
from meshproxy.schema.kinds import string
from meshproxy.schema.shapes import AT_LEAST_ONE, Key

MOST_LEVELS = 128
"""Of a filter, wherever it comes from; a topic may have more."""
MOST_ENTRIES = 4096
MOST_NAMES = 1024
"""Of users or clients in one entry."""
MOST_FILTERS = 256
"""In one list."""
MOST_REWRITES = 64
CAPTURES = tuple(f"%{number}" for number in range(1, 10))
"""What `to` calls the wildcards of `from`."""
LONGEST = 1024

# Kinds --------------------------------------------------------------------------------------------

_UNSHARED = r"(?!\$share(?:/|$))"
_BOUNDED = rf"(?!$)(?!(?:[^/]*/){{{MOST_LEVELS}}})"
_LITERAL = r"[^+#/]*"
_VARIED = r"(?:[^+#/%]|%[cui%])*"
_NUMBERED = r"(?:%[1-9]|(?:[^+#/%]|%%)*)"
_GROUP = r"(?:\+|(?:[^+#/%]|%[cui%])+)"


def _filter(level: str) -> str:
    """Levels of which any may be `+`, and at the end perhaps `#`."""
    level = rf"(?:\+|{level})"
    return rf"{_BOUNDED}(?:#|{level}(?:/{level})*(?:/#)?)"


_VARIABLES = "with %c, %u, %i and %% for the client's id, its user, its identity and a percent sign"

TopicName = Annotated[
    str,
    string(
        "topic",
        "a topic such as plant/state, without + and #",
        rf"{_UNSHARED}{_BOUNDED}{_LITERAL}(?:/{_LITERAL})*",
        LONGEST,
    ),
]
TopicFilter = Annotated[
    str,
    string(
        "topic filter",
        f"a topic filter such as plant/+/state or plant/#, with at most {MOST_LEVELS} levels",
        _UNSHARED + _filter(_LITERAL),
        LONGEST,
    ),
]
TopicTemplate = Annotated[
    str,
    string(
        "topic filter",
        f"a topic filter such as plant/%c/#, {_VARIABLES}",
        _UNSHARED + _filter(_VARIED),
        LONGEST,
    ),
]
SubscriptionTemplate = Annotated[
    str,
    string(
        "topic filter",
        f"a topic filter such as plant/%c/# or $share/workers/jobs/#, {_VARIABLES}",
        rf"(?:\$share/{_GROUP}/)?{_UNSHARED}{_filter(_VARIED)}",
        LONGEST,
    ),
]
TopicPrefix = Annotated[
    str,
    string(
        "prefix",
        f"whole levels of a topic such as tenants/%u/, {_VARIABLES}",
        rf"(?!\$){_BOUNDED}(?:{_VARIED}/)+",
        LONGEST,
    ),
]
Rewritten = Annotated[
    str,
    string(
        "topic",
        "a topic such as new/%1/temp/%2, where %1 to %9 are each a level for themselves, and %% is a percent sign",
        rf"{_UNSHARED}{_BOUNDED}{_NUMBERED}(?:/{_NUMBERED})*",
        LONGEST,
    ),
]
Glob = Annotated[
    str,
    string(
        "name \\| `*`",
        "a name of printable characters, with one `*` as its first or last, or none",
        r"\*?[^*]+|[^*]*\*",
        LONGEST,
    ),
]

# What is said -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicAccess:
    """Topics for some clients; everything that is said of a client must hold.

    Variables are the client's own words: where one is empty, begins a topic with `$`, or has `/`, `+` or `#` in it, as
    a SPIFFE id has, the filter is not there for this client.
    """

    users: Annotated[
        tuple[Glob, ...],
        AT_LEAST_ONE,
        "who it is let in as is any of these: `name`, `begins-*`, `*-ends`, `*`: anybody with a name; absent: anybody",
    ] = ()
    clients: Annotated[tuple[Glob, ...], AT_LEAST_ONE, "its client id is any of these; absent: any"] = ()
    identities: Annotated[
        tuple[Whom, ...], AT_LEAST_ONE, "who it has proved to be is any of these; absent: anybody"
    ] = ()
    publish: Annotated[
        tuple[TopicTemplate, ...],
        "it may publish to topics that any of these matches; `%c`, `%u`, `%i`: its client id, user and identity",
    ] = ()
    subscribe: Annotated[
        tuple[SubscriptionTemplate, ...],
        "it may subscribe to filters of which all topics are matched by one of these, alone or shared; "
        "`$share/group/filter`: shared only, `+` for any group",
    ] = ()


@dataclass(frozen=True, slots=True)
class TopicRewrite:
    """Topics that clients and brokers call by different names."""

    match: Annotated[TopicFilter, Key("from"), "the clients' topics; its wildcards are `%1`, `%2` and so on"]
    to: Annotated[
        Rewritten, "what the broker calls them: each wildcard once, as a level for itself, that of `#` as the last"
    ]


# What does not fit together -----------------------------------------------------------------------


def access_problems(entries: Sequence[TopicAccess]) -> Found:
    """Each with its place below the key."""
    if len(entries) > MOST_ENTRIES:
        yield (), f"`authorize` has {len(entries)} entries, more than {MOST_ENTRIES}"
    for index, entry in enumerate(entries):
        for path, message in _entry_problems(entry):
            yield (index, *path), message


def _entry_problems(entry: TopicAccess) -> Found:
    yield from at_most(MOST_NAMES, "users", entry.users)
    yield from at_most(MOST_NAMES, "clients", entry.clients)
    yield from at_most(MOST_IDENTITIES, "identities", entry.identities)
    yield from at_most(MOST_FILTERS, "publish", entry.publish)
    yield from at_most(MOST_FILTERS, "subscribe", entry.subscribe)
    if not entry.publish and not entry.subscribe:
        yield (), "an entry without `publish` and `subscribe` allows nothing"


def rewrite_problems(rewrites: Sequence[TopicRewrite]) -> Found:
    """Each with its place below the key.  Every topic has one rule at most, and there is a way back for each."""
    if len(rewrites) > MOST_REWRITES:
        yield (), f"`rewrite` has {len(rewrites)} entries, more than {MOST_REWRITES}"
        return
    before: list[tuple[int, str, str]] = []
    for index, rewrite in enumerate(rewrites):
        found = list(_rewrite_problems(rewrite))
        for path, message in found:
            yield (index, *path), message
        if found:
            continue
        pattern = _rewritten(rewrite)
        for place, match, other in before:
            if overlap(rewrite.match, match):
                yield (index, "from"), f"`from` {rewrite.match} has topics in common with {match} of entry {place}"
            elif overlap(pattern, other):
                yield (index, "to"), f"`to` {rewrite.to} has topics in common with that of entry {place}: no way back"
            else:
                continue
            break
        before.append((index, rewrite.match, pattern))


def _rewrite_problems(rewrite: TopicRewrite) -> Found:
    wildcards = [level for level in rewrite.match.split("/") if level in ("+", "#")]
    levels = rewrite.to.split("/")
    said = [int(level[1]) for level in levels if level in CAPTURES]
    for number in range(1, max(len(wildcards), *said, 0) + 1):
        if number > len(wildcards):
            yield ("to",), f"`to` {rewrite.to} has %{number}, and `from` {rewrite.match} fewer wildcards"
        elif number > len(CAPTURES):
            yield ("from",), f"`from` {rewrite.match} has more than {len(CAPTURES)} wildcards"
            return
        elif said.count(number) != 1:
            yield ("to",), f"`to` {rewrite.to} needs %{number} exactly once: else there is no way back"
    if wildcards[-1:] == ["#"] and levels[-1] != f"%{len(wildcards)}":
        yield ("to",), f"`to` {rewrite.to} must end in %{len(wildcards)}, the `#` of `from` {rewrite.match}"


def _rewritten(rewrite: TopicRewrite) -> str:
    """What matches all that `to` can become."""
    wildcards = [level for level in rewrite.match.split("/") if level in ("+", "#")]
    by_name = dict(zip(CAPTURES, wildcards, strict=False))
    return "/".join([by_name.get(level) or level.replace("%%", "%") for level in rewrite.to.split("/")])


def overlap(one: str, other: str) -> bool:
    """Whether there is a topic that both filters match."""
    ours, theirs = one.split("/"), other.split("/")
    # What begins with `$` is matched by no wildcard.
    if "$" in (one[:1], other[:1]) and ours[0] != theirs[0]:
        return False
    for our, their in zip(ours, theirs, strict=False):
        if "#" in (our, their):
            return True
        if our != their and "+" not in (our, their):
            return False
    rest = ours[len(theirs) :] or theirs[len(ours) :]
    return rest in ([], ["#"])
