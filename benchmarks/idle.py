"""An idle proxy: the memory of all its processes, and the time from its start until it is ready.

Ours runs the worked example of FSM's sidecar, all of a workload's policy with mTLS, on free ports; a peer runs one
relay.  PSS divides a shared page by all who map it, and the harness is Python too: RSS, which counts it whole, is what
a proxy alone on its machine cannot exceed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import pki, process
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.peers import Meshproxy, Peer

EXAMPLE = process.ROOT / "tests" / "dialects" / "fsm" / "golden" / "example.json"
POLICY = "fsm.json"
SETTLE = 1.5
"""Seconds after which an idle process has freed what only its start needed, and ours has looked at its files once."""


def run(plan: Plan) -> list[Result]:
    present = plan.present()
    note(f"idle: {plan.rounds} starts each of {', '.join(peer.name for peer in present)}")
    pss: dict[str, list[float]] = {peer.name: [] for peer in present}
    rss: dict[str, list[float]] = {peer.name: [] for peer in present}

    def start(kind: type[Peer]) -> float:
        with idle(kind, plan.cores.proxy) as peer:
            time.sleep(SETTLE)
            pss[kind.name].append(process.memory_kib(peer.pids, "Pss") / 1024)
            rss[kind.name].append(process.memory_kib(peer.pids, "Rss") / 1024)
            return peer.ready_ms

    ready = interleave({peer.name: peer for peer in present}, plan.rounds, start)
    return [
        Result("idle memory", "MiB (PSS)", pss),
        Result("idle memory, shared pages whole", "MiB (RSS)", rss),
        Result("start to ready", "ms", ready),
    ]


def idle(kind: type[Peer], core: int) -> Peer:
    return (Sidecar if issubclass(kind, Meshproxy) else kind)(process.free_port(), core)


class Sidecar(Meshproxy):
    """Beside a workload, with a policy that a control plane has written for it."""

    def relay(self) -> dict[str, object]:
        here = {side: f"127.0.0.1:{process.free_port()}" for side in ("inbound", "outbound")}
        return {"include": [POLICY], "sidecar": here}

    def furnish(self, directory: Path) -> None:
        super().furnish(directory)
        policy = json.loads(EXAMPLE.read_text())
        # The ports of probes are those of the machine.
        policy["Spec"]["Probes"] = {}
        with pki.mesh() as mesh:
            own = {"CertChain": mesh.rsa.certificate, "PrivateKey": mesh.rsa.key, "IssuingCA": mesh.rsa.ca}
            papers = {key: path.read_text() for key, path in own.items()}
        for held in certificates(policy):
            held.update(papers)
        (directory / POLICY).write_text(json.dumps(policy))


def certificates(value: Any) -> Iterator[dict[str, Any]]:
    """Those in a policy that are not the workload's own by reference."""
    if isinstance(value, dict):
        if value.get("PrivateKey"):
            yield value
        for below in value.values():
            yield from certificates(below)
