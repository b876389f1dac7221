"""Policy: a mesh of 1,000 services with 10 routes each, put again and again under relay traffic.

Once in our own words and once in those of FSM's sidecar, each time changed; beside it the same traffic without reloads,
and a document that has not changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks import process, steady, upstream
from benchmarks.harness import OURS, Plan, Result, note
from benchmarks.peers import Meshproxy

SERVICES = 1000
ROUTES = 10
CONNECTIONS = 50
CALM = "without reloads"
LAYER = "/config/mesh"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one dialect, by round."""

    rests: list[float] = field(default_factory=list)
    """Puts without traffic."""
    puts: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """What the process has more than before, as a multiple of the document."""


def run(plan: Plan) -> list[Result]:
    """One round is two changed documents, under load and without, and one that is the same again."""
    if Meshproxy not in plan.present():
        return []
    note(f"policy: {plan.rounds} rounds, {SERVICES} services with {ROUTES} routes, {CONNECTIONS} connections")
    results = []
    for dialect, document in DIALECTS.items():
        with proxy(plan) as ours:
            results += measured(ours, plan, dialect, document)
    return results


@contextmanager
def proxy(plan: Plan) -> Iterator[Meshproxy]:
    with (
        upstream.running(plan.cores.load) as ports,
        Meshproxy(ports["echo"], plan.cores.proxy, workers=plan.workers) as ours,
    ):
        yield ours


def measured(ours: Meshproxy, plan: Plan, dialect: str, document: Callable[[int], Document]) -> list[Result]:
    bodies = [spelled(dialect, document(version)) for version in (1, 2)]
    megabytes = len(bodies[0]) / 2**20
    before = private_mib(ours)
    calm, found = [], Figures()
    put(ours, bodies[-1])
    first = (private_mib(ours) - before) / megabytes
    for _ in range(plan.rounds):
        calm.append(stall(ours, plan, lambda: time.sleep(plan.seconds)).longest_ms)
        for body in bodies:
            account = stall(ours, plan, lambda body=body: found.puts.append(put(ours, body)))  # type: ignore[misc]
            found.stalls.append(account.longest_ms)
            found.failed.append(account.failed)
        found.rests.extend(put(ours, body) for body in bodies)
        found.unchanged.append(put(ours, bodies[-1]))
        found.memory.append((private_mib(ours) - before) / megabytes)
    work = f"policy {dialect}"
    note(f"{work}: a document of {megabytes:.1f} MiB")
    return [
        Result(f"{work}: from PUT to 200", "ms", {OURS: found.rests}),
        Result(f"{work}: the same under load", "ms", {OURS: found.puts}),
        Result(f"{work}: unchanged", "ms", {OURS: found.unchanged}),
        Result(f"{work}: longest stall", "ms", {OURS: found.stalls, CALM: [each for each in calm for _ in bodies]}),
        Result(f"{work}: failed", "connections", {OURS: found.failed}),
        Result(f"{work}: memory", "of its JSON", {OURS: [first]}),
        Result(f"{work}: memory after swaps", "of its JSON", {OURS: found.memory}),
    ]


def spelled(dialect: str, document: Document) -> bytes:
    """As it comes: the control plane of FSM writes each value on a line of its own."""
    return json.dumps(document, indent=1 if dialect == "fsm" else None).encode()


def stall(ours: Meshproxy, plan: Plan, work: Callable[[], object]) -> steady.Account:
    with steady.running(ours.port, CONNECTIONS, plan.cores.load) as traffic:
        work()
        return steady.account(traffic)


def put(ours: Meshproxy, body: bytes) -> float:
    """Milliseconds until it is in force."""
    began = time.monotonic()
    status, answer = ours.ask("PUT", LAYER, body)
    if status != 200:
        raise RuntimeError(f"PUT {LAYER}: {status} {answer[:500]!r}")
    return (time.monotonic() - began) * 1e3


def private_mib(ours: Meshproxy) -> float:
    return process.memory_kib(ours.pids, "Private_Dirty") / 1024


# What is put --------------------------------------------------------------------------------------


def names(service: str) -> list[str]:
    """All that Kubernetes calls a service, with its port and without."""
    full = [service, f"{service}.shop", *(f"{service}.shop.{more}" for more in ("svc", "svc.cluster", f"svc.{DOMAIN}"))]
    return [spelling for name in full for spelling in (name, f"{name}:80")]


DOMAIN = "cluster.local"


def endpoints(number: int, version: int) -> list[str]:
    """One that stays, and one that every version has another of."""
    return [f"10.{net}.{number // 250}.{number % 250}:80" for net in (1, 1 + version)]


def native(version: int) -> Document:
    services = [f"service-{number}" for number in range(SERVICES)]
    return {
        "listeners": [{"name": "outbound", "listen": "127.0.0.1:0", "protocol": "http", "routes": "outbound"}],
        "routes": {
            "outbound": {
                "order": "written",
                "rules": [
                    {
                        "match": {
                            "hosts": names(service),
                            "path": {"prefix": f"/api/{route}"},
                            "methods": ["GET", "POST"],
                        },
                        "cluster": f"shop/{service}|80",
                    }
                    for service in services
                    for route in range(ROUTES)
                ],
            }
        },
        "clusters": {
            f"shop/{service}|80": {
                "endpoints": [{"address": address, "weight": 100} for address in endpoints(number, version)]
            }
            for number, service in enumerate(services)
        },
    }


def fsm(version: int) -> Document:
    services = [f"service-{number}" for number in range(SERVICES)]
    return {
        "Ts": "2026-01-01T00:00:00Z",
        "Version": str(version),
        "Spec": {
            "SidecarLogLevel": "error",
            "SidecarTimeout": 60,
            "Traffic": {"EnableEgress": False},
            "FeatureFlags": {"EnableSidecarActiveHealthChecks": False},
        },
        "Certificate": None,
        "Inbound": None,
        "Outbound": {
            "TrafficMatches": {
                "80": [
                    {
                        "DestinationIPRanges": {
                            f"{address.removesuffix(':80')}/32": None
                            for number in range(SERVICES)
                            for address in endpoints(number, version)
                        },
                        "Port": 80,
                        "Protocol": "http",
                        "HttpHostPort2Service": {
                            name: f"{service}.shop.svc.{DOMAIN}" for service in services for name in names(service)
                        },
                        "HttpServiceRouteRules": {
                            f"{service}.shop.svc.{DOMAIN}": {
                                "RouteRules": [fsm_rule(f"/api/{route}", service) for route in range(ROUTES)],
                                "ServiceIdentity": "bookbuyer.shop",
                                "EgressForwardGateway": None,
                                "Plugins": None,
                            }
                            for service in services
                        },
                        "TcpServiceRouteRules": None,
                    }
                ]
            },
            "ClustersConfigs": {
                f"shop/{service}|80": {
                    "Endpoints": {address: {"Weight": 100} for address in endpoints(number, version)}
                }
                for number, service in enumerate(services)
            },
        },
        "Forward": None,
        "AllowedEndpoints": {},
        "Chains": {"outbound-http": ["modules/outbound-http-routing.js"]},
    }


def fsm_rule(path: str, service: str) -> Document:
    return {
        "Path": path,
        "Type": "Prefix",
        "Headers": None,
        "Methods": ["GET", "POST"],
        "TargetClusters": {f"shop/{service}|80": 100},
        "AllowedServices": None,
    }


DIALECTS: dict[str, Callable[[int], Document]] = {"native": native, "fsm": fsm}
