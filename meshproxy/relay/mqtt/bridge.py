"""A bridge: two sessions of our own, and what one hears the other publishes.

    state = BridgeState("site", registry, clock, log)           # live, by the name of the bridge
    state.use(BridgeTerms(...), Sides(local, remote))           # at each commit: clusters of the generation in force
    state.halt()                                                # at the end of the process: the brokers keep its place

What comes with QoS 1 or 2 is acknowledged only when the other side has acknowledged it, so nothing is lost between
them, and no more is under way than one side may leave unacknowledged.  QoS 0 is dropped while the other side is away,
or slow.  What was published by the bridge is not heard by it: 5.0 keeps it back (no local), for 3.1.1 no filters are
admitted that would let it return.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from meshproxy.cluster.cluster import Cluster
from meshproxy.core.mqtt.message import Message
from meshproxy.core.mqtt.topic import matches
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import BridgeStats
from meshproxy.relay.mqtt.uplink import Uplink, UplinkService, UplinkTerms
from meshproxy.wire.mqtt import Code, Subscription

IF_NEW = 1
"""Retain handling: what is retained comes once, not each time that the bridge begins anew."""
LONGEST_TOPIC = 65535
LOG_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Crossing:
    """Topics that go over it, in one direction."""

    filter: bytes
    qos: int
    prefix: bytes
    strip: bytes
    retain: bool

    @property
    def subscription(self) -> Subscription:
        return Subscription(self.filter, self.qos, no_local=True, as_published=True, retain_handling=IF_NEW)

    def matcher(self) -> Callable[[bytes], bool]:
        return partial(matches, self.filter)


@dataclass(frozen=True, slots=True)
class BridgeTerms:
    """All that makes a bridge what it is: another one is begun when any of it changes."""

    client_id: str
    local: str
    """The name of a cluster."""
    remote: str
    push: tuple[Crossing, ...]
    pull: tuple[Crossing, ...]
    to_local: UplinkTerms
    to_remote: UplinkTerms


@dataclass(frozen=True, slots=True)
class Sides:
    local: Cluster
    remote: Cluster


class Direction:
    """What one side hears, for the other."""

    __slots__ = ("_crossings", "_over", "_stats", "_way", "source", "target")

    source: Uplink
    target: Uplink

    def __init__(self, crossings: tuple[Crossing, ...], way: str, stats: BridgeStats) -> None:
        self._crossings = [(crossing, crossing.matcher()) for crossing in crossings]
        self._way = way
        self._stats = stats
        self._over = False

    def hear(self, message: Message, retained: bool, ids: tuple[int, ...], acknowledge: Callable[[], None]) -> None:
        crossing = self._crossing(message.topic)
        if crossing is None:
            # Left from what was subscribed to before, or shorter than what is to be taken away.
            self._dropped()
            acknowledge()
            return
        there = Message(
            crossing.prefix + message.topic[len(crossing.strip) :],
            message.payload,
            min(message.qos, crossing.qos),
            message.retain and crossing.retain,
            message.properties,
        )
        if there.qos:
            self.target.publish(there, partial(self._done, acknowledge))
            return
        if self.target.crowded:
            self._dropped()
        else:
            self.target.publish(there, self._counted)
        acknowledge()

    def end(self) -> None:
        """What is not acknowledged stays so: whoever comes next will hear it again."""
        self._over = True

    def _crossing(self, topic: bytes) -> Crossing | None:
        for crossing, match in self._crossings:
            if match(topic):
                length = len(topic) - len(crossing.strip) + len(crossing.prefix)
                fits = topic.startswith(crossing.strip) and 0 < length <= LONGEST_TOPIC
                return crossing if fits else None
        return None

    def _done(self, acknowledge: Callable[[], None], code: int) -> None:
        if not self._over:
            self._counted(code)
            acknowledge()

    def _counted(self, code: int) -> None:
        if code < Code.UNSPECIFIED_ERROR:
            self._stats.passed[self._way] += 1
        else:
            self._dropped()

    def _dropped(self) -> None:
        self._stats.dropped[self._way] += 1


class Bridge:
    """One, as it is now."""

    def __init__(self, terms: BridgeTerms, sides: Sides, stats: BridgeStats, clock: Clock, log: Log) -> None:
        self.terms = terms
        self._log = log
        self._push = Direction(terms.push, "push", stats)
        self._pull = Direction(terms.pull, "pull", stats)
        of_side = stats.sides
        self._services = (
            UplinkService(clock, sides.local, terms.to_local, of_side["local"], log),
            UplinkService(clock, sides.remote, terms.to_remote, of_side["remote"], log),
        )
        self.local = Uplink(self._services[0], terms.client_id, self._push.hear)
        self.remote = Uplink(self._services[1], terms.client_id, self._pull.hear)
        self._push.source = self._pull.target = self.local
        self._push.target = self._pull.source = self.remote

    def begin(self, before: BridgeTerms | None) -> None:
        """`before` is what the brokers may still have subscriptions of."""
        for direction, crossings, old in (
            (self._push, self.terms.push, before.push if before is not None else ()),
            (self._pull, self.terms.pull, before.pull if before is not None else ()),
        ):
            for gone in old:
                direction.source.unsubscribe(gone.filter)
            for crossing in crossings:
                direction.source.subscribe(crossing.subscription, partial(self._subscribed, crossing))
        # Whoever hears must be able to pass it on; it waits, if the other side is not there yet.
        self.local.start()
        self.remote.start()

    def use(self, sides: Sides) -> None:
        self._services[0].cluster = sides.local
        self._services[1].cluster = sides.remote

    def end(self, *, forget_local: bool = False, forget_remote: bool = False) -> None:
        self._push.end()
        self._pull.end()
        self.local.stop(forget=forget_local)
        self.remote.stop(forget=forget_remote)

    def _subscribed(self, crossing: Crossing, code: int) -> None:
        if code >= Code.UNSPECIFIED_ERROR:
            self._log.limited(
                f"bridge-refused {self.terms.client_id}", LOG_EVERY, "warning", "bridge-refused",
                client_id=self.terms.client_id, filter=crossing.filter.decode(), code=f"{code:#04x}",
            )  # fmt: skip


class BridgeState:
    """Live, by the name of a bridge: who is unchanged goes on untouched."""

    __slots__ = ("_bridge", "_clock", "_log", "_name", "_registry", "stats")

    def __init__(self, name: str, registry: dict[str, BridgeStats], clock: Clock, log: Log) -> None:
        self.stats = BridgeStats()
        self._name = name
        self._registry = registry
        self._clock = clock
        self._log = log
        self._bridge: Bridge | None = None
        registry[name] = self.stats

    def use(self, terms: BridgeTerms, sides: Sides) -> None:
        before = self._bridge
        if before is not None and before.terms == terms:
            before.use(sides)
            return
        bridge = self._bridge = Bridge(terms, sides, self.stats, self._clock, self._log)
        if before is None:
            bridge.begin(None)
            return
        old = before.terms
        other = old.client_id != terms.client_id
        before.end(
            forget_local=other or old.local != terms.local, forget_remote=other or old.remote != terms.remote
        )
        bridge.begin(old)

    def halt(self) -> None:
        """The process ends; the brokers keep what comes until there is another."""
        if self._bridge is not None:
            self._bridge.end()
            self._bridge = None

    def retire(self, grace: float) -> None:
        if self._registry.get(self._name) is self.stats:
            del self._registry[self._name]
        if self._bridge is not None:
            self._bridge.end(forget_local=True, forget_remote=True)
            self._bridge = None
