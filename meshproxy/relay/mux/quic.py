"""A QUIC connection that carries a tunnel: to the tunnel it is like any other `Carrier`.

    control    the first stream, both ways: hellos, and the frames that no stream of the tunnel carries
    lanes      streams that one end writes to: what is lost of one holds up none of the others
    datagrams  datagrams, where they fit in a packet, and the other end knows of what flow they are

A reason for the end is the code with which QUIC closes.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.net.clock import Clock
from meshproxy.net.quic.conn import CONTROL, MOST_UNSENT, ClosedByPeer, QuicConn
from meshproxy.relay.mux.carries import Carries, Owner, Why
from meshproxy.wire.mux.frames import Closed, Fault, Frames, Kind, Reason, frame
from meshproxy.wire.mux.hello import Hello
from meshproxy.wire.mux.lanes import Lanes, is_datagram, stream_of
from meshproxy.wire.mux.link import Link

LANES = 64
PIECE = 16 * 1024
"""Bytes that are pulled at once."""
MOST_EARLY = 1 << 20
"""Bytes that may come by lanes before the hello, which was lost on its way and comes again."""
LARGEST_DATAGRAM = 1100
"""Bytes of a frame with its head that surely fit in a packet."""
_ROOM_FOR_WORDS = 256


class QuicCarrier(Carries):
    __slots__ = ("_early", "_early_size", "_lanes", "_ours", "_theirs", "conn")

    def __init__(
        self, clock: Clock, conn: QuicConn, owner: Owner, within: float, after: Callable[[Why], None] | None = None
    ) -> None:
        super().__init__(clock, owner, within, after)
        self._early: dict[int, bytearray] = {}
        self._early_size = 0
        self._lanes = Lanes(LANES)
        self._ours = {0: CONTROL}
        """The QUIC stream of each lane."""
        self._theirs: dict[int, Frames] = {}
        """What reads each of the peer's."""
        self.conn = conn
        conn.handler = self

    def say(self, hello: Hello) -> None:
        self.conn.write(CONTROL, frame(Kind.HELLO, 0, 0, bytes(hello)))

    def _read_on(self) -> None:
        rest, self._buffer = self._buffer, b""
        early, self._early = self._early, {}
        for stream, data in ((CONTROL, rest), *early.items()):
            if data:
                self.came(stream, bytes(data))

    def flush(self) -> None:
        self.conn.flush()

    def close(self, why: Fault | None = None) -> None:
        if self.over:
            return
        self._leave(why)
        if why is None:
            self.conn.close()
        else:
            self.conn.close(why.reason, str(why)[:_ROOM_FOR_WORDS])

    # From the connection

    def came(self, stream: int, data: bytes) -> None:
        if self.over:
            return
        self.heard_at = self._clock.now()
        try:
            if self.link is not None:
                self._lane(self.link, stream).feed(data)
                self._owner.heard(self)
            elif stream == CONTROL:
                self._greeted(self._buffer + data)
            else:
                self._keep(stream, data)
        except Fault as fault:
            self.close(fault)

    def datagram(self, data: bytes) -> None:
        if self.over or self.link is None:
            return
        self.heard_at = self._clock.now()
        try:
            if not is_datagram(data):
                raise Fault(Reason.OUT_OF_STATE, "what is no frame that may be lost comes as a datagram")
            self.link.lane().feed(data)
        except Fault as fault:
            self.close(fault)

    def room(self) -> None:
        """Asked for as late as can be: what comes last may have to go first."""
        conn, link = self.conn, self.link
        if link is None:
            return
        self._lanes.keep(link.streams)
        left = MOST_UNSENT - conn.unsent
        while left > 0 and not self.over:
            data = b"".join(link.pull(min(left, PIECE)))
            if not data:
                break
            left -= len(data)
            for lane, each in self._lanes.sort(data):
                if len(each) <= LARGEST_DATAGRAM and is_datagram(each) and link.knows(stream_of(each)):
                    conn.send_datagram(each)
                else:
                    conn.write(self._stream(lane), each)

    def lost(self, error: OSError | None = None) -> None:
        """The other end is not there any more, or has said that it is not going to be."""
        self.conn.close()
        if isinstance(error, ClosedByPeer):
            self._leave(Closed(error.code))
        else:
            self._leave(error)

    def _stream(self, lane: int) -> int:
        stream = self._ours.get(lane)
        if stream is None:
            stream = self._ours[lane] = self.conn.new_stream()
        return stream

    def _lane(self, link: Link, stream: int) -> Frames:
        found = self._theirs.get(stream)
        if found is None:
            if len(self._theirs) > LANES:
                raise Fault(Reason.TOO_MANY, f"more than {LANES} lanes are used")
            found = self._theirs[stream] = link.lane()
        return found

    def _keep(self, stream: int, data: bytes) -> None:
        self._early.setdefault(stream, bytearray()).extend(data)
        self._early_size += len(data)
        if self._early_size > MOST_EARLY or len(self._early) > LANES:
            raise Fault(Reason.OVERFLOW, "too much comes before a hello")
