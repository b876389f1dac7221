"""Clients that ask at a steady pace, whatever becomes of it, and count that.

`python -m benchmarks.chaos.load PORT SECONDS` prints how often each thing came: a status, `late`, `cut`, `refused`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from subprocess import PIPE

from benchmarks import process
from benchmarks.chaos.upstream import BODY

CLIENTS = 20
PACE = 0.05
PATIENCE = 1.0
"""Seconds after which an answer is too late for whoever asked."""
REQUEST = b"GET /thing HTTP/1.1\r\nHost: chaos\r\n\r\n"


class Client:
    def __init__(self, port: int, counted: Counter[str]) -> None:
        self.port = port
        self.counted = counted
        self.writer: asyncio.StreamWriter | None = None

    async def ask_on(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while due < until:
            await asyncio.sleep(max(due - loop.time(), 0))
            self.counted[await self.outcome()] += 1
            due += PACE
        self.leave()

    async def outcome(self) -> str:
        try:
            return await asyncio.wait_for(self.ask(), PATIENCE)
        except TimeoutError:
            why = "late"
        except ConnectionRefusedError:
            why = "refused"
        except (OSError, asyncio.IncompleteReadError):
            why = "cut"
        self.leave()
        return why

    async def ask(self) -> str:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(REQUEST)
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:-2])
        body = await self.reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.leave()
        status = head[9:12].decode()
        return status if status != "200" or body == BODY else "wrong"

    def leave(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def account(port: int, seconds: float) -> Counter[str]:
    counted: Counter[str] = Counter()
    until = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(Client(port, counted).ask_on(until) for _ in range(CLIENTS)))
    return counted


def start(port: int, seconds: float, core: int) -> process.Child:
    return process.start(process.module("benchmarks.chaos.load", port, seconds), core, output=PIPE)


def told(child: process.Child) -> Counter[str]:
    try:
        answer, _ = child.communicate()
    finally:
        process.end(child)
    return Counter(json.loads(answer))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(account(int(sys.argv[1]), float(sys.argv[2])))))
