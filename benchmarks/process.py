"""Processes as the harness sees them: started on one core, waited for, measured, ended by their id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
DEADLINE = 15.0
ELSEWHERE = frozenset(("XDG_STATE_HOME", "PYTHONDONTWRITEBYTECODE"))


Child = subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Cores:
    """What is measured runs on one core; all that loads it runs on the other."""

    proxy: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1])


def start(
    command: Sequence[str], core: int, *, output: int | IO[str], log: int | IO[str] | None = None, inherit: int = -1
) -> Child:
    """Start `command` on `core`.  The child inherits the affinity, so no tool is needed and no moment is unpinned."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=log, text=True, cwd=ROOT, env=environment(),
            pass_fds=() if inherit < 0 else (inherit,),
        )
    finally:
        os.sched_setaffinity(0, before)


def environment() -> dict[str, str]:
    """Ours, without what would make the proxy keep state on disk, or compile all its modules at every start."""
    return {name: value for name, value in os.environ.items() if name not in ELSEWHERE}


def module(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", name, *map(str, arguments)]


def end(process: Child, by: signal.Signals = signal.SIGTERM) -> None:
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            for pid in reversed(family(process.pid)):
                os.kill(pid, signal.SIGKILL)
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def wait_until(ready: Callable[[], bool], what: str, *, pause: float = 0.002) -> None:
    deadline = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {DEADLINE:.0f} s")
        time.sleep(pause)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def family(pid: int) -> list[int]:
    """The process and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time so far, over all threads: to the nanosecond where the kernel keeps it so, else in clock ticks."""
    return sum(_threads_ns(Path("/proc", str(pid))) for pid in pids)


def _threads_ns(process: Path) -> int:
    try:
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in (process / "task").iterdir())
    except FileNotFoundError:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_NS


def memory_kib(pids: Iterable[int], *kinds: str) -> int:
    """The sum of the named lines of smaps_rollup, such as `Pss` or `Private_Dirty`."""
    wanted = {f"{kind}:" for kind in kinds}
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, amount, *_ = line.split()
            if name in wanted:
                total += int(amount)
    return total
