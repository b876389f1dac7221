"""The command line of the harness: `python -m benchmarks NAME`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import http1, idle, observe, policy, reload, report, tcp, workers
from benchmarks.chaos import run as chaos
from benchmarks.h2 import run as h2
from benchmarks.h2.gateways import Nghttpx
from benchmarks.harness import Plan, Result
from benchmarks.inplace import run as inplace
from benchmarks.micro import balance, conn, exchange, filters, h1, routes, scrape, spool, topics
from benchmarks.micro import mqtt as micro_mqtt
from benchmarks.mqtt import run as mqtt
from benchmarks.mqtt.gateways import FanInMeshproxy
from benchmarks.peers import PEERS, Peer
from benchmarks.soak import run as soak
from benchmarks.tls import run as tls
from benchmarks.tunnel import run as tunnel

BENCHES: dict[str, Callable[[Plan], list[Result]]] = {
    "tcp": tcp.run,
    "http": http1.run,
    "tls": tls.run,
    "inplace": inplace.run,
    "h2": h2.run,
    "mqtt": mqtt.run,
    "observe": observe.run,
    "tunnel": tunnel.run,
    "idle": idle.run,
    "reload": reload.run,
    "policy": policy.run,
    "workers": workers.run,
    "soak": soak.run,
    "chaos": chaos.run,
    "micro conn": conn.run,
    "micro h1": h1.run,
    "micro exchange": exchange.run,
    "micro filters": filters.run,
    "micro routes": routes.run,
    "micro balance": balance.run,
    "micro mqtt": micro_mqtt.run,
    "micro topics": topics.run,
    "micro spool": spool.run,
    "micro scrape": scrape.run,
}
COMPARED: tuple[type[Peer], ...] = (*PEERS, Nghttpx, FanInMeshproxy)
NAMES = [peer.name for peer in COMPARED]


def main() -> int:
    args = arguments()
    if args.list:
        for name, bench in BENCHES.items():
            print(f"{name:14}{summary(bench)}")
        return 0
    plan = Plan(args.rounds, args.seconds, only=args.only, peers=args.peers, workers=args.workers)
    os.sched_setaffinity(0, {plan.cores.load})
    load = os.getloadavg()
    results = [result for name in args.names for result in BENCHES[name](plan)]
    if not results:
        print("nothing was measured", file=sys.stderr)
        return 1
    about = report.circumstances(["python", "-m", "benchmarks", *sys.argv[1:]], load)
    print(report.as_table(results))
    if args.json:
        args.json.write_text(json.dumps(report.as_json(about, results), indent=1) + "\n")
    if args.markdown:
        args.markdown.write_text(report.as_markdown(about, results))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure meshproxy beside its peers.")
    parser.add_argument("name", nargs="*", help=f"{', '.join(BENCHES)}, or all")
    parser.add_argument("--list", action="store_true", help="say what each name measures")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    only = f"works of tcp: {','.join(tcp.WORKS)}; of http: {','.join(http1.NAMES)}; "
    only += f"of tls: {','.join(tls.WORKS)}; of h2: {','.join(h2.WORKS)}; of mqtt: {','.join(mqtt.WORKS)}; "
    only += f"of observe: {','.join(observe.WORKS)}; of tunnel: {','.join(tunnel.WORKS)}"
    parser.add_argument("--only", type=works, default=frozenset(), help=only)
    parser.add_argument("--peers", type=peers, default=frozenset(), help=",".join(NAMES))
    carry = "processes of ours that carry traffic, in reload, policy, soak and chaos"
    parser.add_argument("--workers", type=positive, default=1, help=carry)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    args = parser.parse_args()
    name = " ".join(args.name)
    if name != "all" and name not in BENCHES and not args.list:
        parser.error(f"no benchmark is named {name!r}; there are {', '.join(BENCHES)}, and all")
    args.names = list(BENCHES) if name == "all" else [name]
    return args


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def works(text: str) -> frozenset[str]:
    benches = (tcp.WORKS, http1.NAMES, tls.WORKS, h2.WORKS, mqtt.WORKS, observe.WORKS, tunnel.WORKS)
    return among(text, {name for names in benches for name in names})


def peers(text: str) -> frozenset[str]:
    return among(text, {*NAMES})


def among(text: str, known: set[str]) -> frozenset[str]:
    names = frozenset(text.split(","))
    if unknown := names - known:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def summary(bench: Callable[[Plan], list[Result]]) -> str:
    return (sys.modules[bench.__module__].__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
