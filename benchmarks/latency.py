"""The latency that a gateway adds at half of saturation: through it, less what the upstream itself takes.

Saturation is what wrk gets through a gateway.  All are asked at one rate, half of what the least of them can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

from benchmarks import openloop, tools
from benchmarks.gateways import GREETING
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.peers import Peer

TOOL = "wrk"
DIRECT = "upstream"
LEAST_US = 1.0
"""Less than this cannot be told from nothing."""
BUSY = 0.7


@dataclass(frozen=True, slots=True)
class Way:
    """How the load comes to an upstream."""

    port: int
    host: str = "127.0.0.1"
    inside: Callable[[], AbstractContextManager[None]] = nullcontext
    """The host on which the load is."""

    def saturated(self, seconds: float, core: int) -> float:
        with self.inside():
            url = f"http://{self.host}:{self.port}/"
            return tools.wrk(url, seconds, core, "-t1", f"-c{openloop.CONNECTIONS}").per_second

    def asked(self, rate: float, seconds: float, core: int) -> openloop.Account:
        with self.inside():
            return openloop.run(self.port, GREETING, rate, seconds, core, self.host)


def run(name: str, plan: Plan, origin: int, peers: Sequence[Peer]) -> list[Result]:
    with ExitStack() as stack:
        ways = {peer.name: Way(stack.enter_context(peer).port) for peer in peers}
        return measure(name, plan, Way(origin), ways)


def measure(name: str, plan: Plan, direct: Way, ways: Mapping[str, Way]) -> list[Result]:
    core, seconds = plan.cores.load, plan.seconds
    saturation = {who: way.saturated(seconds, core) for who, way in ways.items()}
    rate = min(saturation.values()) / 2
    found = ", ".join(f"{who} {each:.0f}" for who, each in saturation.items())
    note(f"{name}: saturated at {found} requests/s; {plan.rounds} rounds of {seconds:g} s at {rate:.0f}")
    accounts = interleave({DIRECT: direct, **ways}, plan.rounds, lambda way: way.asked(rate, seconds, core))
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


def added(figures: dict[str, list[float]]) -> dict[str, Sequence[float]]:
    """What each peer adds to the upstream alone, round by round."""
    direct = figures[DIRECT]
    return {
        who: [max(mine - bare, LEAST_US) for mine, bare in zip(each, direct, strict=True)]
        for who, each in figures.items()
        if who != DIRECT
    }
