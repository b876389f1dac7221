"""Rules of which a request may meet several, where one decides: what changes if they are all added up.

    for here, other in wider(rules):    # in the order in which they are considered
        ...                             # whom `other` lets in could then ask what `here` decides about
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshproxy.model import Rule
from meshproxy.model.authorize import Admission
from meshproxy.model.matching import PathMatch


def wider(rules: Sequence[Rule], *, with_open: bool = False) -> Iterator[tuple[Rule, Rule]]:
    """Each rule that a later one would let more in to, with the first such one; perhaps one that lets in anybody."""
    for place, here in enumerate(rules):
        if here.authorize is None:
            # For whom such a rule is not, a later one is; so this is added up already.
            continue
        own = set(here.authorize)
        for other in rules[place + 1 :]:
            is_open = with_open and bool(other.shares) and other.authorize is None and not other.match.identities
            if (is_open or not own.issuperset(_lets_in(other))) and _may_meet(here, other):
                yield here, other
                break


def _lets_in(rule: Rule) -> tuple[Admission, ...]:
    if rule.authorize is None and rule.match.identities:
        return (Admission(rule.match.identities),)
    return rule.authorize or ()


def _may_meet(one: Rule, other: Rule) -> bool:
    """Whether there may be a request that both are for."""
    return (
        _share(one.match.methods, other.match.methods)
        and _share(one.match.hosts, other.match.hosts)
        and not _apart(one.match.path, other.match.path)
    )


def _share(some: tuple[str, ...], more: tuple[str, ...]) -> bool:
    wild = any("*" in each for each in (*some, *more))
    return not some or not more or wild or not set(some).isdisjoint(more)


def _apart(one: PathMatch | None, other: PathMatch | None) -> bool:
    """Whether no path is in both, as far as can be told without trying expressions."""
    if one is None or other is None:
        return False
    if None in (one.exact or one.prefix, other.exact or other.prefix):
        return False
    return not (_takes(one, other) or _takes(other, one))


def _takes(outer: PathMatch, inner: PathMatch) -> bool:
    """Whether what the inner one names is a path of the outer one."""
    named = inner.exact or inner.prefix or ""
    if outer.prefix is None:
        return outer.exact == named and inner.prefix is None
    return f"{named.removesuffix('/')}/".startswith(f"{outer.prefix.removesuffix('/')}/")
