"""TCP relay: CPU per byte in bulk, per 64-byte message, and per new connection, beside the peers."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import load, upstream
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.peers import Peer

# work: the role of the upstream, the unit, and what one nanosecond per piece of work is in it
WORKS = {
    "download": ("source", "CPU ms/GiB", 2**30 / 1e6),
    "upload": ("sink", "CPU ms/GiB", 2**30 / 1e6),
    "echo": ("echo", "CPU µs/message", 1e-3),
    "connect": ("echo", "CPU µs/connection", 1e-3),
}


def run(plan: Plan) -> list[Result]:
    present = plan.present()
    with upstream.running(plan.cores.load) as ports:
        return [one(work, ports, present, plan) for work in plan.chosen(list(WORKS))]


def one(work: str, ports: dict[str, int], present: list[type[Peer]], plan: Plan) -> Result:
    role, unit, scale = WORKS[work]
    note(f"{work}: {plan.rounds} rounds of {plan.seconds:g} s each on {', '.join(peer.name for peer in present)}")

    def cost(peer: Peer) -> float:
        sample = load.run(work, peer.port, peer.pids, plan.seconds, plan.cores.load)
        return sample.cpu_ns / sample.work * scale

    with ExitStack() as stack:
        peers = {kind.name: stack.enter_context(kind(ports[role], plan.cores.proxy)) for kind in present}
        return Result(work, unit, interleave(peers, plan.rounds, cost))
