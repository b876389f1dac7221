"""Put a plan in place, take it away, or say what is missing of it.  All of it is done, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshproxy.redirect import Refused, tools
from meshproxy.redirect.places import Place, places
from meshproxy.redirect.plan import Plan


def printed(backend: str, plan: Plan) -> str:
    """What is given to the tools where nothing of ours is in place."""
    return "\n".join(shown for place in places(backend, plan) if (shown := place.shown()))


def apply(backend: str, plan: Plan) -> bool:
    """Whether anything had to be changed.  Another plan of ours that is in place is replaced."""
    return _change(places(backend, plan))


def remove(backend: str) -> bool:
    """Whether there was anything."""
    return _change(places(backend, None))


def check(backend: str, plan: Plan) -> list[str]:
    """What is not as the plan has it; nothing, if all is."""
    tools.require_capability()
    return [what for place in _there(places(backend, plan)) for what in place.missing(place.look())]


def _change(where: Sequence[Place]) -> bool:
    tools.require_capability()
    done: list[tuple[Place, Any]] = []
    try:
        for place in _there(where):
            have = place.look()
            if (have and not place.want) or any(place.missing(have)):
                done.append((place, have))
                place.change(have, place.want)
    except Refused as refused:
        raise Refused("; ".join([str(refused), *_undone(done)])) from None
    return bool(done)


def _undone(done: list[tuple[Place, Any]]) -> list[str]:
    """Everything as it was found, the last first; and what could not be put back."""
    failed = []
    for place, before in reversed(done):
        try:
            place.change(place.look(), before)
        except Refused as refused:
            failed.append(f"and {place.name} could not be put back as it was: {refused}")
    return failed


def _there(where: Sequence[Place]) -> list[Place]:
    return [place for place in where if place.want or not place.absent]
