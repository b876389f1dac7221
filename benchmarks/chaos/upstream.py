"""One upstream: it answers every request alike, slowly after SIGUSR1, with 503 after SIGUSR2, until the next of these.

`python -m benchmarks.chaos.upstream PORT` ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from subprocess import DEVNULL

from benchmarks import process

PAUSE = 0.6
BODY = b"here"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Mood:
    slow = failing = False

    def slow_down(self) -> None:
        self.slow = not self.slow

    def fail(self) -> None:
        self.failing = not self.failing


def start(port: int, core: int) -> process.Child:
    return process.start(process.module("benchmarks.chaos.upstream", port), core, output=DEVNULL)


async def main(port: int) -> None:
    mood = Mood()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if mood.slow:
                    await asyncio.sleep(PAUSE)
                writer.write(BAD if mood.failing else GOOD)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, mood.slow_down)
    loop.add_signal_handler(signal.SIGUSR2, mood.fail)
    await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
