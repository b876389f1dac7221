"""Flaps: streams with checksums through two proxies, over a bad link that comes and goes; every byte is compared.

    python -m benchmarks.tunnel.flaps                       # ten minutes
    python -m benchmarks.tunnel.flaps --seconds 60 --streams 50 --loss 0.03 --seed 7

It measures nothing: a stream that is cut, or one byte that is not what was sent, is an error, and the command fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from random import Random

from benchmarks import badlink, pki, process
from benchmarks.badlink import V4, BadLink
from benchmarks.harness import note
from benchmarks.hosts import Lab
from benchmarks.tunnel import checked
from benchmarks.tunnel.checked import Account
from benchmarks.tunnel.pairs import OVER_A_LINK
from benchmarks.tunnel.peers import Pair, Site, TunnelPair

UP = (1.0, 8.0)
"""Seconds that the link is there, at least and at most."""
AWAY = (0.05, 5.0)
"""And that it is not: shorter than what a proxy takes for its death, and longer."""
TERMS: Mapping[str, float] = {"delay": 0.05, "jitter": 0.01, "rate": 1_250_000, "burst": 2.0}


def flap(link: BadLink, seconds: float, chance: Random, *, resets: bool) -> Counter[str]:
    """Trouble for so long, and how often which; the link is mended at the end.

    A reset ends the connections between the two proxies, as somebody between them does that has forgotten them.  With a
    cut at once after it, only one of the two knows.
    """
    counted: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(chance.uniform(*UP), left))
        kind = chance.choice(("cut", "reset", "reset and cut")) if resets else "cut"
        if kind != "cut":
            link.hosts[0].run("ss", "-K", "-t", "dst", V4[1])
        if kind != "reset":
            link.cut()
            time.sleep(chance.uniform(*AWAY))
            link.mend()
        counted[kind] += 1
    return counted


def run(
    kind: type[Pair], seconds: float, *, streams: int, largest: int, loss: float, seed: int
) -> tuple[Account, list[str]]:
    """What the clients say, and what is wrong."""
    core = process.Cores.of_this_machine()
    with ExitStack() as stack:
        mesh = stack.enter_context(pki.mesh())
        lab = stack.enter_context(Lab("edge", "centre"))
        link = stack.enter_context(BadLink(lab["edge"], lab["centre"], loss=loss, seed=seed, **TERMS))
        with lab["centre"].inside():
            upstreams = stack.enter_context(checked.serving(core.load))
        pair = stack.enter_context(kind(Site.of(lab), upstreams, mesh, core.proxy))
        with lab["edge"].inside():
            crowd = stack.enter_context(checked.asking(pair.ports["checked"], streams, largest, seed, core.load))
        trouble = flap(link, seconds, Random(seed), resets=kind.resumes)
        account = checked.told(crowd)
        note(f"flaps: {dict(trouble)}; packets from the edge and from the centre {link.counted()}")
        problems = list(account.examples)
        problems += [f"no {kind} was right" for kind in checked.KINDS if not account.right[kind]]
        problems += [end.log()[-3000:] for end in pair.ends if "Traceback" in end.log()]
    return account, problems


def main() -> None:
    kinds = {kind.name: kind for kind in OVER_A_LINK}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tunnel.flaps", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--streams", type=int, default=20, help="at a time")
    parser.add_argument("--largest", type=int, default=checked.SIZES[-1], help="bytes of a stream")
    parser.add_argument("--loss", type=float, default=0.01, help="the share of packets that get lost")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pair", choices=kinds, default=TunnelPair.name, help="what is between the two proxies")
    args = parser.parse_args()
    if reason := badlink.missing() or pki.missing():
        note(f"flaps skipped: {reason}")
        return
    asked = {"streams": args.streams, "largest": args.largest, "seed": args.seed}
    account, problems = run(kinds[args.pair], args.seconds, loss=args.loss, **asked)
    for what, times in sorted(account.right.items()):
        note(f"flaps: {times:8} {what}")
    if problems:
        sys.exit("\n".join([f"flaps FAILED, {account.wrong} streams were wrong:", *problems]))
    print(f"{account.right.total()} streams and {account.compared} bytes, of which every one was right")


if __name__ == "__main__":
    main()
