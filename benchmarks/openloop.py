"""An open loop: HTTP/1.1 requests that fall due at a constant rate, whether or not earlier ones were answered.

The latency of a request counts from the moment at which it was due, not from that at which it was sent: whoever stalls
pays for all that fell due meanwhile (no coordinated omission).  Requests fall due as those of many clients that do not
know of each other do, in exponential gaps; the gaps are the same in each run.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from subprocess import PIPE

from benchmarks import process

CONNECTIONS = 50
STALLED = 10.0
WARM_UP = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: benchmark\r\n\r\n"
GOOD = b"HTTP/1.1 200 "

Answer = tuple[float, float]
"""When it was due, and after how many seconds it came."""


@dataclass(frozen=True, slots=True)
class Account:
    answered: int
    p50_us: float
    p99_us: float
    busy: float
    """The share of its time that the load itself was running: near 1, it is the load that was measured."""


class Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, STALLED)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.due = 0.0
        self.got = b""

    def ask(self, due: float) -> None:
        self.due, self.got = due, b""
        self.sock.send(REQUEST)

    def answered(self, body: bytes) -> bool:
        data = self.sock.recv(65536)
        self.got += data
        # It may come in pieces, however small.
        if not data or not (self.got.startswith(GOOD) or GOOD.startswith(self.got)):
            raise ConnectionError(f"not an answer: {self.got[:100]!r}")
        return self.got.endswith(body)


def schedule(rate: float, seconds: float) -> Iterator[float]:
    """When requests fall due, from 0."""
    gaps = random.Random(1)
    at = 0.0
    while (at := at + gaps.expovariate(rate)) < seconds:
        yield at


def answers(address: tuple[str, int], body: bytes, due: Iterator[float]) -> list[Answer]:
    """The answers to requests at the times in `due`, each of which must end in `body`."""
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        every = {}
        for _ in range(CONNECTIONS):
            connection = Connection(address)
            stack.enter_context(connection.sock)
            poll.register(connection.sock, select.EPOLLIN)
            every[connection.sock.fileno()] = connection
        return conversation(poll, every, body, due)


def conversation(poll: select.epoll, every: dict[int, Connection], body: bytes, due: Iterator[float]) -> list[Answer]:
    idle = deque(every.values())
    found: list[Answer] = []
    clock = time.perf_counter
    began = clock()
    following = next(due, None)
    while following is not None or len(idle) < CONNECTIONS:
        while following is not None and idle and began + following <= clock():
            idle.popleft().ask(following)
            following = next(due, None)
        # a poll of its own counts in milliseconds, select in microseconds
        pause = max(began + following - clock(), 0) if following is not None and idle else STALLED
        if not select.select([poll], [], [], pause)[0]:
            if pause == STALLED:
                raise TimeoutError("no answer came")
            continue
        for fd, _ in poll.poll(0):
            connection = every[fd]
            if connection.answered(body):
                found.append((connection.due, clock() - began - connection.due))
                idle.append(connection)
    return found


def account(
    address: tuple[str, int], body: bytes, rate: float, seconds: float, warm_up: float = WARM_UP
) -> Account:
    gc.disable()
    Path("/proc/self/timerslack_ns").write_text("1")
    cpu, began = time.process_time(), time.monotonic()
    found = answers(address, body, schedule(rate, warm_up + seconds))
    busy = (time.process_time() - cpu) / (time.monotonic() - began)
    taken = sorted(took for due, took in found if due > warm_up)
    return Account(len(taken), quantile(taken, 0.5) * 1e6, quantile(taken, 0.99) * 1e6, busy)


def quantile(ordered: list[float], share: float) -> float:
    """The least figure that so great a share of them does not exceed."""
    return ordered[max(ceil(len(ordered) * share), 1) - 1]


def run(
    port: int, body: str, rate: float, seconds: float, core: int, host: str = "127.0.0.1", warm_up: float = WARM_UP
) -> Account:
    """The load as its own process on `core`."""
    asked = ("--host", host, "--port", port, "--body", body, "--rate", rate)
    command = process.module("benchmarks.openloop", *asked, "--seconds", seconds, "--warm-up", warm_up)
    child = process.start(command, core, output=PIPE, log=PIPE)
    try:
        answer, complaint = child.communicate(timeout=warm_up + seconds + 2 * STALLED)
    finally:
        process.end(child)
    if child.returncode:
        raise RuntimeError(f"the open loop failed: {complaint.strip().splitlines()[-1]}")
    return Account(**json.loads(answer))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openloop", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--body", required=True, help="the end of each answer")
    parser.add_argument("--rate", type=float, required=True, help="requests in a second")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warm-up", type=float, default=WARM_UP, help="seconds before, which do not count")
    args = parser.parse_args()
    found = account((args.host, args.port), args.body.encode(), args.rate, args.seconds, args.warm_up)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
