"""Datagrams of a flow that wait for its turn: few of them, and not for long.

    held = Held(Room(), now, counted)
    held.put(b"...")                # False: there is no room, and it is lost
    held.next(7, 16384)             # frames of flow 7, of those that are still worth something

Who sends datagrams counts on loss, and has no use for what is old.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from meshproxy.wire.mux.frames import LARGEST, SIZE, Kind, frame

WORTH = 1.0
"""Seconds after which a datagram is not sent any more."""
MOST = 128 * 1024
"""Bytes of one flow."""
MOST_OF_CLASS = 1024 * 1024
"""Bytes of all flows of a class."""
EACH = 128
"""Bytes that one counts for beside its own, so that small ones are few as well."""


class Room:
    """Live: what all flows of a class hold together."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Held:
    __slots__ = ("_counted", "_datagrams", "_now", "_room", "_size")

    def __init__(self, room: Room, now: Callable[[], float], counted: Counter[str]) -> None:
        """`counted` hears of what was sent, and of what was not and why."""
        self._room = room
        self._now = now
        self._counted = counted
        self._datagrams: deque[tuple[float, bytes]] = deque()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._datagrams)

    def put(self, data: bytes) -> bool:
        self._forget_late()
        size = len(data) + EACH
        if len(data) > LARGEST or self._size + size > MOST or self._room.size + size > MOST_OF_CLASS:
            self._counted["full"] += 1
            return False
        self._datagrams.append((self._now(), data))
        self._holds(size)
        return True

    def next(self, flow: int, most: int) -> list[bytes]:
        """As many as have so many bytes, and one in any case, if there is one."""
        self._forget_late()
        found: list[bytes] = []
        datagrams, size = self._datagrams, 0
        while datagrams and (not found or size + SIZE + len(datagrams[0][1]) <= most):
            found.append(frame(Kind.DATAGRAM, flow, 0, self._first()))
            size += len(found[-1])
        self._counted["sent"] += len(found)
        return found

    def clear(self) -> None:
        while self._datagrams:
            self._first()

    def _forget_late(self) -> None:
        datagrams, since = self._datagrams, self._now() - WORTH
        while datagrams and datagrams[0][0] < since:
            self._first()
            self._counted["late"] += 1

    def _first(self) -> bytes:
        _, data = self._datagrams.popleft()
        self._holds(-len(data) - EACH)
        return data

    def _holds(self, size: int) -> None:
        self._size += size
        self._room.size += size
