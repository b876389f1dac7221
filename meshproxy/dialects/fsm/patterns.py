"""Regular expressions of JavaScript as conditions of ours: where they match is decided here, once.

    condition("^/api/v[0-9]+/.*", search=False)     # {"begins": "/api/v[0-9]+/"}
    condition("/books$", search=False)              # {"regex": "/books"}
    condition(".*", search=False)                   # None: anything

As SMI says, an expression holds at the start, and its end is open unless it says `$`. The sidecar of FSM searches
instead: `/admin` is found in `/public/admin` as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from meshproxy.model import regex

Condition = dict[str, str]

_ANY = re.compile(r"(?<!\\)\.\*\??\Z")
_END = re.compile(r"(?<!\\)(?:\\\\)*\$\Z")
_plain = re.compile(r"[A-Za-z0-9/_-]*").fullmatch
_optional = re.compile(r"[*?{|(]").search
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_MOST_REMEMBERED = 4096


@lru_cache(maxsize=_MOST_REMEMBERED)
def condition(text: str, *, search: bool) -> Condition | None:
    """What holds where the expression does; None: always."""
    if text and _plain(text):
        return {"begins": f".*{text}" if search else text}
    branches = [_branch(each) for each in _branches(text)]
    if any(branch.is_open and takes_nothing(branch.body) for branch in branches):
        return None
    bodies = [f".*{branch.body}" if search and branch.floats else branch.body for branch in branches]
    if all(branch.is_open for branch in branches):
        return {"begins": "|".join(bodies)}
    tails = [".*" if branch.is_open else "" for branch in branches]
    return {"regex": "|".join(map(str.__add__, bodies, tails))}


def of_path(text: str, kind: str, *, search: bool) -> Condition | None:
    """By the `Type` of a rule; every path begins with a slash."""
    if kind == "Exact":
        return {"exact": text}
    found = condition(text, search=search) if kind == "Regex" else {"begins": re.escape(text)}
    return None if found in ({"begins": "/"}, {"begins": ""}) else found


@lru_cache(maxsize=_MOST_REMEMBERED)
def takes_nothing(pattern: str) -> bool:
    """Whether the empty text matches; of an expression that is refused later on, no."""
    if not pattern or not _optional(pattern):
        return not pattern
    try:
        regex.check(pattern)
    except ValueError:
        return False
    return regex.matcher(pattern)(b"") is not None


def _branches(text: str) -> Iterator[str]:
    """What stands between the bars that are in no group."""
    depth = start = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("(", ")"):
            depth += 1 if token[0] == "(" else -1
        elif token[0] == "|" and not depth:
            yield text[start : token.start()]
            start = token.end()
    yield text[start:]


class _Branch(NamedTuple):
    """Without anchors, and without what may be anything at its end."""

    body: str
    is_open: bool
    """Whether anything may follow."""
    floats: bool
    """Whether anything may stand before it, where that is asked for."""


def _branch(text: str) -> _Branch:
    body = text.removeprefix("^")
    floats = not text.startswith("^") and not body.startswith(".*")
    # Behind an end anything is nothing.
    body = _ANY.sub("", body)
    is_open = _END.search(body) is None
    return _Branch(body if is_open else body[:-1], is_open, floats)
