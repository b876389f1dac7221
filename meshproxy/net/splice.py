"""Pipes that carry bytes from socket to socket inside the kernel.

A direction needs a pipe only while it holds bytes that its sink could not take yet.  So a pipe is borrowed for one
read and given back as soon as it is empty: connections that flow freely share one, and the pool bounds those that are
stuck, not those that are open.  Where none is left, the bytes are copied as always.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

PIPE_BYTES = 1 << 20
MOST_PIPES = 64


class Pipe:
    """`held` bytes wait between `entry` and `exit`."""

    __slots__ = ("_pool", "entry", "exit", "held")

    def __init__(self, pool: Pipes) -> None:
        self._pool = pool
        self.exit, self.entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        # A user over his share of pipe memory gets a smaller pipe, which works as well, only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.entry, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fill(self, source: int, most: int) -> int:
        """Take what the socket has, as far as it is wanted; 0 is its end, or an urgent byte."""
        self.held = os.splice(source, self.entry, min(most, PIPE_BYTES))
        return self.held

    def drain(self, sink: int) -> int:
        """Hand on what the socket takes."""
        size = os.splice(self.exit, sink, self.held)
        self.held -= size
        return size

    def release(self) -> None:
        self._pool.give_back(self)

    def close(self) -> None:
        os.close(self.entry)
        os.close(self.exit)


class Pipes:
    """The pool; one for all connections of a worker."""

    __slots__ = ("_free", "_made", "_most")

    def __init__(self, most: int = MOST_PIPES) -> None:
        self._most = most
        self._made = 0
        self._free: list[Pipe] = []

    def take(self) -> Pipe | None:
        if self._free:
            return self._free.pop()
        if self._made >= self._most:
            return None
        try:
            pipe = Pipe(self)
        except OSError:
            return None
        self._made += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """An empty pipe serves the next; one with bytes in it has lost its sink, and goes."""
        if pipe.held:
            self._made -= 1
            pipe.close()
        else:
            self._free.append(pipe)

    def close(self) -> None:
        for pipe in self._free:
            pipe.close()
        self._made -= len(self._free)
        self._free.clear()
