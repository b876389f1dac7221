"""A rule in few words, as a row for people and programs: what it matches, and where it leads.

    outline(rule)       # {"hosts": ("shop.local",), "path": "prefix /v1", ..., "to": "books-v1 90, books-v2 10"}
"""

from __future__ import annotations

from dataclasses import fields

from meshproxy.model.matching import PathMatch, ValueMatch
from meshproxy.model.routes import Rule
from meshproxy.model.split import Share
from meshproxy.schema.kinds import show_duration


def outline(rule: Rule) -> dict[str, object]:
    match = rule.match
    return {
        "hosts": match.hosts,
        "path": _choice(match.path) if match.path else None,
        "methods": match.methods,
        "headers": tuple([f"{name} {_choice(value)}" for name, value in match.headers]),
        "query": tuple([f"{name} {_choice(value)}" for name, value in match.query]),
        "to": destination(rule),
    }


def destination(rule: Rule) -> str:
    if rule.reply is not None:
        return f"reply {rule.reply.status}"
    if rule.redirect is not None:
        said = [(name, getattr(rule.redirect, name)) for name in ("scheme", "host", "path")]
        return " ".join((f"redirect {rule.redirect.status}", *(f"{name} {value}" for name, value in said if value)))
    shared = rule.cluster or ", ".join(map(_share, rule.split))
    if rule.fallback is None:
        return shared
    reply = rule.fallback.reply
    return f"{shared}, else {rule.fallback.cluster if reply is None else f'reply {reply.status}'}"


def _share(share: Share) -> str:
    asked = [f"header {name} {_choice(value)}" for name, value in share.headers]
    asked += [f"cookie {name} {_choice(value)}" for name, value in share.cookies]
    if asked:
        return f"{share.cluster} for {' and '.join(asked)}"
    later = [f" then {step.weight} after {show_duration(step.after)}" for step in share.steps if step.after]
    return f"{share.cluster} {share.weight_after(0)}{''.join(later)}"


def _choice(match: PathMatch | ValueMatch) -> str:
    """The one way to look that was chosen."""
    for field in fields(match):
        said = getattr(match, field.name)
        if said is not None:
            return ("present" if said else "absent") if isinstance(said, bool) else f"{field.name} {said}"
    raise AssertionError("one of them is always said")
