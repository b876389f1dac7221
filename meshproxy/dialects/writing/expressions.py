"""What a match of ours says as an expression that means the same to all who read it: it begins with `^`, and where it
is for the whole it ends with `$`, so that it does not matter whether it is searched for or looked at from the start.

    of_path({"prefix": "/v1"})          # "^/v1(?:/.*)?$": the path itself, and all below it
    of_value({"exact": "a.b"})          # "^a\\\\.b$"
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_means_more = re.compile(r"[\\.^$*+?{}\[\]|()]")
_opaque = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_innermost = re.compile(r"\([^()]*\)")
ANYTHING = ".*"


def of_path(match: Mapping[str, str]) -> str | None:
    """None: every path."""
    ((how, what),) = match.items()
    if how == "prefix":
        what = what.removesuffix("/")
        return f"^{literal(what)}(?:/.*)?$" if what else None
    found = _expression(how, what)
    return None if found in ("^", "^/", "^.*", "^.*$", "^/.*", "^/.*$") else found


def of_value(match: Mapping[str, str | bool]) -> str | None:
    """None: no expression says it, for it is about what is not there."""
    ((how, what),) = match.items()
    if isinstance(what, bool):
        return ANYTHING if what else None
    return f"^{literal(what)}" if how == "prefix" else _expression(how, what)


def literal(text: str) -> str:
    return _means_more.sub(r"\\\g<0>", text)


def _expression(how: str, what: str) -> str:
    if how == "exact":
        return f"^{literal(what)}$"
    if how == "begins":
        return f"^{_grouped(what.removeprefix('^'))}"
    assert how == "regex"
    bare = what.removeprefix("^")
    # Before the last `$` there may be nothing that makes a character of it.
    if bare.endswith("$") and (len(bare) - len(bare[:-1].rstrip("\\"))) % 2 == 1:
        bare = bare[:-1]
    return f"^{_grouped(bare)}$"


def _grouped(expression: str) -> str:
    """So that what stands before or after it holds for all that it may be."""
    bare = _opaque.sub("", expression)
    while (outer := _innermost.sub("", bare)) != bare:
        bare = outer
    return f"(?:{expression})" if "|" in bare else expression
