"""Sinks that are descriptors: files, standard output and standard error, each written to by a thread of its own.

    FileSink(clock, Aside(loop, "log"), "/var/log/meshproxy/access.log", Account("access", stats, log))
    StreamSink(clock, Aside(loop, "log"), 1, Account("stdout", stats, log))

One that hangs, as a pipe that nobody reads or a file whose server is gone, holds up its own thread and nobody else.  A
thread begins with the first batch, and so after the fork of the worker, and does not keep a process from ending.
"""

from __future__ import annotations

import os
from functools import partial

from meshproxy.net.aside import Thread
from meshproxy.net.clock import Clock
from meshproxy.net.sinks.output import Output, file
from meshproxy.net.sinks.waiting import Account, Waiting

PAUSE = 1.0
"""Seconds from a failure to the next attempt."""


class DescriptorSink(Waiting):
    def __init__(self, clock: Clock, aside: Thread, output: Output, account: Account) -> None:
        super().__init__(clock, account)
        self._output = output
        self._aside = aside
        self._under_way = False

    def _send(self) -> None:
        self._under_way = True
        self._aside.do(partial(self._output.write, self._lines.copy()), self._told)

    def _told(self, result: tuple[int, OSError | None] | None, fault: Exception | None) -> None:
        self._under_way = False
        written, error = result or (0, fault)
        self._wrote(written)
        if self._closed:
            self._stop()
        elif error is not None:
            self._failed(error, PAUSE)
        else:
            self._over()

    def _stop(self) -> None:
        if self._under_way:
            # What becomes of it is told, and then this comes again
            return
        self._drop(len(self._lines))
        self._aside.do(self._output.close, lambda *_: None)
        self._aside.end()


class StreamSink(DescriptorSink):
    """What was open before this process was, such as standard output."""

    def __init__(self, clock: Clock, aside: Thread, fd: int, account: Account) -> None:
        super().__init__(clock, aside, Output(partial(os.dup, fd)), account)


class FileSink(DescriptorSink):
    """A file; or a FIFO, of which it waits for the reader."""

    def __init__(self, clock: Clock, aside: Thread, path: str, account: Account) -> None:
        super().__init__(clock, aside, Output(partial(file, path)), account)
        self._reopening = False
        self._reopen_again = False

    def reopen(self) -> None:
        """After what is under way, which belongs to the old file.  It is let go of at once, and not with the next line:
        whoever has moved it waits for that."""
        if self._reopening:
            self._reopen_again = True
        elif not self._closed:
            self._reopening = True
            self._aside.do(self._output.reopen, self._reopened)

    def _reopened(self, _: None, fault: Exception | None) -> None:
        self._reopening = False
        if fault is not None:
            self._fault(fault)
        if self._reopen_again:
            self._reopen_again = False
            self.reopen()
