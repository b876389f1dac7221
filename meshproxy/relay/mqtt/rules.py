"""What is special about some topics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshproxy.observe.metrics.mqtt import TopicStats
from meshproxy.relay.mqtt.asides import House
from meshproxy.wire.mqtt import Publish

if TYPE_CHECKING:
    from meshproxy.relay.mqtt.manners import Speed


@dataclass(frozen=True, slots=True, eq=False)
class TopicRule:
    stats: TopicStats
    retain: bool
    """Whether its messages may be retained."""
    house: House | None
    """Who takes them in the place of the session's broker; None: nobody."""
    max_qos: int
    stored: bool
    speed: Speed | None
    copy: Callable[[Publish], None] | None
    """Gets each message; None: nobody does."""
