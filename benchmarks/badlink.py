"""A bad link between two hosts, where the kernel has no netem: a process that carries packets between two TUN devices.

    with Lab("a", "b") as lab, BadLink(lab["a"], lab["b"], delay=0.1, loss=0.01, rate=1_250_000) as link:
        link.cut()                      # what is under way is lost, and so is all that comes
        link.mend()
        link.change(loss=0.05)

Each host has an end of it, with an address of each family; all of `Terms` holds for each direction by itself.  The ends
know neither checksum offload nor segments of more than the MTU, so what is lost is always one packet of the wire.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cache
from random import Random
from types import TracebackType
from typing import Any, Self

from benchmarks import hosts, process
from benchmarks.hosts import Host, Lab, inside

V4 = ("10.78.0.1", "10.78.0.2")
V6 = ("fd78::1", "fd78::2")
MTU = 1500
NAME = "bad0"
DEVICE = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
AT_ONCE = 64
"""Packets that are read from one end before it is looked whether others are due."""
EARLY = 0.0001
"""What is due within this time goes now: a sleep is no more exact."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How bad it is, one way."""

    delay: float = 0.0
    """Seconds, of each packet."""
    jitter: float = 0.0
    """Seconds by which the delay differs at most, less or more."""
    loss: float = 0.0
    """The share of the packets that get lost."""
    burst: float = 1.0
    """How many in a row at a time, in the mean; where chance alone would lose more in a row, as many as that."""
    rate: float = 0.0
    """Bytes in a second; 0: as fast as it goes."""
    queue: int = 128 * 1024
    """Bytes that may wait for their turn, where there is a rate; what comes then is dropped."""
    ordered: bool = True
    """Whether jitter keeps the order."""
    seed: int = 1


class Way:
    """One direction: when each packet arrives at the other end, if it does."""

    def __init__(self, terms: Terms, seed: int) -> None:
        self.terms = terms
        self.counted: Counter[str] = Counter()
        self._chance = Random(seed)
        self._free = 0.0
        self._last = 0.0
        self._losing = False

    def take(self, size: int, now: float) -> float | None:
        """None, if it does not arrive."""
        terms = self.terms
        gone = max(self._free, now)
        if terms.rate:
            if (gone - now) * terms.rate + size > terms.queue:
                self.counted["dropped"] += 1
                return None
            gone += size / terms.rate
            self._free = gone
        if self._lost():
            self.counted["lost"] += 1
            return None
        due = gone + terms.delay
        if terms.jitter:
            due += self._chance.uniform(-terms.jitter, terms.jitter)
        if terms.ordered:
            due = self._last = max(due, self._last)
        self.counted["carried"] += 1
        return due

    def forget(self) -> None:
        """That anything is before the next one."""
        self._free = self._last = 0.0

    def _lost(self) -> bool:
        """By a chain of two states, good and losing, whose shares and stays are those of the terms."""
        loss = self.terms.loss
        if not loss or loss >= 1:
            return loss >= 1
        leaving = 1 / max(self.terms.burst, 1 / (1 - loss))
        self._losing = self._chance.random() < (1 - leaving if self._losing else loss * leaving / (1 - loss))
        return self._losing


class Carrier:
    """Both directions between two descriptors, each read and write of which is one packet."""

    def __init__(self, ends: tuple[int, int], terms: Terms) -> None:
        self.up = True
        self.ways = (Way(terms, terms.seed), Way(terms, terms.seed + 1))
        self._ends = ends
        # by their due times, and those of the same by when they came
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._number = 0

    def obey(self, line: str) -> None:
        """`down`, `up`, or one of the terms and its value, such as `loss 0.05`; nothing, to be answered only."""
        word, _, value = line.partition(" ")
        if word == "down":
            self.up = False
            self._under_way.clear()
            for way in self.ways:
                way.forget()
        elif word == "up":
            self.up = True
        elif word:
            for way in self.ways:
                way.terms = replace(way.terms, **{word: json.loads(value)})

    def run(self, orders: int) -> None:
        """Until nobody is there to give orders."""
        first, second = self._ends
        forth, back = self.ways
        while True:
            pause = max(self._under_way[0][0] - time.monotonic(), 0.0) if self._under_way else None
            ready, _, _ = select.select((first, second, orders), (), (), pause)
            if first in ready:
                self._read(first, second, forth)
            if second in ready:
                self._read(second, first, back)
            self._deliver(time.monotonic() + EARLY)
            if orders in ready:
                if not (said := os.read(orders, 4096)):
                    return
                for line in said.decode().splitlines():
                    self.obey(line)
                    self.answer()

    def answer(self) -> None:
        """What became of the packets so far."""
        print(json.dumps([way.counted for way in self.ways]), flush=True)

    def _read(self, end: int, other: int, way: Way) -> None:
        now = time.monotonic()
        for _ in range(AT_ONCE):
            try:
                packet = os.read(end, MTU)
            except BlockingIOError:
                return
            if not self.up:
                way.counted["cut"] += 1
            elif (due := way.take(len(packet), now)) is not None:
                self._number += 1
                heapq.heappush(self._under_way, (due, self._number, other, packet))

    def _deliver(self, until: float) -> None:
        waiting = self._under_way
        while waiting and waiting[0][0] <= until:
            _, _, end, packet = heapq.heappop(waiting)
            os.write(end, packet)


class BadLink:
    """That process, between two hosts of a lab."""

    def __init__(self, one: Host, other: Host, **terms: Any) -> None:
        self.hosts = (one, other)
        self.terms = Terms(**terms)
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        told = json.dumps(asdict(self.terms))
        command = process.module("benchmarks.badlink", *(host.namespace for host in self.hosts), "--terms", told)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=process.ROOT
        )
        try:
            self._answer()
            for host, v4, v6 in zip(self.hosts, V4, V6, strict=True):
                host.run("ip", "addr", "add", f"{v4}/24", "dev", NAME)
                host.run("ip", "addr", "add", f"{v6}/64", "dev", NAME, "nodad")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        process.end(self._process)

    def cut(self) -> None:
        self._tell("down")

    def mend(self) -> None:
        self._tell("up")

    def change(self, **terms: Any) -> None:
        for name, value in terms.items():
            self._tell(f"{name} {json.dumps(value)}")

    def counted(self) -> list[dict[str, int]]:
        """What became of the packets so far, from the first host and from the other: carried, lost, dropped, cut."""
        return self._tell("")

    def _tell(self, order: str) -> list[dict[str, int]]:
        """Done when this returns."""
        assert self._process.stdin
        print(order, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> list[dict[str, int]]:
        assert self._process.stdout
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the link ended with {self._process.wait()}")
        told: list[dict[str, int]] = json.loads(line)
        return told


@cache
def missing() -> str:
    """What it would take to have such a link, in words; nothing, if it is all there."""
    if reason := hosts.missing():
        return reason
    try:
        with Lab("a", "b") as lab, BadLink(lab["a"], lab["b"]):
            return ""
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return f"no link by {DEVICE} here: {error}"


def opened(namespace: str) -> int:
    """The device there, which is gone when the descriptor is."""
    with inside(namespace):
        device = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", NAME.encode(), IFF_TUN | IFF_NO_PI))
        # no address that nobody gave it: every packet is somebody's
        for words in (("addrgenmode", "none"), ("mtu", str(MTU), "up")):
            subprocess.run(("ip", "link", "set", NAME, *words), check=True)
    return device


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.badlink", description=__doc__)
    parser.add_argument("namespaces", nargs=2)
    parser.add_argument("--terms", type=json.loads, default={}, help="as JSON")
    args = parser.parse_args()
    one, other = args.namespaces
    carrier = Carrier((opened(one), opened(other)), Terms(**args.terms))
    carrier.answer()
    carrier.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
