"""The `h2` library as the engine, for connections that are to behave as everybody's reference does.

    engine = ReferenceEngine(Role.SERVER, hearer, limits, now)      # in the place of an Engine

The library judges what the peer sends and writes what we say; here it is only told apart for whom.  It ends the
connection for much that costs a stream elsewhere, and at a GOAWAY of the peer's it takes nothing more, so streams that
were under way end with it.  What a peer may do for nothing is counted on the same account, as far as the library tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from meshproxy.wire.h2 import frames
from meshproxy.wire.h2.engine import Hearer
from meshproxy.wire.h2.faults import Code, Fault, Reason, StreamFault
from meshproxy.wire.h2.floods import MOST_UNREAD, RAPID, TINY, Account
from meshproxy.wire.h2.frames import MOST_ID
from meshproxy.wire.h2.record import Record, User
from meshproxy.wire.h2.settings import Limits, Peer, Role, said
from meshproxy.wire.h2.states import CLOSED, OPEN, PEER_ENDS, REMOTE, TABLE, WE_END
from meshproxy.wire.hpack import Block, Decoder

_peer_ends, _we_end = TABLE[PEER_ENDS], TABLE[WE_END]
_Event = h2.events.Event
_Heads = h2.events.ResponseReceived | h2.events.InformationalResponseReceived | h2.events.TrailersReceived


class ReferenceEngine:
    def __init__(self, role: Role, hearer: Hearer, limits: Limits, now: Callable[[], float]) -> None:
        self._server = role is Role.SERVER
        self._hearer = hearer
        self._limits = limits
        self._now = now
        self._account = Account(now)
        self._useful = 0
        self._spelt = Decoder(most_list=MOST_ID, most_fields=MOST_ID)
        """What we say comes as a block, and the library wants fields."""
        self.out: list[bytes | memoryview] = []
        self.streams: dict[int, Record] = {}
        self.over = False
        self.peer = Peer(Role.CLIENT if self._server else Role.SERVER)
        self._gone = False
        self._last = -1
        self._going = False
        self._blocked = False
        self._unread = 0
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=not self._server, header_encoding=None)
        )
        self._h2.local_settings = h2.settings.Settings(not self._server, said(role, limits))  # type: ignore[arg-type]
        self._h2.decoder.max_header_list_size = limits.head
        self._h2.initiate_connection()
        if limits.connection_window > frames.DEFAULT_WINDOW:
            self._h2.increment_flow_control_window(limits.connection_window - frames.DEFAULT_WINDOW)
        self._write()

    # What the owner does

    @property
    def room(self) -> int:
        return 0 if self._gone else min(self.peer.max_streams, self._limits.max_streams) - len(self.streams)

    def open(self, block: bytes, last: bool, user: User) -> int:
        self._last = stream = self._h2.get_next_available_stream_id()
        record = Record(stream, OPEN, 0, 0, self._now())
        record.user = user
        self.streams[stream] = record
        self.head(stream, block, last)
        return stream

    def head(self, stream: int, block: bytes, last: bool) -> None:
        record = self.streams.get(stream)
        if record is None:
            return
        fields = [(name, value) for name, value, _ in self._spelt.decode(block).fields]
        if not fields[0][1].startswith(b"1"):
            self._useful += 1
            record.headed = record.headed or self._server
        with suppress(h2.exceptions.ProtocolError):
            self._h2.send_headers(stream, fields, end_stream=last)
        self._write()
        if last:
            self._end(record)

    def answer(self, stream: int, block: bytes, data: bytes) -> bool:
        self.head(stream, block, not data)
        return not data or self.data(stream, data, True)

    def data(self, stream: int, data: bytes, last: bool) -> bool:
        record = self.streams.get(stream)
        if record is None:
            return True
        record.ending = last
        if record.kept is not None:
            record.kept.append(data)
            return False
        record.kept = deque((data,))
        if self._send_kept_of(record):
            return True
        if record.user is not None:
            record.user.hold()
        return False

    def trailers(self, stream: int, block: bytes) -> None:
        record = self.streams.get(stream)
        if record is None:
            return
        if record.kept is None:
            self.head(stream, block, True)
        else:
            record.trailer = block

    def reset(self, stream: int, code: int) -> None:
        record = self.streams.get(stream)
        if record is not None:
            self._forget(record)
            with suppress(h2.exceptions.ProtocolError):
                self._h2.reset_stream(stream, code)
            self._write()

    def stop(self, stream: int) -> None:
        record = self.streams.get(stream)
        if record is not None:
            record.stopped = True

    def start(self, stream: int) -> None:
        record = self.streams.get(stream)
        if record is not None and record.stopped:
            record.stopped = False
            held, record.held = record.held, 0
            self._give_back(stream, held)

    def block(self) -> None:
        self._blocked = True

    def unblock(self) -> None:
        self._blocked = False
        self._unread = 0
        self._send_kept()

    def more(self) -> None:
        """All that may go has gone."""

    def forget_meanings(self) -> None:
        """No block comes twice."""

    def ping(self) -> None:
        self._h2.ping(b"meshprox")
        self._write()

    def goaway(self, code: Code = Code.NO_ERROR, *, final: bool = True) -> None:
        """Past the library, which would take and say nothing more."""
        last = (max(self._last, 0) if self._server else 0) if final else MOST_ID
        self.out.append(frames.goaway(last, code))
        self._going = self._going or final
        if code is not Code.NO_ERROR:
            self.over = self._gone = True

    def close(self) -> None:
        self.over = self._gone = True
        for record in tuple(self.streams.values()):
            self._forget(record)
        del self._hearer

    # What the peer says

    def feed(self, data: bytes) -> None:
        if self.over:
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._write()
            self._break(Fault(_code(error.error_code), Reason.REFUSED_BY_H2, str(error)))
            return
        self._write()
        for event in events:
            if not self.over:
                self._hears(event)
        self._send_kept()

    def _hears(self, event: _Event) -> None:
        stream = getattr(event, "stream_id", None) or 0
        record = self.streams.get(stream)
        last = getattr(event, "stream_ended", None) is not None
        match event:
            case h2.events.RequestReceived():
                self._opened(stream, _block(event.headers), last)
            case h2.events.DataReceived():
                self._take(stream, event.data, event.flow_controlled_length, last)
            case h2.events.StreamReset():
                self._was_reset(record, int(event.error_code or 0))
            case h2.events.ConnectionTerminated():
                self._went(event.last_stream_id or 0, int(event.error_code or 0))
            case h2.events.RemoteSettingsChanged():
                self._settled()
            case h2.events.PingReceived():
                self._spend(Reason.PING_FLOOD)
            case h2.events.PingAckReceived():
                self._hearer.pong()
            case h2.events.WindowUpdated():
                self._spend(Reason.WINDOW_FLOOD)
            case h2.events.PriorityUpdated():
                self._spend(Reason.PRIORITY_FLOOD)
            case h2.events.UnknownFrameReceived():
                self._spend(Reason.UNKNOWN_FLOOD)
            case (
                h2.events.ResponseReceived() | h2.events.InformationalResponseReceived() | h2.events.TrailersReceived()
            ):
                if record is not None and record.user is not None:
                    self._headed(record, record.user, event, last)

    def _headed(self, record: Record, user: User, event: _Heads, last: bool) -> None:
        record.headed = record.headed or isinstance(event, h2.events.ResponseReceived)
        if last:
            self._ended(record)
        try:
            if isinstance(event, h2.events.TrailersReceived):
                user.trailed(_block(event.headers))
            else:
                user.headed(_block(event.headers), last)
        except StreamFault as fault:
            self._fault(record.stream, fault, user)

    def _opened(self, stream: int, block: Block, last: bool) -> None:
        self._last = stream
        if self._going:
            return
        record = Record(stream, REMOTE if last else OPEN, 0, 0, self._now())
        self.streams[stream] = record
        try:
            user = self._hearer.opened(stream, block, last)
        except StreamFault as fault:
            self._fault(stream, fault)
            return
        if record.state != CLOSED:
            record.user = user

    def _take(self, stream: int, data: bytes, size: int, last: bool) -> None:
        record = self.streams.get(stream)
        user = record.user if record is not None else None
        if not last and len(data) < TINY:
            self._spend(Reason.DRIBBLE_FLOOD if data else Reason.EMPTY_FLOOD)
        if record is None or user is None:
            self._give_back(stream, size)
            return
        if last:
            self._ended(record)
        try:
            if data or last:
                user.taken(data, last)
        except StreamFault as fault:
            self._fault(stream, fault, user)
        if record.stopped and record.state != CLOSED:
            record.held += size
        else:
            self._give_back(stream, size)

    def _was_reset(self, record: Record | None, code: int) -> None:
        if record is None:
            return
        user = record.user
        self._forget(record)
        if user is not None:
            if code == Code.REFUSED_STREAM and not self._server:
                user.refused()
            else:
                user.reset(code)
        if self._server and not record.headed and self._now() - record.born < RAPID:
            self._spend(Reason.RESET_FLOOD)

    def _went(self, last: int, code: int) -> None:
        """The library takes nothing after this."""
        self.over = self._gone = True
        for record in list(self.streams.values()):
            user = record.user
            self._forget(record)
            if user is not None:
                if record.stream > last and not self._server:
                    user.refused()
                else:
                    user.reset(code)
        self._hearer.went(last, code)

    def _settled(self) -> None:
        self._spend(Reason.SETTINGS_FLOOD)
        peer, said = self.peer, self._h2.remote_settings
        peer.max_streams = min(said.max_concurrent_streams, MOST_ID)
        peer.connect_protocol = bool(said.enable_connect_protocol)
        peer.window, peer.max_frame = said.initial_window_size, said.max_frame_size
        peer.max_list = said.max_header_list_size
        self._hearer.settled()

    # What goes to the peer

    def _send_kept(self) -> None:
        for record in list(self.streams.values()):
            user = record.user
            if record.kept is not None and self._send_kept_of(record) and user is not None:
                user.release()

    def _send_kept_of(self, record: Record) -> bool:
        """True: all of it is out."""
        assert record.kept is not None
        stream, data = record.stream, b"".join(record.kept)
        ends = record.ending and record.trailer is None
        with suppress(h2.exceptions.ProtocolError):
            while data and not self._blocked:
                size = min(len(data), self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
                if size <= 0:
                    break
                part, data = data[:size], data[size:]
                self._h2.send_data(stream, part, end_stream=ends and not data)
                self._useful += 1
            if ends and not any(record.kept):
                self._h2.end_stream(stream)
        self._write()
        if data:
            record.kept = deque((data,))
            return False
        record.kept = None
        if record.trailer is not None:
            self.head(stream, record.trailer, True)
        elif ends:
            self._end(record)
        return True

    def _give_back(self, stream: int, size: int) -> None:
        if size:
            with suppress(h2.exceptions.ProtocolError):
                self._h2.acknowledge_received_data(size, stream)
            self._write()

    def _write(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.out.append(data)
            if self._blocked:
                self._unread += 1
                if self._unread > MOST_UNREAD:
                    self._flood(Reason.UNREAD_FLOOD)

    # How streams and connections end

    def _ended(self, record: Record) -> None:
        record.state = after = _peer_ends[record.state]
        if after == CLOSED:
            self._forget(record)

    def _end(self, record: Record) -> None:
        record.state = after = _we_end[record.state]
        if after == CLOSED:
            self._forget(record)

    def _forget(self, record: Record) -> None:
        self.streams.pop(record.stream, None)
        record.state = CLOSED
        record.user = record.kept = None
        self._give_back(record.stream, record.held)

    def _fault(self, stream: int, fault: StreamFault, user: User | None = None) -> None:
        self.reset(stream, fault.code)
        self._hearer.counted(fault.reason)
        if user is not None:
            user.reset(fault.code)
        self._spend(Reason.FAULT_FLOOD)

    def _spend(self, kind: Reason) -> None:
        if not self._account.spend(kind, self._useful):
            self._flood(kind)

    def _flood(self, kind: Reason) -> None:
        if self.over:
            return
        self.out.append(frames.goaway(max(self._last, 0), Code.ENHANCE_YOUR_CALM))
        self._break(Fault(Code.ENHANCE_YOUR_CALM, kind))

    def _break(self, fault: Fault) -> None:
        self.over = self._gone = True
        self._hearer.counted(fault.reason)
        self._hearer.broken(fault)


def _block(fields: Iterable[tuple[bytes, bytes]] | None) -> Block:
    return Block([(name, value, name + b": " + value) for name, value in fields or ()])


def _code(code: int | None) -> Code:
    try:
        return Code(code or 0)
    except ValueError:
        return Code.PROTOCOL_ERROR
