"""One connection of HTTP/2 (RFC 9113) as bytes in and bytes out.  It knows no socket, no clock and no message.

    engine = Engine(Role.SERVER, hearer, Limits(), now)
    engine.feed(data)                             the hearer hears of streams, their users of what comes for them
    engine.head(stream, block, last=False)
    engine.data(stream, data, last=True)
    socket.write(b"".join(engine.out)); engine.out.clear()

What a peer may do is said in `states.py` and `floods.py`; what goes to it is in `sending.py`.  Nothing that a peer
sends is held here but the beginning of a frame, and one head until its end has come: DATA goes on as it arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from meshproxy.wire.h2 import frames, states
from meshproxy.wire.h2.faults import Broken, Code, Fault, Reason, StreamFault
from meshproxy.wire.h2.floods import MOST_FRAGMENTS, MOST_UNREAD, RAPID, SMALL, TINY, Account
from meshproxy.wire.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    MOST_ID,
    PADDED,
    PREFACE,
    PREFIX,
    PREFIX_SIZE,
    PRIORITY_UPDATE,
    WITH_PRIORITY,
)
from meshproxy.wire.h2.record import Record, User
from meshproxy.wire.h2.sending import COPIED, Sending
from meshproxy.wire.h2.settings import Limits, Role, announced
from meshproxy.wire.h2.states import (
    CLOSED,
    IDLE,
    LOCAL,
    OPEN,
    PEER_ENDS,
    REFUSED,
    REMOTE,
    RESET,
    TABLE,
    refuse,
)
from meshproxy.wire.hpack import Block, Decoder, TooLarge
from meshproxy.wire.hpack import Broken as BrokenBlock

_unpack = PREFIX.unpack_from
_after_headers, _after_data = TABLE[states.HEADERS], TABLE[states.DATA]
_after_reset, _after_update = TABLE[states.PEER_RESETS], TABLE[states.WINDOW_UPDATE]
_peer_ends = TABLE[PEER_ENDS]

PSEUDO_FIELDS = 5
"""Of a request of RFC 8441: they are no part of what `Limits.fields` counts."""
MOST_GAPS = 16
"""Runs of stream numbers that the peer has left out; to use one later is another fault than to use one again."""
ANYTHING, FIRST_SETTINGS = 0, -1
_PLAIN = END_HEADERS | PADDED | WITH_PRIORITY


class Hearer(Protocol):
    """The owner of a connection.  All of it may be called from within `feed`."""

    def opened(self, stream: int, block: Block, last: bool) -> User: ...

    def went(self, last_id: int, code: int) -> None: ...

    def settled(self) -> None: ...

    def pong(self) -> None: ...

    def broken(self, fault: Fault) -> None: ...

    def counted(self, word: str) -> None: ...


class Engine(Sending):
    __slots__ = (
        "_account", "_acknowledged", "_awaited", "_decoder", "_enough_of_stream", "_fragmented", "_fragments",
        "_fragments_end", "_gaps", "_going", "_gone", "_granted", "_hearer", "_last", "_limits", "_most", "_now",
        "_pings", "_preface", "_rest", "_time", "_under_way", "over",
    )  # fmt: skip

    def __init__(self, role: Role, hearer: Hearer, limits: Limits, now: Callable[[], float]) -> None:
        super().__init__(role, limits)
        self._limits = limits
        self._hearer = hearer
        self._now = now
        self._time = now()
        """Of what is being fed."""
        self._account = Account(now)
        self._decoder = Decoder(limits.table, limits.head, limits.fields + PSEUDO_FIELDS)
        self.over = False
        """Nothing more is taken from the peer."""

        self._rest = b""
        """The beginning of a frame."""
        self._preface = PREFACE if self._server else b""
        """What the peer has to say before its first frame."""
        self._awaited = FIRST_SETTINGS
        """What has to come next: these, or anything, or CONTINUATION for this stream."""
        self._under_way: tuple[Record | None, int, int, bool] | None = None
        """Of DATA that has not all arrived: for whom, how many bytes, how many of padding after them, whether it is the
        last."""
        self._fragments: list[bytes] = []
        """Of a head that has not all arrived."""
        self._fragmented = 0
        """Their bytes."""
        self._fragments_end = False, False
        """Whether the head is the last of its stream, and whether it depends on itself."""

        self._last = -1
        """The highest stream that there was."""
        self._gaps: list[tuple[int, int]] = []
        self._gone = False
        """No more streams can be opened here: the peer has said GOAWAY, or the numbers are used up."""
        self._most = min(self.peer.max_streams, limits.max_streams)
        self._going = False
        """We have said GOAWAY for good: streams that come after it are passed over."""
        self._acknowledged = False
        """The peer knows our SETTINGS."""
        self._granted = max(limits.window, DEFAULT_WINDOW)
        """The window of a new stream, for all that the peer may know of them."""
        self._enough_of_stream = limits.window + 1 >> 1
        """How much of its window is given back at once."""
        self._pings = 0
        """Of ours, not answered."""

        if not self._server:
            self.out.append(PREFACE)
        self.out.append(announced(role, limits))
        if limits.connection_window > DEFAULT_WINDOW:
            self.out.append(frames.window_update(0, limits.connection_window - DEFAULT_WINDOW))

    # What the owner does

    @property
    def room(self) -> int:
        """How many streams may be opened; below one for none."""
        return 0 if self._gone else self._most - len(self.streams)

    def open(self, block: bytes, last: bool, user: User) -> int:
        self._last = stream = self._last + 2
        record = Record(stream, OPEN, self.peer.window, self._granted, self._time)
        record.user = user
        self.streams[stream] = record
        self.head(stream, block, last)
        if stream >= MOST_ID - 1:
            self._gone = True
        return stream

    def stop(self, stream: int) -> None:
        record = self.streams.get(stream)
        if record is not None:
            record.stopped = True

    def start(self, stream: int) -> None:
        record = self.streams.get(stream)
        if record is not None and record.stopped:
            record.stopped = False
            held, record.held = record.held, 0
            self._credit(record, held)

    def forget_meanings(self) -> None:
        """What is asked from now on means what it would mean if it had not been asked before."""
        self._decoder.forget()

    def ping(self) -> None:
        self._pings += 1
        self._control(frames.PING_QUESTION)

    def goaway(self, code: Code = Code.NO_ERROR, *, final: bool = True) -> None:
        """Not `final`: the peer is asked to open no more, and what it opens meanwhile is still taken."""
        last = (max(self._last, 0) if self._server else 0) if final else MOST_ID
        self._control(frames.goaway(last, code))
        self._going = self._going or final
        if code is not Code.NO_ERROR:
            self.over = self._gone = True

    def close(self) -> None:
        """The connection is no more, and nobody is told of anything."""
        self.over = self._gone = True
        for record in tuple(self.streams.values()):
            self._forget(record)
        del self._hearer

    # What the peer says

    def feed(self, data: bytes) -> None:
        if self.over:
            return
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._time = self._now()
        try:
            if self._unread > MOST_UNREAD:
                raise _flood(Reason.UNREAD_FLOOD)
            if self._preface:
                data = self._without_preface(data)
            self._frames(data)
        except Broken as broken:
            self._break(broken.fault)

    def _without_preface(self, data: bytes) -> bytes:
        preface = self._preface
        if not preface.startswith(data[: len(preface)]):
            raise _broken(Code.PROTOCOL_ERROR, Reason.NOT_HTTP2, "this is no preface of HTTP/2")
        self._preface = preface[len(data) :]
        return data[len(preface) :]

    def _frames(self, data: bytes) -> None:
        at, size = 0, len(data)
        streams, most = self.streams, self._limits.max_frame
        taker: Record | None = None
        pieces: list[bytes | memoryview] = []
        if self._under_way is not None:
            record, left, padding, last = self._under_way
            if record is not None and left <= size and not padding and not last:
                taker, pieces, at = record, [memoryview(data)[:left]], left
                self._under_way = None
            else:
                at = self._resume(data, 0)
        while size - at >= PREFIX_SIZE and not self.over:
            head, flags, stream = _unpack(data, at)
            length, kind = head >> 8, head & 0xFF
            start = at + PREFIX_SIZE
            at = start + length
            if length > most:
                raise _broken(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE, "a frame is larger than we take")
            if kind == DATA and self._awaited == ANYTHING:
                record = streams.get(stream)
                if (
                    record is not None
                    and TINY <= length <= record.left
                    and length <= self._left
                    and not flags & PADDED
                    and record.state <= LOCAL
                ):
                    self._left -= length
                    record.left -= length
                    if record is not taker:
                        if taker is not None:
                            self._take(taker, pieces, False)
                        taker, pieces = record, []
                    pieces.append(data[start:at] if length <= COPIED else memoryview(data)[start:at])
                    if at > size:
                        self._under_way = record, at - size, 0, flags & END_STREAM == END_STREAM
                        at = size
                    elif flags & END_STREAM:
                        taker = None
                        self._take(record, pieces, True)
                    continue
                if taker is not None:
                    self._take(taker, pieces, False)
                    taker = None
                if flags & PADDED and length and start == size:
                    at = start - PREFIX_SIZE
                    break
                at = self._data(stream & MOST_ID, flags, data, start, length)
                continue
            if at > size:
                at = start - PREFIX_SIZE
                break
            if taker is not None:
                self._take(taker, pieces, False)
                taker = None
            if kind == HEADERS and flags & _PLAIN == END_HEADERS and self._awaited == ANYTHING:
                self._heard(stream & MOST_ID, data[start:at], flags & END_STREAM == END_STREAM)
            else:
                self._other(kind, flags, stream & MOST_ID, data[start:at])
        if taker is not None:
            self._take(taker, pieces, False)
        self._rest = data[at:]

    # DATA

    def _data(self, stream: int, flags: int, data: bytes, start: int, length: int) -> int:
        """What is not plain of it: padded, tiny, or not to be had.  Answers where the next frame begins."""
        self._left -= length
        if self._left < 0:
            raise _broken(Code.FLOW_CONTROL_ERROR, Reason.WINDOW_EXCEEDED, "more DATA than the connection has window")
        padding, overhead = 0, 0
        if flags & PADDED:
            if not length:
                raise _broken(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE, "no room for the size of the padding")
            padding = data[start]
            overhead = padding + 1
            if overhead > length:
                raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_PADDING, "more padding than frame")
            start += 1
        last = flags & END_STREAM == END_STREAM
        record = self.streams.get(stream)
        try:
            verdict = _after_data[self._state(stream, record)]
            if verdict <= REFUSED:
                refuse(verdict)
            if record is None:
                self._late_data(stream, length, last)
            else:
                record.left -= length
                if record.left < 0:
                    raise StreamFault(Code.FLOW_CONTROL_ERROR, Reason.WINDOW_EXCEEDED)
        except StreamFault as fault:
            self._fault(stream, fault)
            record = None
        size = length - overhead
        if record is None:
            self._owed += length
            self._give_back()
        elif overhead:
            self._credit(record, overhead)
        if not last and size < TINY:
            self._spend(Reason.DRIBBLE_FLOOD if size else Reason.EMPTY_FLOOD)
        self._under_way = record, size, padding, last
        return self._resume(data, start)

    def _resume(self, data: bytes, at: int) -> int:
        assert self._under_way is not None
        record, left, padding, last = self._under_way
        piece = data[at : at + left]
        at += len(piece)
        left -= len(piece)
        if record is not None:
            self._take(record, [piece], last and not left)
        if left:
            self._under_way = record, left, padding, last
            return at
        skipped = min(padding, len(data) - at)
        self._under_way = (None, 0, padding - skipped, False) if skipped < padding else None
        return at + skipped

    def _late_data(self, stream: int, length: int, last: bool) -> None:
        left = self._reset_by_us[stream] - length
        if left < 0:
            raise _broken(Code.FLOW_CONTROL_ERROR, Reason.WINDOW_EXCEEDED, "more DATA than a stream had window")
        self._reset_by_us[stream] = left
        if last:
            del self._reset_by_us[stream]
        if length < SMALL:
            self._spend(Reason.LATE_FLOOD)

    def _take(self, record: Record, pieces: list[bytes | memoryview], last: bool) -> None:
        data = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        size = len(data)
        user = record.user
        if user is None or record.state > LOCAL:  # somebody has reset it while this was fed
            self._owed += size
            self._give_back()
            return
        try:
            if not (record.headed or self._server):
                raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)
            if last:
                self._ended(record)
                user.taken(data, True)
            elif size:
                user.taken(data, False)
        except StreamFault as fault:
            self._fault(record.stream, fault, user)
        if record.stopped and record.state != CLOSED:
            record.held += size
        else:
            self._credit(record, size)

    def _credit(self, record: Record, size: int) -> None:
        self._owed += size
        if self._owed >= self._enough:
            self._give_back()
        if record.state <= LOCAL:
            record.owed = owed = record.owed + size
            if owed >= self._enough_of_stream:
                record.owed = 0
                record.left += owed
                self._useful += 1
                self._control(frames.window_update(record.stream, owed))

    # Heads

    def _heard(self, stream: int, block: bytes, last: bool, alone: bool = False) -> None:
        """A whole one; `alone`, if it says that it depends on itself."""
        decoded: Block | None = None
        try:
            decoded = self._decoder.decode(block)
        except TooLarge:
            pass  # told below, where it is known to whom
        except BrokenBlock as broken:
            raise _broken(Code.COMPRESSION_ERROR, Reason.BAD_COMPRESSION, str(broken)) from None
        if stream > self._last and stream & 1 and self._server:
            self._opened(stream, decoded, last, alone)
            return
        record = self.streams.get(stream)
        if record is None:
            self._late_head(stream, last)
            return
        user = record.user
        try:
            verdict = _after_headers[record.state]
            if verdict <= REFUSED:
                refuse(verdict)
            if decoded is None:
                raise StreamFault(Code.ENHANCE_YOUR_CALM, Reason.HEAD_TOO_LARGE)
            if alone:
                raise StreamFault(Code.PROTOCOL_ERROR, Reason.SELF_DEPENDENCY)
            assert user is not None
            if self._server or record.headed:
                if not last:
                    raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)
                self._ended(record)
                user.trailed(decoded)
                return
            if _is_interim(decoded):
                if last:
                    raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)
            else:
                record.headed = True
                if last:
                    self._ended(record)
            user.headed(decoded, last)
        except StreamFault as fault:
            self._fault(stream, fault, user)

    def _opened(self, stream: int, block: Block | None, last: bool, alone: bool) -> None:
        if stream != self._last + 2:
            self._gaps = [*self._gaps, (self._last, stream)][-MOST_GAPS:]
        self._last = stream
        if self._going:
            self._remember(stream, 0 if last else self._granted)
            return
        record = Record(stream, REMOTE if last else OPEN, self.peer.window, self._granted, self._time)
        refused = len(self.streams) >= self._limits.max_streams
        self.streams[stream] = record
        try:
            if refused:
                raise StreamFault(Code.REFUSED_STREAM, Reason.STREAM_REFUSED)
            if block is None:
                raise StreamFault(Code.ENHANCE_YOUR_CALM, Reason.HEAD_TOO_LARGE)
            if alone:
                raise StreamFault(Code.PROTOCOL_ERROR, Reason.SELF_DEPENDENCY)
            user = self._hearer.opened(stream, block, last)
        except StreamFault as fault:
            self._fault(stream, fault)
            return
        if record.state != CLOSED:
            record.user = user

    def _late_head(self, stream: int, last: bool) -> None:
        """For no stream that is, and none that a client may open.  Answers that come too late are no fault of a
        server's: it is we who may have forgotten that we did not wait for them."""
        if not stream & 1:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "not a stream of a client")
        state = self._state(stream, None)
        if state == IDLE:
            refuse(states.CONNECTION_IDLE)
        if state == RESET:
            if last:
                del self._reset_by_us[stream]
        elif any(low < stream < high for low, high in self._gaps):
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "streams are opened in their order")
        elif self._server:
            refuse(_after_headers[state])
        self._spend(Reason.LATE_FLOOD)

    def _ended(self, record: Record) -> None:
        """The peer has said all."""
        record.state = after = _peer_ends[record.state]
        if after == CLOSED:
            self._forget(record)

    # All other frames

    def _other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        awaited = self._awaited
        if awaited == FIRST_SETTINGS:
            if kind != frames.SETTINGS or flags & ACK:
                raise _broken(Code.PROTOCOL_ERROR, Reason.NOT_HTTP2, "the first frame is not SETTINGS")
            self._awaited = ANYTHING
        elif awaited != ANYTHING and (kind != CONTINUATION or stream != awaited):
            raise _broken(Code.PROTOCOL_ERROR, Reason.HEAD_INTERRUPTED, "CONTINUATION is due")
        take = _TAKES.get(kind)
        if take is not None:
            take(self, flags, stream, payload)
        else:
            self._spend(Reason.PRIORITY_FLOOD if kind == PRIORITY_UPDATE else Reason.UNKNOWN_FLOOD)

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        start, end = 0, len(payload)
        extra = (1 if flags & PADDED else 0) + (5 if flags & WITH_PRIORITY else 0)
        if extra > end:
            raise _broken(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE, "HEADERS without what its flags promise")
        if flags & PADDED:
            start, end = 1, end - payload[0]
        alone = False
        if flags & WITH_PRIORITY:
            alone = _number(payload, start) & MOST_ID == stream
            start += 5
        if start > end:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_PADDING, "more padding than frame")
        if flags & END_HEADERS:
            self._heard(stream, payload[start:end], flags & END_STREAM == END_STREAM, alone)
            return
        if not stream:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "HEADERS for the connection")
        self._awaited = stream
        self._fragments = [payload[start:end]]
        self._fragmented = end - start
        self._fragments_end = flags & END_STREAM == END_STREAM, alone

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._awaited == ANYTHING:
            raise _broken(Code.PROTOCOL_ERROR, Reason.STRAY_CONTINUATION, "CONTINUATION of nothing")
        self._fragments.append(payload)
        self._fragmented += len(payload)
        if len(self._fragments) > MOST_FRAGMENTS or self._fragmented > 2 * self._limits.head:
            raise _flood(Reason.CONTINUATION_FLOOD)
        if flags & END_HEADERS:
            block = b"".join(self._fragments)
            self._awaited = ANYTHING
            self._fragments = []
            self._heard(stream, block, *self._fragments_end)

    def _take_priority(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "PRIORITY for the connection")
        if len(payload) != 5:
            self._fault_of_any(stream, StreamFault(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE))
        elif _number(payload) & MOST_ID == stream:
            self._fault_of_any(stream, StreamFault(Code.PROTOCOL_ERROR, Reason.SELF_DEPENDENCY))
        self._spend(Reason.PRIORITY_FLOOD)

    def _take_rst_stream(self, flags: int, stream: int, payload: bytes) -> None:
        _refuse_size(payload, 4)
        record = self.streams.get(stream)
        verdict = _after_reset[self._state(stream, record)]
        if verdict <= REFUSED:
            refuse(verdict)
        if record is None:
            self._reset_by_us.pop(stream, None)
            self._spend(Reason.LATE_FLOOD)
            return
        user = record.user
        self._forget(record)
        code = _number(payload)
        if user is not None:
            if code == Code.REFUSED_STREAM and not self._server:
                user.refused()
            else:
                user.reset(code)
        if self._server and not record.headed and self._time - record.born < RAPID:
            self._spend(Reason.RESET_FLOOD)

    def _take_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "SETTINGS for a stream")
        if flags & ACK:
            _refuse_size(payload, 0)
            if self._acknowledged:
                self._spend(Reason.SETTINGS_FLOOD)
            else:
                self._take_acknowledgement()
            return
        if len(payload) % 6:
            raise _broken(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE, "SETTINGS cut short")
        self._spend(Reason.SETTINGS_FLOOD)
        before = self.peer.window
        self.peer.take(payload)
        increment = self.peer.window - before
        if increment:
            for record in self.streams.values():
                if not self._widen(record, increment):
                    raise _broken(Code.FLOW_CONTROL_ERROR, Reason.WINDOW_OVERFLOW, "INITIAL_WINDOW_SIZE is too much")
        self._control(frames.SETTINGS_ACK)
        if self.peer.small_table and self._table_due is None:
            self._table_due = True
        self._most = min(self.peer.max_streams, self._limits.max_streams)
        self._hearer.settled()
        self._send_kept()

    def _take_acknowledgement(self) -> None:
        self._acknowledged = True
        self._decoder.acknowledged()
        excess = self._granted - self._limits.window
        if excess:
            self._granted -= excess
            for record in self.streams.values():
                record.left -= excess

    def _take_push_promise(self, flags: int, stream: int, payload: bytes) -> None:
        raise _broken(Code.PROTOCOL_ERROR, Reason.PUSHED, "nobody may push")

    def _take_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "PING for a stream")
        _refuse_size(payload, 8)
        if not flags & ACK:
            self._spend(Reason.PING_FLOOD)
            self._control(frames.ping_answer(payload))
        elif self._pings:
            self._pings -= 1
            self._hearer.pong()
        else:
            self._spend(Reason.PING_FLOOD)

    def _take_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _broken(Code.PROTOCOL_ERROR, Reason.BAD_STREAM, "GOAWAY for a stream")
        if len(payload) < 8:
            raise _broken(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE, "GOAWAY cut short")
        self._spend(Reason.UNKNOWN_FLOOD)
        self._gone = True
        last, code = _number(payload) & MOST_ID, _number(payload, 4)
        if not self._server:
            for record in [record for stream, record in self.streams.items() if stream > last]:
                user = record.user
                self._forget(record)
                if user is not None:
                    user.refused()
        self._hearer.went(last, code)

    def _take_window_update(self, flags: int, stream: int, payload: bytes) -> None:
        _refuse_size(payload, 4)
        increment = _number(payload) & MOST_ID
        self._spend(Reason.WINDOW_FLOOD)
        if not stream:
            if not increment:
                raise _broken(Code.PROTOCOL_ERROR, Reason.EMPTY_INCREMENT, "WINDOW_UPDATE of nothing")
            self._window += increment
            if self._window > LARGEST_WINDOW:
                raise _broken(Code.FLOW_CONTROL_ERROR, Reason.WINDOW_OVERFLOW, "the connection's window is too large")
            self._send_kept()
            return
        record = self.streams.get(stream)
        verdict = _after_update[self._state(stream, record)]
        if verdict <= REFUSED:
            refuse(verdict)
        if record is None:
            return
        if not increment:
            self._fault(stream, StreamFault(Code.PROTOCOL_ERROR, Reason.EMPTY_INCREMENT), record.user)
        elif not self._widen(record, increment):
            self._fault(stream, StreamFault(Code.FLOW_CONTROL_ERROR, Reason.WINDOW_OVERFLOW), record.user)
        else:
            self._send_kept()

    # What is wrong

    def _state(self, stream: int, record: Record | None) -> int:
        if record is not None:
            return record.state
        if stream > self._last or not stream & 1:
            return IDLE
        return RESET if stream in self._reset_by_us else CLOSED

    def _fault(self, stream: int, fault: StreamFault, user: User | None = None) -> None:
        """Of the peer's: the stream ends, its user is told, and there must not be too many."""
        record = self.streams.get(stream)
        if record is None:
            self._control(frames.rst_stream(stream, fault.code))
        else:
            user = record.user
            self.reset(stream, fault.code)
        self._hearer.counted(fault.reason)
        if user is not None:
            user.reset(fault.code)
        self._spend(Reason.REFUSED_FLOOD if fault.code is Code.REFUSED_STREAM else Reason.FAULT_FLOOD)

    def _fault_of_any(self, stream: int, fault: StreamFault) -> None:
        """No stream that is idle may be reset."""
        if self._state(stream, self.streams.get(stream)) == IDLE:
            raise _broken(fault.code, fault.reason, "PRIORITY")
        self._fault(stream, fault)

    def _spend(self, kind: Reason) -> None:
        if not self._account.spend(kind, self._useful):
            raise _flood(kind)

    def _break(self, fault: Fault) -> None:
        self.over = self._gone = True
        self._rest, self._fragments, self._under_way = b"", [], None
        self.out.append(frames.goaway(max(self._last, 0) if self._server else 0, fault.code, fault.text))
        self._hearer.counted(fault.reason)
        self._hearer.broken(fault)


def _broken(code: Code, reason: str, text: str) -> Broken:
    return Broken(Fault(code, reason, text))


def _flood(kind: Reason) -> Broken:
    return _broken(Code.ENHANCE_YOUR_CALM, kind, "too many frames of a kind")


def _refuse_size(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise _broken(Code.FRAME_SIZE_ERROR, Reason.FRAME_SIZE, f"{size} bytes are due")


def _number(payload: bytes, at: int = 0) -> int:
    return int.from_bytes(payload[at : at + 4])


def _is_interim(block: Block) -> bool:
    """Whatever else may be wrong with it, its reader finds."""
    name, value, _ = block.fields[0] if block.fields else (b"", b"", b"")
    return name == b":status" and value.startswith(b"1") and len(value) == 3


_TAKES: dict[int, Callable[[Engine, int, int, bytes], None]] = {
    HEADERS: Engine._take_headers,
    frames.PRIORITY: Engine._take_priority,
    frames.RST_STREAM: Engine._take_rst_stream,
    frames.SETTINGS: Engine._take_settings,
    frames.PUSH_PROMISE: Engine._take_push_promise,
    frames.PING: Engine._take_ping,
    frames.GOAWAY: Engine._take_goaway,
    frames.WINDOW_UPDATE: Engine._take_window_update,
    CONTINUATION: Engine._take_continuation,
}
"""All but DATA, which does not wait for its end."""
