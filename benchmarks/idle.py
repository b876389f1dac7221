"""An idle proxy: the memory of all its processes, and the time from its start until it is ready.

Ours runs `configs/tcp.yaml`, on free ports; a peer runs one relay.  PSS divides a shared page by all who map it, and
the harness is Python too: RSS, which counts it whole, is what a proxy alone on its machine cannot exceed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import yaml

from benchmarks import process
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.peers import Meshproxy, Peer

CONFIG = process.ROOT / "configs" / "tcp.yaml"
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
    nobody = process.free_port()
    if not issubclass(kind, Meshproxy):
        return kind(nobody, core)
    ours = kind(nobody, core)
    ours.given = json.dumps(on_free_ports(yaml.safe_load(CONFIG.read_text()), ours.admin))
    return ours


def on_free_ports(document: dict[str, Any], admin: int) -> dict[str, Any]:
    """The document with every TCP and UDP address that it listens on moved to a free port."""

    def moved(address: str) -> str:
        host, colon, port = address.rpartition(":")
        return f"{host}:{process.free_port()}" if colon and port.isdigit() else address

    for section in places(document):
        listen = section["listen"]
        section["listen"] = [moved(each) for each in listen] if isinstance(listen, list) else moved(listen)
    return {**document, "admin": {**document.get("admin", {}), "listen": f"127.0.0.1:{admin}"}}


def places(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Whatever has a `listen`."""
    yield from document.get("listeners", ())
    if "status" in document:
        yield document["status"]
