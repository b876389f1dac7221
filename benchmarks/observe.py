"""What it costs to be seen: metrics, the access log and traces, each beside the same proxy without it.

`same` is wrk's own head of one line over and over, where every extra weighs most; of `differing` each head is another,
and brings a trace context, which says of one in a hundred, or of all, that it is recorded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks import tools
from benchmarks.gateways import HttpMeshproxy, Origin, PlainMeshproxy
from benchmarks.harness import OURS, Plan, Result, note
from benchmarks.http1 import FIFTY, LUA, by_wrk, one
from benchmarks.http1 import WORKS as LOADS
from benchmarks.peers import Peer

SAID = ("same", "differing")
FEW = replace(LOADS["differing"], load=by_wrk("/", *FIFTY, "-s", str(LUA / "differing.lua"), told=("0.01",)))


class Uncounted(HttpMeshproxy):
    name = "meshproxy-uncounted"

    def relay(self) -> dict[str, object]:
        return {**super().relay(), "metrics": {"requests": False}}


class Logging(HttpMeshproxy):
    """JSON, each line to a file."""

    def furnish(self, directory: Path) -> None:
        self.lines = str(directory / "access.log")
        super().furnish(directory)

    def relay(self) -> dict[str, object]:
        return {**super().relay(), "access_log": {"to": {"file": self.lines}}}


class Tracing(HttpMeshproxy):
    """By OTLP, to the upstream, which takes whatever it is sent."""

    share = 1.0

    def relay(self) -> dict[str, object]:
        collector = {"otlp": f"http://127.0.0.1:{self.upstream}/sink"}
        return {**super().relay(), "tracing": {"export": collector, "sample": {"share": self.share, "rate": None}}}


class TracingFew(Tracing):
    share = 0.01


SEEN: dict[str, tuple[type[Peer], type[Peer]]] = {
    "metrics": (HttpMeshproxy, Uncounted),
    "log": (Logging, PlainMeshproxy),
    "trace-1%": (TracingFew, PlainMeshproxy),
    "trace-all": (Tracing, PlainMeshproxy),
}
WORKS = tuple(f"{what}-{said}" for what in SEEN for said in SAID)


def run(plan: Plan) -> list[Result]:
    chosen = plan.chosen(WORKS)
    if not chosen or (plan.peers and OURS not in plan.peers):
        return []
    if reason := Origin.missing() or tools.missing("wrk"):
        note(f"observe skipped: {reason}")
        return []
    results = []
    with Origin(plan.cores.load) as origin:
        for work in chosen:
            what, _, said = work.rpartition("-")
            peers = [kind(origin.port, plan.cores.proxy) for kind in SEEN[what]]
            load = FEW if work == "trace-1%-differing" else LOADS[said]
            results.append(one(f"observe {what} {said}", load, peers, plan))
    return results
