"""What is decided about a topic: once for all messages that have it, as long as it is remembered.

    judge = Judge(check_topic, Rewriting(rewrites), [(("telemetry/#",), telemetry)])
    rulings = judge.rulings(access.of(client), b"tenants/ann/")     # when the client publishes for the first time
    ruling = rulings[b"old/7/temp/in"]
    ruling.allowed, ruling.topic, ruling.rule
    heard = judge.heard(b"tenants/ann/")        # None, if every topic is delivered as it is
    heard[b"tenants/ann/new/7/temp/in"]         # b"old/7/temp/in", or None: this is not for the client

Where nothing depends on the client they share what is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from meshproxy.core.mqtt.access import Granted
from meshproxy.core.mqtt.rewrite import Naming, Rewriting
from meshproxy.core.mqtt.topic import Filters

T = TypeVar("T")

MOST_TOPICS = 1024
MOST_BYTES = 65536
"""Of topics that are remembered together, under both their names; then all are forgotten."""
MOST_SHARED = 64


@dataclass(slots=True)
class Ruling(Generic[T]):
    allowed: bool
    topic: bytes
    """As the broker gets it."""
    plain: bool
    """Whether it is allowed, has the same name there, and no rule is for it: the packet goes on as it is."""
    rule: T | None
    """The first one whose filters match."""


class Rulings(dict[bytes, Ruling[T]]):
    """By what the client calls the topic; raises what the check of a topic raises."""

    __slots__ = ("_granted", "_held", "_judge", "_naming")

    def __init__(self, judge: Judge[T], granted: Granted | None, naming: Naming) -> None:
        super().__init__()
        self._judge = judge
        self._granted = granted
        self._naming = naming
        self._held = 0

    def __missing__(self, topic: bytes) -> Ruling[T]:
        judge = self._judge
        judge.check(topic)
        named = self._naming.up(topic) if self._granted is None or self._granted.publish(topic) else None
        if named is None:
            ruling: Ruling[T] = Ruling(False, topic, False, None)
        else:
            rule = judge.rule(named)
            ruling = Ruling(True, named, rule is None and named == topic, rule)
        self._held += len(topic) + len(ruling.topic)
        if len(self) >= MOST_TOPICS or self._held > MOST_BYTES:
            self.clear()
            self._held = len(topic) + len(ruling.topic)
        self[topic] = ruling
        return ruling


class Heard(dict[bytes, bytes | None]):
    """By what the broker calls the topic: what its client calls it; None: it is not for the client."""

    __slots__ = ("_held", "_naming")

    def __init__(self, naming: Naming) -> None:
        super().__init__()
        self._naming = naming
        self._held = 0

    def __missing__(self, topic: bytes) -> bytes | None:
        named = self._naming.down(topic)
        size = len(topic) + len(named or b"")
        self._held += size
        if len(self) >= MOST_TOPICS or self._held > MOST_BYTES:
            self.clear()
            self._held = size
        self[topic] = named
        return named


class Judge(Generic[T]):
    """What is the same for all clients of a policy."""

    def __init__(
        self,
        check: Callable[[bytes], None],
        rewriting: Rewriting | None,
        rules: Sequence[tuple[Iterable[str], T]],
    ) -> None:
        self.check = check
        self._rewriting = rewriting
        self._rules = [rule for _, rule in rules]
        self._places: Filters[int] = Filters()
        for place, (filters, _) in enumerate(rules):
            for filter in filters:
                self._places.add(filter.encode(), place)

        @lru_cache(MOST_SHARED)
        def rulings(granted: Granted | None, prefix: bytes) -> Rulings[T]:
            return Rulings(self, granted, self.naming(prefix))

        @lru_cache(MOST_SHARED)
        def heard(prefix: bytes) -> Heard | None:
            naming = self.naming(prefix)
            return Heard(naming) if naming.changes else None

        self._shared = rulings
        self.heard = heard
        """Names on the way down, by prefix; None: every topic is delivered as it is."""

    def naming(self, prefix: bytes) -> Naming:
        return Naming(self._rewriting, prefix)

    def rulings(self, granted: Granted | None, prefix: bytes) -> Rulings[T]:
        """Those of one client, or of all that are alike.  `granted`: None, if nobody needs to be granted anything."""
        if granted is None or granted.shared:
            return self._shared(granted, prefix)
        return Rulings(self, granted, self.naming(prefix))

    def rule(self, topic: bytes) -> T | None:
        places = self._places.match(topic)
        return self._rules[min(places)] if places else None
