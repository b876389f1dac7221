"""What the container may use: its CPUs and its memory.

A limit may stand on the process's own cgroup or on any that this one lies in, so each is asked and the least counts.
Where a file is missing, cannot be read or makes no sense there is no limit: better too many workers than none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

NO_LIMIT = 1 << 60
"""Version 1 has no word for "no limit" in memory: it shows the largest number there is, rounded down to a page."""

_AMOUNT = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_SHARE = re.compile(r"([1-9][0-9]{0,18}) ([1-9][0-9]{0,18})", re.ASCII)


def cpus(root: Path = Path("/")) -> int:
    """How many workers `workers: auto` means; part of a CPU counts as one."""
    least = len(os.sched_getaffinity(0))
    for group in _groups(root, "cpu"):
        version_1 = f"{_line(group / 'cpu.cfs_quota_us')} {_line(group / 'cpu.cfs_period_us')}"
        for share in (_line(group / "cpu.max"), version_1):
            if said := _SHARE.fullmatch(share):
                quota, period = map(int, said.groups())
                least = min(least, -(-quota // period))
    return least


def memory(root: Path = Path("/")) -> int | None:
    """The bytes beyond which the kernel slows the process down or ends it."""
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    said = [_line(group / name) for group in _groups(root, "memory") for name in names]
    limits = [int(amount) for amount in said if _AMOUNT.fullmatch(amount)]
    return min((limit for limit in limits if limit < NO_LIMIT), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Every cgroup that may limit the process, each before the one that it lies in.

    A container is often shown the path that its host knows, and its own cgroup as the root: what is missing on the
    way there limits nothing.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").split("\n"):
        match line.split(":", 2):
            case [_, "", path]:
                trees = [mounts, mounts / "unified"]
            case [_, names, path] if controller in names.split(","):
                trees = [mounts / controller]
            case _:
                continue
        own = PurePosixPath(path.lstrip("/"))
        for tree in trees:
            for group in (own, *own.parents):
                yield tree / group


def _line(path: Path) -> str:
    return _text(path).strip()


def _text(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except (OSError, ValueError):  # the latter for a path that no system call takes
        return ""
