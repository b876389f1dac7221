"""A link that can be cut, stalled and taken away: it relays bytes to a server, in the loop of a test.

    async with Link(("127.0.0.1", 1883)) as link:
        connect(link.address)
        link.stall()             # nothing goes through, and nobody is told
        link.resume()
        link.cut()               # both ends are reset; who comes next is served
        link.down()              # and who comes next is reset too
        link.up()
"""

from __future__ import annotations

import asyncio
from typing import Self, cast

Address = tuple[str, int]


class Link:
    def __init__(self, target: Address) -> None:
        self.target = target
        self.is_up = True
        self.stalled = False
        self.ends: set[End] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Near(self), "127.0.0.1", 0)
        self.address: Address = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *ignored: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for end in list(self.ends):
            end.transport.abort()

    def down(self) -> None:
        self.is_up = False
        self.cut()

    def up(self) -> None:
        self.is_up = True

    def stall(self) -> None:
        self.stalled = True
        for end in self.ends:
            end.transport.pause_reading()

    def resume(self) -> None:
        self.stalled = False
        for end in self.ends:
            end.transport.resume_reading()


class End(asyncio.Protocol):
    """Gives what comes to the other end, which is ended with it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.other: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.link.ends.add(self)
        if self.link.stalled:
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.link.ends.discard(self)
        if self.other is not None:
            self.other.transport.close()


class Near(End):
    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._early: list[bytes] = []
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.link.is_up:
            self.transport.abort()
            return
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: End(self.link), *self.link.target)
        except OSError:
            self.transport.abort()
            return
        if self.transport.is_closing():
            far.transport.abort()
            return
        far.other, self.other = self, far
        for data in self._early:
            far.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            super().data_received(data)
