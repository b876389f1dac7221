"""What group commit allows: records that a journal on this machine's disk acknowledges, by how many are in flight.

A record is 256 bytes, as small messages are.  Whoever has one acknowledged appends the next at once, so 1 in flight is
a sync for each; beside it stands how long a bare `fdatasync` takes after 256 bytes more.  The files lie in the
directory for temporary ones, or in that of TMPDIR: where that is no disk, the figures are of no disk.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.harness import Plan, Result, interleave, note
from meshproxy.net.clock import LoopClock
from meshproxy.net.journal import Aside, Journal
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.mqtt import SpoolStats

RECORD = bytes(256)
IN_FLIGHT = (1, 16, 256)
SIZE = 64 << 20


def run(plan: Plan) -> list[Result]:
    where = tempfile.gettempdir()
    note(f"micro spool: {plan.rounds} rounds of {plan.seconds:g} s in {where}, {len(RECORD)} bytes each")
    subjects = {f"{many} in flight": many for many in IN_FLIGHT}
    rates = interleave(subjects, plan.rounds, lambda many: asyncio.run(acknowledged(plan.seconds, many)))
    syncs = interleave({"median": 0.5, "99 %": 0.99}, plan.rounds, partial(sync, plan.seconds))
    return [Result("micro spool: acknowledged", "1/s", rates), Result("micro spool: fdatasync", "ms", syncs)]


async def acknowledged(seconds: float, many: int) -> float:
    """Records for each second."""
    with tempfile.TemporaryDirectory() as directory:
        return await measured(Path(directory), seconds, many)


async def measured(directory: Path, seconds: float, many: int) -> float:
    loop = asyncio.get_running_loop()
    aside, stats = Aside(loop, "journal"), SpoolStats()
    clock = LoopClock(loop)
    journal = Journal(directory, SIZE, drop=True, clock=clock, aside=aside, log=Log(), stats=stats)
    began = time.perf_counter()
    until = began + seconds

    def more(ok: bool = True) -> None:
        if not ok:
            raise OSError("the disk has refused a record")
        if time.perf_counter() < until:
            journal.append(RECORD, more)

    for _ in range(many):
        more()
    await asyncio.sleep(seconds)
    rate = stats.stored_total / (time.perf_counter() - began)
    closed = asyncio.Event()
    journal.close(closed.set)
    await closed.wait()
    return rate


def sync(seconds: float, part: float) -> float:
    """Milliseconds."""
    took: list[float] = []
    with tempfile.TemporaryFile(buffering=0) as file:
        until = time.perf_counter() + seconds
        while len(took) < 2 or time.perf_counter() < until:
            file.write(RECORD)
            began = time.perf_counter()
            os.fdatasync(file)
            took.append((time.perf_counter() - began) * 1e3)
    return statistics.quantiles(took, n=100, method="inclusive")[round(part * 100) - 1]
