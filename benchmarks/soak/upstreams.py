"""The far end of the soak: it answers as the target of a request wishes, which is rarely well.

`python -m benchmarks.soak.upstreams` prints its two ports as JSON, the same behind both, and ends when its standard
input does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from subprocess import PIPE

import h11

from benchmarks import process
from benchmarks.soak.words import POISON, Wish, chunked, pieces, reset

STALL = 3.0
OK = b"HTTP/1.1 200 OK\r\n"
ODD = (
    OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20,
)


@contextmanager
def running(core: int) -> Iterator[list[int]]:
    child = process.start(process.module("benchmarks.soak.upstreams"), core, output=PIPE)
    try:
        assert child.stdout
        ports: list[int] = json.loads(child.stdout.readline())
        yield ports
    finally:
        process.end(child)


class Served:
    """One connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.parser = h11.Connection(h11.SERVER)

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self.parser.next_event()) is h11.NEED_DATA:
            self.parser.receive_data(await self.reader.read(65536))
        return event  # type: ignore[return-value]

    async def body(self) -> str:
        """Its sum."""
        summed = hashlib.sha256()
        while isinstance(event := await self.event(), h11.Data):
            summed.update(event.data)
        return summed.hexdigest()

    async def serve(self) -> None:
        while isinstance(request := await self.event(), h11.Request):
            if any(name == b"upgrade" for name, _ in request.headers):
                await self.echo()
                return
            wish = Wish.of(request.target.decode())
            if wish is None:
                await self.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if not await KINDS[wish.kind](self, wish):
                return
            self.parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            self.parser.send(h11.EndOfMessage())
            self.parser.start_next_cycle()

    async def echo(self) -> None:
        self.writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.writer.write(self.parser.trailing_data[0])
        while data := await self.reader.read(65536):
            self.writer.write(data)
            await self.writer.drain()

    async def say(self, *words: bytes, pause: float = 0.0) -> None:
        for each in words:
            self.writer.write(each)
            await self.writer.drain()
            if pause:
                await asyncio.sleep(pause)


async def plain(served: Served, wish: Wish, pause: float = 0.0, before: bytes = b"", after: bytes = b"") -> bool:
    head = before + OK + b"X-Sum: %b\r\n" % (await served.body()).encode()
    body = [wish.body] if after else pieces(wish.body, random.Random(wish.seed))
    if wish.framing == "length":
        words = [head + b"Content-Length: %d\r\n\r\n" % len(wish.body), *body]
    elif wish.framing == "chunks":
        words = [head + b"Transfer-Encoding: chunked\r\n\r\n", *chunked(body)]
    else:
        words = [head + b"\r\n", *body]
    if after:
        words = [b"".join(words) + after]
    await served.say(*words, pause=pause)
    return wish.framing != "close"


async def slow(served: Served, wish: Wish) -> bool:
    return await plain(served, wish, pause=0.01)


async def interim(served: Served, wish: Wish) -> bool:
    return await plain(served, wish, before=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3)


async def extra(served: Served, wish: Wish) -> bool:
    """What follows would poison the answer to somebody else's request."""
    framing = "length" if wish.framing == "close" else wish.framing
    return await plain(served, wish._replace(framing=framing), after=POISON)


async def early(served: Served, wish: Wish) -> bool:
    await served.say(b"HTTP/1.1 413 Too Much\r\nContent-Length: 8\r\n\r\ntoo much")
    if wish.seed % 2:
        await served.body()
    return False


async def die(_: Served, __: Wish) -> bool:
    return False


async def reset_it(served: Served, _: Wish) -> bool:
    reset(served.writer)
    return False


async def stall(served: Served, _: Wish) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(served.reader.read(), STALL)
    return False


async def cut(served: Served, wish: Wish) -> bool:
    await served.body()
    body = wish.body
    if wish.framing == "chunks":
        await served.say(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b" % (wish.size + 1, body))
    else:
        await served.say(OK + b"Content-Length: %d\r\n\r\n" % (wish.size + 1), body)
    if wish.seed % 2:
        reset(served.writer)
    return False


async def garbage(served: Served, wish: Wish) -> bool:
    await served.say(random.Random(wish.seed).randbytes(1 + wish.size))
    return False


async def odd(served: Served, wish: Wish) -> bool:
    await served.say(ODD[wish.seed % len(ODD)])
    await served.reader.read()
    return False


KINDS: dict[str, Callable[[Served, Wish], Awaitable[bool]]] = {
    "plain": plain,
    "slow": slow,
    "interim": interim,
    "extra": extra,
    "early": early,
    "die": die,
    "reset": reset_it,
    "stall": stall,
    "cut": cut,
    "garbage": garbage,
    "odd": odd,
}
"""Each answers whether the connection goes on."""


async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, h11.RemoteProtocolError):
        await Served(reader, writer).serve()
    writer.close()


async def main() -> None:
    servers = [await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=4096) for _ in range(2)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
