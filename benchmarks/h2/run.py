"""HTTP/2: CPU per request and per byte of bodies, in cleartext and over TLS; gRPC; the memory of idle connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import http1, pki, tools
from benchmarks.gateways import BODIES, Origin
from benchmarks.h2 import heads, memory, unary
from benchmarks.h2.gateways import CARRIERS, GATEWAYS, GRPC, TERMINATING
from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.http1 import PER_BYTE, PER_REQUEST
from benchmarks.peers import Peer
from benchmarks.tls.run import Skipped, need

CONNECTIONS = 10
STREAMS = "-m10"
# nothing older by TLS, and the cipher on which the clients of the other works agree
TLS = ("--npn-list=h2", "--tls13-ciphers=TLS_AES_256_GCM_SHA384")


@dataclass(frozen=True, slots=True)
class Scene:
    plan: Plan
    origin: int
    here: frozenset[str]

    def present(self, kinds: Sequence[type[Peer]]) -> list[type[Peer]]:
        if found := [kind for kind in kinds if kind.name in self.here]:
            return found
        raise Skipped("none of its peers")


Work = Callable[[str, Scene], list[Result]]


def same(url: str, seconds: float, core: int) -> int:
    (did,) = tools.h2load(url, seconds, core, (f"-c{CONNECTIONS}", STREAMS, *TLS))
    return did.requests


def differing(url: str, seconds: float, core: int) -> int:
    with heads.several(CONNECTIONS, STREAMS, *TLS) as lists:
        return sum(did.requests for did in tools.h2load(url, seconds, core, *lists))


def download(url: str, seconds: float, core: int) -> int:
    (did,) = tools.h2load(f"{url}/1m", seconds, core, (f"-c{CONNECTIONS}", "-m1", *TLS))
    return did.data


def download_one(url: str, seconds: float, core: int) -> int:
    # over TLS: no certificate is verified by the other works either
    return tools.curl(f"{url}/1g", seconds, core, "--http2-prior-knowledge", "--insecure")


def upload(url: str, seconds: float, core: int) -> int:
    with TemporaryDirectory(prefix="benchmark-upload-") as name:
        body = Path(name, "1m")
        body.write_bytes(bytes(BODIES["1m"]))
        (did,) = tools.h2load(f"{url}/sink", seconds, core, (f"-c{CONNECTIONS}", "-m1", *TLS, f"-d{body}"))
        return did.requests * BODIES["1m"]


LOADS = {
    "same": http1.Work("h2load", same, PER_REQUEST, GATEWAYS),
    "differing": http1.Work("h2load", differing, PER_REQUEST, GATEWAYS),
    "body-1m": http1.Work("h2load", download, PER_BYTE, CARRIERS),
    "body-1g": http1.Work("curl", download_one, PER_BYTE, CARRIERS),
    "upload-1m": http1.Work("h2load", upload, PER_BYTE, CARRIERS),
}


def in_cleartext(load: str) -> Work:
    def run(name: str, scene: Scene) -> list[Result]:
        work = LOADS[load]
        need(work.tool)
        peers = [kind(scene.origin, scene.plan.cores.proxy) for kind in scene.present(work.kinds)]
        return [http1.one(name, work, peers, scene.plan)]

    return run


def by_tls(load: str) -> Work:
    def run(name: str, scene: Scene) -> list[Result]:
        work = LOADS[load]
        need(work.tool)
        if reason := pki.missing():
            raise Skipped(reason)
        with pki.mesh() as mesh:
            present = [kind for kind in TERMINATING if kind.name in scene.here]
            peers = [kind(scene.origin, scene.plan.cores.proxy, mesh.ecdsa) for kind in present]
            return [http1.one(name, work, peers, scene.plan)]

    return run


def grpc(name: str, scene: Scene) -> list[Result]:
    """HTTP/2 on both sides."""
    if reason := unary.missing():
        raise Skipped(reason)
    plan, present = scene.plan, scene.present(GRPC)
    note(f"{name}: {plan.rounds} rounds of {plan.seconds:g} s each on {', '.join(kind.name for kind in present)}")

    def cost(peer: Peer) -> float:
        sample = unary.run(peer.port, peer.pids, plan.seconds, plan.cores.load)
        return sample.cpu_ns / sample.work / 1e3

    with unary.serving(plan.cores.load) as port, ExitStack() as stack:
        running = {kind.name: stack.enter_context(kind(port, plan.cores.proxy)) for kind in present}
        return [Result(name, "CPU µs/call", interleave(running, plan.rounds, cost))]


def held(name: str, scene: Scene) -> list[Result]:
    """Each time by a proxy that has just started."""
    present = {kind.name: kind for kind in scene.present(GATEWAYS)}
    note(f"{name}: {scene.plan.rounds} starts each of {', '.join(present)}")

    def kib(kind: type[Peer]) -> float:
        with kind(scene.origin, scene.plan.cores.proxy) as peer:
            return memory.kib_per_connection(peer)

    return [Result(name, "private KiB/connection", interleave(present, scene.plan.rounds, kib))]


WORKS: dict[str, Work] = {
    **{load: in_cleartext(load) for load in LOADS},
    **{f"tls-{load}": by_tls(load) for load in ("same", "differing", "body-1m")},
    "grpc": grpc,
    "memory": held,
}


def run(plan: Plan) -> list[Result]:
    chosen = plan.chosen(list(WORKS))
    if not chosen:
        return []
    if reason := Origin.missing():
        note(f"h2 skipped: the upstream is nginx, and there is {reason}")
        return []
    results: list[Result] = []
    with Origin(plan.cores.load) as origin:
        scene = Scene(plan, origin.port, frozenset(kind.name for kind in plan.present(CARRIERS)))
        for work in chosen:
            try:
                results += WORKS[work](f"h2 {work}", scene)
            except Skipped as skipped:
                note(f"h2 {work} skipped: {skipped}")
    return results
