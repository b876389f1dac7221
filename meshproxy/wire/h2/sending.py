"""What goes to the peer: heads at once, DATA within the windows and in turns (RFC 9113 5.2, 6.9).

    sending.data(stream, data, last)     True: on its way.  False: it waits, and so should whoever has more

What waits is kept as it was given, and its giver is held: a stream keeps what one call has brought, and not more.
Streams that wait for the same window, or for the socket, take turns by the frame.
"""

from __future__ import annotations

from collections import deque

from meshproxy.wire.h2.floods import SMALL
from meshproxy.wire.h2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    PREFIX,
    headers,
    rst_stream,
    window_update,
)
from meshproxy.wire.h2.record import Record, User
from meshproxy.wire.h2.settings import Limits, Peer, Role
from meshproxy.wire.h2.states import CLOSED, RESET, TABLE, WE_END, WE_RESET
from meshproxy.wire.hpack import STATUS

_pack = PREFIX.pack
_we_end, _we_reset = TABLE[WE_END], TABLE[WE_RESET]
_INTERIM = STATUS[100][:3]
"""With which each block begins that is no answer yet."""

NO_TABLE = b"\x20"
"""A table of header compression of size 0, as a block says it at its beginning."""
MOST_REMEMBERED = 512
"""Streams that we have reset and that the peer may not know of."""
AT_ONCE = 256 * 1024
"""About how much of what is kept goes out together: more would wait before a socket that takes less."""
COPIED = 2048
"""DATA up to this many bytes is put into one piece with what is before it."""


class Sending:
    __slots__ = (
        "_blocked",
        "_enough",
        "_left",
        "_owed",
        "_ready",
        "_reset_by_us",
        "_server",
        "_table_due",
        "_unread",
        "_useful",
        "_window",
        "out",
        "peer",
        "streams",
    )  # fmt: skip

    def __init__(self, role: Role, limits: Limits) -> None:
        self._server = role is Role.SERVER
        self.out: list[bytes | memoryview] = []
        """To be written in order; whoever owns this joins, writes and clears it."""
        self.streams: dict[int, Record] = {}
        self.peer = Peer(Role.CLIENT if role is Role.SERVER else Role.SERVER)
        self._window = DEFAULT_WINDOW
        """How much DATA we may send on all streams together."""
        self._left = max(limits.connection_window, DEFAULT_WINDOW)
        """How much DATA the peer may send on all streams together."""
        self._owed = 0
        """How much of that was taken and not given back."""
        self._enough = limits.connection_window + 1 >> 1
        """How much of it is given back at once."""
        self._reset_by_us: dict[int, int] = {}
        """The streams, oldest first, and how much the peer might still send for each."""
        self._ready: dict[int, Record] = {}
        """Streams that have something to send and the window for it, in their turn."""
        self._blocked = False
        self._unread = 0
        """Frames that have gone out while the peer does not read."""
        self._useful = 0
        self._table_due: bool | None = None
        """Whether our next block has to begin by saying that we use no table; None: nobody has asked for it yet."""

    def head(self, stream: int, block: bytes, last: bool) -> None:
        record = self.streams.get(stream)
        if record is None:
            return
        if block[:3] != _INTERIM:
            self._useful += 1
            if self._server:
                record.headed = True
        if self._table_due:
            self._table_due = False
            block = NO_TABLE + block
        size = len(block)
        if size <= self.peer.max_frame:
            flags = END_HEADERS | END_STREAM if last else END_HEADERS
            self.out.append(_pack(size << 8 | HEADERS, flags, stream) + block)
        else:
            self.out.append(headers(stream, block, END_STREAM if last else 0, self.peer.max_frame))
        if self._blocked:
            self._unread += 1 + (size >> 10)
        if last:
            self._end(record)

    def data(self, stream: int, data: bytes, last: bool) -> bool:
        record = self.streams.get(stream)
        if record is None:
            return True
        size = len(data)
        if (
            record.kept is None
            and size <= record.window
            and size <= self._window
            and size <= self.peer.max_frame
            and not self._blocked
        ):
            if size:
                record.window -= size
                self._window -= size
            elif not last:
                return True
            prefix = _pack(size << 8 | DATA, END_STREAM if last else 0, stream)
            if size <= COPIED:
                self.out.append(prefix + data)
            else:
                self.out += prefix, data
            self._useful += 1
            if last:
                self._end(record)
            return True
        return self._keep(record, data, last)

    def answer(self, stream: int, block: bytes, data: bytes) -> bool:
        """A head and all of its body, as `head` and `data` would have it: most answers are such, and small."""
        record, size = self.streams.get(stream), len(data)
        if (
            record is None
            or not 0 < size <= COPIED
            or size > record.window
            or size > self._window
            or len(block) > COPIED
            or self._blocked
            or self._table_due
        ):
            self.head(stream, block, not size)
            return not size or self.data(stream, data, True)
        self._window -= size
        self._useful += 2
        record.headed = True
        self.out.append(
            _pack(len(block) << 8 | HEADERS, END_HEADERS, stream) + block
            + _pack(size << 8 | DATA, END_STREAM, stream) + data
        )  # fmt: skip
        self._end(record)
        return True

    def trailers(self, stream: int, block: bytes) -> None:
        record = self.streams.get(stream)
        if record is None:
            return
        if record.kept is None:
            self.head(stream, block, True)
        else:
            record.trailer = block

    def reset(self, stream: int, code: int) -> None:
        """The stream is forgotten at once; whatever comes for it later is passed over."""
        record = self.streams.get(stream)
        if record is None:
            return
        if _we_reset[record.state] == RESET:
            self._remember(stream, record.left)
        self._control(rst_stream(stream, code))
        self._forget(record)

    def block(self) -> None:
        """The socket is full: DATA waits here.  What else is to be said is little, and is said."""
        self._blocked = True

    def unblock(self) -> None:
        self._blocked = False
        self._unread = 0
        self._send_kept()

    def more(self) -> None:
        """What there was to send has been written: some of what is kept may follow."""
        if self._ready:
            self._send_kept()

    def _control(self, frame: bytes) -> None:
        self.out.append(frame)
        if self._blocked:
            self._unread += 1

    def _remember(self, stream: int, left: int) -> None:
        remembered = self._reset_by_us
        if len(remembered) >= MOST_REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[stream] = left

    def _end(self, record: Record) -> None:
        record.state = after = _we_end[record.state]
        if after == CLOSED:
            self._forget(record)

    def _forget(self, record: Record) -> None:
        stream = record.stream
        del self.streams[stream]
        record.state = CLOSED
        record.user = None
        if record.kept is not None:
            record.kept = None
            self._ready.pop(stream, None)
        if record.held:
            self._owed += record.held
            self._give_back()

    def _give_back(self) -> None:
        """Of the connection, if that is worth a frame."""
        owed = self._owed
        if owed >= self._enough:
            self._owed = 0
            self._left += owed
            self._control(window_update(0, owed))

    def _keep(self, record: Record, data: bytes, last: bool) -> bool:
        """Sends what may go of it, and keeps the rest."""
        record.ending = last
        if record.kept is not None:
            if data:
                record.kept.append(data)
            return False
        if not data:
            if last:
                self._control(_pack(DATA, END_STREAM, record.stream))
                self._end(record)
            return True
        record.kept = deque((data,))
        while record.window > 0 and self._window > 0 and not self._blocked and not self._ready:
            if self._send_frame(record):
                return True
        if record.window > 0:
            self._ready[record.stream] = record
        if record.user is not None:
            record.user.hold()
        return False

    def _send_kept(self) -> None:
        """A frame of each in turn, while there is window; whoever is through is told at the end.

        It may be that not all goes at once: `more` is to be called when this is written.
        """
        if self._blocked:
            return
        ready = self._ready
        through: list[User] = []
        enough = self._window - AT_ONCE
        while ready and self._window > max(enough, 0):
            stream = next(iter(ready))
            record = ready.pop(stream)
            user = record.user
            if self._send_frame(record):
                if user is not None:
                    through.append(user)
            elif record.window > 0:
                ready[stream] = record
        for user in through:
            user.release()

    def _send_frame(self, record: Record) -> bool:
        """One frame of what is kept, within windows that are open.  True: it was the last, and an end that was due has
        been said."""
        kept = record.kept
        assert kept
        piece, offset = kept[0], record.offset
        whole = len(piece) - offset
        size = min(whole, record.window, self._window, self.peer.max_frame)
        record.window -= size
        self._window -= size
        if size == whole:
            kept.popleft()
            record.offset = 0
        else:
            record.offset = offset + size
        done = not kept
        ends = done and record.ending and record.trailer is None
        prefix = _pack(size << 8 | DATA, END_STREAM if ends else 0, record.stream)
        self.out += prefix, memoryview(piece)[offset : offset + size]
        if size == whole or size >= SMALL:
            self._useful += 1
        if not done:
            return False
        record.kept = None
        if record.trailer is not None:
            self.head(record.stream, record.trailer, True)
        elif ends:
            self._end(record)
        return True

    def _widen(self, record: Record, increment: int) -> bool:
        """False: the window would be larger than one may be."""
        record.window += increment
        if record.window > LARGEST_WINDOW:
            return False
        if record.kept is not None:
            if record.window > 0:
                self._ready[record.stream] = record
            else:
                self._ready.pop(record.stream, None)
        return True
