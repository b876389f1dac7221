"""Reload: a document of 1,000 clusters, put again and again under relay traffic, each time a changed one.

Beside it the same traffic without reloads, since a busy machine stalls by itself.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from benchmarks import process, steady, upstream
from benchmarks.harness import OURS, Plan, Result, note
from benchmarks.peers import Meshproxy

CLUSTERS = 1000
CONNECTIONS = 200
CALM = "without reloads"


@dataclass(frozen=True, slots=True)
class Round:
    account: steady.Account
    puts_ms: list[float]
    refused: int


def run(plan: Plan) -> list[Result]:
    """One round is `plan.seconds` of reloads, one after the other."""
    if Meshproxy not in plan.present():
        return []
    note(f"reload: {plan.rounds} rounds of {plan.seconds:g} s, {CLUSTERS} clusters, {CONNECTIONS} connections")
    with (
        upstream.running(plan.cores.load) as ports,
        Meshproxy(ports["echo"], plan.cores.proxy, workers=plan.workers) as proxy,
    ):
        put(proxy, document(proxy, 0))
        memory = [process.memory_kib(proxy.pids, "Pss") / 1024]
        calm, busy = [], []
        for _ in range(plan.rounds):
            calm.append(one(proxy, plan, reload=False))
            busy.append(one(proxy, plan, reload=True))
            memory.append(process.memory_kib(proxy.pids, "Pss") / 1024)
    note(f"reload: {sum(len(each.puts_ms) for each in busy)} reloads")
    return [
        Result(
            "reload: longest stall",
            "ms",
            {
                OURS: [each.account.longest_ms for each in busy],
                CALM: [each.account.longest_ms for each in calm],
            },
        ),
        Result("reload: failed", "connections, PUTs", {OURS: [each.account.failed + each.refused for each in busy]}),
        Result("reload: time of a PUT", "ms", {OURS: [ms for each in busy for ms in each.puts_ms]}),
        Result("reload: memory", "MiB (PSS)", {OURS: memory}),
    ]


def one(proxy: Meshproxy, plan: Plan, *, reload: bool) -> Round:
    bodies = [document(proxy, version) for version in (1, 2)] if reload else []
    puts: list[float] = []
    refused = 0
    with steady.running(proxy.port, CONNECTIONS, plan.cores.load) as traffic:
        end = time.monotonic() + plan.seconds
        while time.monotonic() < end:
            if not reload:
                time.sleep(max(end - time.monotonic(), 0))
                break
            began = time.monotonic()
            refused += put(proxy, bodies[len(puts) % 2]) != 200
            puts.append((time.monotonic() - began) * 1e3)
        return Round(steady.account(traffic), puts, refused)


def document(proxy: Meshproxy, version: int) -> bytes:
    """The relay and many clusters more, of which every one differs from version to version."""
    relay = proxy.relay()
    clusters = relay["clusters"]
    assert isinstance(clusters, dict)
    for number in range(1, CLUSTERS):
        endpoint = {"address": f"127.0.0.1:{10_000 + number}", "weight": version + 1}
        clusters[f"service-{number}"] = {"endpoints": [endpoint]}
    return json.dumps(relay).encode()


def put(proxy: Meshproxy, body: bytes) -> int:
    status, answer = proxy.ask("PUT", "/config", body)
    if status != 200:
        note(f"PUT /config: {status} {answer[:500]!r}")
    return status
