"""Who tells: what collectors know the proxy by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Who:
    service: str
    instance: str
    version: str
    tags: tuple[tuple[str, str], ...] = ()
    """What else is told of it."""
