"""What this process uses of the machine: CPU time, memory, descriptors."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from contextlib import suppress

from meshproxy.observe.metrics.process import WorkerStats

AT_ONCE = 256
"""Descriptors that are counted between two events of the traffic."""
PAGE = resource.getpagesize()


def measured(stats: WorkerStats) -> Generator[None, None, None]:
    """In steps, since there may be a descriptor for each of many connections.  What a system does not tell stays 0."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    stats.cpu_seconds_total = used.ru_utime + used.ru_stime
    with suppress(OSError):
        with open("/proc/self/statm", "rb") as file:
            stats.resident_bytes = int(file.read().split()[1]) * PAGE
        open_fds = -1  # the one by which they are listed
        with os.scandir("/proc/self/fd") as found:
            for open_fds, _ in enumerate(found):
                if open_fds % AT_ONCE == AT_ONCE - 1:
                    yield
        stats.open_fds = open_fds
