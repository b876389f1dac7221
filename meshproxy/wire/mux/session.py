"""One end of a tunnel: streams that outlive the links that carry them.

    session = Session(Role.DIALS, Terms(), handler, now)
    link = session.attach()                 # a connection is there; `link.feed` what comes, send what `link.pull` gives
    stream = session.open(b"metadata")
    session.put(stream, b"GET ...")         # False: enough for now; `handler.room` tells when there is room
    session.send_datagram(stream, b"...")   # that may be lost; False: it is
    session.detach(link)                    # it is lost: what was on it is sent again by the next one

Nothing here knows of sockets.  Whoever has a link pulls when it can send, as little as it can: what goes first is
decided at the last moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Protocol

from meshproxy.wire.mux.classes import Classes
from meshproxy.wire.mux.frames import DATA, END, HEAD, LIMIT, SIZE, Closed, Fault, Kind, Reason, frame
from meshproxy.wire.mux.held import Held, Room
from meshproxy.wire.mux.link import Link, Stream
from meshproxy.wire.mux.numbers import Numbers
from meshproxy.wire.mux.stream import Receiving, Sending
from meshproxy.wire.mux.terms import Role, Terms

MOST_ANSWERS = 64 * 1024
"""Bytes that a peer may make us say which it does not take."""
MOST_GONE = 16 * 1024
"""Streams of which nothing is known, and of which a peer may make us say so, which it does not take."""
MOST_PIECES = 64 * 1024
"""That have come before their turn, of all streams: small ones cost more than the bytes that are in them."""
MOST_REFUSED = 2
"""Streams that are refused and not let go of, for each that is taken."""
LARGEST_METADATA = 4096
LEAST = 1024
"""Bytes of a frame for which there would be less room: ever smaller ones would come of ever less."""


class Handler(Protocol):
    """Who uses a session."""

    def opened(self, stream: int, metadata: bytes) -> None: ...

    def came(self, stream: int, data: bytes, last: bool) -> None:
        """Whoever has done with the bytes says so by `taken`."""

    def reset(self, stream: int, reason: int) -> None:
        """By the other end, or because that knows nothing of it."""

    def over(self, stream: int) -> None:
        """All has come and gone, or it was reset here."""

    def room(self, stream: int) -> None:
        """More may be put."""

    def datagram(self, flow: int, data: bytes) -> None:
        """Of a stream that is not over."""

    def leaving(self) -> None:
        """The other end is going to close a link."""

    def wake(self) -> None:
        """There is something to pull."""


class Session:
    def __init__(self, role: Role, terms: Terms, handler: Handler, now: Callable[[], float], peer: Terms) -> None:
        """`peer` is what the other end has said that it takes."""
        self._terms = terms
        self._peer = peer
        self._handler = handler
        self._now = now
        self._streams: dict[int, Stream] = {}
        self._resets: dict[int, int] = {}
        """Streams of which the peer has not said yet that it knows nothing any more, with the reason."""
        self._numbers = Numbers(role, terms.streams)
        self._theirs = 0
        """Of the peer's: those that are open, and those of which it has yet to let go."""
        self._granted = 0
        """Bytes of all windows."""
        self._kept = 0
        self._pieces = 0
        """That have come before their turn."""
        self._links: list[Link] = []
        self._classes = Classes(terms.classes, now)
        self.written = self.received = 0
        """Bytes of streams."""
        self._untold: set[int] = set()
        """Streams of which the peer has something to hear, though it can wait."""
        self._rooms = [Room() for _ in terms.classes]
        """For the datagrams of each class."""
        self.datagrams: Counter[str] = Counter()
        """How many were `sent` and `received`, and why others were not: `full`, `late`, `unknown`."""

    # For who uses it

    def open(self, metadata: bytes, klass: int = 0) -> int | None:
        """None: the peer takes no more of them now."""
        ours = len(self._streams) + len(self._resets) - self._theirs
        number = self._numbers.next() if ours < self._peer.streams else None
        if number is not None:
            self._begin(number, klass, metadata)
        return number

    def rank(self, number: int, klass: int) -> None:
        """What the peer has opened has this class; said before anything is put."""
        self._streams[number].klass = klass

    def put(self, number: int, data: bytes) -> bool:
        """False: enough for now."""
        stream = self._streams[number]
        self.written += len(data)
        stream.sending.put(data)
        self._kept += len(data)
        self._queue(stream)
        stream.stuck = self._full(stream)
        return not stream.stuck

    def end(self, number: int) -> None:
        stream = self._streams[number]
        stream.sending.ended = True
        self._queue(stream)

    def taken(self, number: int, size: int) -> None:
        """Somebody has done with so many bytes of a stream."""
        stream = self._streams.get(number)
        if stream is not None:
            receiving = stream.receiving
            receiving.consumed(size)
            self._granted += receiving.widen(self._terms.widest, self._terms.budget - self._granted)
            self._progress(stream)

    def reset(self, number: int, reason: Reason) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._forget(stream)
            self._handler.over(number)
            self._hold(number, reason)
            if self._links:
                self._owe(self._links[0], number)

    def send_datagram(self, flow: int, data: bytes) -> bool:
        """In the turns of that stream; False: it is lost, for there is no room, or nobody takes it now."""
        stream = self._streams.get(flow)
        if stream is None or stream.sending.ended or not self._links:
            self.datagrams["full"] += 1
            return False
        if stream.held is None:
            stream.held = Held(self._rooms[stream.klass], self._now, self.datagrams)
        if not stream.held.put(data):
            return False
        self._queue(stream)
        return True

    @property
    def streams(self) -> Collection[int]:
        return self._streams.keys()

    @property
    def waiting(self) -> int:
        """Streams that have something to send."""
        return self._classes.waiting

    @property
    def kept(self) -> int:
        return self._kept

    def knows(self, number: int) -> bool:
        """Whether the peer has heard of a stream."""
        stream = self._streams.get(number)
        return stream is not None and stream.metadata is None

    def tell(self) -> None:
        """What can wait has waited; call this now and then."""
        for number in tuple(self._untold):
            stream = self._streams.get(number)
            if stream is not None:
                self._acknowledge(stream)
        self._untold.clear()

    def wait(self) -> float | None:
        """Seconds until somebody may send who may not now; None: nobody is held back."""
        return self._classes.wait()

    # Links

    def attach(self, carries: Collection[int] | None = None) -> Link:
        link = Link(self, carries)
        self._links.append(link)
        link.owed.update(dict.fromkeys(self._resets))
        link.owed.update((stream.number, None) for stream in self._streams.values() if stream.announced)
        link.say(frame(Kind.SYNCED, 0, 0))
        return link

    def detach(self, link: Link) -> None:
        """What it carried may be lost."""
        self._links.remove(link)
        alone = not self._links
        for stream in self._streams.values():
            if link in stream.links or alone:
                stream.links.discard(link)
                stream.link = None
                stream.announced = stream.metadata is None
                # Of one of which the peer knows it is going to say how much it has, before it is sent again.
                stream.unsure = alone and stream.announced
                stream.sending.again()
                self._queue(stream)
        # An acknowledgement, or a reset, may have been lost with it as well; a new link begins with all of them.
        if self._links:
            self._untold.update(stream.number for stream in self._streams.values() if stream.announced)
            self._links[0].owed.update(dict.fromkeys(self._resets))

    def pull(self, link: Link, most: int) -> list[bytes]:
        found: list[bytes] = []
        size = 0
        owed, said = link.owed, link.said
        while owed and size < most:
            found.append(self._news(owed.popitem(last=False)[0]))
            size += len(found[-1])
        while said and size < most:
            found.append(said.popleft())
            size += len(found[-1])
            link.said_size -= len(found[-1])
        stays: list[tuple[int, int]] = []
        while size < most:
            turn = self._classes.next(link.carries)
            if turn is None:
                break
            klass, number = turn
            stream = self._streams.get(number)
            if stream is None:
                continue
            if stream.metadata is not None and stream.link not in (None, link):
                # Nothing may come before the frame that opens it: that is on its way by another link.
                stays.append(turn)
                continue
            stream.queued = False
            if not stream.ready:
                continue
            before = size
            if stream.link is not link:
                stream.link = link
                stream.links.add(link)
            if not stream.announced:
                assert stream.metadata is not None
                stream.announced = True
                found.append(frame(Kind.OPEN, number, stream.receiving.limit, stream.metadata))
                size += len(found[-1])
            if stream.held:
                # Its end, if that is there, goes behind them.
                datagrams = stream.held.next(number, self._terms.frame)
                found += datagrams
                size += sum(map(len, datagrams))
            elif stream.sending.ready:
                # Where nobody waits behind it, nobody is held up by a long one.
                alone = not self._classes.waiting
                offset, data, last = stream.sending.next(max(most - size, LEAST) if alone else self._terms.frame)
                found += (HEAD.pack(DATA, last, len(data), number, offset), data)
                size += SIZE + len(data)
            self._classes.sent(klass, size - before)
            self._queue(stream)
        for klass, number in stays:
            self._classes.add(klass, number)
        return found

    # What comes

    def take(self, link: Link, kind: int, flags: int, number: int, value: int, data: bytes) -> None:
        """A frame.  Raises Fault."""
        if kind == DATA:
            self._data(link, number, value, data, bool(flags))
        elif kind == Kind.ACK:
            self._acked(number, value, data, bool(flags))
        elif kind == Kind.OPEN:
            self._opened(link, number, value, data)
        elif kind == Kind.RESET:
            self._reset(link, number, value)
        elif kind == Kind.GONE:
            self._gone(number)
        elif kind == Kind.DATAGRAM:
            self._datagram(number, data)
        elif kind == Kind.PING:
            link.say(frame(Kind.PONG, 0, value))
            if link.said_size > MOST_ANSWERS:
                raise Fault(Reason.OVERFLOW, "answers are not taken")
            self._handler.wake()
        elif kind == Kind.PONG:
            link.pong(value, self._now())
        elif kind == Kind.SYNCED:
            self._synced(link)
        elif kind == Kind.LEAVING:
            link.leaving = True
            self._handler.leaving()
        elif kind == Kind.CLOSE:
            raise Closed(value)
        else:
            raise Fault(Reason.OUT_OF_STATE, f"a frame of kind {kind} comes where none may")

    def _opened(self, link: Link, number: int, limit: int, metadata: bytes) -> None:
        numbers = self._numbers
        numbers.may_open(number)
        if not numbers.is_unheard(number):
            if number not in self._streams:
                self._unknown(link, number)
            return
        if len(metadata) > LARGEST_METADATA:
            raise Fault(Reason.MALFORMED, "a stream says too much of what it is for")
        numbers.open(number)
        # Twice as many: what has ended may be known to the one end before the other, above all where a link was lost.
        if self._theirs >= (2 + MOST_REFUSED) * self._terms.streams:
            raise Fault(Reason.TOO_MANY, "streams are opened though others that were reset are not let go of")
        if self._theirs >= 2 * self._terms.streams:
            self._hold(number, Reason.TOO_MANY)
            self._owe(link, number)
            return
        self._theirs += 1
        stream = self._begin(number, 0, None, limit)
        self._untold.add(stream.number)
        self._handler.opened(number, metadata)

    def _data(self, link: Link, number: int, offset: int, data: bytes, last: bool) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self._numbers.heard_of(number)
            if self._numbers.is_theirs(number) and self._numbers.is_unheard(number):
                raise Fault(Reason.OUT_OF_STATE, f"stream {number} was not opened")
            self._unknown(link, number)
            return
        receiving = stream.receiving
        whole, pieces = receiving.whole, receiving.pieces
        new = receiving.take(offset, data, last)
        if receiving.pieces != pieces:
            self._pieces += receiving.pieces - pieces
            if self._pieces > MOST_PIECES:
                raise Fault(Reason.OVERFLOW, "too many pieces come before their turn")
        ended = receiving.whole and not whole
        if receiving.whole:
            # By the same link: where that is lost, who has sent it knows that nothing of this may have come.
            self._untold.discard(number)
            self._owe(link, number)
        else:
            # Whoever takes it makes room, of which the other end hears at once.
            self._untold.add(number)
        if new or ended:
            self.received += len(new)
            self._handler.came(number, new, ended)
            if stream.over:
                self._done_with(stream)

    def _datagram(self, number: int, data: bytes) -> None:
        """Of a flow that is over, or that was never there: those are lost that come too late, or too early."""
        if number in self._streams:
            self.datagrams["received"] += 1
            self._handler.datagram(number, data)
        else:
            self.datagrams["unknown"] += 1

    def _acked(self, number: int, offset: int, data: bytes, last: bool) -> None:
        if len(data) != LIMIT.size:
            raise Fault(Reason.MALFORMED, "an acknowledgement says no limit")
        stream = self._streams.get(number)
        if stream is None:
            self._numbers.heard_of(number)
            return
        if stream.metadata is not None:
            stream.metadata, stream.announced = None, True
            self._handler.wake()  # any link may carry it now
        (limit,) = LIMIT.unpack(data)
        self._kept -= stream.sending.acknowledged(offset, limit, last)
        if stream.over:
            self._done_with(stream)
            return
        if stream.sending.acked == stream.sending.sent and len(stream.links) > 1:
            stream.links = {stream.link} if stream.link is not None else set()
        self._queue(stream)
        if stream.stuck and not self._full(stream):
            stream.stuck = False
            self._handler.room(number)

    def _reset(self, link: Link, number: int, reason: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._forget(stream)
            self._handler.reset(number, reason)
        elif number in self._resets:
            self._let_go(number)
        else:
            self._numbers.heard_of(number)
            if self._numbers.is_theirs(number) and self._numbers.is_unheard(number):
                self._numbers.open(number)  # it is over before it was opened
        self._unknown(link, number)

    def _gone(self, number: int) -> None:
        self._numbers.heard_of(number)
        self._let_go(number)
        stream = self._streams.get(number)
        if stream is None:
            return
        # Who has all of it, and knows that we have all of theirs, forgets it.
        if stream.sending.ended and stream.receiving.whole:
            self._done_with(stream)
        else:
            self._forget(stream)
            self._handler.reset(number, Reason.EXPIRED)

    def _synced(self, link: Link) -> None:
        if link.synced:
            raise Fault(Reason.OUT_OF_STATE, "all was acknowledged before")
        link.synced = True
        for stream in self._streams.values():
            if stream.unsure:
                stream.unsure = False
                self._queue(stream)

    def _unknown(self, link: Link, number: int) -> None:
        """The peer is to hear that it can let go of it."""
        self._owe(link, number)
        if len(link.owed) - len(self._streams) - len(self._resets) > MOST_GONE:
            raise Fault(Reason.OVERFLOW, "answers are not taken")

    # Streams

    def _begin(self, number: int, klass: int, metadata: bytes | None, limit: int | None = None) -> Stream:
        window = self._terms.window
        self._granted += window
        sending = Sending(self._peer.window if limit is None else limit)
        stream = self._streams[number] = Stream(number, klass, sending, Receiving(window), metadata)
        self._queue(stream)
        return stream

    def _done_with(self, stream: Stream) -> None:
        self._forget(stream)
        self._handler.over(stream.number)

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.number]
        self._theirs -= self._numbers.is_theirs(stream.number)
        self._granted -= stream.receiving.window
        self._kept -= stream.sending.kept
        self._pieces -= stream.receiving.pieces
        if stream.held is not None:
            stream.held.clear()

    def _hold(self, number: int, reason: int) -> None:
        """Its place is taken until the peer has let go of it as well."""
        self._resets[number] = reason
        self._theirs += self._numbers.is_theirs(number)

    def _let_go(self, number: int) -> None:
        if self._resets.pop(number, None) is not None:
            self._theirs -= self._numbers.is_theirs(number)

    def _owe(self, link: Link, number: int) -> None:
        link.owed[number] = None
        self._handler.wake()

    def _news(self, number: int) -> bytes:
        """What the peer hears of a stream now.  Of one that is over that it is gone means that all has come."""
        stream = self._streams.get(number)
        if stream is not None:
            return acknowledgement(stream)
        reason = self._resets.get(number)
        return frame(Kind.GONE, number, 0) if reason is None else frame(Kind.RESET, number, reason)

    def _queue(self, stream: Stream) -> None:
        if stream.ready and not stream.queued:
            stream.queued = True
            self._classes.add(stream.klass, stream.number)
            self._handler.wake()

    def _full(self, stream: Stream) -> bool:
        """What is left is shared with those who come yet; and each may keep a little, so that all of them go on.

        So whoever is full has something of its own on its way, and hears of room when that has come.
        """
        terms = self._terms
        return stream.sending.kept >= max(min(terms.budget - self._kept, terms.widest), terms.window)

    def _progress(self, stream: Stream) -> None:
        """The peer hears of it at once, if it may be waiting."""
        if stream.receiving.owed:
            self._acknowledge(stream)
        else:
            self._untold.add(stream.number)

    def _acknowledge(self, stream: Stream) -> None:
        """On the link that has carried it, or any."""
        self._untold.discard(stream.number)
        if self._links:
            link = stream.link if stream.link in self._links else self._links[0]
            assert link is not None
            self._owe(link, stream.number)


def acknowledgement(stream: Stream) -> bytes:
    received, limit, whole = stream.receiving.tells()
    return frame(Kind.ACK, stream.number, received, LIMIT.pack(limit), END if whole else 0)
