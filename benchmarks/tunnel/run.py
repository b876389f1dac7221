"""A tunnel beside TLS connections: goodput, CPU, memory, and on a bad link small requests and recovery."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks import badlink, load, openloop, pki, process, upstream
from benchmarks.badlink import BadLink
from benchmarks.gateways import GREETING, Origin
from benchmarks.harness import OURS, Plan, Result, interleave, note
from benchmarks.hosts import Lab
from benchmarks.idle import SETTLE
from benchmarks.peers import Meshproxy
from benchmarks.tls.memory import PRIVATE
from benchmarks.tunnel import recovery
from benchmarks.tunnel.pairs import CARRYING, OVER_A_LINK, PAIRS
from benchmarks.tunnel.peers import ApartPair, Pair, QuicApartPair, QuicPair, Site

CLEAN: Mapping[str, float] = {"delay": 0.01, "rate": 6_250_000, "queue": 512 * 1024}
"""20 ms there and back and 50 Mbit/s: what the link gives is the limit, not the CPU."""
BAD: Mapping[str, float] = {"delay": 0.1, "loss": 0.01, "rate": 1_250_000}
"""200 ms there and back, 10 Mbit/s, one packet in a hundred lost."""
REQUESTS = 30.0
"""In a second."""
WARM_UP = 4.0
"""Seconds until each of the connections has been used, and bulk has found its speed."""
STREAMS = 1000
CARRIED = 16 * 1024
"""Bytes that a stream has carried before it is looked what it holds."""
GIB = 2**30


class Skipped(Exception):
    """Why a work cannot be done here."""


@dataclass(frozen=True, slots=True)
class Scene:
    plan: Plan
    mesh: pki.Mesh

    def pair(self, kind: type[Pair], site: Site, upstreams: Mapping[str, int]) -> Pair:
        return kind(site, upstreams, self.mesh, self.plan.cores.proxy)

    def each(self, once: Callable[[type[Pair]], float], pairs: Sequence[type[Pair]]) -> dict[str, list[float]]:
        """Round by round, on two proxies that have just started."""
        return interleave({kind.name: kind for kind in pairs}, self.plan.rounds, once)


Work = Callable[[str, Scene], list[Result]]


@contextmanager
def between(terms: Mapping[str, float]) -> Iterator[tuple[Site, BadLink]]:
    """Two hosts with such a link."""
    if reason := badlink.missing():
        raise Skipped(reason)
    with Lab("edge", "centre") as lab, BadLink(lab["edge"], lab["centre"], **terms) as link:
        yield Site.of(lab), link


@contextmanager
def running(scene: Scene, kind: type[Pair], site: Site) -> Iterator[Pair]:
    """With the usual upstream beside the far one."""
    with ExitStack() as stack:
        with site.far():
            ports = stack.enter_context(upstream.running(scene.plan.cores.load))
        yield stack.enter_context(scene.pair(kind, site, ports))


def goodput(name: str, scene: Scene, terms: Mapping[str, float] = CLEAN) -> list[Result]:
    def cost(kind: type[Pair]) -> float:
        with between(terms) as (site, _), running(scene, kind, site) as pair, site.near():
            sample = load.run("download", pair.ports["source"], (), scene.plan.seconds, scene.plan.cores.load)
        return sample.seconds / sample.work * GIB

    return [Result(name, "s/GiB", scene.each(cost, present(CARRYING)))]


def cpu(name: str, scene: Scene) -> list[Result]:
    """Of both proxies, on one host."""
    results = []
    for kind_of_load, role in (("download", "source"), ("upload", "sink")):

        def cost(kind: type[Pair], kind_of_load: str = kind_of_load, role: str = role) -> float:
            plan = scene.plan
            with running(scene, kind, Site()) as pair:
                sample = load.run(kind_of_load, pair.ports[role], pair.pids, plan.seconds, plan.cores.load)
            return sample.cpu_ns / sample.work * GIB / 1e6

        results.append(Result(f"{name} {kind_of_load}", "CPU ms/GiB", scene.each(cost, present(CARRYING))))
    return results


def streams(name: str, scene: Scene) -> list[Result]:
    """What the one of the two that holds more holds for all of them."""

    def mib(kind: type[Pair]) -> float:
        with running(scene, kind, Site()) as pair:
            with opened(pair.ports["echo"], 10):
                pass
            before = held(pair)
            with opened(pair.ports["echo"], STREAMS) as connections:
                after = held(pair)
                # still there, or it was not they that were looked at
                for connection in connections:
                    echoed(connection, 1)
        return max(now - was for now, was in zip(after, before, strict=True)) / 1024

    return [Result(name, f"private MiB for {STREAMS}", scene.each(mib, PAIRS))]


def held(pair: Pair) -> list[int]:
    time.sleep(SETTLE)
    return [process.memory_kib(end.pids, *PRIVATE) for end in pair.ends]


@contextmanager
def opened(port: int, many: int) -> Iterator[list[socket.socket]]:
    """Connections that have carried something both ways."""
    with ExitStack() as stack:
        connections = []
        for _ in range(many):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), load.STALLED))
            echoed(connection, CARRIED)
            connections.append(connection)
        yield connections


def echoed(connection: socket.socket, size: int) -> None:
    connection.sendall(bytes(size))
    while size:
        if not (got := connection.recv(size)):
            raise ConnectionError("an echo connection was closed")
        size -= len(got)


def lossy(name: str, scene: Scene) -> list[Result]:
    """The p99 of small requests while bulk goes both ways, to that without; in the same round, on the same link."""
    if reason := Origin.missing():
        raise Skipped(reason)
    pairs = present(OVER_A_LINK)
    idle: dict[str, list[float]] = {kind.name: [] for kind in pairs}

    def times(kind: type[Pair]) -> float:
        plan = scene.plan
        with between(BAD) as (site, _), ExitStack() as stack:
            with site.far():
                ports = stack.enter_context(upstream.running(plan.cores.load))
                origin = stack.enter_context(Origin(plan.cores.load))
            pair = stack.enter_context(scene.pair(kind, site, {**ports, "requests": origin.port}))
            with site.near():
                alone = asked(pair, plan)
                with bulk(pair, plan):
                    beside = asked(pair, plan)
        idle[kind.name].append(alone / 1e3)
        return beside / alone

    return [*apart(name, "times idle", scene.each(times, pairs)), Result(f"{name}: idle", "ms", idle)]


def asked(pair: Pair, plan: Plan) -> float:
    port, core = pair.ports["requests"], plan.cores.load
    return openloop.run(port, GREETING, REQUESTS, plan.seconds, core, warm_up=WARM_UP).p99_us


@contextmanager
def bulk(pair: Pair, plan: Plan) -> Iterator[list[process.Child]]:
    """Both ways, for as long as this lasts: the processes that load."""
    roles = {"download": "source", "upload": "sink"}
    with ExitStack() as stack:
        children = []
        for kind, role in roles.items():
            command = process.module("benchmarks.load", kind, "--port", pair.ports[role], "--seconds", 3600)
            child = process.start(command, plan.cores.load, output=subprocess.DEVNULL)
            stack.callback(process.end, child)
            children.append(child)
        yield children
        if any(child.poll() is not None for child in children):
            raise RuntimeError("bulk ended before its time, and the requests were alone")


def recovered(name: str, scene: Scene) -> list[Result]:
    def ms(kind: type[Pair]) -> float:
        with between(BAD) as (site, link), running(scene, kind, site) as pair, site.near():
            return recovery.seconds(pair.ports["echo"], link) * 1e3

    return apart(name, "ms", scene.each(ms, present(OVER_A_LINK)))


def apart(name: str, unit: str, samples: Mapping[str, Sequence[float]]) -> list[Result]:
    """Our ways have results of their own, for each has its own budget."""
    ways = {
        ApartPair.name: f"{name}, classes apart",
        QuicPair.name: f"{name}, QUIC",
        QuicApartPair.name: f"{name}, QUIC, classes apart",
    }
    rest = {who: figures for who, figures in samples.items() if who not in ways}
    own = [Result(work, unit, {OURS: samples[who]}) for who, work in ways.items() if who in samples]
    return [Result(name, unit, rest), *own]


def present(pairs: Sequence[type[Pair]]) -> list[type[Pair]]:
    for pair in pairs:
        if reason := pair.missing():
            note(f"{pair.name} skipped: {reason}")
    return [pair for pair in pairs if pair.missing() is None]


WORKS: dict[str, Work] = {
    "goodput": goodput,
    "lossy-goodput": partial(goodput, terms=BAD),
    "cpu": cpu,
    "streams": streams,
    "lossy-p99": lossy,
    "recovery": recovered,
}


def run(plan: Plan) -> list[Result]:
    chosen = plan.chosen(list(WORKS))
    if not chosen:
        return []
    if reason := pki.missing():
        note(f"tunnel skipped: {reason}")
        return []
    if Meshproxy not in plan.present((Meshproxy,)):
        return []
    results: list[Result] = []
    with pki.mesh() as mesh:
        for work in chosen:
            name = f"tunnel {work}"
            note(f"{name}: {plan.rounds} rounds, {plan.seconds:g} s")
            try:
                results += WORKS[work](name, Scene(plan, mesh))
            except Skipped as skipped:
                note(f"{name} skipped: {skipped}")
    return results
