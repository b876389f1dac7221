"""What waits for one client that takes it slowly: bounded in messages and in bytes, in order.

    if not backlog.add(Waiting(...)): ...      # it is full of what is worth more
    waiting = backlog.first; backlog.pop()

Where there is no room, the oldest message of QoS 0 goes first: nobody was promised that one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from meshproxy.relay.mqtt.parcel import Parcel


@dataclass(slots=True)
class Waiting:
    parcel: Parcel
    qos: int
    retain: bool
    ids: tuple[int, ...]
    size: int
    until: float | None
    """When it is of no use any more."""


class Backlog:
    __slots__ = ("_held", "_messages", "_most", "_number", "_size", "_zeros", "dropped")

    def __init__(self, messages: int, most: int) -> None:
        self._messages = messages
        self._most = most
        self._held: OrderedDict[int, Waiting] = OrderedDict()
        self._zeros: deque[int] = deque()
        """Those of QoS 0, by their number."""
        self._number = 0
        self._size = 0
        self.dropped = 0
        """How many have made room for others, until somebody counts them."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def first(self) -> Waiting | None:
        return next(iter(self._held.values()), None)

    def add(self, waiting: Waiting) -> bool:
        """False: there is no room, whatever would go for it."""
        size = waiting.size
        zeros = self._zeros
        if size > self._most:
            return False
        while len(self._held) >= self._messages or self._size + size > self._most:
            if not zeros:
                return False
            self._size -= self._held.pop(zeros.popleft()).size
            self.dropped += 1
        self._number += 1
        self._held[self._number] = waiting
        self._size += size
        if not waiting.qos:
            zeros.append(self._number)
        return True

    def pop(self) -> None:
        _, waiting = self._held.popitem(last=False)
        self._size -= waiting.size
        if not waiting.qos:
            self._zeros.popleft()
