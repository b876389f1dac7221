"""Soak: good, bad and broken clients and upstreams at once, with reloads; at the end nothing is left over.

It measures nothing but itself: what is wrong at the end is an error, and the command fails.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from benchmarks import process
from benchmarks.gateways import HttpMeshproxy
from benchmarks.harness import OURS, Plan, Result, note
from benchmarks.soak import clients, upstreams

WARM_UP = 60.0
"""Seconds of traffic at most, after which memory has its level."""
BETWEEN_RELOADS = 1.0
QUIET = 0.1
ROOM_KIB = 6 * 1024
"""By which each process may have grown, and by a tenth of what it had."""
MOST_ASKED = 100
"""New connections until every worker has been met."""
KEPT = {"Conn": 1, "Connecting": 0, "Downstream": 1, "Exchange": 1, "Tunnel": 0, "Upstream": 0}
"""What is alive in a worker that answers one request itself."""


class SoakMeshproxy(HttpMeshproxy):
    """All groups of targets lead to the same upstreams, by clusters that share no connection."""

    def __init__(self, ports: list[int], core: int, workers: int) -> None:
        super().__init__(ports[0], core, workers=workers)
        self.ports = ports
        self.edition = 0

    def relay(self) -> dict[str, object]:
        """Each edition differs: in an endpoint, a weight, a timeout, and in what is there at all."""
        edition = self.edition
        one, other = (f"127.0.0.1:{port}" for port in self.ports)
        called = "benchmarks.soak.inside:"

        def group(name: str, cluster: str, **more: object) -> dict[str, object]:
            return {"match": {"path": {"prefix": f"/{name}"}}, "cluster": cluster, **more}

        rules = [
            group("good", "good"),
            group("mixed", "mixed", timeouts={"request": f"{2 + edition % 2}s"}),
            group("paused", "mixed", filters=[{"extension": {"call": called + "Pause"}}]),
            group("census", "good", filters=[{"extension": {"call": called + "Census", "deadline": "10s"}}]),
        ]
        clusters: dict[str, object] = {
            "good": {"endpoints": [one if edition % 3 else other], "pool": {"idle": "1s"}},
            "mixed": {"endpoints": [one, {"address": other, "weight": 1 + edition % 2}], "pool": {"idle": "1s"}},
        }
        if edition % 2:
            clusters["sometimes"] = {"endpoints": [one]}
        return {
            "drain": {"timeout": "5s"},
            "listeners": [
                {
                    "name": "in",
                    "listen": f"127.0.0.1:{self.port}",
                    "protocol": "http",
                    "routes": "web",
                    "timeouts": {"idle": "10s"},
                }
            ],
            "routes": {"web": rules},
            "clusters": clusters,
        }

    def reload(self) -> None:
        self.edition += 1
        status, answer = self.ask("PUT", "/config", json.dumps(self.relay()).encode())
        if status != 200:
            raise RuntimeError(f"PUT /config: {status} {answer[:500]!r}")

    def census(self) -> dict[int, dict[str, int]]:
        """What is alive, by worker."""
        found: dict[int, dict[str, int]] = {}
        for _ in range(MOST_ASKED):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=process.DEADLINE)
            connection.request("GET", "/census")
            told = json.loads(connection.getresponse().read())
            connection.close()
            found[told.pop("pid")] = told
            if len(found) == self.workers:
                break
        return found

    def gauges(self) -> list[str]:
        """Those of connections that are not 0."""
        lines = self.ask("GET", "/metrics")[1].decode().splitlines()
        return [line for line in lines if "_connections_active" in line and line[0] != "#" and not line.endswith(" 0")]


@dataclass(frozen=True, slots=True)
class Level:
    """What a proxy holds that has nothing to do."""

    memory_kib: dict[int, int]
    descriptors: dict[int, int]
    alive: dict[int, dict[str, int]]
    gauges: list[str]

    @classmethod
    def of(cls, proxy: SoakMeshproxy, before: Level | None = None) -> Level:
        """Once it is quiet, as it was before; what is not quiet in time is in the figures."""
        most_tasks = {pid: told["tasks"] for pid, told in before.alive.items()} if before is not None else {}
        deadline = time.monotonic() + process.DEADLINE
        while True:
            gauges = proxy.gauges()
            alive = proxy.census() if not gauges else {}
            quiet = alive and all(
                told | KEPT == told and told["tasks"] <= most_tasks.get(pid, told["tasks"])
                for pid, told in alive.items()
            )
            if quiet or time.monotonic() > deadline:
                break
            time.sleep(QUIET)
        time.sleep(QUIET)  # for the last of the census
        pids = proxy.pids
        return cls(
            {pid: process.memory_kib([pid], "Private_Clean", "Private_Dirty") for pid in pids},
            {pid: descriptors(pid) for pid in pids},
            alive or proxy.census(),
            gauges,
        )

    def problems(self, before: Level) -> list[str]:
        """What is more than it was."""
        found = [f"still counted: {line}" for line in self.gauges]
        if self.memory_kib.keys() != before.memory_kib.keys():
            found.append(f"processes: {sorted(before.memory_kib)} became {sorted(self.memory_kib)}")
        for pid, was in before.memory_kib.items():
            now = self.memory_kib.get(pid, 0)
            if now > was * 1.1 + ROOM_KIB:
                found.append(f"memory of {pid}: {was} KiB became {now}")
            if self.descriptors.get(pid, 0) > before.descriptors[pid]:
                found.append(f"descriptors of {pid}: {before.descriptors[pid]} became {self.descriptors[pid]}")
        for pid, told in self.alive.items():
            left = {name: count for name, count in told.items() if count > KEPT.get(name, count)}
            if left:
                found.append(f"alive in {pid}: {left}")
            if pid in before.alive and told["tasks"] > before.alive[pid]["tasks"]:
                found.append(f"tasks of {pid}: {before.alive[pid]['tasks']} became {told['tasks']}")
        return found


def descriptors(pid: int) -> int:
    """Without pipes: a worker keeps those that it once needed, in a pool that has its own bound."""
    kept = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            kept += not os.readlink(f"/proc/{pid}/fd/{name}").startswith("pipe:")
    return kept


def run(plan: Plan) -> list[Result]:
    """One traffic to warm up, and one of `plan.seconds` which must leave nothing behind."""
    if HttpMeshproxy not in plan.present((HttpMeshproxy,)):
        return []
    warm_up = min(plan.seconds, WARM_UP)
    note(f"soak: {warm_up:g} s to warm up, then {plan.seconds:g} s, {plan.workers} workers, a reload each second")
    with (
        upstreams.running(plan.cores.load) as ports,
        SoakMeshproxy(ports, plan.cores.proxy, plan.workers) as proxy,
    ):
        first = traffic(proxy, warm_up, plan.cores.load)
        before = Level.of(proxy)
        second = traffic(proxy, plan.seconds, plan.cores.load)
        after = Level.of(proxy, before)
        problems = [*first.examples, *second.examples, *after.problems(before)]
        if "Traceback" in proxy.log():
            problems.append(proxy.log()[-3000:])
    for what, times in sorted((first.seen + second.seen).items()):
        note(f"soak: {times:8} {what}")
    for name, level in (("before", before), ("after", after)):
        note(f"soak: {name}: KiB {level.memory_kib}, descriptors {level.descriptors}, alive {level.alive}")
    if problems:
        sys.exit("\n".join(["soak FAILED:", *problems]))
    return [
        Result("soak: answers compared", "answers", {OURS: [second.compared]}),
        Result("soak: wrong answers, leaks", "", {OURS: [first.wrong + second.wrong]}),
        Result("soak: memory after, to before", "", {OURS: [growth(before, after)]}),
    ]


def traffic(proxy: SoakMeshproxy, seconds: float, core: int) -> clients.Account:
    end = time.monotonic() + seconds
    with clients.running(proxy.port, core) as crowd:
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, BETWEEN_RELOADS))
            proxy.reload()
        return clients.account(crowd)


def growth(before: Level, after: Level) -> float:
    return sum(after.memory_kib.values()) / sum(before.memory_kib.values())
