"""A connection without a descriptor: what comes is given to it, and waits here until it is read.

Whoever has what carries it says what comes (`came`), that nothing more comes just now (`read_on`), that there is room
again (`room`), and that it has failed (`_failed`); a subclass says how it is held back, and how it writes and ends.  To
all others it is a `Conn`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from meshproxy.net.conn import ENDED, FAILED, LARGE_READ, Conn, Flow
from meshproxy.net.splice import Pipes

SMALL = 1024
"""Bytes of a piece that does not stand alone: it would cost much more than its bytes, which are what is bounded."""


class Given(Conn):
    __slots__ = ("_came", "_last")

    spliceable = False

    def _begin_given(self, early: bytes = b"") -> None:
        """`early` is read before anything else."""
        self._came: deque[bytes] = deque((early,) if early else ())
        self._last = False
        """Whether nothing comes behind these."""

    # From whoever has what carries it

    def came(self, data: bytes, last: bool) -> None:
        came = self._came
        if came and len(data) < SMALL and len(came[-1]) < SMALL:
            came[-1] += data
        elif data:
            came.append(data)
        self._last = self._last or last

    def read_on(self) -> None:
        while not self._paused and (self._came or self._last):
            self._reader()
        if not self._paused:
            self._let_come()

    def full_now(self) -> None:
        if not self.full:
            self.full = True
            if self.fed_by is not None:
                self.fed_by.hold()

    def room(self) -> None:
        self.full = False
        if self.fed_by is not None:
            self.fed_by.release()
        if self._ending:
            self._shut()

    def _hold_back(self) -> None:
        """What comes is not taken for now."""

    def _let_come(self) -> None:
        """All that had come has been taken; said again and again."""

    def _took(self, size: int) -> None:
        """So many bytes have been read."""

    # Reading

    def look(self) -> None:
        """No loop is spared anything by waiting."""
        self.start()

    def pour(self, flow: Flow, sink: Conn, pipes: Pipes) -> None:
        """Nothing moves in the kernel."""

    def _pause(self, reason: int) -> None:
        if not self._paused:
            self._hold_back()
        self._paused |= reason

    def _resume(self, reason: int) -> None:
        if self._paused & reason:
            self._paused &= ~reason
            self._loop.call_soon(self.read_on)

    def _read_by(self, reader: Callable[[], None]) -> None:
        self._reader = reader
        self._loop.call_soon(self.read_on)

    def _read_to_taker(self) -> None:
        if data := self._read():
            self._take(data)

    def _read(self) -> bytes:
        came = self._came
        if not came:
            if self._last and not self._paused & ENDED:
                self._read_end()
            return b""
        data = came.popleft()
        if came:
            pieces, size = [data], len(data)
            while came and size + len(came[0]) <= LARGE_READ:
                pieces.append(came.popleft())
                size += len(pieces[-1])
            data = b"".join(pieces)
        self.received += len(data)
        self._took(len(data))
        return data

    # Writing

    def end(self) -> None:
        self._ending = True
        if not self.full:
            self._shut()

    @property
    def unsent(self) -> int:
        return 0

    def limit_unsent(self, most: int) -> None:
        """There is no kernel that has anything of it."""

    # The end

    def _listen_for_failure(self) -> None:
        """It is told."""

    def _failed(self, error: OSError) -> None:
        """What had come before is still read, as much as is taken at once."""
        self._write_over = True
        self._last = False
        self._paused |= FAILED
        while self._paused == FAILED and self._came:
            self._reader()
        self._lost(error)
