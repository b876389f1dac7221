"""HTTP/1.1: CPU per request, per connection and per byte of bodies, beside the peers; and the latency added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import latency, process, tools
from benchmarks.gateways import BODIES, CARRIERS, GATEWAYS, GUARDED, Origin, PlainMeshproxy
from benchmarks.harness import OURS, Plan, Result, interleave, note
from benchmarks.pages import PAGES
from benchmarks.peers import Peer

AB_REQUESTS = 100_000
LUA = process.ROOT / "benchmarks"
PER_REQUEST = ("CPU µs/request", 1e-3)
PER_BYTE = ("CPU ms/GiB", 2**30 / 1e6)

Load = Callable[[str, float, int], int]
"""A load on the URL of a proxy, for so many seconds, on that core: the work that was done."""


@dataclass(frozen=True, slots=True)
class Work:
    tool: str
    load: Load
    cost: tuple[str, float] = PER_REQUEST
    """The unit, and what one nanosecond per piece of work is in it."""
    kinds: tuple[type[Peer], ...] = GATEWAYS


def by_wrk(path: str, *options: str, each: int = 1, told: Sequence[str] = ()) -> Load:
    return lambda url, seconds, core: tools.wrk(url + path, seconds, core, *options, told=told).requests * each


def by_ab(url: str, seconds: float, core: int) -> int:
    return tools.ab(url + "/", seconds, core, AB_REQUESTS)


def by_curl(url: str, seconds: float, core: int) -> int:
    # over TLS: the certificate was verified before the run
    return tools.curl(url + "/1g", seconds, core, "--insecure")


FIFTY = ("-t1", "-c50")
TEN = ("-t1", "-c10")
WORKS = {
    "same": Work("wrk", by_wrk("/", *FIFTY)),
    "differing": Work("wrk", by_wrk("/", *FIFTY, "-s", str(LUA / "differing.lua"))),
    "policy": Work("wrk", by_wrk("/", *FIFTY, "-s", str(LUA / "differing.lua")), kinds=GUARDED),
    "connect": Work("wrk", by_wrk("/", *FIFTY, "-H", "Connection: close")),
    "direct-wrk": Work("wrk", by_wrk("/", "-t10", "-c100"), kinds=PAGES),
    "direct-ab": Work("ab", by_ab, kinds=PAGES),
    "body-1m": Work("wrk", by_wrk("/1m", *TEN, each=BODIES["1m"]), PER_BYTE, CARRIERS),
    "body-1g": Work("curl", by_curl, PER_BYTE, CARRIERS),
    "upload-1m": Work(
        "wrk", by_wrk("/sink", *TEN, "-s", str(LUA / "upload.lua"), each=BODIES["1m"]), PER_BYTE, CARRIERS
    ),
}
NAMES = (*WORKS, "latency")


def run(plan: Plan) -> list[Result]:
    chosen = plan.chosen(NAMES)
    if not chosen:
        return []
    if reason := Origin.missing():
        note(f"http skipped: the upstream is nginx, and there is {reason}")
        return []
    here = {kind.name for kind in plan.present(CARRIERS)}
    if OURS in here:
        here.add(PlainMeshproxy.name)
    results: list[Result] = []
    with Origin(plan.cores.load) as origin:
        for name in chosen:
            tool, kinds = (WORKS[name].tool, WORKS[name].kinds) if name in WORKS else (latency.TOOL, GATEWAYS)
            peers = [kind(origin.port, plan.cores.proxy) for kind in kinds if kind.name in here]
            if reason := tools.missing(tool):
                note(f"http {name} skipped: {reason}")
            elif not peers:
                note(f"http {name} skipped: none of its peers")
            elif name in WORKS:
                results.append(one(f"http {name}", WORKS[name], peers, plan))
            else:
                results += latency.run("http latency", plan, origin.port, peers)
    return results


def one(name: str, work: Work, peers: Sequence[Peer], plan: Plan) -> Result:
    note(f"{name}: {plan.rounds} rounds of {plan.seconds:g} s each on {', '.join(peer.name for peer in peers)}")
    unit, scale = work.cost

    def cost(peer: Peer) -> float:
        pids = peer.pids
        before = process.cpu_ns(pids)
        done = work.load(f"{peer.scheme}://127.0.0.1:{peer.port}", plan.seconds, plan.cores.load)
        return (process.cpu_ns(pids) - before) / done * scale

    with ExitStack() as stack:
        running = {peer.name: stack.enter_context(peer) for peer in peers}
        return Result(name, unit, interleave(running, plan.rounds, cost))
