"""TLS 1.3: small requests, handshakes, bodies, memory and identity beside the peers; the latency of a sidecar pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import http1, latency, pki, tools
from benchmarks.gateways import GREETING, Origin, PlainMeshproxy
from benchmarks.harness import OURS, Plan, Result, interleave, note
from benchmarks.peers import Peer
from benchmarks.pki import Credential
from benchmarks.tls import load, memory
from benchmarks.tls.gateways import CARRYING, GUARDED, PAIRS, TERMINATING, Trusted

PER_REQUEST, PER_HANDSHAKE = "CPU µs/request", "CPU µs/handshake"


class Skipped(Exception):
    """Why a work cannot be done here."""


@dataclass(frozen=True, slots=True)
class Scene:
    plan: Plan
    origin: int
    mesh: pki.Mesh
    here: frozenset[str]

    def present(self, kinds: Sequence[type[Trusted]]) -> list[type[Trusted]]:
        if found := [kind for kind in kinds if kind.name in self.here]:
            return found
        raise Skipped("none of its peers")

    def peer(self, kind: type[Trusted], own: Credential) -> Trusted:
        return kind(self.origin, self.plan.cores.proxy, own)


Work = Callable[[str, Scene], list[Result]]


def by_tool(work: str, kinds: Sequence[type[Trusted]]) -> Work:
    """As the work of that name without TLS."""

    def run(name: str, scene: Scene) -> list[Result]:
        same = http1.WORKS[work]
        need(same.tool)
        peers = [scene.peer(kind, scene.mesh.ecdsa) for kind in scene.present(kinds)]
        return [http1.one(name, same, peers, scene.plan)]

    return run


def by_load(kind: str, unit: str, kinds: Sequence[type[Trusted]] = TERMINATING, *, rsa: bool = False) -> Work:
    def run(name: str, scene: Scene) -> list[Result]:
        plan, mesh = scene.plan, scene.mesh
        peers = [scene.peer(each, mesh.rsa if rsa else mesh.ecdsa) for each in scene.present(kinds)]
        note(f"{name}: {plan.rounds} rounds of {plan.seconds:g} s each on {', '.join(peer.name for peer in peers)}")

        def cost(peer: Peer) -> float:
            sample = load.run(kind, peer.port, mesh.client, GREETING, peer.pids, plan.seconds, plan.cores.load)
            return sample.cpu_ns / sample.work / 1e3

        with ExitStack() as stack:
            running = {peer.name: stack.enter_context(peer) for peer in peers}
            return [Result(name, unit, interleave(running, plan.rounds, cost))]

    return run


def held(name: str, scene: Scene) -> list[Result]:
    """Each time by a proxy that has just started."""
    present = {kind.name: kind for kind in scene.present(TERMINATING)}
    note(f"{name}: {scene.plan.rounds} starts each of {', '.join(present)}")

    def kib(kind: type[Trusted]) -> float:
        with scene.peer(kind, scene.mesh.ecdsa) as peer:
            return memory.kib_per_connection(peer)

    return [Result(name, "private KiB/connection", interleave(present, scene.plan.rounds, kib))]


def pair(name: str, scene: Scene) -> list[Result]:
    """Two of a kind, each of which knows the other; both on the proxy's core."""
    need(latency.TOOL)
    with ExitStack() as stack:
        callers = []
        for kind in scene.present(list(PAIRS)):
            called = stack.enter_context(scene.peer(kind, scene.mesh.ecdsa))
            callers.append(PAIRS[kind](called.port, scene.plan.cores.proxy, scene.mesh.client))
        return latency.run(name, scene.plan, scene.origin, callers)


WORKS: dict[str, Work] = {
    "small": by_tool("same", TERMINATING),
    "full-rsa": by_load("full", PER_HANDSHAKE, rsa=True),
    "full-ecdsa": by_load("full", PER_HANDSHAKE),
    "resumed": by_load("resumed", PER_HANDSHAKE),
    "body-1m": by_tool("body-1m", CARRYING),
    "body-1g": by_tool("body-1g", CARRYING),
    "upload-1m": by_tool("upload-1m", CARRYING),
    "memory": held,
    "policy": by_load("requests", PER_REQUEST, GUARDED),
    "pair": pair,
}


def run(plan: Plan) -> list[Result]:
    chosen = plan.chosen(list(WORKS))
    if not chosen:
        return []
    if reason := Origin.missing() or pki.missing():
        note(f"tls skipped: {reason}")
        return []
    if not (here := {kind.name for kind in plan.present(CARRYING)}):
        note("tls skipped: none of its peers")
        return []
    if OURS in here:
        here.add(PlainMeshproxy.name)
    results: list[Result] = []
    with Origin(plan.cores.load) as origin, pki.mesh() as mesh:
        scene = Scene(plan, origin.port, mesh, frozenset(here))
        agree(scene)
        for work in chosen:
            try:
                results += WORKS[work](f"tls {work}", scene)
            except Skipped as skipped:
                note(f"tls {work} skipped: {skipped}")
    return results


def agree(scene: Scene) -> None:
    """See that all do the same to the same client, or a comparison would be of ciphers."""
    found = {}
    for kind in scene.present(CARRYING):
        with scene.peer(kind, scene.mesh.ecdsa) as peer:
            found[peer.name] = tools.handshake(peer.port, scene.mesh.ecdsa.ca, scene.plan.cores.load)
    if len(set(found.values())) > 1:
        raise tools.LoadFailed(f"they do not agree: {', '.join(f'{who} {what}' for who, what in found.items())}")
    note(f"tls: {', '.join(found)} agree on {' and '.join(set(found.values()))}")


def need(tool: str) -> None:
    if reason := tools.missing(tool):
        raise Skipped(reason)
