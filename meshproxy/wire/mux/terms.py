"""What the two ends of a tunnel are, and what each of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from meshproxy.wire.mux.classes import Class


class Role(IntEnum):
    """Who opens a stream is told by whether its number is odd."""

    DIALS = 1
    ACCEPTS = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What one end takes."""

    streams: int = 1000
    """Of the other end, at a time."""
    window: int = 16 * 1024
    """Bytes of a stream that may come before somebody takes them, at first."""
    widest: int = 4 * 1024 * 1024
    """The same, for who takes them fast."""
    budget: int = 16 * 1024 * 1024
    """Bytes for all windows together; and for all that is kept to be sent again."""
    frame: int = 16 * 1024
    """Bytes of one DATA frame at most."""
    classes: tuple[Class, ...] = (Class("default"),)
