"""What is counted of MQTT."""

from __future__ import annotations

from collections import Counter

from meshproxy.observe.metrics.counters import Counters

MQTT_REFUSED = (
    "malformed", "version", "client_id", "wrong", "unknown", "nothing", "busy", "no_way", "will", "timeout", "closed",
    "reset", "drain",
)  # fmt: skip
MQTT_ENDED = (
    "disconnect", "closed", "reset", "keep_alive", "malformed", "in_flight", "slow", "refused", "no_broker", "broker",
    "untaken", "taken_over", "subscriptions", "drain",
)  # fmt: skip
MQTT_LOST = ("closed", "reset", "silent", "drain", "protocol", "leaves")
MQTT_DENIED = ("publish", "subscribe", "subscriptions", "will")
MQTT_DROPPED = ("away", "slow", "outside", "oversized", "refused")
DIRECTIONS = ("push", "pull")
SIDES = ("local", "remote")


class TopicStats(Counters):
    """What clients of MQTT published to the topics of one rule."""

    __slots__ = ("bytes_total", "messages_total")

    def __init__(self) -> None:
        self.bytes_total = 0
        self.messages_total = 0


class MqttStats(Counters):
    """Sessions of MQTT on one listener, by one policy."""

    __slots__ = (
        "denied", "dropped", "ended", "in_doubt_total", "lost", "malformed", "messages_in_total", "messages_out_total",
        "moved_total", "refused", "sessions_active", "sessions_total", "topics",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sessions_total = 0
        self.sessions_active = 0
        self.messages_in_total = 0
        self.messages_out_total = 0
        self.moved_total = 0
        self.in_doubt_total = 0
        self.refused = dict.fromkeys(MQTT_REFUSED, 0)
        self.ended = dict.fromkeys(MQTT_ENDED, 0)
        self.lost = dict.fromkeys(MQTT_LOST, 0)
        self.denied = dict.fromkeys(MQTT_DENIED, 0)
        self.dropped = dict.fromkeys(MQTT_DROPPED, 0)
        self.malformed: Counter[str] = Counter()
        """By the word of the fault; words that never were are not shown."""
        self.topics: dict[str, TopicStats] = {}
        """By the name of the rule."""


class SpoolStats(Counters):
    """What became of the messages that were to be kept on disk until they can be delivered."""

    __slots__ = (
        "bytes", "damaged_total", "dropped_total", "expired_total", "failed_total", "forwarded_total", "refused_total",
        "rejected_total", "stored_total", "unfit_total", "waiting",
    )

    def __init__(self) -> None:
        self.stored_total = 0
        self.forwarded_total = 0
        self.dropped_total = 0
        """The oldest, for room."""
        self.refused_total = 0
        """Not taken, for want of room."""
        self.failed_total = 0
        """Not taken, since the disk said no."""
        self.damaged_total = 0
        """Not readable any more."""
        self.expired_total = 0
        self.rejected_total = 0
        """Refused for good by the broker."""
        self.unfit_total = 0
        """Of QoS 0, which is not kept."""
        self.waiting = 0
        self.bytes = 0


class UplinkStats(Counters):
    """What one session of our own with brokers of MQTT has done, or several that are counted together."""

    __slots__ = (
        "acknowledged_total", "dropped_total", "in_doubt_total", "lost", "published_total", "received_total",
        "refused_total", "repeated_total", "returns_total", "unexpected_total", "unsubscribed_total", "up",
    )  # fmt: skip

    def __init__(self) -> None:
        self.up = 0
        self.returns_total = 0
        """Times that it was let in again."""
        self.lost: Counter[str] = Counter()
        """Connections that were lost or of no use, by why."""
        self.published_total = 0
        self.repeated_total = 0
        """Messages sent again, since their acknowledgement was lost."""
        self.acknowledged_total = 0
        self.refused_total = 0
        """Messages that the broker does not take."""
        self.dropped_total = 0
        """Messages that were sent to nobody: there was no connection, or no room."""
        self.in_doubt_total = 0
        """Messages of QoS 2 of which only a broker knows that is gone; they are taken as delivered."""
        self.received_total = 0
        self.unexpected_total = 0
        """Acknowledgements of what was never sent."""
        self.unsubscribed_total = 0
        """Subscriptions that were refused."""


class BridgeStats(Counters):
    """What one bridge has carried."""

    __slots__ = ("dropped", "passed", "sides")

    def __init__(self) -> None:
        self.passed = dict.fromkeys(DIRECTIONS, 0)
        self.dropped = dict.fromkeys(DIRECTIONS, 0)
        self.sides = {side: UplinkStats() for side in SIDES}
