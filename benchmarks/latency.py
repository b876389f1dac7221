"""The latency that a gateway adds at half of saturation: through it, less what the upstream itself takes.

Saturation is what wrk gets through a gateway.  All are asked at one rate, half of what the least of them can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import openloop, tools
from benchmarks.gateways import GREETING
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.peers import Peer

TOOL = "wrk"
DIRECT = "upstream"
LEAST_US = 1.0
"""Less than this cannot be told from nothing."""
BUSY = 0.7


def run(name: str, plan: Plan, origin: int, peers: Sequence[Peer]) -> list[Result]:
    core = plan.cores.load
    with ExitStack() as stack:
        ports = {peer.name: stack.enter_context(peer).port for peer in peers}
        saturation = {who: saturated(port, plan.seconds, core) for who, port in ports.items()}
        rate = min(saturation.values()) / 2
        found = ", ".join(f"{who} {each:.0f}" for who, each in saturation.items())
        note(f"{name}: saturated at {found} requests/s; {plan.rounds} rounds of {plan.seconds:g} s at {rate:.0f}")
        accounts = interleave(
            {DIRECT: origin, **ports}, plan.rounds, lambda port: openloop.run(port, GREETING, rate, plan.seconds, core)
        )
    if (busy := max(each.busy for every in accounts.values() for each in every)) > BUSY:
        note(f"{name}: the load itself ran {busy:.0%} of the time, so it is part of what was measured")
    p50 = {who: [each.p50_us for each in every] for who, every in accounts.items()}
    p99 = {who: [each.p99_us for each in every] for who, every in accounts.items()}
    return [
        Result(f"{name} p50", "µs added", added(p50)),
        Result(f"{name} p99", "µs added", added(p99)),
        Result(f"{name} p50, nothing between", "µs", {DIRECT: p50[DIRECT]}),
        Result(f"{name} p99, nothing between", "µs", {DIRECT: p99[DIRECT]}),
    ]


def saturated(port: int, seconds: float, core: int) -> float:
    return tools.wrk(f"http://127.0.0.1:{port}/", seconds, core, "-t1", f"-c{openloop.CONNECTIONS}").per_second


def added(figures: dict[str, list[float]]) -> dict[str, Sequence[float]]:
    """What each peer adds to the upstream alone, round by round."""
    direct = figures[DIRECT]
    return {
        who: [max(mine - bare, LEAST_US) for mine, bare in zip(each, direct, strict=True)]
        for who, each in figures.items()
        if who != DIRECT
    }
