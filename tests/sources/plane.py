"""A control plane in the hands of a test: a repository of Pipy, header by header as it was seen, and documents.

    plane = await Plane.start()
    plane.commit("14695981039346656037", config)        # the new version, and `reload` for those who listen
    plane.raw = b"HTTP/1.1 500 Oh\r\n\r\n"              # from now on, whatever is asked
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.conftest import _opened

BASE = "/repo/osm-edge-sidecar/0c5f.sidecar.books.shop/"
RELOAD = b"\x81\x06reload"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Heard:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Plane:
    def __init__(self) -> None:
        self.version: str | None = None
        """None: there is no such codebase."""
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        """Of files that have one of their own."""
        self.asked: list[Heard] = []
        self.statuses: list[dict[str, Any]] = []
        self.connections = 0
        self.raw: bytes | None = None
        """Said in the place of any answer, and then the connection is closed."""
        self.pause = 0.0
        """Between the bytes of `raw`."""
        self.for_ever = b""
        """What comes after `raw` without an end."""
        self.speaks_websocket = True
        self.between: list[str] = []
        """Versions that it changes to, one after each answer."""
        self.listening: set[StreamWriter] = set()
        self.heard_frames: list[bytes] = []
        self._writers: set[StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.host = "127.0.0.1"
        self.port = 0

    @classmethod
    async def start(cls, port: int = 0) -> Plane:
        plane = cls()
        await plane.open(port)
        _opened.append(plane.close)
        return plane

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Be gone, and whoever was connected with it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()

    @property
    def connected(self) -> int:
        return len(self._writers)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}{BASE}"

    def commit(self, version: str, config: Any, name: str = "config.json") -> None:
        data = config if isinstance(config, bytes) else json.dumps(config).encode()
        self.version, self.files = version, {"main.js": b"pipy()", name: data}
        self.push(RELOAD)

    def push(self, frames: bytes) -> None:
        for writer in self.listening:
            writer.write(frames)

    def count(self, method: str, path: str = BASE) -> int:
        return sum(heard.method == method and heard.path == path for heard in self.asked)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(await _heard(reader), reader, writer):
                    """As long as somebody asks."""
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            self._writers.discard(writer)
            self.listening.discard(writer)
            writer.close()

    async def _answer(self, heard: Heard, reader: StreamReader, writer: StreamWriter) -> bool:
        self.asked.append(heard)
        if "upgrade" in heard.headers and self.speaks_websocket:
            await self._talk(heard, reader, writer)
            return False
        if self.raw is not None:
            await self._say_raw(writer)
            return False
        if heard.method == "POST":
            self.statuses.append(json.loads(heard.body))
            writer.write(b"HTTP/1.1 201 Created\r\nserver: pipy-repo\r\ncontent-length: 0\r\n\r\n")
            return True
        body = self._body(heard.path)
        if body is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nserver: pipy-repo\r\ncontent-length: 0\r\n\r\n")
            return True
        version = self.etags.get(heard.path.removeprefix(BASE), self.version)
        etag = f"etag: {version}\r\n" if version else ""
        if version and heard.headers.get("if-none-match") == version:
            writer.write(f"HTTP/1.1 304 Not Modified\r\n{etag}\r\n".encode())
            return True
        head = f"HTTP/1.1 200 OK\r\nserver: pipy-repo\r\ncontent-type: text/plain\r\n{etag}content-length: {len(body)}"
        writer.write(f"{head}\r\n\r\n".encode() + (body if heard.method == "GET" else b""))
        if self.between:
            self.version = self.between.pop(0)
        return True

    def _body(self, path: str) -> bytes | None:
        if self.version is None or not path.startswith(BASE):
            return None
        if path == BASE:
            return "\n".join(f"/{name}" for name in self.files).encode()
        return self.files.get(path.removeprefix(BASE))

    async def _say_raw(self, writer: StreamWriter) -> None:
        assert self.raw is not None
        if self.pause:
            for byte in self.raw:
                writer.write(bytes((byte,)))
                await asyncio.sleep(self.pause)
        writer.write(self.raw)
        while self.for_ever:
            writer.write(self.for_ever)
            await writer.drain()
        await writer.drain()

    async def _talk(self, heard: Heard, reader: StreamReader, writer: StreamWriter) -> None:
        key = heard.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self.listening.add(writer)
        while data := await reader.read(65536):
            self.heard_frames.append(data)


async def _heard(reader: StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    return Heard(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@asynccontextmanager
async def doing(work: Any) -> AsyncIterator[asyncio.Task[None]]:
    """While a test looks on."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
