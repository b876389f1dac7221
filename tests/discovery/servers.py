"""A name server in the hands of a test: it says what it is told to say, and lies when it is told to lie."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from meshproxy.model import Address
from tests.wire import dns_messages as dns

KINDS = {dns.A: "A", dns.AAAA: "AAAA"}


@dataclass(frozen=True)
class Asked:
    """A question as it arrived."""

    name: str
    kind: str
    transport: str
    id: int
    source: Any

    @property
    def question(self) -> bytes:
        return dns.question(self.name, {"A": dns.A, "AAAA": dns.AAAA}[self.kind])

    def reply(self, *records: bytes, **rest: Any) -> bytes:
        return dns.message(self.id, self.question, records, **rest)

    def addresses(self, *texts: str, ttl: int = 60) -> bytes:
        """Those of the kind that was asked for; where there are none, that there are none."""
        records = [dns.address(self.name, text, ttl) for text in texts if (":" in text) == (self.kind == "AAAA")]
        return self.reply(*records, authority=[] if records else [dns.zone("", 30)])

    def no_such_name(self, ttl: int = 30) -> bytes:
        return self.reply(authority=[dns.zone("", ttl)], flags=dns.RESPONSE | dns.NO_SUCH_NAME)


def read(data: bytes, transport: str, source: Any) -> Asked:
    id, _, questions = struct.unpack_from("!3H", data)
    assert questions == 1
    labels, at = [], dns.QUESTION_AT
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size].decode())
        at += size + 1
    (kind,) = struct.unpack_from("!H", data, at + 1)
    return Asked(".".join(labels), KINDS[kind], transport, id, source)


Say = Callable[[Asked], Sequence[bytes]]
"""Over UDP each piece is a datagram; over TCP they are bytes, after which the connection is closed."""


class Server:
    def __init__(self, say: Say, host: str = "127.0.0.1", *, tcp: bool = True) -> None:
        """Made inside the scenario, where the loop runs."""
        self._loop = asyncio.get_running_loop()
        self.say = say
        self.asked: list[Asked] = []
        self.udp, self.tcp = free_pair(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        self._loop.add_reader(self.udp.fileno(), self._datagram)
        if tcp:
            self.tcp.listen()
            self._accepting = self._loop.create_task(self._accept())
        self.address = Address("ipv6" if ":" in host else "ipv4", host, self.udp.getsockname()[1])

    def heard(self, transport: str = "udp") -> list[tuple[str, str]]:
        return [(asked.name, asked.kind) for asked in self.asked if asked.transport == transport]

    def _datagram(self) -> None:
        data, source = self.udp.recvfrom(65535)
        asked = read(data, "udp", source)
        self.asked.append(asked)
        for piece in self.say(asked):
            self.udp.sendto(piece, source)

    async def _accept(self) -> None:
        while True:
            sock, source = await self._loop.sock_accept(self.tcp)
            with sock:
                data = await self._loop.sock_recv(sock, 65535)
                assert int.from_bytes(data[:2]) == len(data) - 2
                asked = read(data[2:], "tcp", source)
                self.asked.append(asked)
                for piece in self.say(asked):
                    await self._loop.sock_sendall(sock, piece)
                    await asyncio.sleep(0)

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2) + message


def free_pair(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    """A port that is free for both."""
    while True:
        udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
        udp.bind((host, 0))
        try:
            tcp.bind(udp.getsockname()[:2])
        except OSError:
            udp.close()
            tcp.close()
            continue
        udp.setblocking(False)
        tcp.setblocking(False)
        return udp, tcp
