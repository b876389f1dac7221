"""What we have subscribed to in a session of our own: remembered, and asked for again where the session is gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from meshproxy.observe.metrics.mqtt import UplinkStats
from meshproxy.relay.mqtt.ids import Ids
from meshproxy.relay.mqtt.way import Way
from meshproxy.wire.mqtt import (
    Code,
    Properties,
    Property,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    encode,
)

MOST_AT_ONCE = 16
"""Filters in one packet."""
MOST_ASKED = 16
"""Packets that the broker has not answered; the next ones wait for it."""
NOT_RETAINED = 2
"""Retain handling: what is retained was had before."""


class Wanted:
    __slots__ = ("done", "granted", "identifier", "subscription")

    def __init__(self, subscription: Subscription, done: Callable[[int], None], identifier: int) -> None:
        self.subscription = subscription
        self.identifier = identifier
        self.done: Callable[[int], None] | None = done
        """Until it has been told once."""
        self.granted = False


class Subscribed:
    __slots__ = ("_asked", "_gone", "_ids", "_stats", "_todo", "_wanted", "_way")

    def __init__(self, ids: Ids, stats: UplinkStats) -> None:
        self._ids = ids
        self._stats = stats
        self._way: Way | None = None
        self._wanted: dict[bytes, Wanted] = {}
        self._gone: dict[bytes, None] = {}
        """What a session that lives on still has."""
        self._todo: deque[Wanted | bytes] = deque()
        """To be subscribed, and filters to be unsubscribed, in order."""
        self._asked: dict[int, list[Wanted] | bytes] = {}
        """The same by the id of the packet that the broker has not answered."""

    def subscribe(self, subscription: Subscription, done: Callable[[int], None], identifier: int) -> None:
        wanted = self._wanted[subscription.filter] = Wanted(subscription, done, identifier)
        self._gone.pop(subscription.filter, None)
        if self._way is not None:
            self._todo.append(wanted)
            self._pump()

    def unsubscribe(self, filter: bytes) -> None:
        self._wanted.pop(filter, None)
        self._gone[filter] = None
        if self._way is not None:
            self._todo.append(filter)
            self._pump()

    def leave_all(self) -> None:
        """At once: whoever waits for an answer has no use for it any more."""
        if self._way is not None:
            for filter in self._wanted:
                self._send(self._way, filter)

    def up(self, way: Way, *, present: bool) -> None:
        self._way = way
        if not present:
            self._gone.clear()
        self._todo.extend(self._gone)
        for each in self._wanted.values():
            if present and each.granted:
                continue
            if each.granted:
                each.subscription = replace(each.subscription, retain_handling=NOT_RETAINED)
            self._todo.append(each)
        self._pump()

    def down(self) -> None:
        self._way = None
        self._todo.clear()
        for number in self._asked:
            self._ids.give(number)
        self._asked.clear()

    def answered(self, packet: Suback | Unsuback) -> Code:
        """What is wrong with it, if anything."""
        asked = self._asked.pop(packet.id, None)
        if asked is None:
            self._stats.unexpected_total += 1
            return Code.SUCCESS
        self._ids.give(packet.id)
        if isinstance(packet, Unsuback):
            if not isinstance(asked, bytes):
                return Code.PROTOCOL_ERROR
            self._gone.pop(asked, None)
        else:
            if isinstance(asked, bytes) or len(packet.codes) != len(asked):
                return Code.PROTOCOL_ERROR
            for wanted, code in zip(asked, packet.codes, strict=True):
                self._answer(wanted, code)
        self._pump()
        return Code.SUCCESS

    def _answer(self, wanted: Wanted, code: int) -> None:
        wanted.granted = code < Code.UNSPECIFIED_ERROR
        done, wanted.done = wanted.done, None
        if not wanted.granted:
            self._stats.unsubscribed_total += 1
        if done is not None:
            filter = wanted.subscription.filter
            if not wanted.granted and self._wanted.get(filter) is wanted:
                # One that was granted before is kept: the next broker may grant it again.
                del self._wanted[filter]
            done(code)

    def _pump(self) -> None:
        todo = self._todo
        while todo and len(self._asked) < MOST_ASKED and (way := self._way) is not None:
            first = todo.popleft()
            if isinstance(first, bytes):
                if first not in self._wanted:
                    self._send(way, first)
                continue
            several = [first]
            while todo and len(several) < MOST_AT_ONCE and not first.identifier:
                after = todo[0]
                if isinstance(after, bytes) or after.identifier:
                    break
                several.append(after)
                todo.popleft()
            self._send(way, several)

    def _send(self, way: Way, asked: list[Wanted] | bytes) -> None:
        number = self._ids.take()
        if isinstance(asked, bytes):
            data = encode(Unsubscribe(number, (asked,)), way.level)
        else:
            subscriptions = tuple([each.subscription for each in asked])
            properties: Properties = {}
            if asked[0].identifier and way.identifiers:
                properties[Property.SUBSCRIPTION_IDENTIFIER] = (asked[0].identifier,)
            data = encode(Subscribe(number, subscriptions, properties), way.level)
        if len(data) <= way.most_packet:
            self._asked[number] = asked
            way.write(data)
            return
        self._ids.give(number)
        if not isinstance(asked, bytes):
            for each in asked:
                if len(asked) > 1:
                    self._send(way, [each])
                else:
                    self._answer(each, Code.PACKET_TOO_LARGE)
