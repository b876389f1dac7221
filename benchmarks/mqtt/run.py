"""MQTT: CPU and time per message of each QoS, fan-out, the memory of idle clients, and what a spool takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.load import Sample
from benchmarks.mqtt import load, memory, packets
from benchmarks.mqtt.gateways import CROWDED, FANNING, RELAYS, Mosquitto, SpoolingMeshproxy
from benchmarks.peers import Peer
from benchmarks.tls.run import Skipped

BRIEF = 1.0
"""Who gives less than so many seconds wants to know that it runs, and not what it says."""

Work = Callable[[str, Plan], list[Result]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Where clients connect to, and who pays for it."""

    port: int
    pids: Sequence[int] = ()


def by_double(kind: str) -> Work:
    """The broker is the load itself."""

    def run(name: str, plan: Plan) -> list[Result]:
        present = those_of(plan, RELAYS)
        double = process.free_port()
        return relayed(name, kind, plan, present, double, double)

    return run


def by_mosquitto(kind: str, kinds: Sequence[type[Peer]] = RELAYS) -> Work:
    def run(name: str, plan: Plan) -> list[Result]:
        present = those_of(plan, kinds)
        need_mosquitto()
        with Mosquitto(plan.cores.load) as broker:
            return relayed(name, kind, plan, present, broker.port, None)

    return run


def relayed(
    name: str, kind: str, plan: Plan, present: list[type[Peer]], broker: int, double: int | None
) -> list[Result]:
    """What it costs the proxies, and how long it takes with them and without."""
    note(f"{name}: {plan.rounds} rounds of {plan.seconds:g} s each on {', '.join(peer.name for peer in present)}")

    def once(subject: Subject) -> Sample:
        return load.run(kind, subject.port, double, subject.pids, plan.seconds, plan.cores.load)

    with ExitStack() as stack:
        subjects = {}
        for each in present:
            peer = stack.enter_context(each(broker, plan.cores.proxy))
            subjects[each.name] = Subject(peer.port, peer.pids)
        samples = interleave({**subjects, "direct": Subject(broker)}, plan.rounds, once)
    what = "delivery" if kind == "fan-out" else "message"
    return [
        Result(name, f"CPU µs/{what}", {who: cpu_us(samples[who]) for who in subjects}),
        Result(f"{name}: time", f"µs/{what}", time_us(samples)),
    ]


def cpu_us(samples: Sequence[Sample]) -> list[float]:
    return [each.cpu_ns / each.work / 1e3 for each in samples]


def time_us(samples: Mapping[str, Sequence[Sample]]) -> dict[str, list[float]]:
    return {who: [each.seconds / each.work * 1e6 for each in several] for who, several in samples.items()}


def held(name: str, plan: Plan) -> list[Result]:
    """Each time by a proxy that has just started."""
    present = {kind.name: kind for kind in those_of(plan, CROWDED)}
    need_mosquitto()
    many = memory.FEW if plan.seconds < BRIEF else memory.CLIENTS
    note(f"{name}: {plan.rounds} starts each of {', '.join(present)}, {many} clients")

    def kib(kind: type[Peer]) -> float:
        with Mosquitto(plan.cores.load) as broker, kind(broker.port, plan.cores.proxy) as peer:
            return memory.kib_per_client(peer, many)

    return [Result(name, "private KiB/client", interleave(present, plan.rounds, kib))]


def spooled(name: str, plan: Plan) -> list[Result]:
    """There is no broker, and all goes to disk; beside it, what the disk takes to sync one message after another."""
    those_of(plan, (SpoolingMeshproxy,))
    note(f"{name}: {plan.rounds} rounds of {plan.seconds:g} s each")
    results = []
    with SpoolingMeshproxy(process.free_port(), plan.cores.proxy) as peer:
        for kind, clients in (("one-qos1", "1 client"), ("crowd-qos1", "50 clients")):
            subject = Subject(peer.port, peer.pids)

            def once(measured: Subject | None, kind: str = kind) -> Sample:
                if measured is None:
                    return synced(peer.spool.parent / "file", plan.seconds)
                return load.run(kind, measured.port, None, measured.pids, plan.seconds, plan.cores.load)

            samples = interleave({peer.name: subject, "fdatasync": None}, plan.rounds, once)
            results.append(Result(f"{name}, {clients}", "CPU µs/message", {peer.name: cpu_us(samples[peer.name])}))
            results.append(Result(f"{name}, {clients}: time", "µs/message", time_us(samples)))
    return results


def synced(path: Path, seconds: float) -> Sample:
    message = packets.publish(b"bench/000/0", bytes(packets.PAYLOAD), 1, 1)
    written, began = 0, time.monotonic()
    with path.open("wb", buffering=0) as file:
        while (elapsed := time.monotonic() - began) < seconds:
            file.write(message)
            os.fdatasync(file.fileno())
            written += 1
    return Sample(written, 0, elapsed)


def those_of(plan: Plan, kinds: Sequence[type[Peer]]) -> list[type[Peer]]:
    if found := plan.present(kinds):
        return found
    raise Skipped("none of its peers")


def need_mosquitto() -> None:
    if reason := Mosquitto.missing():
        raise Skipped(f"the broker is mosquitto, and there is {reason}")


WORKS: dict[str, Work] = {
    "qos0": by_double("qos0"),
    "qos0-64": by_double("qos0-64"),
    "qos1": by_double("qos1"),
    "qos2": by_double("qos2"),
    "mosquitto-qos1": by_mosquitto("qos1"),
    "mosquitto-qos2": by_mosquitto("qos2"),
    "fan-out": by_mosquitto("fan-out", FANNING),
    "memory": held,
    "spool": spooled,
}


def run(plan: Plan) -> list[Result]:
    results: list[Result] = []
    for work in plan.chosen(list(WORKS)):
        try:
            results += WORKS[work](f"mqtt {work}", plan)
        except Skipped as skipped:
            note(f"mqtt {work} skipped: {skipped}")
    return results
