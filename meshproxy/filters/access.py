"""Who may ask for what: first what is denied, then, where anything is allowed, only that.

What denies is matched as the most generous server would read a request, so that nobody gets around it by spelling:
`/Admin`, `/admin;x/` and `//admin` are `/admin`, and `delete` is `DELETE`.  What allows is matched to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from meshproxy.core.client import Who, within
from meshproxy.core.condition import conditions, together
from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Hooks
from meshproxy.errors import Failure
from meshproxy.model.filters import Access, AccessMatch
from meshproxy.model.matching import PathMatch, RouteMatch, expression

Test = Callable[[Exchange], bool]

_simple = re.compile(rb"(?:/[^;%\\/]++)+").fullmatch
"""Only the case of it can be read in two ways."""
_slash = re.compile(rb"(?:%2F|%5C|\\|/)+").sub
_parameters = re.compile(rb";[^/]*+").sub


def build(said: Access, who: Who) -> Hooks:
    refused = Failure("access_denied", said.status, "AD")
    deny = tuple(test_of(match, who, loosely=True) for match in said.deny)
    allow = tuple(test_of(match, who, loosely=False) for match in said.allow)

    def request(x: Exchange) -> Failure | None:
        for denies in deny:
            if denies(x):
                return refused
        if not allow:
            return None
        for allows in allow:
            if allows(x):
                return None
        return refused

    return Hooks(request=request)


def test_of(match: AccessMatch, who: Who, *, loosely: bool) -> Test:
    """The cheap ones first."""
    tests = []
    if match.path is not None:
        tests.append(_of_path(match.path, loosely=loosely))
    holds = together(conditions(RouteMatch(methods=match.methods, headers=match.headers)))
    if holds is not None:
        asked = holds
        if loosely:
            tests.append(lambda x: asked(x.request.method.upper(), x.request))
        else:
            tests.append(lambda x: asked(x.request.method, x.request))
    if match.sources:
        here = within(match.sources)
        tests.append(lambda x: here(who(x)))
    if len(tests) == 1:
        return tests[0]
    all_of_them = tuple(tests)

    def test(x: Exchange) -> bool:
        for each in all_of_them:  # noqa: SIM110 - all() over a generator takes twice as long
            if not each(x):
                return False
        return True

    return test


def _of_path(match: PathMatch, *, loosely: bool) -> Test:
    matches = expression(match)
    if matches is not None:
        return lambda x: matches(x.path) is not None
    said = (match.exact or match.prefix or "/").encode("ascii")
    if not loosely:
        if match.exact is not None:
            return lambda x: x.path == said
        top = said.rstrip(b"/")
        below = top + b"/"
        return lambda x: x.path == top or x.path.startswith(below)
    key = loose(said)
    if match.exact is not None:
        return lambda x: loose(x.path) == key
    under = key + b"/"

    def test(x: Exchange) -> bool:
        path = loose(x.path)
        return path == key or path.startswith(under)

    return test


def loose(path: bytes) -> bytes:
    """What any server might take it for: in small letters, without parameters, and without a slash at its end."""
    if not _simple(path):
        path = _slash(b"/", _parameters(b"", _slash(b"/", path))).rstrip(b"/")
    return path.lower()
