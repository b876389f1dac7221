"""An endpoint of HTTP/2 in the hands of a test: the `h2` library, told what to say.

    server = await reached(up)                 # a connection, its preface read
    stream, head = await server.asked()        # a request: its fields as a dict
    await server.answer(stream, body=b"ok")
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

pytest.importorskip("h2")

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.settings import SettingCodes, Settings

WITHIN = 5.0


class H2Peer:
    def __init__(self, peer: Any, settings: dict[int, int] | None = None) -> None:
        """`peer` has `send` and `recv`."""
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        if settings:
            values = {SettingCodes(number): value for number, value in settings.items()}
            self.h2.local_settings = Settings(client=False, initial_values=values)
        self.events: list[Event] = []
        self.over = False

    async def begin(self) -> H2Peer:
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.peer.send(data)

    async def hear(self) -> None:
        data = await self.peer.recv()
        if not data:
            self.over = True
            return
        self.events += self.h2.receive_data(data)
        await self.flush()

    async def event(self, kind: type, stream: int | None = None) -> Any:
        """The next of its kind, of this stream; those before it stay."""
        async with asyncio.timeout(WITHIN):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                        self.events.remove(event)
                        return event
                assert not self.over, f"ended, where {kind.__name__} was due, after {self.events}"
                await self.hear()

    async def asked(self) -> tuple[int, dict[bytes, bytes]]:
        event = await self.event(RequestReceived)
        return event.stream_id, dict(event.headers)

    async def body(self, stream: int) -> bytes:
        """All of it."""
        await self.event(StreamEnded, stream)
        pieces = [e for e in self.events if isinstance(e, DataReceived) and e.stream_id == stream]
        self.events = [e for e in self.events if e not in pieces]
        return b"".join(piece.data for piece in pieces)

    async def answer(
        self,
        stream: int,
        status: int = 200,
        body: bytes | None = b"ok",
        fields: Any = (),
        *,
        last: bool = True,
        length: bool = True,
    ) -> None:
        head = [(":status", str(status)), *fields]
        if body is not None and length:
            head.append(("content-length", str(len(body))))
        self.h2.send_headers(stream, head, end_stream=last and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=last)
        await self.flush()

    async def data(self, stream: int, data: bytes, *, last: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=last)
        await self.flush()

    async def trailers(self, stream: int, fields: Any) -> None:
        self.h2.send_headers(stream, fields, end_stream=True)
        await self.flush()

    async def reset(self, stream: int, code: int) -> None:
        self.h2.reset_stream(stream, code)
        await self.flush()

    async def goaway(self, last: int, code: int = 0) -> None:
        """Without its own idea that all is over then."""
        await self.peer.send(
            b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big")
        )

    async def ended(self) -> bool:
        """Whether the other side ends in good order; False: by a reset."""
        async with asyncio.timeout(WITHIN):
            try:
                while not self.over:
                    await self.hear()
            except ConnectionError:
                return False
        return True


async def reached(up: Any, **settings: int) -> H2Peer:
    """The next connection to this upstream, and what is said on it at once, by the names of settings."""
    async with asyncio.timeout(WITHIN):
        peer = await up.accept()
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return await H2Peer(peer, {SettingCodes[name.upper()]: value for name, value in settings.items()}).begin()
