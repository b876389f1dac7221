"""What an operator can say of balancing: by what a hash is made, the cookie of a client that stays, labels, shares.

    clusters:
      books:
        balance: ring_hash
        hash: [{header: x-user}, {source: true}]    # the first of these that a request has
        sticky: {cookie: books, ttl: 1h}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from meshproxy.schema.kinds import PositiveDuration, Scalar, Text, choice, refuse, same, string, whole
from meshproxy.schema.shapes import Path

if TYPE_CHECKING:
    from meshproxy.model.config import Cluster

BY_KEY = ("ring_hash", "maglev")
"""Balancers that send what has the same key to the same endpoint."""
MOST_KEYS = 8
MOST_LABELS = 64

_SIGNS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"


def _read_true(value: object) -> bool:
    if value is not True:
        raise refuse("true", value)
    return True


_NAMES = ("round_robin", "least_request", "ewma", "ring_hash", "maglev", "random")
Balance = Annotated[
    Literal["round_robin", "least_request", "ewma", "ring_hash", "maglev", "random"], choice(*_NAMES)
]
Priority = Annotated[int, whole(0, 127)]
Token = Annotated[str, string("token", "a token of letters, digits and some signs", _SIGNS, 128)]
CookiePath = Annotated[str, string("path", "a path such as /shop", r"/[!-:<-~]*", 256)]
Yes = Annotated[Literal[True], Scalar("`true`", _read_true, same, {"const": True})]
Labels = tuple[tuple[str, Text], ...]
NoSubset = Annotated[Literal["any", "none"], choice("any", "none")]


@dataclass(frozen=True, slots=True)
class HashKey:
    """One thing that a hash is made of."""

    CHOICE: ClassVar[bool] = True

    header: Annotated[Token | None, "the value of this header"] = None
    cookie: Annotated[Token | None, "the value of this cookie"] = None
    query: Annotated[Text | None, "the value of this parameter, decoded"] = None
    source: Annotated[Yes | None, "the address of who connected"] = None
    path: Annotated[Yes | None, "the path, regular and without the query"] = None
    client_id: Annotated[Yes | None, "for mqtt: how the client names itself"] = None


@dataclass(frozen=True, slots=True)
class Sticky:
    """A cookie by which a client comes back to the endpoint that it had."""

    SHORTHAND: ClassVar[str] = "cookie"

    cookie: Annotated[Token, "its name"]
    ttl: Annotated[PositiveDuration | None, "how long the client keeps it; absent: until its session ends"] = None
    path: Annotated[CookiePath, "for which paths it is sent"] = "/"


def problems(said: Cluster) -> Iterator[tuple[Path, str]]:
    """What does not fit together in a cluster, each with its place in it."""
    if said.hash and said.balance not in BY_KEY:
        yield ("hash",), f"`hash` needs `balance: ring_hash` or maglev, not {said.balance}"
    if said.balance in BY_KEY and not said.hash:
        yield ("balance",), f"`balance` {said.balance} needs `hash`, which says what is hashed"
    if said.balance in BY_KEY and said.slow_start:
        yield ("slow_start",), f"`slow_start` would move keys step by step: it is not for `balance: {said.balance}`"
    if said.stay and said.sticky is not None:
        yield ("stay",), "`stay` and `sticky` are two answers to one question: say one of them"
    if len(said.hash) > MOST_KEYS:
        yield ("hash",), f"`hash` has {len(said.hash)} entries, more than {MOST_KEYS}"
    for index, endpoint in enumerate(said.members):
        if len(endpoint.labels) > MOST_LABELS:
            what = f"`labels` has {len(endpoint.labels)} entries, more than {MOST_LABELS}"
            yield ("endpoints", index, "labels"), what


def of_sessions(said: Cluster) -> bool:
    """Whether it asks for what only clients of MQTT have."""
    return any(key.client_id for key in said.hash)


def of_requests(said: Cluster) -> str:
    """What only requests of HTTP have, and this cluster asks for; nothing if it serves connections as well."""
    if said.sticky:
        return "is sticky by a cookie"
    if said.stay:
        return "has `stay`"
    for key in said.hash:
        for kind in ("header", "cookie", "query", "path"):
            if getattr(key, kind):
                return f"hashes by {kind}"
    return ""
