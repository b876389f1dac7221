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
_INACTIVE = re.compile(r"^inactive_file ([0-9]{1,19})$", re.ASCII | re.MULTILINE)
_TOTAL_INACTIVE = re.compile(r"^total_inactive_file ([0-9]{1,19})$", re.ASCII | re.MULTILINE)
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
    return min((limit for group in _groups(root, "memory") for limit in _limits(group)), default=None)


def memory_share(root: Path = Path("/")) -> float | None:
    """How much of that is used, where the least is left; None where there is no limit.

    Everybody in the group counts.  What the kernel has read from files and can forget at once does not.
    """
    shares = [_used(group) / limit for group in _groups(root, "memory") for limit in _limits(group)]
    return max(shares, default=None)


def _limits(group: Path) -> list[int]:
    said = [_line(group / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    return [limit for amount in said if _AMOUNT.fullmatch(amount) and (limit := int(amount)) < NO_LIMIT]


def _used(group: Path) -> int:
    stat = _text(group / "memory.stat")
    for name, forgotten in (("memory.current", _INACTIVE), ("memory.usage_in_bytes", _TOTAL_INACTIVE)):
        amount = _line(group / name)
        if _AMOUNT.fullmatch(amount):
            found = forgotten.search(stat)
            return max(int(amount) - (int(found[1]) if found else 0), 0)
    return 0


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
