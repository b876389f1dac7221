"""The process that workers are forked from: small, without threads or a loop, with all modules loaded.

    supervisor ──── nursery ──── worker, worker ...

A supervisor that forked by itself would copy its threads' locks and its loop in whatever state they are.  The nursery
is forked from it before it has any, forks workers when told to, tells of their deaths, and sees to it that none of
them outlives the supervisor by more than a moment.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from meshproxy.net.channel import Channel, Message, pair
from meshproxy.wire import control

ORPHANS_MAY_TAKE = 4.0
"""Seconds in which workers end by themselves when the supervisor is gone; then they are killed."""
LOOK_EVERY = 0.05
SHORT_LOOK = 0.005

Serve = Callable[[socket.socket, int], None]
"""What a new worker does with its end of a channel, and its number; when it returns, the worker has ended."""


class Death(NamedTuple):
    pid: int
    reason: str


class Nursery:
    """The supervisor's handle."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._sock = sock
        self.pid = pid

    @classmethod
    def begin(cls, serve: Serve, not_theirs: Iterable[socket.socket]) -> Nursery:
        """Fork it.  To be called while this process has one thread and no loop.

        A copy of a listening socket would keep it listening when everybody else has closed it, so it gets none.
        """
        ours, theirs = pair()
        gc.collect()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            for sock in (ours, *not_theirs):
                sock.close()
            _end_with(lambda: _Forker(theirs, serve).run())
        theirs.close()
        return cls(ours, pid)

    def open(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        born: Callable[[int, int], None],
        died: Callable[[Death], None],
        lost: Callable[[], None],
    ) -> None:
        """Hear of workers by number and process id, of deaths, and of the nursery's own."""

        def heard(message: Message) -> None:
            if message.kind == "born":
                born(message.fields["number"], message.fields["pid"])
            else:
                died(Death(message.fields["pid"], message.fields["reason"]))

        self._channel = Channel(loop, self._sock)
        self._channel.open(heard, lost)

    def fork(self, number: int) -> socket.socket:
        """Have a worker made; the answer is our end of a channel to it."""
        ours, theirs = pair()
        self._channel.send("fork", sockets=[theirs], number=number)
        return ours

    def kill(self, pid: int) -> None:
        """Not by ourselves: only who forked it knows that the number is still its own."""
        self._channel.send("kill", pid=pid)

    def close(self) -> None:
        """The nursery ends when its workers have.  One that does not is killed, and they end as orphans do."""
        self._channel.close()
        until = time.monotonic() + ORPHANS_MAY_TAKE + 1
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > until:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(SHORT_LOOK)


class _Forker:
    def __init__(self, sock: socket.socket, serve: Serve) -> None:
        self._sock = sock
        self._serve = serve
        self._children: set[int] = set()

    def run(self) -> None:
        # Whoever steers says when something ends.  A signal to the whole group, such as Ctrl-C, is the supervisor's.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        woken, wake = pair()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            poll.poll()
            with suppress(BlockingIOError):
                woken.recv(4096)
            self._tell_deaths()
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._sock, control.LARGEST, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                continue
            except OSError:
                packet = b""  # it died with something of ours unread, which the kernel calls a reset
            if not packet:
                break
            kind, fields, _ = control.decode(packet)
            if kind == "fork":
                self._fork(socket.socket(fileno=descriptors[0]), fields["number"], [woken, wake])
            elif fields["pid"] in self._children:
                os.kill(fields["pid"], signal.SIGKILL)
        self._end_orphans()

    def _fork(self, channel: socket.socket, number: int, not_theirs: list[socket.socket]) -> None:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for sock in (self._sock, *not_theirs):
                sock.close()
            _end_with(lambda: self._serve(channel, number))
        channel.close()
        self._children.add(pid)
        self._tell("born", pid=pid, number=number)

    def _tell_deaths(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            self._tell("died", pid=pid, reason=f"exit code {code}" if code >= 0 else _name_of(-code))

    def _tell(self, kind: str, **fields: object) -> None:
        with suppress(OSError):
            self._sock.send(control.encode(kind, fields, 0))

    def _end_orphans(self) -> None:
        until = time.monotonic() + ORPHANS_MAY_TAKE
        while self._children and time.monotonic() < until:
            time.sleep(LOOK_EVERY)
            self._tell_deaths()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end_with(work: Callable[[], None]) -> None:
    """Do it, and end without a look at what the process was before it was forked."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)
