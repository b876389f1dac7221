"""In their place: the latency that two redirected sidecars with mTLS add between two hosts, beside two Envoys."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import hosts, latency, pki, tools
from benchmarks.gateways import Origin
from benchmarks.harness import Plan, Result, note
from benchmarks.hosts import Host, Lab
from benchmarks.inplace.gateways import IN_PLACE, INBOUND, OUTBOUND, UID, InPlace

PORT = 80
"""At which the service is called; its application is elsewhere."""


def run(plan: Plan) -> list[Result]:
    if reason := hosts.missing() or Origin.missing() or pki.missing() or tools.missing(latency.TOOL):
        note(f"inplace skipped: {reason}")
        return []
    here = set(plan.present(IN_PLACE))
    with pki.mesh() as mesh, ExitStack() as stack:
        direct = stack.enter_context(bare(plan))
        ways = {kind.name: stack.enter_context(redirected(kind, plan, mesh)) for kind in IN_PLACE if kind in here}
        return latency.measure("inplace pair", plan, direct, ways) if ways else []


@contextmanager
def bare(plan: Plan) -> Iterator[latency.Way]:
    """Nobody is between."""
    with Lab("client", "server") as lab, ExitStack() as stack:
        client, server = lab["client"], lab["server"]
        with server.inside():
            origin = stack.enter_context(Origin(plan.cores.load, server.v4))
        yield latency.Way(origin.port, server.v4, client.inside)


@contextmanager
def redirected(kind: type[InPlace], plan: Plan, mesh: pki.Mesh) -> Iterator[latency.Way]:
    with Lab("client", "server") as lab, ExitStack() as stack:
        client, server = lab["client"], lab["server"]
        core = plan.cores.proxy
        with server.inside():
            origin = stack.enter_context(Origin(plan.cores.load))
            stack.enter_context(kind(INBOUND, f"127.0.0.1:{origin.port}", core, mesh.ecdsa))
        with client.inside():
            stack.enter_context(kind(OUTBOUND, f"{server.v4}:{PORT}", core, mesh.client))
        for host in (client, server):
            redirect(host)
        yield latency.Way(PORT, server.v4, client.inside)


def redirect(host: Host) -> None:
    host.run(sys.executable, "-m", "meshproxy", "redirect", "--apply", "--uid", str(UID), cwd=hosts.ROOT)
