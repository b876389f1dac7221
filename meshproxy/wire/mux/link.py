"""What a session knows of one of its connections, and of one of its streams.

    link.feed(data)                     # what has come
    link.pull(65536)                    # what to send now
    link.ping(1, now); link.rtt
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection
from functools import partial
from typing import Protocol

from meshproxy.wire.mux.frames import Fault, Frames, Kind, Reason, frame
from meshproxy.wire.mux.held import Held
from meshproxy.wire.mux.stream import Receiving, Sending


class Carried(Protocol):
    """The session."""

    @property
    def waiting(self) -> int:
        """Streams that have something to send."""

    @property
    def streams(self) -> Collection[int]: ...

    def pull(self, link: Link, most: int) -> list[bytes]: ...

    def knows(self, number: int) -> bool: ...

    def take(self, link: Link, kind: int, flags: int, number: int, value: int, data: bytes) -> None: ...


class Link:
    """One connection that carries a session."""

    __slots__ = ("_frames", "_session", "asked", "carries", "leaving", "owed", "rtt", "said", "said_size", "synced")

    def __init__(self, session: Carried, carries: Collection[int] | None) -> None:
        self._session = session
        self._frames = self.lane()
        self.carries = carries
        """The classes; None: all."""
        self.owed: OrderedDict[int, None] = OrderedDict()
        """Streams of which the peer has something to hear: what that is then is said when it can be sent."""
        self.said: deque[bytes] = deque()
        """What goes behind that, and before all streams."""
        self.said_size = 0
        self.synced = False
        """Whether the peer has acknowledged all that had come before."""
        self.asked: tuple[int, float] | None = None
        """The PING that has not been answered, and when it was sent."""
        self.rtt: float | None = None
        """Seconds, smoothed."""
        self.leaving = False
        """Whether one of the two ends is going to close it."""

    def feed(self, data: bytes) -> None:
        """Raises Fault."""
        self._frames.feed(data)

    def lane(self) -> Frames:
        """Where other frames come that wait for none of those that are fed here, nor for those of another lane."""
        return Frames(partial(self._session.take, self))

    @property
    def busy(self) -> bool:
        """Whether there may be something to send."""
        return bool(self.owed or self.said or self._session.waiting)

    def pull(self, most: int) -> list[bytes]:
        """What to send now; nothing, if there is nothing or nobody may."""
        return self._session.pull(self, most)

    @property
    def streams(self) -> Collection[int]:
        """Those of the session that are not over."""
        return self._session.streams

    def knows(self, number: int) -> bool:
        """Whether the peer has heard of this stream, so that what is of it may come in any order."""
        return self._session.knows(number)

    def say(self, data: bytes) -> None:
        self.said.append(data)
        self.said_size += len(data)

    def leave(self) -> None:
        if not self.leaving:
            self.leaving = True
            self.say(frame(Kind.LEAVING, 0, 0))

    def ping(self, number: int, now: float) -> None:
        """One at a time."""
        if self.asked is None:
            self.asked = number, now
            self.say(frame(Kind.PING, 0, number))

    def pong(self, number: int, now: float) -> None:
        asked, self.asked = self.asked, None
        if asked is None or asked[0] != number:
            raise Fault(Reason.OUT_OF_STATE, "a pong to no ping")
        sent = asked[1]
        self.rtt = now - sent if self.rtt is None else self.rtt + (now - sent - self.rtt) / 8


class Stream:
    __slots__ = (
        "announced", "held", "klass", "link", "links", "metadata", "number", "queued", "receiving", "sending", "stuck",
        "unsure",
    )  # fmt: skip

    def __init__(self, number: int, klass: int, sending: Sending, receiving: Receiving, metadata: bytes | None) -> None:
        self.number = number
        self.klass = klass
        self.sending = sending
        self.receiving = receiving
        self.metadata = metadata
        """What it is for, as long as the peer may not know of it; None: it does."""
        self.announced = metadata is None
        """Whether that was sent."""
        self.link: Link | None = None
        """That has carried it last."""
        self.links: set[Link] = set()
        """On which there may be something that is not acknowledged."""
        self.queued = False
        self.stuck = False
        """Whether who writes to it waits for room."""
        self.unsure = False
        """Whether it has yet to be heard how much of it has come."""
        self.held: Held | None = None
        """Its datagrams, once there was one."""

    @property
    def ready(self) -> bool:
        return not self.unsure and (not self.announced or self.sending.ready or bool(self.held))

    @property
    def over(self) -> bool:
        return self.sending.end_acked and self.receiving.whole
