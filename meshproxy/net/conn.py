"""The one owner of a socket.

A `Conn` holds a connected, non-blocking stream socket, gives what it reads to a function or to another connection, and
tells a `Handler` how it ends.  Rules:

1. Only this module reads, writes, pauses or closes the descriptor.  It works on the loop's raw readiness
   callbacks, the same on uvloop and asyncio: `docs/sockets.md` has the figures behind that choice.
2. Reading starts when it is asked for.  Until then early bytes wait in the kernel, which costs nothing.
3. Back-pressure is here and nowhere else.  What the kernel does not take at once is kept, and whoever feeds this
   connection (`fed_by`) is held until it is gone.  A connection keeps the set of reasons for which it is paused and
   reads when the set is empty; so it never holds more than one read for its peer.
4. The two directions end apart.  `on_end` says that the peer will send no more; `end()` tells the peer the same, once
   everything before it is out.
5. `on_lost` comes once and is the last thing a handler hears: with an error, or with None when both directions have
   ended in good order.  It is answered by `close()` or `abort()`, and after these a handler hears nothing at all.
6. A failure is heard whether anything is read or written at the time or not (`net/alarm.py`), and is one of both
   directions.  What the peer had sent before it is still read, but nobody is waited for: as much as is taken at once.
   `write` does not tell of it, so that no handler is called while it writes; that comes when the loop turns next.

`os.read` and `os.write` are used where `recv` and `send` would do the same: their arguments cost less to read.

Two connections may be joined (`relay_to`): what one reads the other writes, and no handler looks at it.  If they may be
spliced, reads that keep filling the buffer move into the kernel (`net/splice.py`), and small ones move back out.

A body may be poured in the same way, and not a byte of what follows it (`pour`):

    conn.read_to(take)             # take(data) counts down body.left, and may ask for what is left to be
    conn.pour(body, sink, pipes)   # take(b""), each time that body.left is less
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable, Sequence
from fcntl import ioctl
from typing import Protocol

from meshproxy.net.alarm import Alarm, alarm_of
from meshproxy.net.splice import PIPE_BYTES, Pipe, Pipes

SMALL_READ = 16 * 1024
LARGE_READ = 120 * 1024
"""A read that fills the small buffer is followed by large ones: far fewer calls for bulk, nothing lost for the rest.

It is below the size from which malloc asks the kernel for each piece anew, which would cost more than all else."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
NO_BYTES = bytes(struct.calcsize("i"))
"""What FIONREAD says of a socket that has nothing to be read."""
SIOCOUTQNSD = 0x894B


# Why a connection is not read, as a set of bits
NOT_STARTED, _PEER_FULL, ENDED, FAILED, CLOSED, NOT_YET, SLOWED, OWING = 1, 2, 4, 8, 16, 32, 64, 128
_OVER = ENDED | CLOSED


class Handler(Protocol):
    def on_end(self, conn: Conn) -> None: ...

    def on_lost(self, conn: Conn, error: OSError | None) -> None: ...


class Feeder(Protocol):
    """Whoever writes to a connection: told to stop when that is full, and to go on when it is not."""

    def hold(self) -> None: ...

    def release(self) -> None: ...


class Sink(Protocol):
    """Where what is read may be written."""

    spliceable: bool
    fed_by: Feeder | None

    def write(self, data: bytes) -> None: ...


class Flow(Protocol):
    """What is poured: so many bytes that nobody looks at."""

    left: int


class _Nobody:
    """Whom a connection has before its start and after its end, when it has nothing to say."""

    def __call__(self, *_: bytes) -> None:
        raise AssertionError("a connection is read that nobody asked to read")

    def on_end(self, conn: Conn) -> None:
        self()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self()


NOBODY = _Nobody()


class Conn:
    __slots__ = (
        "_alarm",
        "_backlog",
        "_ending",
        "_flow",
        "_loop",
        "_paused",
        "_pipe",
        "_pipes",
        "_read_size",
        "_reader",
        "_sink",
        "_take",
        "_write_over",
        "fd",
        "fed_by",
        "full",
        "handler",
        "received",
        "sent",
        "sock",
    )

    spliceable = True
    """Whether bytes may go by inside the kernel: not so where they are counted on their way, or deciphered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.handler: Handler = NOBODY
        self._alarm: Alarm | None = None

        # Reading
        self.received = 0
        self._paused = NOT_STARTED
        self._reader: Callable[[], None] = self._read_to_taker
        self._read_size = SMALL_READ
        self._take: Callable[[bytes], None] = NOBODY
        self._sink: Sink | None = None
        self._pipes: Pipes | None = None
        self._flow: Flow | None = None

        # Writing; a pipe was always taken before anything in the backlog was written
        self.sent = 0
        self.fed_by: Feeder | None = None
        self._pipe: Pipe | None = None
        self._backlog: deque[bytes | memoryview] | None = None
        self.full = False
        """Whether bytes wait here that the peer has not taken."""
        self._ending = False
        self._write_over = False

    # What others ask for

    @property
    def local(self) -> tuple[str, int] | None:
        """The address that the peer connected to; None for a unix socket."""
        name = self.sock.getsockname()
        return (name[0], name[1]) if isinstance(name, tuple) else None

    @property
    def closed(self) -> bool:
        return bool(self._paused & CLOSED)

    @property
    def paced(self) -> bool:
        """Whether it waits because it was fast, and will go on by itself."""
        return False

    def start(self) -> None:
        self._resume(NOT_STARTED | NOT_YET)

    def look(self) -> None:
        """Read what is there; what comes later is read after `start`, or when a second is over.

        Who connects has mostly something to say already, and many have no more to say than that: the loop need not
        know of them.
        """
        if self._paused:
            self._paused = self._paused & ~NOT_STARTED | NOT_YET
        self._reader()

    def come_of_age(self) -> None:
        self._resume(NOT_YET)

    def stop(self) -> None:
        """Leave what comes next in the kernel until `start`."""
        self._pause(NOT_STARTED)

    def unread_end(self) -> None:
        """The peer's end was heard by one who hands the connection on: the next one hears of it too, once it reads."""
        self._resume(ENDED)

    def hold(self) -> None:
        """Whom this feeds is full."""
        self._pause(_PEER_FULL)

    def release(self) -> None:
        self._resume(_PEER_FULL)

    def read_to(self, take: Callable[[bytes], None]) -> None:
        """From now on everything read here is given there, unless it is relayed already."""
        self._take = take
        self._listen_for_failure()

    def pour(self, flow: Flow, sink: Conn, pipes: Pipes) -> None:
        """What is left of this may go there by splice, if both can, reads are large and it would fill one.

        `take` hears of it as of a read of nothing.  It is given what the kernel cannot move, and all that comes after.
        """
        if self._read_size == LARGE_READ and flow.left >= SMALL_READ and self.spliceable and sink.spliceable:
            self._flow = flow
            self._sink = sink
            self._pipes = pipes
            self._read_by(self._pour)

    def relay_to(self, sink: Sink, pipes: Pipes | None) -> None:
        """From now on everything read here is written there, by splice where pipes are given and both can."""
        self._sink = sink
        self._pipes = pipes if self.spliceable and sink.spliceable else None
        sink.fed_by = self
        self._listen_for_failure()
        self._read_by(self._read_to_sink)

    def write(self, data: bytes) -> None:
        if self._backlog is not None:
            self._backlog.append(data)
            return
        if self._write_over:
            return
        try:
            size = os.write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            size = 0
        except OSError as error:
            self._not_written(error)
            return
        self.sent += size
        if size < len(data):
            self._await_room(memoryview(data)[size:])

    def write_all(self, pieces: Sequence[bytes]) -> None:
        self.write(b"".join(pieces))

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has, and has not sent even once."""
        try:
            return int.from_bytes(ioctl(self.fd, SIOCOUTQNSD, NO_BYTES), sys.byteorder)
        except OSError:
            return 0

    def limit_unsent(self, most: int) -> None:
        """The kernel takes no more of such: what is not there yet may still be chosen."""
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)

    def end(self) -> None:
        """Write no more; the peer is told once everything before is out."""
        self._ending = True
        if self._backlog is None:
            self._shut()

    def close(self) -> None:
        if not self._paused & CLOSED:
            self._pause(CLOSED)
            if self._alarm is not None:
                self._alarm.forget(self)
            self._drop_backlog()
            self.sock.close()
            self._forget_all()

    def abort(self) -> None:
        """Close so that the peer sees a failure, not an end."""
        if not self._paused & CLOSED:
            if self.sock.family != socket.AF_UNIX:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close()

    def go_on_from(self, other: Conn) -> None:
        """With its socket, which is read here if it was there.  Nothing may wait in it, and it is closed to all."""
        self.received, self.sent = other.received, other.sent
        if not other._paused:
            self._paused = 0
            self._loop.add_reader(self.fd, self._reader)
        other._paused |= CLOSED
        if other._alarm is not None:
            other._alarm.let_go(other)
        other._forget_all()

    def _forget_all(self) -> None:
        """Who is closed refers to nobody, so that counting references is enough to free it."""
        self._reader = self._take = self.handler = NOBODY
        self._sink = self._flow = self.fed_by = None
        self._write_over = True

    # Reading

    def _pause(self, reason: int) -> None:
        if not self._paused:
            self._loop.remove_reader(self.fd)
        self._paused |= reason

    def _resume(self, reason: int) -> None:
        if self._paused & reason:
            self._paused &= ~reason
            if not self._paused:
                self._loop.add_reader(self.fd, self._reader)

    def _read_by(self, reader: Callable[[], None]) -> None:
        self._reader = reader
        if not self._paused:
            self._loop.add_reader(self.fd, reader)

    def _read_to_taker(self) -> None:
        try:
            data = os.read(self.fd, self._read_size)
        except OSError as error:
            self._not_read(error)
            return
        size = len(data)
        if 0 < size < SMALL_READ:
            # By far the most: there is nothing to decide.
            self._read_size = SMALL_READ
            self.received += size
            take = self._take
            take(data)
        elif self._has_read(size):
            self._take(data)

    def _read_to_sink(self) -> None:
        if data := self._read():
            if self._pipes is not None and self._read_size == LARGE_READ:
                self._read_by(self._splice_to_sink)
            self._sink.write(data)  # type: ignore[union-attr]

    def _read(self) -> bytes:
        try:
            data = os.read(self.fd, self._read_size)
        except OSError as error:
            self._not_read(error)
            return b""
        self._has_read(len(data))
        return data

    def _not_read(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError | InterruptedError):
            self._lost(error)

    def _has_read(self, size: int) -> bool:
        """Whether it was anything."""
        self.received += size
        if size == self._read_size:
            self._read_size = LARGE_READ
        elif size < SMALL_READ:
            self._read_size = SMALL_READ
            if not size:
                self._read_end()
        return size > 0

    def _splice_to_sink(self) -> None:
        size = self._splice(PIPE_BYTES)
        if size < SMALL_READ and not self._paused & _OVER:
            self._read_by(self._read_to_sink)
            if not size:
                self._read_to_sink()

    def _pour(self) -> None:
        flow = self._flow
        assert flow is not None
        size = self._splice(flow.left)
        flow.left -= size
        if self._paused & _OVER:
            return
        if not flow.left:
            self._read_size = SMALL_READ
            self._stop_pouring()
            if ioctl(self.fd, termios.FIONREAD, NO_BYTES) != NO_BYTES:
                # Whoever hears of the end hears at once of what follows.
                size = 0
        elif size < SMALL_READ:
            self._stop_pouring()
        if size:
            self._take(b"")
        else:
            self._read_to_taker()

    def _stop_pouring(self) -> None:
        self._flow = self._sink = None
        self._read_by(self._read_to_taker)

    def _splice(self, most: int) -> int:
        """What the sink has got, or its pipe; 0 where an ordinary read must do it, or has nothing to do any more."""
        sink, pipes = self._sink, self._pipes
        assert isinstance(sink, Conn)
        assert pipes is not None
        pipe = pipes.take() if sink._backlog is None and not sink._write_over else None
        if pipe is None:
            return 0
        try:
            size = pipe.fill(self.fd, most)
        except (BlockingIOError, InterruptedError):
            size = 0
        except OSError as error:
            pipe.release()
            self._lost(error)
            return 0
        if size < SMALL_READ:
            self._read_size = SMALL_READ
        if size:
            self.received += size
            sink._write_from(pipe)
        else:
            # To splice, an urgent byte is an end, or nothing for ever.  `read` steps over it, and knows a real end.
            pipe.release()
        return size

    def _read_end(self) -> None:
        self._pause(ENDED)
        if not self._paused & FAILED:
            self.handler.on_end(self)
            self._lost_if_over()

    # Writing

    def _write_from(self, pipe: Pipe) -> None:
        try:
            self.sent += pipe.drain(self.fd)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            pipe.release()
            self._not_written(error)
            return
        if pipe.held:
            self._pipe = pipe
            self._await_room()
        else:
            pipe.release()

    def _not_written(self, error: OSError) -> None:
        """Whoever writes is in the middle of something, and must not find itself ended when that returns."""
        self._write_over = True
        self._pause(FAILED)
        self._loop.call_soon(self._failed, error)

    def _await_room(self, *rest: memoryview) -> None:
        self._backlog = deque(rest)
        self.full = True
        self._loop.add_writer(self.fd, self._on_room)
        if self.fed_by is not None:
            self.fed_by.hold()

    def _on_room(self) -> None:
        try:
            if not self._write_backlog():
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._failed(error)
            return
        self._drop_backlog()
        if self.fed_by is not None:
            self.fed_by.release()
        if self._ending:
            self._shut()

    def _write_backlog(self) -> bool:
        """Write what waits; False if something still does."""
        if self._pipe is not None:
            self.sent += self._pipe.drain(self.fd)
            if self._pipe.held:
                return False
        backlog = self._backlog
        while backlog:
            chunk = backlog[0]
            size = os.write(self.fd, chunk)
            self.sent += size
            if size < len(chunk):
                backlog[0] = memoryview(chunk)[size:]
                return False
            backlog.popleft()
        return True

    def _drop_backlog(self) -> None:
        if self._backlog is not None:
            self._backlog = None
            self.full = False
            self._loop.remove_writer(self.fd)
        if self._pipe is not None:
            self._pipe.release()
            self._pipe = None

    def _shut(self) -> None:
        if self._write_over:
            return
        if not self._paused & ENDED:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self._failed(error)
                return
        # Where the peer has ended too, the close that follows `on_lost` says the same.
        self._write_over = True
        self._lost_if_over()

    # Both

    def _listen_for_failure(self) -> None:
        if self._alarm is None:
            self._alarm = alarm_of(self._loop)
            self._alarm.watch(self)

    def look_for_failure(self) -> None:
        # None, where both have ended in good order.
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._failed(OSError(code, os.strerror(code)))

    def _failed(self, error: OSError) -> None:
        """Nothing more comes or goes but what had come before, as far as it is taken at once."""
        self._write_over = True
        self._drop_backlog()
        # The loop is of no use any more: uvloop has given the socket up.
        self._pause(FAILED)
        before = -1
        while self._paused == FAILED and self.received > before:
            before = self.received
            self._reader()
        self._lost(error)

    def _lost_if_over(self) -> None:
        if self._write_over and self._paused & ENDED and not self._paused & CLOSED:
            self._lost(None)

    def _lost(self, error: OSError | None) -> None:
        self._pause(ENDED)
        if not self._paused & CLOSED:
            self.handler.on_lost(self, error)
