"""One direction of a stream of a tunnel, from either of its ends.

    sending.put(b"...")
    sending.next(16384)                     # (offset, bytes, whether they are the last); only where it is `ready`
    sending.acknowledged(100, 65636, False) # bytes are let go of only now
    sending.again()                         # what is not acknowledged may have been lost: it is sent once more

    receiving.take(100, data, False)        # the bytes that are new and in their order
    receiving.consumed(4096)                # whoever gets them has taken so many
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from meshproxy.wire.mux.frames import Fault, Reason

SMALL = 1024
"""Bytes of a piece that does not stand alone while it waits."""


class Sending:
    """From the first byte that is not acknowledged to the last that was written."""

    __slots__ = (
        "_at", "_begins", "_chunks", "_furthest", "_inside", "acked", "end_acked", "end_sent", "ended", "limit", "sent",
        "written",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self._chunks: deque[bytes] = deque()
        self._begins = 0
        """The offset of the first of them, of which a part may be acknowledged."""
        self._at = 0
        """The chunk that is sent next, and how far in it."""
        self._inside = 0
        self._furthest = 0
        """That was ever sent."""
        self.acked = 0
        self.sent = 0
        self.written = 0
        self.limit = limit
        """The peer takes no more than so many bytes in all."""
        self.ended = False
        self.end_sent = False
        self.end_acked = False

    @property
    def kept(self) -> int:
        """Bytes that are held, for they have to be sent, or may have to be sent again."""
        return self.written - self.acked

    @property
    def ready(self) -> bool:
        """Whether there is anything that may be sent."""
        sent, written = self.sent, self.written
        return sent < self.limit if sent < written else self.ended and not self.end_sent

    def put(self, data: bytes) -> None:
        chunks = self._chunks
        if len(data) < SMALL and self._at < len(chunks) and len(chunks[-1]) < SMALL:
            chunks[-1] += data
        else:
            chunks.append(data)
        self.written += len(data)

    def next(self, most: int) -> tuple[int, bytes, bool]:
        sent = self.sent
        room = min(most, self.limit - sent)
        data = b""
        if sent < self.written and room > 0:
            inside = self._inside
            data = chunk = self._chunks[self._at]
            if inside or len(chunk) > room:
                data = chunk[inside : inside + room]
            self._inside = inside + len(data)
            if self._inside == len(chunk):
                self._at += 1
                self._inside = 0
            self.sent += len(data)
            self._furthest = max(self._furthest, self.sent)
        last = self.ended and self.sent == self.written
        self.end_sent = self.end_sent or last
        return sent, data, last

    def acknowledged(self, offset: int, limit: int, end: bool) -> int:
        """How many bytes are let go of.  Raises Fault."""
        if offset > self._furthest or limit < offset or (end and not (self.ended and offset == self.written)):
            raise Fault(Reason.OUT_OF_STATE, "what was never sent is acknowledged")
        self.limit = max(self.limit, limit)
        self.end_acked = self.end_acked or end
        freed = offset - self.acked
        if freed <= 0:
            return 0
        self.acked = offset
        chunks = self._chunks
        while chunks and self._begins + len(chunks[0]) <= offset:
            self._begins += len(chunks.popleft())
            self._at -= 1
        if self.sent < offset:
            self._go_on_at(offset)
        return freed

    def again(self) -> None:
        self.end_sent = self.end_acked
        self._go_on_at(self.acked)

    def _go_on_at(self, offset: int) -> None:
        self.sent = offset
        inside, at = offset - self._begins, 0
        chunks = self._chunks
        while at < len(chunks) and inside >= len(chunks[at]):
            inside -= len(chunks[at])
            at += 1
        self._at, self._inside = at, inside


class Receiving:
    """What has come in order, and what has come before its turn, by another link."""

    __slots__ = ("_early", "_starts", "_told", "end", "limit", "received", "taken", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self._early: dict[int, bytes] = {}
        """By their offsets; none reaches into another."""
        self._starts: list[int] = []
        """Those offsets, in their order."""
        self._told = 0
        """What was acknowledged last."""
        self.received = 0
        """Bytes that are here without a gap."""
        self.taken = 0
        """Bytes that whoever gets them has taken."""
        self.limit = window
        self.end: int | None = None
        """Where it ends, once that is known."""

    @property
    def pieces(self) -> int:
        """That have come before their turn."""
        return len(self._starts)

    @property
    def whole(self) -> bool:
        return self.received == self.end

    @property
    def owed(self) -> bool:
        """Whether the peer should hear how far it is, for it may be waiting for that."""
        half = self.window >> 1
        return self.received - self._told >= half or self.taken + self.window - self.limit >= half

    def take(self, offset: int, data: bytes, last: bool) -> bytes:
        """Raises Fault."""
        stop = offset + len(data)
        if stop > self.limit:
            raise Fault(Reason.WINDOW, "more was sent than may be")
        if last and self.end is None:
            self.end = stop
        if self.end is not None and (stop > self.end or (last and stop != self.end)):
            raise Fault(Reason.OUT_OF_STATE, "a stream has two ends")
        received = self.received
        if offset > received:
            self._keep(offset, data)
            return b""
        if stop <= received:
            return b""
        new = data[received - offset :] if offset < received else data
        self.received = stop
        return new if not self._early else new + self._follows()

    def consumed(self, size: int) -> None:
        self.taken += size

    def widen(self, widest: int, spare: int) -> int:
        """Twice as wide, where what it could hold has all been taken and there is so much to spare; by how much."""
        window = self.window
        if self.taken < self.received or self.limit - self.received > window // 2 or window >= widest or spare < window:
            return 0
        self.window = min(2 * window, widest)
        return self.window - window

    def tells(self) -> tuple[int, int, bool]:
        """What is acknowledged now: how far it is, how far it may go, and whether that is the end."""
        self.limit = max(self.limit, self.taken + self.window)
        self._told = self.received
        return self.received, self.limit, self.whole

    def _keep(self, offset: int, data: bytes) -> None:
        """What of it is not here yet; what was sent again may have come in other pieces."""
        starts, early = self._starts, self._early
        first = bisect_left(starts, offset)
        if first:
            before = starts[first - 1]
            reach = before + len(early[before])
            if reach > offset:
                data = data[reach - offset :]
                offset = reach
        stop = offset + len(data)
        behind = bisect_left(starts, stop, first)
        if behind > first:
            last = starts[behind - 1]
            if last + len(early[last]) > stop:
                data = data[: last - offset]
                behind -= 1
        if data:
            for start in starts[first:behind]:
                del early[start]
            starts[first:behind] = (offset,)
            early[offset] = data

    def _follows(self) -> bytes:
        """What was here before its turn, and is not any more."""
        starts, early, found = self._starts, self._early, []
        count = 0
        while count < len(starts) and starts[count] <= self.received:
            offset = starts[count]
            new = early.pop(offset)[self.received - offset :]
            self.received += len(new)
            found.append(new)
            count += 1
        del starts[:count]
        return b"".join(found)
