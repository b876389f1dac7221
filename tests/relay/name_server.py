"""A name server whose answers a test gives when it likes, and a client that asks a listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.conftest import Client, World
from tests.discovery.servers import free_pair
from tests.wire import dns_messages as dns


@dataclass
class Question:
    heard: dns.Heard
    source: Any
    over: str
    say: Callable[[bytes], object]

    @property
    def name(self) -> str:
        labels, at = [], 0
        while size := self.heard.asked[at]:
            labels.append(self.heard.asked[at + 1 : at + 1 + size].decode())
            at += size + 1
        return ".".join(labels)

    def reply(self, *records: bytes, id: int | None = None, **rest: Any) -> None:
        self.say(dns.message(self.heard.id if id is None else id, self.heard.asked, records, **rest))

    def addresses(self, *texts: str, ttl: int = 60) -> None:
        self.reply(*(dns.address(self.name, text, ttl) for text in texts))


class NameServer:
    """Keeps what it was asked; answers by itself if it is told how."""

    def __init__(self, answer: Callable[[Question], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer = answer
        self.asked: list[Question] = []
        self.udp, self.tcp = free_pair(socket.AF_INET, "127.0.0.1")
        self.tcp.listen()
        self.address = "{}:{}".format(*self.udp.getsockname())
        self._streams: list[socket.socket] = []
        self._loop.add_reader(self.udp.fileno(), self._datagram)
        self._loop.add_reader(self.tcp.fileno(), self._accept)

    def _datagram(self) -> None:
        data, source = self.udp.recvfrom(65535)
        self._hear(Question(dns.heard(data), source, "udp", lambda message: self.udp.sendto(message, source)))

    def _accept(self) -> None:
        sock, source = self.tcp.accept()
        self._streams.append(sock)

        def read() -> None:
            data = sock.recv(65535)
            if not data:
                self._loop.remove_reader(sock.fileno())
                return
            assert int.from_bytes(data[:2]) == len(data) - 2
            say = lambda message: sock.sendall(len(message).to_bytes(2) + message)  # noqa: E731
            self._hear(Question(dns.heard(data[2:]), source, "tcp", say))

        self._loop.add_reader(sock.fileno(), read)

    def _hear(self, question: Question) -> None:
        self.asked.append(question)
        if self.answer is not None:
            self.answer(question)

    def close(self) -> None:
        for sock in (self.udp, self.tcp, *self._streams):
            self._loop.remove_reader(sock.fileno())
            sock.close()


class Stub:
    """Asks over UDP, from one port."""

    def __init__(self, world: World, listener: str = "in") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(world.address(listener))

    def send(self, name: str, kind: int = dns.A, **rest: Any) -> None:
        self.sock.send(dns.query(name, kind, **rest))

    async def receive(self) -> dns.Heard:
        while True:
            try:
                return dns.heard(self.sock.recv(65535))
            except BlockingIOError:
                await asyncio.sleep(0.001)

    async def ask(self, name: str, kind: int = dns.A, **rest: Any) -> dns.Heard:
        self.send(name, kind, **rest)
        return await self.receive()

    @property
    def silent(self) -> bool:
        try:
            self.sock.recv(65535)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self.sock.close()


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2) + message


async def told(client: Client) -> dns.Heard:
    """The next message on a connection."""
    size = int.from_bytes(await client.recv_exactly(2))
    return dns.heard(await client.recv_exactly(size))
