"""Several workers: what they cost in memory, and how much more two carry than one.

Load and upstream need CPU too, so each worker is held to a share of a CPU that leaves them enough: then the workers are
what limits the throughput, as they would be on a machine with more cores.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack

from benchmarks import load, process, quota, upstream
from benchmarks.harness import OURS, Plan, Result, note
from benchmarks.idle import SETTLE
from benchmarks.peers import Meshproxy

ONE = "one worker"
SHARE = 0.25
"""Of a CPU, for each worker."""


def run(plan: Plan) -> list[Result]:
    if Meshproxy not in plan.present():
        return []
    note(f"workers: {plan.rounds} rounds")
    results = [memory(plan)]
    try:
        results.append(throughput(plan))
    except quota.Unavailable as unavailable:
        note(f"workers: throughput skipped: {unavailable}")
    return results


def memory(plan: Plan) -> Result:
    samples: dict[str, list[float]] = {OURS: [], ONE: []}
    for _ in range(plan.rounds):
        for who, workers in ((OURS, 4), (ONE, 1)):
            with Meshproxy(process.free_port(), plan.cores.proxy, workers=workers) as proxy:
                time.sleep(SETTLE)
                samples[who].append(process.memory_kib(proxy.pids, "Pss") / 1024)
    return Result("workers: memory of four", "MiB (PSS)", samples)


def throughput(plan: Plan) -> Result:
    samples: dict[str, list[float]] = {OURS: [], ONE: []}
    with upstream.running(plan.cores.load) as ports:
        for number in range(plan.rounds):
            for who, workers in ((OURS, 2), (ONE, 1)):
                samples[who].append(per_message(plan, ports["echo"], workers, f"{number}-{workers}"))
    return Result(f"workers: two, each {SHARE:g} of a CPU", "µs/message", samples)


def per_message(plan: Plan, port: int, workers: int, name: str) -> float:
    with ExitStack() as stack:
        quotas = [stack.enter_context(quota.quota(f"{name}-{each}", SHARE)) for each in range(workers)]
        proxy = stack.enter_context(Meshproxy(port, plan.cores.proxy, workers=workers))
        carrying = [row["pid"] for row in json.loads(proxy.ask("GET", "/server_info")[1])["workers"]] or proxy.pids
        for pid, held in zip(carrying, quotas, strict=True):
            held.hold(pid)
            os.sched_setaffinity(pid, {plan.cores.proxy, plan.cores.load})
        sample = load.run("echo", proxy.port, carrying, plan.seconds, plan.cores.load)
        return sample.seconds / sample.work * 1e6
