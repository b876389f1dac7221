"""What is said to a proxy before a connection through it is one: whatever the proxy speaks, seen from who asks.

    asking.opening()            to be sent first
    asking.feed(data)           what is to be sent next; raises Refused
    asking.rest                 None, until the proxy has agreed: then what came behind that, which is not its own
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Why(StrEnum):
    """What it is that a proxy has not done."""

    REFUSED = "refused"
    """By the destination, or for no reason that was said."""
    FORBIDDEN = "forbidden"
    """It may not be reached by us."""
    UNKNOWN = "unknown"
    """We are not who may ask: a user and a password are wanted, or others."""
    NO_NETWORK = "no_network"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"
    UNSUPPORTED = "unsupported"
    """It does not do such things, or not with such addresses."""
    MALFORMED = "malformed"
    """What it says is not what a proxy says."""


class Refused(Exception):
    """`said`: in what words, as far as they are fit to be shown."""

    def __init__(self, why: Why, said: str) -> None:
        super().__init__(said)
        self.why = why


class Asking(Protocol):
    rest: bytes | None

    def opening(self) -> bytes: ...

    def feed(self, data: bytes) -> bytes: ...
