"""Accounts for every message: who sent it, whether it was acknowledged, and to whom it came.

    account = Account()
    ...                                  # publishers and subscribers write into it
    await account.settled()
    account.check()                      # each message that was acknowledged has come, in order, none was invented

What only a broker held that was killed is lost, and nobody else can know of it: `forgiven` are spans of time in which
a message may have been acknowledged for nothing, or have come twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from meshproxy.wire.mqtt import Publish

Span = tuple[float, float]

SHOWN = 10


@dataclass(slots=True)
class Message:
    publisher: str
    number: int
    """Each publisher counts its own."""
    topic: bytes
    payload: bytes
    qos: int
    sent: float
    acknowledged: float | None = None
    refused: int | None = None

    def __str__(self) -> str:
        return f"{self.publisher} {self.number} (QoS {self.qos})"

    def in_flight(self, span: Span) -> bool:
        """Whether any of the time from its first sending to its end lies in the span."""
        return self.sent <= span[1] and (self.acknowledged is None or self.acknowledged >= span[0])


@dataclass(slots=True)
class Account:
    messages: dict[bytes, Message] = field(default_factory=dict)
    """By their payloads, of which no two are the same."""
    deliveries: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=lambda: defaultdict(list))
    """Topics and payloads as they came, by subscriber."""
    _numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    # What clients write

    def sent(self, publisher: str, topic: bytes, qos: int, size: int) -> Message:
        """A new message, about to be sent for the first time."""
        self._numbers[publisher] = number = self._numbers[publisher] + 1
        payload = f"{publisher} {number} ".encode().ljust(size, b".")
        message = self.messages[payload] = Message(publisher, number, topic, payload, qos, time.monotonic())
        return message

    def acknowledged(self, message: Message) -> None:
        message.acknowledged = time.monotonic()

    def refused(self, message: Message, code: int) -> None:
        message.refused = code

    def delivered(self, subscriber: str, packet: Publish) -> None:
        self.deliveries[subscriber].append((packet.topic, packet.payload))

    # What can be known of it

    @property
    def promised(self) -> list[Message]:
        """What somebody has acknowledged."""
        return [each for each in self.messages.values() if each.acknowledged is not None]

    async def settled(self, within: float = 20.0, *, quiet: float = 0.3) -> None:
        """Until all that was promised has come to everybody.  Silence is no sign that nothing will come: whoever looks
        for a way pauses ever longer.  What is still missing after so many seconds `check` will tell."""
        end = time.monotonic() + within
        while time.monotonic() < end and any(self.missing(each) for each in self.deliveries):  # noqa: ASYNC110 - plain lists
            await asyncio.sleep(quiet / 10)
        # Who comes twice comes late.
        await asyncio.sleep(quiet)

    def missing(self, subscriber: str) -> list[Message]:
        came = {payload for _, payload in self.deliveries[subscriber]}
        return [each for each in self.promised if each.payload not in came]

    def problems(self, *, forgiven: Sequence[Span] = (), exactly_once: bool = True) -> Iterator[str]:
        """`exactly_once` is asked of QoS 2."""
        for subscriber, came in self.deliveries.items():
            for message in self.missing(subscriber):
                if not any(message.in_flight(span) for span in forgiven):
                    yield f"{subscriber}: {message} was acknowledged and never came"
            seen: set[bytes] = set()
            last: dict[tuple[str, bytes], int] = {}
            for topic, payload in came:
                known = self.messages.get(payload)
                if known is None or known.topic != topic:
                    yield f"{subscriber}: nobody sent {payload[:40]!r} on {topic!r}"
                elif payload in seen:
                    once = exactly_once or known.qos == 0
                    if once and known.qos != 1 and not any(known.in_flight(span) for span in forgiven):
                        yield f"{subscriber}: {known} came twice"
                else:
                    seen.add(payload)
                    line = (known.publisher, topic)
                    # Where a session ended, a broker may have kept a message of QoS 2 until the next one asked for it.
                    if known.number < last.get(line, 0) and (exactly_once or known.qos != 2):
                        yield f"{subscriber}: {known} came after {last[line]}"
                    last[line] = known.number

    def check(self, *, forgiven: Sequence[Span] = (), exactly_once: bool = True) -> None:
        assert self.promised, "nothing was acknowledged"
        assert self.deliveries, "nobody has got anything"
        problems = list(self.problems(forgiven=forgiven, exactly_once=exactly_once))
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        assert not problems, f"{len(self.promised)} acknowledged; {'; '.join(problems[:SHOWN])}{more}"
