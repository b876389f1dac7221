"""From bytes to heads, one connection at a time.

    reader.feed(data)  ->  a head, or None for "need more", or raises Malformed
    reader.rest        ->  what came after that head: of its body, or of the next message

Three ways lead to a head, each proven by the one below it: the same bytes came before (the last time, or some time), a
head of the same shape did (`shape.py`), or it is read line by line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from meshproxy.wire.h1.gathering import END
from meshproxy.wire.h1.head import LONGEST_REMEMBERED, MEMO_SLOTS, Head
from meshproxy.wire.h1.shape import Shape

MOST_MISSES, SKIPS = 8, 15
"""Where every head differs, one in sixteen is looked for and remembered: traffic may change its ways."""

H = TypeVar("H", bound=Head)


class Gatherer(Protocol):
    @property
    def empty(self) -> bool: ...

    def add(self, data: bytes) -> tuple[bytes, bytes] | None:
        """A whole head and what follows it, or None: more is needed."""


class Reader(ABC, Generic[H]):
    __slots__ = ("_gathering", "_likely", "_memory", "_misses", "_skips", "_usual", "rest")

    def __init__(self, memory: list[H | None], likely: tuple[Shape, ...]) -> None:
        self._memory = memory
        # One connection is used by one program, and that has few shapes: with a body, without one, a redirect ...
        self._likely = likely
        self._gathering: Gatherer | None = None
        self._usual: H | None = None
        """The last head, if it was one that had come before."""
        self._misses = 0
        """Heads in a row that were not found in the memory."""
        self._skips = 0
        """Heads to come that are not looked for there."""
        self.rest = b""

    @property
    def begun(self) -> bool:
        """Whether a part of a head has arrived, and the rest of it is awaited."""
        return self._gathering is not None and not self._gathering.empty

    def feed(self, data: bytes) -> H | None:
        usual = self._usual
        if usual is not None:
            raw = usual.raw
            size = len(raw)
            if data[:size] == raw:
                self.rest = data[size:]
                return usual
            self._usual = None
        if self._gathering is None:
            if self._skips:
                self._skips -= 1
            else:
                end = data.find(END) + len(END)
                head = self._memory[end % MEMO_SLOTS]
                if head is not None and data.startswith(head.raw):
                    self._misses = 0
                    self._usual = head
                    self.rest = data[end:]
                    return head
                self._misses += 1
                if self._misses >= MOST_MISSES:
                    self._skips = SKIPS
            for shape in self._likely:
                head = self._recognised(shape, data)
                if head is not None:
                    self.rest = data[len(head.raw) :]
                    if not self._skips and not shape.secret:
                        self._remember(head)
                    return head
            self._gathering = self._gather()
        found = self._gathering.add(data)
        if found is None:
            self.rest = b""
            return None
        raw, self.rest = found
        self._gathering = None
        head = self._parse(raw)
        self._likely = head.shape.before(self._likely)
        if raw.find(END) + len(END) == len(raw) and not head.shape.secret:
            self._remember(head)
        return head

    def _remember(self, head: H) -> None:
        size = len(head.raw)
        if size <= LONGEST_REMEMBERED and self._memorable(head):
            self._memory[size % MEMO_SLOTS] = head

    @abstractmethod
    def _memorable(self, head: H) -> bool:
        """Whether it would be read the same way again, and holds nothing that must not be kept."""

    @abstractmethod
    def _recognised(self, shape: Shape, data: bytes) -> H | None:
        """The head with which `data` begins, if the expression of this shape matches it."""

    @abstractmethod
    def _parse(self, raw: bytes) -> H:
        """The head that these bytes are, read line by line."""

    @abstractmethod
    def _gather(self) -> Gatherer: ...
