"""The near end of the soak: many clients of several kinds, those that are good comparing every answer.

`python -m benchmarks.soak.clients PORT` ends when its standard input does, and prints an `Account`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from subprocess import PIPE, Popen

import h11

from benchmarks import process
from benchmarks.soak.words import BAD, FRAMINGS, GOOD, Wish, chunked, pieces, reset

LONGEST = 20.0
"""Seconds within which everything is answered or cut."""
MOST_REMEMBERED = 10
UPGRADE = b"GET /good/tunnel HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@dataclass
class Account:
    seen: Counter[str] = field(default_factory=Counter)
    """How often each kind of client met each end."""
    wrong: int = 0
    """Good clients that got no answer, or another than theirs; ends of bad upstreams that looked good."""
    examples: list[str] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """Right answers of those that compare."""
        return sum(self.seen[f"{who}: 200"] for who in ("good", "slow", "hasty"))

    def note(self, who: str, what: object, *about: object, right: bool = True) -> None:
        self.seen[f"{who}: {what}"] += 1
        if not right:
            self.wrong += 1
            if len(self.examples) < MOST_REMEMBERED:
                self.examples.append(" ".join(map(str, (f"{who}: {what}", *about))))


@dataclass
class Answer:
    status: int
    sum: str
    body: bytes
    last: bool
    """The connection ends with it."""


class Client:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.rest = b""
        self.read_size, self.pause = 65536, 0.0

    async def say(self, *words: bytes, pause: float = 0.0) -> None:
        """Who is not listened to any more may still be answered."""
        with suppress(ConnectionError):
            for each in words:
                self.writer.write(each)
                await self.writer.drain()
                if pause:
                    await asyncio.sleep(pause)

    async def answer(self) -> Answer | None:
        """The next one; None if it is cut."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="GET", target="/", headers=[("Host", "soak")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(self.rest) if self.rest else None
        answer = None
        body = []
        while True:
            try:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    parser.receive_data(await self.reader.read(self.read_size))
                    if self.pause:
                        await asyncio.sleep(self.pause)
            except (OSError, h11.RemoteProtocolError):
                return None
            if isinstance(event, h11.Response):
                fields = dict(event.headers)
                last = fields.get(b"connection", b"") == b"close"
                answer = Answer(event.status_code, fields.get(b"x-sum", b"").decode(), b"", last)
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert answer is not None
                answer.body = b"".join(body)
                self.rest = parser.trailing_data[0]
                return answer
            elif isinstance(event, h11.ConnectionClosed):
                return None


class Crowd:
    def __init__(self, port: int) -> None:
        self.port = port
        self.account = Account()
        self.over = asyncio.Event()
        self.chance = random.Random()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()

    def wish(self, kinds: tuple[str, ...] = GOOD, most: int = 300_000) -> Wish:
        chance = self.chance
        size = chance.choice((0, 1, 100, chance.randrange(20_000), chance.randrange(most)))
        return Wish(chance.choice(kinds), chance.choice(FRAMINGS), chance.randrange(1 << 30), size)

    def get(self, wish: Wish, group: str = "") -> bytes:
        group = group or self.chance.choice(("good", "mixed", "paused"))
        return f"GET {wish.target(group)} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()

    def put(self, wish: Wish, body: bytes, group: str = "good") -> list[bytes]:
        each = pieces(body, self.chance)
        head = f"PUT {wish.target(group)} HTTP/1.1\r\nHost: soak\r\n".encode()
        if self.chance.random() < 0.5:
            return [head + b"Transfer-Encoding: chunked\r\n\r\n", *chunked(each)]
        return [head + b"Content-Length: %d\r\n\r\n" % len(body), *each]

    def body(self) -> bytes:
        return self.chance.randbytes(self.chance.choice((0, 10, self.chance.randrange(300_000))))

    def judge(self, who: str, wish: Wish, sent: bytes, answer: Answer | None) -> None:
        if answer is None:
            self.account.note(who, "was cut", wish, right=False)
            return
        right = (answer.status, answer.body) == (200, wish.body) and answer.sum == hashlib.sha256(sent).hexdigest()
        self.account.note(who, 200 if right else "wrong answer", answer.status, wish, right=right)

    # Kinds of clients; each call is one connection

    async def good(self) -> None:
        async with self.connected() as client:
            for _ in range(self.chance.randrange(1, 20)):
                wish = self.wish()
                if self.chance.random() < 0.6:
                    sent, words = b"", [self.get(wish)]
                else:
                    sent = self.body()
                    words = self.put(wish, sent)
                saying = asyncio.ensure_future(client.say(*words))
                answer = await client.answer()
                await saying
                self.judge("good", wish, sent, answer)
                if answer is None or answer.last:
                    return

    async def slow(self) -> None:
        async with self.connected() as client:
            client.read_size, client.pause = 10_000, 0.005
            wish = self.wish()
            sent = self.body()[:5000]
            whole = b"".join(self.put(wish, sent))
            step = max(len(whole) // 50, 1)
            saying = asyncio.ensure_future(
                client.say(*(whole[at : at + step] for at in range(0, len(whole), step)), pause=0.005)
            )
            answer = await client.answer()
            await saying
            self.judge("slow", wish, sent, answer)

    async def hasty(self) -> None:
        async with self.connected() as client:
            wishes = [self.wish(most=50_000) for _ in range(self.chance.randrange(2, 100))]
            if self.chance.random() < 0.5:
                wishes = [wish._replace(framing="length") for wish in wishes]
            saying = asyncio.ensure_future(client.say(b"".join(map(self.get, wishes))))
            for wish in wishes:
                answer = await client.answer()
                self.judge("hasty", wish, b"", answer)
                if answer is None or answer.last:
                    break
            await saying

    async def leaving(self) -> None:
        """At any point of a request or of its answer."""
        chance = self.chance
        async with self.connected() as client:
            whole = b"".join(self.put(self.wish((*GOOD, *BAD)), self.body(), chance.choice(("mixed", "paused"))))
            if chance.random() < 0.5:
                await client.say(whole[: chance.randrange(len(whole))])
            else:
                await client.say(whole + self.get(self.wish()) * chance.randrange(3))
                with suppress(OSError):
                    await client.reader.read(chance.choice((1, 100, 100_000)))
            await asyncio.sleep(chance.choice((0, 0, 0.01, 0.1)))
            if chance.random() < 0.5:
                reset(client.writer)
        self.account.note("leaving", "left")

    async def half(self) -> None:
        async with self.connected() as client:
            await client.say(self.get(self.wish()))
            with suppress(OSError):
                client.writer.write_eof()
            answer = await client.answer()
            self.account.note("half", answer and answer.status)

    async def babbling(self) -> None:
        chance = self.chance
        words = bytearray(b"".join(self.put(self.wish(), self.body()[:1000])))
        for _ in range(chance.randrange(1, 5)):
            words[chance.randrange(min(len(words), 200))] = chance.randrange(256)
        async with self.connected() as client:
            await client.say(bytes(words) if chance.random() < 0.7 else chance.randbytes(chance.randrange(1, 5000)))
            with suppress(OSError):
                client.writer.write_eof()
            answer = await client.answer()
            self.account.note("babbling", answer and answer.status)

    async def unlucky(self) -> None:
        """Its upstream is bad, and it must see that."""
        async with self.connected() as client:
            for _ in range(5):
                wish = self.wish(tuple(BAD))
                sent = self.body()
                saying = asyncio.ensure_future(client.say(*self.put(wish, sent, "mixed")))
                answer = await client.answer()
                await saying
                status = answer.status if answer is not None else None
                self.account.note("unlucky", f"{wish.kind} {status}", wish, right=status in BAD[wish.kind])
                if answer is None or answer.last:
                    return

    async def tunnelling(self) -> None:
        chance = self.chance
        async with self.connected() as client:
            await client.say(UPGRADE)
            head = await client.reader.readuntil(b"\r\n\r\n")
            self.account.note("tunnelling", head.split()[1].decode(), right=head.startswith(b"HTTP/1.1 101 "))
            for _ in range(chance.randrange(10)):
                words = chance.randbytes(chance.randrange(1, 50_000))
                await client.say(words)
                right = await client.reader.readexactly(len(words)) == words
                self.account.note("tunnelling", "echo" if right else "wrong echo", right=right)
            if chance.random() < 0.3:
                reset(client.writer)
            elif chance.random() < 0.5:
                client.writer.write_eof()
                await client.reader.read()

    async def silent(self) -> None:
        async with self.connected() as client:
            await client.say(self.get(self.wish())[: self.chance.randrange(20)])
            await asyncio.sleep(self.chance.random())
        self.account.note("silent", "left")

    # All of them

    async def again_and_again(self, who: Callable[[], Awaitable[None]], pause: float) -> None:
        while not self.over.is_set():
            try:
                async with asyncio.timeout(LONGEST):
                    await who()
            except (OSError, EOFError) as error:
                self.account.note(who.__name__, type(error).__name__, error, right=False)
            await asyncio.sleep(self.chance.random() * pause)

    async def run(self) -> Account:
        kinds: list[tuple[Callable[[], Awaitable[None]], int, float]] = [
            (self.good, 12, 0.02),
            (self.slow, 4, 0.02),
            (self.hasty, 3, 0.05),
            (self.leaving, 6, 0.02),
            (self.half, 2, 0.05),
            (self.babbling, 3, 0.05),
            (self.unlucky, 5, 0.05),
            (self.tunnelling, 3, 0.05),
            (self.silent, 2, 0.05),
        ]
        tasks = [
            asyncio.ensure_future(self.again_and_again(who, pause)) for who, size, pause in kinds for _ in range(size)
        ]
        await asyncio.to_thread(sys.stdin.read)
        self.over.set()
        await asyncio.gather(*tasks)
        return self.account


@contextmanager
def running(port: int, core: int) -> Iterator[Popen[str]]:
    child = process.start(process.module("benchmarks.soak.clients", port), core, output=PIPE)
    try:
        yield child
    finally:
        process.end(child)


def account(child: Popen[str]) -> Account:
    """Tell them to end, and hear how it went."""
    answer, _ = child.communicate(timeout=2 * LONGEST)
    told = json.loads(answer)
    return Account(Counter(told["seen"]), told["wrong"], told["examples"])


def main() -> None:
    async def crowd() -> Account:
        return await Crowd(int(sys.argv[1])).run()

    print(json.dumps(vars(asyncio.run(crowd()))))


if __name__ == "__main__":
    main()
