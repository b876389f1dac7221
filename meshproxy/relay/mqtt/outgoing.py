"""What we publish in a session of our own, until the broker has acknowledged it.

    outgoing.publish(message, done)     # done(code), once: 0x80 and above, it was not taken
    outgoing.up(way, present=True)      # connected (again): what is not acknowledged goes out first, in its order
    outgoing.acked(packet)              # PUBACK, PUBREC and PUBCOMP
    outgoing.down()

At most a window of messages is under way, the rest waits, and what may wait is bounded.  A message of QoS 2 whose
PUBREL was sent to a session that is gone is in doubt: the broker had it, and to send it again might deliver it twice,
so it is taken as delivered, and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from meshproxy.core.mqtt.message import Message
from meshproxy.observe.metrics.mqtt import UplinkStats
from meshproxy.relay.mqtt.ids import Ids
from meshproxy.relay.mqtt.way import Way
from meshproxy.wire.mqtt import PUBACK, PUBREC, PUBREL, Ack, Code, encode, publish

OVERHEAD = 256
"""Bytes that a message takes beside its own."""

Done = Callable[[int], None]


class Sending:
    __slots__ = ("counts", "done", "here", "id", "message", "qos", "released", "size")

    def __init__(self, message: Message, done: Done) -> None:
        self.message = message
        self.done = done
        self.size = len(message.topic) + len(message.payload) + OVERHEAD
        self.id = 0
        self.qos = message.qos
        self.released = False
        """The broker has it, and a PUBREL was sent."""
        self.here = False
        """The last of these was sent on this connection."""
        self.counts = False
        """The broker has had the message on this connection: a part of the window is taken."""


class Outgoing:
    __slots__ = (
        "_again", "_bytes", "_closed", "_ids", "_in_flight", "_loose", "_most_bytes", "_most_waiting", "_quota",
        "_stats", "_strange", "_waiting", "_way", "full", "waiters",
    )  # fmt: skip

    def __init__(self, ids: Ids, stats: UplinkStats, most_waiting: int, most_bytes: int) -> None:
        self._ids = ids
        self._stats = stats
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._way: Way | None = None
        self._quota = 0
        """How many more may be under way."""
        self._strange = False
        """The session is not of our making: the broker may hold ids of a predecessor."""
        self._in_flight: dict[int, Sending] = {}
        """By id, in the order in which they were first sent."""
        self._again: deque[Sending] = deque()
        """Of those, the ones that were not sent on this connection yet."""
        self._waiting: deque[Sending] = deque()
        self._loose: deque[Sending] = deque()
        """Of QoS 0, while the broker takes no more."""
        self._bytes = 0
        self._closed = False
        self.full = False
        """Whoever publishes should pause: what is published now is refused."""
        self.waiters: set[Callable[[], None]] = set()
        """Called once each when it is not full any more."""

    @property
    def crowded(self) -> bool:
        """Half of what may wait does, or more."""
        waits = len(self._waiting) + len(self._loose)
        return 2 * waits >= self._most_waiting or 2 * self._bytes >= self._most_bytes

    def publish(self, message: Message, done: Done) -> None:
        way = self._way
        if self._closed:
            self._stats.dropped_total += 1
            done(Code.SERVER_SHUTTING_DOWN)
        elif message.qos == 0 and way is None:
            self._stats.dropped_total += 1
            done(Code.SERVER_UNAVAILABLE)
        elif self.full:
            self._stats.dropped_total += 1
            done(Code.QUOTA_EXCEEDED)
        else:
            sending = Sending(message, done)
            self._bytes += sending.size
            if way is None or way.full:
                (self._waiting if message.qos else self._loose).append(sending)
            elif not message.qos:
                self._send_loose(way, sending)
            elif self._quota and not self._waiting and not self._again:
                self._send(way, sending)
            else:
                self._waiting.append(sending)
            self._weigh()

    # The connection

    def up(self, way: Way, *, present: bool, strange: bool = False) -> None:
        self._way = way
        self._quota = way.window
        self._strange = strange
        doubtful: list[Sending] = []
        if present:
            self._again = deque(self._in_flight.values())
            for each in self._again:
                each.here = each.counts = False
        else:
            anew: list[Sending] = []
            for each in self._in_flight.values():
                self._ids.give(each.id)
                (doubtful if each.released else anew).append(each)
            self._in_flight.clear()
            self._waiting.extendleft(reversed(anew))
        self._pump()
        for each in doubtful:
            self._stats.in_doubt_total += 1
            self._finish(each, Code.SUCCESS)
        self._weigh()

    def down(self) -> None:
        self._way = None
        self._again.clear()
        loose, self._loose = self._loose, deque()
        for each in loose:
            self._drop(each, Code.SERVER_UNAVAILABLE)
        self._weigh()

    def room(self) -> None:
        """The broker has taken all that was written."""
        self._pump()

    def close(self) -> None:
        """Nobody will ever acknowledge what is left, or what comes later."""
        self._way = None
        self._closed = True
        left = [*self._in_flight.values(), *self._waiting, *self._loose]
        self._in_flight.clear()
        for several in (self._waiting, self._loose, self._again):
            several.clear()
        for each in left:
            self._drop(each, Code.SERVER_SHUTTING_DOWN)
        self._weigh()

    def acked(self, ack: Ack) -> None:
        sending = self._in_flight.get(ack.id)
        if sending is None:
            self._unexpected(ack)
        elif ack.kind == PUBACK and sending.qos == 1:
            self._over(sending, ack.code)
        elif ack.kind == PUBREC and sending.qos == 2:
            self._received(sending, ack.code)
        elif sending.released and ack.kind not in (PUBACK, PUBREC):
            # A PUBCOMP; that the id is not known says that it was over before.
            self._over(sending, Code.SUCCESS)
        else:
            self._unexpected(ack)

    def _received(self, sending: Sending, code: int) -> None:
        if code >= Code.UNSPECIFIED_ERROR:
            self._over(sending, code)
            return
        way = self._way
        assert way is not None
        sending.released = sending.here = True
        way.write(encode(Ack(PUBREL, sending.id), way.level))

    def _unexpected(self, ack: Ack) -> None:
        # To a PUBREL for an id of a predecessor there is an answer that nobody waits for.
        if not self._strange:
            self._stats.unexpected_total += 1

    # Sending

    def _pump(self) -> None:
        while (way := self._way) is not None and not way.full:
            if self._loose:
                self._send_loose(way, self._loose.popleft())
            elif self._again and (self._quota or self._again[0].released):
                self._send_again(way, self._again.popleft())
            elif self._waiting and self._quota and not self._again:
                self._send(way, self._waiting.popleft())
            else:
                break
        self._weigh()

    def _send_loose(self, way: Way, sending: Sending) -> None:
        data = self._encoded(way, sending)
        if len(data) > way.most_packet:
            self._finish(sending, Code.PACKET_TOO_LARGE)
        else:
            self._stats.published_total += 1
            way.write(data)
            self._finish(sending, Code.SUCCESS)

    def _send(self, way: Way, sending: Sending) -> None:
        if not way.most_qos:
            # It would be taken for acknowledged, which nobody has done.
            self._finish(sending, Code.QOS_NOT_SUPPORTED)
            return
        sending.qos = min(sending.message.qos, way.most_qos)
        sending.id = self._ids.take()
        data = self._encoded(way, sending)
        if len(data) > way.most_packet:
            self._ids.give(sending.id)
            self._finish(sending, Code.PACKET_TOO_LARGE)
            return
        if self._strange and sending.qos == 2:
            # If the broker waits for a PUBREL with this id, it would take what comes for what it has.
            if self._ids.around:
                self._strange = False
            else:
                way.write(encode(Ack(PUBREL, sending.id), way.level))
        self._in_flight[sending.id] = sending
        self._quota -= 1
        sending.here = sending.counts = True
        self._stats.published_total += 1
        way.write(data)

    def _send_again(self, way: Way, sending: Sending) -> None:
        if sending.here or self._in_flight.get(sending.id) is not sending:
            return  # it was acknowledged after all
        sending.here = True
        if sending.released:
            way.write(encode(Ack(PUBREL, sending.id), way.level))
        else:
            self._quota -= 1
            sending.counts = True
            self._stats.repeated_total += 1
            way.write(self._encoded(way, sending, dup=True))

    def _encoded(self, way: Way, sending: Sending, *, dup: bool = False) -> bytes:
        message = sending.message
        properties: dict[int, Any] = message.properties
        retain = message.retain and way.retain
        return publish(
            message.topic, message.payload, sending.qos, retain, dup, sending.id, properties, way.level
        )

    # Its end

    def _over(self, sending: Sending, code: int) -> None:
        del self._in_flight[sending.id]
        self._ids.give(sending.id)
        if sending.counts:
            self._quota += 1
        if code < Code.UNSPECIFIED_ERROR:
            self._stats.acknowledged_total += 1
        self._finish(sending, code)
        self._pump()

    def _finish(self, sending: Sending, code: int) -> None:
        self._bytes -= sending.size
        if code >= Code.UNSPECIFIED_ERROR:
            self._stats.refused_total += 1
        done = sending.done
        done(code)

    def _drop(self, sending: Sending, code: Code) -> None:
        self._bytes -= sending.size
        self._stats.dropped_total += 1
        done = sending.done
        done(code)

    def _weigh(self) -> None:
        waits = len(self._waiting) + len(self._loose)
        full, self.full = self.full, waits >= self._most_waiting or self._bytes >= self._most_bytes
        if full and not self.full:
            waiters, self.waiters = self.waiters, set()
            for relieved in waiters:
                relieved()
