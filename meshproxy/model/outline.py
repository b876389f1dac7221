"""A rule in few words, as a row for people and programs: what it matches, and where it leads.

    outline(rule)       # {"hosts": ("shop.local",), "path": "prefix /v1", ..., "to": "books-v1 90, books-v2 10"}
"""

from __future__ import annotations

from dataclasses import fields

from meshproxy.model.matching import PathMatch, RouteMatch, ValueMatch
from meshproxy.model.routes import Rule
from meshproxy.model.split import Share
from meshproxy.schema.kinds import show_duration


def outline(rule: Rule) -> dict[str, object]:
    match = rule.match
    return {
        "hosts": match.hosts,
        "path": _path(match),
        "methods": match.methods,
        "headers": tuple([f"{name} {looked_for(value)}" for name, value in match.headers]),
        "query": tuple([f"{name} {looked_for(value)}" for name, value in match.query]),
        "identities": match.identities,
        "to": destination(rule),
    }


def _path(match: RouteMatch) -> str | None:
    if match.grpc is not None:
        return f"grpc {match.grpc.service}/{match.grpc.method or '*'}"
    return looked_for(match.path) if match.path else None


def destination(rule: Rule) -> str:
    if rule.reply is not None:
        return f"reply {rule.reply.status}"
    if rule.redirect is not None:
        said = [(name, getattr(rule.redirect, name)) for name in ("scheme", "host", "path")]
        return " ".join((f"redirect {rule.redirect.status}", *(f"{name} {value}" for name, value in said if value)))
    if rule.connect is not None:
        return f"connect by {rule.connect.cluster}"
    shared = ", ".join(map(_share, rule.split)) or _whom(rule.shares[0])
    if rule.mirror is not None:
        shared += f"; {rule.mirror.share:g} of it copied to {rule.mirror.cluster}"
    if rule.fallback is None:
        return shared
    reply = rule.fallback.reply
    return f"{shared}, else {rule.fallback.cluster if reply is None else f'reply {reply.status}'}"


def _whom(share: Share) -> str:
    """A cluster, and the labels of those in it who are meant."""
    labels = ",".join(f"{name}={value}" for name, value in share.subset)
    return f"{share.cluster}[{labels}]" if labels else share.cluster


def _share(share: Share) -> str:
    whom = _whom(share)
    asked = [f"header {name} {looked_for(value)}" for name, value in share.headers]
    asked += [f"cookie {name} {looked_for(value)}" for name, value in share.cookies]
    if asked:
        return f"{whom} for {' and '.join(asked)}"
    later = [f" then {step.weight} after {show_duration(step.after)}" for step in share.steps if step.after]
    return f"{whom} {share.weight_after(0)}{''.join(later)}"


def looked_for(match: PathMatch | ValueMatch) -> str:
    """The one way to look that was chosen."""
    for field in fields(match):
        said = getattr(match, field.name)
        if said is not None:
            return ("present" if said else "absent") if isinstance(said, bool) else f"{field.name} {said}"
    raise AssertionError("one of them is always said")
