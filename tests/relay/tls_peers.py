"""The other side of TLS in the hands of a test: nothing is sent but what it says, when it says so.

    client = TlsClient(await w.connect(), trusting(ca), name="books.shop")
    await client.shake()
    await client.send(b"hello")
    assert await client.recv() == b"world"
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any

from tests.pki import Ca, Pair

WITHIN = 5.0


def trusting(ca: Ca | None, shown: Pair | None = None, **also: Any) -> ssl.SSLContext:
    """A client's context; without a CA it believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca.root)
    return _with(context, shown, also)


def showing(pair: Pair, ca: Ca | None = None, **also: Any) -> ssl.SSLContext:
    """A server's context; with a CA it asks for certificates of clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.root)
    return _with(context, pair, also)


def _with(context: ssl.SSLContext, shown: Pair | None, also: dict[str, Any]) -> ssl.SSLContext:
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    if version := also.pop("version", None):
        context.minimum_version = context.maximum_version = version
    if alpn := also.pop("alpn", None):
        context.set_alpn_protocols(alpn)
    for name, value in also.items():
        setattr(context, name, value)
    return context


class TlsPeer:
    def __init__(self, peer: Any, ssl_object: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self.peer = peer
        self.ssl = ssl_object
        self.incoming = incoming
        self.outgoing = outgoing

    async def shake(self) -> None:
        """Raises ssl.SSLError, or EOFError if the other side goes away."""
        async with asyncio.timeout(WITHIN):
            try:
                while not self.step():
                    await self.flush()
                    await self.hear()
            finally:
                await self.flush()

    def step(self) -> bool:
        """Whether that was the last one; what is to be sent for it waits."""
        try:
            self.ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def said(self) -> bytes:
        """What waits to be sent."""
        return self.outgoing.read()

    async def flush(self) -> None:
        if data := self.said():
            await self.peer.send(data)

    async def hear(self) -> None:
        data = await self.peer.recv()
        if not data:
            raise EOFError
        self.incoming.write(data)

    def say(self, text: bytes) -> bytes:
        """Enciphered, and not sent."""
        self.ssl.write(text)
        return self.said()

    async def send(self, text: bytes) -> None:
        await self.peer.send(self.say(text))

    async def recv(self, size: int = 65536) -> bytes:
        """Nothing, if the other side says that it ends; EOFError, if it just goes away."""
        while True:
            try:
                return self.ssl.read(size)
            except ssl.SSLWantReadError:
                await self.flush()
                await self.hear()
            except ssl.SSLZeroReturnError:
                return b""

    async def recv_all(self) -> bytes:
        pieces = []
        while piece := await self.recv():
            pieces.append(piece)
        return b"".join(pieces)

    def goodbye(self) -> bytes:
        with suppress(ssl.SSLError):
            self.ssl.unwrap()
        return self.said()

    async def end(self) -> None:
        await self.peer.send(self.goodbye())


def client(peer: Any, context: ssl.SSLContext, name: str | None = "books.shop", session: Any = None) -> TlsPeer:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return TlsPeer(
        peer, context.wrap_bio(incoming, outgoing, server_hostname=name, session=session), incoming, outgoing
    )


def server(peer: Any, context: ssl.SSLContext) -> TlsPeer:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return TlsPeer(peer, context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)
