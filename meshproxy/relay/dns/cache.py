"""What servers have said, for as long as it holds: bounded in number and in bytes, who was not asked for goes first."""

from __future__ import annotations

from meshproxy.wire.dns import Kept


class Cache:
    __slots__ = ("_entries", "_held", "_most", "_room", "_size")

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[Kept, float]] = {}
        """With the time at which it was said; what was asked for last stands at the end."""
        self._size = 0
        self._most = self._room = 0

    def bound(self, entries: int, size: int) -> None:
        self._most, self._room = entries, size
        self._make_room()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return self._size

    def get(self, key: bytes, now: float) -> tuple[Kept, int] | None:
        """With its age in seconds."""
        found = self._held.pop(key, None)
        if found is None:
            return None
        kept, at = found
        age = int(now - at)
        if age >= kept.life:
            self._size -= _cost(key, kept)
            return None
        self._held[key] = found
        return kept, age

    def put(self, key: bytes, kept: Kept, now: float) -> None:
        if kept.life:
            self._drop(key)
            self._held[key] = kept, now
            self._size += _cost(key, kept)
            self._make_room()

    def _make_room(self) -> None:
        while self._held and (len(self._held) > self._most or self._size > self._room):
            self._drop(next(iter(self._held)))

    def _drop(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._size -= _cost(key, held[0])


def _cost(key: bytes, kept: Kept) -> int:
    return len(key) + kept.cost
