"""What one client may do, and what its topics are called at the broker: found once, when it comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshproxy.core.meter import Meter
from meshproxy.core.mqtt.access import Granted
from meshproxy.core.mqtt.rewrite import Naming
from meshproxy.core.mqtt.ruling import Ruling
from meshproxy.relay.mqtt.rules import TopicRule


@dataclass(frozen=True, slots=True)
class Speed:
    """So much each second; infinite for any number."""

    messages: float | None
    bytes: float | None

    def begin(self) -> Pace:
        return Pace(
            Meter(self.messages) if self.messages is not None else None,
            Meter(self.bytes) if self.bytes is not None else None,
        )


class Pace:
    """How fast one client has been."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self, messages: Meter | None, size: Meter | None) -> None:
        self._messages = messages
        self._bytes = size

    def spend(self, messages: int, size: int, now: float) -> float:
        """For how many seconds nothing is to be read."""
        wait = 0.0
        if self._messages is not None and messages:
            wait = self._messages.spend(messages, now)
        if self._bytes is not None:
            wait = max(wait, self._bytes.spend(size, now))
        return wait


@dataclass(slots=True, eq=False)
class Manners:
    rulings: Mapping[bytes, Ruling[TopicRule]]
    """By topic, as the client calls it; raises what is wrong with one."""
    reverse: Mapping[bytes, bytes | None] | None
    """What the client calls a topic of the broker's; None where all are called the same."""
    naming: Naming
    granted: Granted | None
    """None: everything."""
    pace: Pace | None

    def subscribe(self, filter: bytes) -> bytes | None:
        """What it is called at the broker; None: it may not."""
        if self.granted is not None and not self.granted.subscribe(filter):
            return None
        return self.naming.up_filter(filter)

    def unsubscribe(self, filter: bytes) -> bytes:
        return self.naming.up_filter(filter) or filter
