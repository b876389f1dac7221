"""Chaos: the same trouble behind two proxies, one with policy and one without; what each of their clients saw."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.chaos import load, upstreams
from benchmarks.gateways import HttpMeshproxy, PlainMeshproxy
from benchmarks.harness import OURS, Plan, Result, note

POLICY = {"on": ["connect", "reset", "timeout", "5xx"], "attempts": 3, "per_try_timeout": "250ms"}


class Chaotic(HttpMeshproxy):
    """Without policy: what a proxy does by itself."""

    def __init__(self, ports: Sequence[int], core: int, workers: int) -> None:
        super().__init__(ports[0], core, workers=workers)
        self.ports = ports

    def relay(self) -> dict[str, object]:
        endpoints = [f"127.0.0.1:{port}" for port in self.ports]
        return {**super().relay(), "clusters": {"up": {"endpoints": endpoints, **self.cluster()}}}

    def cluster(self) -> dict[str, Any]:
        return {}


class Guarded(Chaotic):
    def rule(self) -> dict[str, object]:
        return {"cluster": "up", "retry": POLICY}

    def cluster(self) -> dict[str, Any]:
        return {"breaker": {"min_retries": load.CLIENTS}}


def run(plan: Plan) -> list[Result]:
    seconds = max(plan.seconds, upstreams.one_of_each())
    core = plan.cores.load
    note(f"chaos: {seconds:g} s, {load.CLIENTS} clients each, {plan.workers} workers")
    with (
        upstreams.Upstreams(core) as behind,
        Guarded(behind.ports, plan.cores.proxy, plan.workers) as guarded,
        Chaotic(behind.ports, plan.cores.proxy, plan.workers) as plain,
    ):
        proxies = {OURS: guarded, PlainMeshproxy.name: plain}
        loads = {who: load.start(proxy.port, seconds, core) for who, proxy in proxies.items()}
        kinds = behind.trouble(time.monotonic() + seconds)
        counted = {who: load.told(child) for who, child in loads.items()}
    note(f"chaos: upstreams {', '.join(f'{kind} {times} times' for kind, times in kinds.items())}")
    for who, outcomes in counted.items():
        note(f"chaos: {who}: {', '.join(f'{count} {why}' for why, count in sorted(outcomes.items()))}")
    failed = {who: outcomes.total() - outcomes["200"] for who, outcomes in counted.items()}
    return [
        Result("chaos: requests", "requests", {who: [outcomes.total()] for who, outcomes in counted.items()}),
        Result("chaos: failed", "per 1,000", {who: [share(failed[who], counted[who])] for who in counted}),
        Result("chaos: saved by policy", "%", {OURS: [100 * (1 - failed[OURS] / max(failed[PlainMeshproxy.name], 1))]}),
    ]


def share(failed: int, outcomes: Counter[str]) -> float:
    return 1000 * failed / outcomes.total()
