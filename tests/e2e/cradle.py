"""Processes of `meshproxy` that are forked from one with all modules loaded, as loading costs more than most tests.

    process = cradle().start(["run", "-c", "meshproxy.json"], stderr=log, env=os.environ)
    process.pid, process.poll(), process.wait(20.0), process.send_signal(signal.SIGTERM)

What is done behind `main` is the same.  What comes before it, and memory, are looked at in processes of their own.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import IO

from meshproxy.cli import main
from tests.e2e.hurried import hurry

LONGEST_ORDER = 1 << 20


class Forked:
    """A process that is not our child; as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, tells: socket.socket) -> None:
        self._tells = tells
        self.returncode: int | None = None
        self.pid = int(tells.recv(64))

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"the process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, within: float | None) -> int | None:
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._tells, select.POLLIN)
            if ended.poll(None if within is None else within * 1000):
                self.returncode = int(self._tells.recv(64))
                self._tells.close()
        return self.returncode


class Cradle:
    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.e2e.cradle", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def start(
        self, arguments: Sequence[str], stderr: IO[bytes], env: Mapping[str, str], hurry: dict[str, float] | None = None
    ) -> Forked:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            order = json.dumps([os.getcwd(), dict(env), [*arguments], hurry or {}]).encode()
            socket.send_fds(self._orders, [order], [stderr.fileno(), theirs.fileno()])
        return Forked(ours)

    def end(self) -> None:
        self._orders.close()
        self._process.wait()


@cache
def cradle() -> Cradle:
    """One for all tests."""
    made = Cradle()
    atexit.register(made.end)
    return made


# The other side -----------------------------------------------------------------------------------


def ordered(orders: socket.socket) -> bytes:
    """In each process that is forked: what it is to be.  In the first one: nothing, when nobody can order any more."""
    alive: dict[int, tuple[int, socket.socket]] = {}
    """Of each process by what says that it has ended: its number, and who wants to know how."""
    while True:
        for fd in select.select([orders.fileno(), *alive], [], [])[0]:
            if fd in alive:
                pid, tells = alive.pop(fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(fd)
                with tells, suppress(BrokenPipeError):
                    tells.send(b"%d" % code)
                continue
            order, fds, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 2)
            if not order:
                return b""
            log, told = fds
            tells = socket.socket(fileno=told)
            if (pid := os.fork()) == 0:
                os.dup2(log, 2)
                for mine in (orders, tells, *(each for _, each in alive.values())):
                    mine.close()
                for other in (log, *alive):
                    os.close(other)
                return order
            os.close(log)
            alive[os.pidfd_open(pid)] = pid, tells
            tells.send(b"%d" % pid)


def become(order: bytes) -> int:
    directory, env, arguments, seconds = json.loads(order)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(env)
    hurry(seconds)
    return main(arguments)


if __name__ == "__main__":
    with suppress(ImportError):
        import uvloop  # noqa: F401 - it is loaded already where it is asked for
    gc.collect()
    gc.freeze()
    order = ordered(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(become(order) if order else 0)
