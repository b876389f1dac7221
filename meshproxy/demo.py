"""Something to look at in one command: a proxy, upstreams behind it and traffic through it, in one process.

Two echo servers of unequal weight stand behind a TCP listener, a third behind a UDP listener, and where amqtt is
installed a broker behind an MQTT listener.  Clients come, say a few things, check what comes back and leave.  Every
second one line tells what has passed; the page shows the rest.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import socket
from collections.abc import Callable
from typing import cast

from meshproxy.dialects import read
from meshproxy.model import Document
from meshproxy.observe.log import Log
from meshproxy.server.fleet import Solo
from meshproxy.server.process import Process, Setting
from meshproxy.sources.files import Files
from meshproxy.sources.store import Store
from meshproxy.wire.mqtt import (
    V311,
    Connect,
    Frames,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    decode,
    encode,
)

CLIENTS = 20
MESSAGES = 20
TELL_EVERY = 1.0
LARGEST_PACKET = 1 << 16


class Demo:
    def __init__(self, admin: str, duration: float | None) -> None:
        self._admin = admin
        self._duration = duration
        self._devices = _free_address() if importlib.util.find_spec("amqtt") is not None else None
        """Where clients of MQTT are served; None: there is no broker for them."""
        self._exchanged = 0
        self._wrong = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(_Echo, "127.0.0.1", 0) for _ in range(2)]
        udp, _ = await loop.create_datagram_endpoint(_EchoDatagrams, ("127.0.0.1", 0))
        addresses = ["{}:{}".format(*server.sockets[0].getsockname()) for server in servers]
        document = self._document(addresses, "{}:{}".format(*udp.get_extra_info("sockname")))
        if self._devices is None:
            print("Without amqtt there is no MQTT to look at: pip install 'meshproxy[broker]' brings it.")
        log = Log(level="warning")
        setting = Setting(Files([], {}), lambda: [document], Store(None), log)
        process = Process(setting, lambda stats: Solo.here(stats, log))
        self._fleet = process.fleet
        await process.start()
        try:
            await self._watch(process)
        finally:
            await process.close()
            udp.close()
            for server in servers:
                server.close()

    def _document(self, tcp: list[str], udp: str) -> Document:
        listeners = [
            {"name": "echo", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "echo"},
            {"name": "datagrams", "listen": "127.0.0.1:0", "protocol": "udp", "cluster": "datagrams"},
        ]
        clusters: dict[str, object] = {
            "echo": {"endpoints": [{"address": tcp[0], "weight": 3}, tcp[1]]},
            "datagrams": {"endpoints": [udp]},
        }
        said: dict[str, object] = {"admin": {"listen": self._admin}, "listeners": listeners, "clusters": clusters}
        if self._devices is not None:
            broker = _free_address()
            listeners.append({"name": "devices", "listen": self._devices, "protocol": "mqtt", "cluster": "broker"})
            clusters["broker"] = {"endpoints": [broker], "connect_timeout": "5s"}
            said["broker"] = {"listen": broker}
        return read(json.dumps(said).encode(), "demo")

    async def _watch(self, process: Process) -> None:
        print(f"The page is at http://{process.admin_address}/ and `meshproxy status` says the same. Ctrl-C ends it.")
        doors = self._fleet.doors
        local = {place.kind: doors.local(place) for place in doors.places if place.address.any_port}
        async with asyncio.TaskGroup() as group:
            traffic = [group.create_task(self._client(local[socket.SOCK_STREAM])) for _ in range(CLIENTS)]
            traffic.append(group.create_task(self._datagrams(local[socket.SOCK_DGRAM])))
            if self._devices is not None:
                traffic.append(group.create_task(self._device(self._devices)))
            teller = group.create_task(self._tell())
            await process.ended(self._duration)
            for task in (*traffic, teller):
                task.cancel()
        print(f"{self._exchanged} messages went out and came back, {self._wrong} of them wrong.")

    async def _tell(self) -> None:
        print("  connections  messages/s     wrong")
        while True:
            before = self._exchanged
            await asyncio.sleep(TELL_EVERY)
            rate = (self._exchanged - before) / TELL_EVERY
            print(f"{self._fleet.connections:13}{rate:12.0f}{self._wrong:10}", flush=True)

    async def _client(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        while True:
            reader, writer = await asyncio.open_connection(host, int(port))
            for _ in range(MESSAGES):
                message = random.randbytes(random.randrange(1, 2000))
                writer.write(message)
                self._count(message, await reader.readexactly(len(message)))
                await asyncio.sleep(random.random() / 100)
            writer.close()

    async def _datagrams(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(answers.put_nowait), remote_addr=(host, int(port))
        )
        try:
            while True:
                message = random.randbytes(100)
                transport.sendto(message)
                self._count(message, await answers.get())
                await asyncio.sleep(0.01)
        finally:
            transport.close()

    async def _device(self, address: str) -> None:
        """Hears what it has published itself."""
        host, _, port = address.rpartition(":")
        while True:
            try:
                await self._talk(*await asyncio.open_connection(host, int(port)))
            except (OSError, EOFError):
                await asyncio.sleep(TELL_EVERY)  # the broker takes its time to begin

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames, connect = Frames(LARGEST_PACKET), Connect(V311, "demo")
        writer.write(encode(connect, V311) + encode(Subscribe(1, (Subscription(b"demo/#"),)), V311))
        waiting: list[bytes] = []
        try:
            while data := await reader.read(LARGEST_PACKET):
                buffer, cuts = frames.feed(data)
                for packet in (decode(V311, buffer, *cut) for cut in cuts):
                    if isinstance(packet, Publish):
                        self._count(waiting.pop(), packet.payload)
                        await asyncio.sleep(0.01)
                    if isinstance(packet, Suback | Publish):
                        waiting.append(random.randbytes(100))
                        writer.write(encode(Publish(b"demo/device", waiting[0]), V311))
        finally:
            writer.close()

    def _count(self, sent: bytes, received: bytes) -> None:
        self._exchanged += 1
        self._wrong += sent != received


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._take(data)


class _EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)
