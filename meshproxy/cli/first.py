"""The first process of a container: it does what the kernel leaves to that one, and nothing else.

    exit_code = as_first(work)              # `work` is done in a process of its own

Signals go on to who does the work, from the first moment: the kernel lets none through to a first process that has no
handler.  Orphans become its children, and it takes notice of their end.  When the work is done the container is over.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
BY_SIGNAL = 128
"""What shells add to the number of a signal."""


def as_first(work: Callable[[], int]) -> int:
    heard = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return work()
    while True:
        number = signal.sigwait(heard)
        if number != signal.SIGCHLD:
            os.kill(worker, number)
            continue
        ended = _ended()
        if worker in ended:
            code = os.waitstatus_to_exitcode(ended[worker])
            return code if code >= 0 else BY_SIGNAL - code


def _ended() -> dict[int, int]:
    """All children that have, with their status; one signal may stand for several."""
    found: dict[int, int] = {}
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return found
            found[pid] = status
    except ChildProcessError:
        return found
