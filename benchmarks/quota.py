"""A share of a CPU for a process, so that it is what limits the throughput and not the load beside it.

Cgroups of version 1 and 2 both can; whoever may not make them is told why, and nothing is measured.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import process

VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
PERIOD_US = 10_000


class Unavailable(Exception):
    """No cgroup can be made here."""


class Quota:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def hold(self, pid: int) -> None:
        """From now on the process has no more than its share."""
        (self._directory / "cgroup.procs").write_text(str(pid))


@contextmanager
def quota(name: str, share: float) -> Iterator[Quota]:
    """`share` of one CPU for all that is held; by the end these processes must have ended."""
    amount = round(PERIOD_US * share)
    version_1 = (VERSION_1 / "cpu.cfs_quota_us").exists()
    directory = (VERSION_1 if version_1 else VERSION_2) / f"meshproxy-bench-{os.getpid()}-{name}"
    try:
        directory.mkdir()
        if version_1:
            (directory / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (directory / "cpu.cfs_quota_us").write_text(str(amount))
        else:
            (directory / "cpu.max").write_text(f"{amount} {PERIOD_US}")
    except OSError as error:
        if directory.exists():
            directory.rmdir()
        raise Unavailable(f"no cgroup with a CPU quota can be made: {error}") from None
    try:
        yield Quota(directory)
    finally:
        process.wait_until(lambda: _removed(directory), f"{directory} is empty")


def _removed(directory: Path) -> bool:
    """A process leaves its cgroup a moment after it has been waited for."""
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
