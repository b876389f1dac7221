"""Streams of which both ends know every byte: it comes of a seed, and is compared as it arrives.

    upload     the client says all of it, and hears whether it was right
    download   the server says all of it, and ends
    echo       the client says it, and hears it again meanwhile
    half       the client says all of it and ends its half; only then the server says as much of another seed, and ends

`serve` prints its port as one line of JSON; `ask` prints its account when its standard input ends, as the server does
then.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from subprocess import PIPE

from benchmarks import process

PIECE = 16 * 1024
SIZES = (1, 100, PIECE, PIECE + 1, 10 * PIECE, 40 * PIECE)
LONGEST = 90.0
"""Seconds that a stream may take, cuts and all."""
RIGHT = b"right\n"
MOST_EXAMPLES = 20


class Wrong(Exception):
    """What came is not what was sent."""


@dataclass(frozen=True, slots=True)
class Wish:
    kind: str
    seed: int
    size: int

    @classmethod
    def of(cls, line: bytes) -> Wish:
        kind, seed, size = line.decode().split()
        return cls(kind, int(seed), int(size))

    def line(self) -> bytes:
        return f"{self.kind} {self.seed} {self.size}\n".encode()


def pieces(seed: int, size: int) -> Iterator[bytes]:
    chance = Random(seed)
    for at in range(0, size, PIECE):
        yield chance.randbytes(min(PIECE, size - at))


async def say(writer: StreamWriter, seed: int, size: int) -> None:
    for piece in pieces(seed, size):
        writer.write(piece)
        await writer.drain()


async def compare(reader: StreamReader, seed: int, size: int) -> None:
    """All of it, and nothing else."""
    at = 0
    for piece in pieces(seed, size):
        try:
            got = await reader.readexactly(len(piece))
        except asyncio.IncompleteReadError as error:
            raise Wrong(f"it ended after {at + len(error.partial)} bytes of {size}") from None
        if got != piece:
            first = next(index for index, (one, other) in enumerate(zip(got, piece, strict=True)) if one != other)
            raise Wrong(f"byte {at + first} of {size} differs")
        at += len(piece)


async def ended(reader: StreamReader) -> None:
    if more := await reader.read(PIECE):
        raise Wrong(f"{len(more)} bytes more than there are")


# The server -----------------------------------------------------------------------------------------


async def answer(reader: StreamReader, writer: StreamWriter) -> None:
    """One stream; what is wrong with it is said to the client as a line where that waits for one, or by cutting it."""
    wish = Wish.of(await reader.readline())
    if wish.kind == "upload":
        try:
            await compare(reader, wish.seed, wish.size)
            writer.write(RIGHT)
        except Wrong as wrong:
            writer.write(f"{wrong}\n".encode())
    elif wish.kind == "echo":
        for piece in pieces(wish.seed, wish.size):
            if await reader.readexactly(len(piece)) != piece:
                raise Wrong("the echo is of something else")
            writer.write(piece)
            await writer.drain()
    else:
        if wish.kind == "half":
            await compare(reader, wish.seed, wish.size)
            await ended(reader)
        await say(writer, wish.seed + 1, wish.size)
    writer.write_eof()
    await reader.read()


async def serve() -> None:
    async def guarded(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (OSError, EOFError, ValueError, Wrong):
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"checked": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


# The clients ----------------------------------------------------------------------------------------


@dataclass
class Account:
    """How it went."""

    right: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)


async def upload(reader: StreamReader, writer: StreamWriter, wish: Wish) -> None:
    await say(writer, wish.seed, wish.size)
    if (heard := await reader.readline()) != RIGHT:
        raise Wrong(f"the server says {heard!r}")


async def download(reader: StreamReader, _: StreamWriter, wish: Wish) -> None:
    await compare(reader, wish.seed + 1, wish.size)


async def echo(reader: StreamReader, writer: StreamWriter, wish: Wish) -> None:
    saying = asyncio.ensure_future(say(writer, wish.seed, wish.size))
    try:
        await compare(reader, wish.seed, wish.size)
        await saying
    finally:
        saying.cancel()


async def half(reader: StreamReader, writer: StreamWriter, wish: Wish) -> None:
    await say(writer, wish.seed, wish.size)
    writer.write_eof()
    await compare(reader, wish.seed + 1, wish.size)


KINDS: dict[str, Callable[[StreamReader, StreamWriter, Wish], Awaitable[None]]] = {
    "upload": upload,
    "download": download,
    "echo": echo,
    "half": half,
}


class Crowd:
    """So many streams at a time, and another one for each that is over."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.account = Account()
        self._chance = Random(seed)
        self._over = asyncio.Event()

    async def run(self, streams: int, largest: int) -> Account:
        sizes = [size for size in SIZES if size <= largest]
        tasks = [asyncio.ensure_future(self._again_and_again(sizes)) for _ in range(streams)]
        await asyncio.to_thread(sys.stdin.read)
        self._over.set()
        await asyncio.gather(*tasks)
        return self.account

    async def _again_and_again(self, sizes: list[int]) -> None:
        chance, account = self._chance, self.account
        while not self._over.is_set():
            wish = Wish(chance.choice(tuple(KINDS)), chance.getrandbits(32), chance.choice(sizes))
            try:
                async with asyncio.timeout(LONGEST):
                    await self.once(wish)
            except (OSError, EOFError, Wrong) as error:
                account.wrong += 1
                if len(account.examples) < MOST_EXAMPLES:
                    account.examples.append(f"{wish}: {type(error).__name__} {error}")
                await asyncio.sleep(chance.random())
            else:
                account.right[wish.kind] += 1
                account.compared += wish.size

    async def once(self, wish: Wish) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(wish.line())
            await KINDS[wish.kind](reader, writer, wish)
            await ended(reader)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


# As processes ---------------------------------------------------------------------------------------


@contextmanager
def serving(core: int) -> Iterator[dict[str, int]]:
    child = process.start(process.module("benchmarks.tunnel.checked", "serve"), core, output=PIPE)
    try:
        assert child.stdout
        ports: dict[str, int] = json.loads(child.stdout.readline())
        yield ports
    finally:
        process.end(child)


@contextmanager
def asking(port: int, streams: int, largest: int, seed: int, core: int) -> Iterator[process.Child]:
    command = process.module("benchmarks.tunnel.checked", "ask", port, streams, largest, seed)
    child = process.start(command, core, output=PIPE)
    try:
        yield child
    finally:
        process.end(child)


def told(child: process.Child) -> Account:
    """Tell them to end, and hear how it went."""
    said, _ = child.communicate(timeout=2 * LONGEST)
    found = json.loads(said)
    return Account(Counter(found["right"]), found["compared"], found["wrong"], found["examples"])


def main() -> None:
    async def ask() -> Account:
        port, streams, largest, seed = map(int, sys.argv[2:])
        return await Crowd(port, seed).run(streams, largest)

    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        print(json.dumps(vars(asyncio.run(ask()))))


if __name__ == "__main__":
    main()
