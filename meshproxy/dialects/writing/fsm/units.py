"""Values as FSM writes them."""

from __future__ import annotations

from meshproxy.schema.kinds import read_duration


def seconds(duration: object) -> float | int:
    """Of a duration of ours, as a number that is whole where it can be."""
    found = read_duration(duration)
    return int(found) if found == int(found) else found
