"""A descriptor to which whole lines are written: used by one thread, which may wait in any of its calls.

The thread is there for the kernel's sake.  A descriptor like standard output is shared with other processes, and so is
its O_NONBLOCK: to set it would break whoever else writes there.  And no flag keeps a write to a file from waiting for
its disk, or for a server that does not answer any more.

Others may write to the same place, other workers above all.  A file is opened to append, so a write is one piece
however long it is.  Of a pipe that holds for so many bytes as the kernel promises, and no piece is longer, unless one
line is.
"""

from __future__ import annotations

import os
import select
import stat
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate

from meshproxy.net.dial import bare

TO_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY
MODE = 0o640
"""Of a file that was not there, less the umask: who may read it sees who asked for what."""
IN_ONE_PIECE = select.PIPE_BUF - 1
"""Bytes; one more may be an end of a line that was torn."""
END = b"\n"
ALL = 1 << 62


def file(path: str) -> int:
    return os.open(path, TO_APPEND, MODE)


class Output:
    def __init__(self, open: Callable[[], int]) -> None:
        self._open = open
        self._fd: int | None = None
        self._piece = ALL
        self._torn = False
        """Whether a line was begun that has not ended."""

    def write(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """How many of them are written whole, and why not all.  After a failure it is opened anew."""
        ends = [0, *accumulate(map(len, lines))]
        done = 0
        try:
            fd = self._opened()
            while done < len(lines):
                upto = max(bisect_right(ends, ends[done] + self._piece) - 1, done + 1)
                sent, error = _written(fd, (END if self._torn else b"") + b"".join(lines[done:upto]))
                if error is not None:
                    self.close()
                    return self._whole(ends, done, sent), error
                self._torn = False
                done = upto
        except OSError as error:
            self.close()
            return done, bare(error)
        return done, None

    def reopen(self) -> None:
        """Raises OSError; then it is tried again with the next lines."""
        self.close()
        self._torn = False
        self._opened()

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            # What NFS has to say here is of lines that it has taken
            with suppress(OSError):
                os.close(fd)

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = self._open()
            self._piece = ALL if stat.S_ISREG(os.fstat(self._fd).st_mode) else IN_ONE_PIECE
        return self._fd

    def _whole(self, ends: Sequence[int], done: int, sent: int) -> int:
        """How many lines stand there whole, where so many bytes more do."""
        if not sent:
            return done
        reached = ends[done] + sent - self._torn
        whole = bisect_right(ends, reached) - 1
        self._torn = reached > ends[whole]
        return whole


def _written(fd: int, data: bytes) -> tuple[int, OSError | None]:
    rest = memoryview(data)
    try:
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                _await_room(fd)  # somebody else has set O_NONBLOCK
    except OSError as error:
        return len(data) - len(rest), bare(error)
    return len(data), None


def _await_room(fd: int) -> None:
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    waiting.poll()
