"""The candidates for the owner of a socket, each as the smallest relay that shows its cost.

    transport   asyncio.Protocol on both sides, the loop owns the descriptor
    readiness   add_reader/add_writer on our own non-blocking socket
    splice      readiness, the bytes stay in the kernel

each also with TLS terminated on the accepted side through `ssl.MemoryBIO`, and `loop-tls`, the loop's own
`ssl=`, to compare with.  Run by `benchmarks micro conn`; nothing here is part of the product.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import sys
from typing import Any

CHUNK = 65536
HIGH_WATER = 256 * 1024
F_SETPIPE_SZ = 1031
scratch = bytearray(CHUNK)
view = memoryview(scratch)


class Tls:
    """TLS between a wire and a user, without either: bytes in, bytes out."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.ready = False

    def received(self, data: bytes) -> bytes:
        """Feed what the wire brought; return the plain text it held."""
        self.incoming.write(data)
        plain = []
        try:
            if not self.ready:
                self.object.do_handshake()
                self.ready = True
            while n := self.object.read(CHUNK, scratch):  # type: ignore[call-overload]
                plain.append(view[:n].tobytes())
        except ssl.SSLWantReadError:
            pass
        return b"".join(plain) if len(plain) != 1 else plain[0]

    def send(self, data: bytes) -> bytes:
        self.object.write(data)
        return self.outgoing.read()


class Transport(asyncio.Protocol):
    def __init__(self, peer: Transport | None = None, tls: Tls | None = None) -> None:
        self.peer, self.tls = peer, tls
        self.transport: Any = None
        self.early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.peer is None:
            asyncio.ensure_future(self.dial())

    async def dial(self) -> None:
        upstream = Transport(self)
        await asyncio.get_running_loop().create_connection(lambda: upstream, "127.0.0.1", UPSTREAM)
        self.peer = upstream
        for data in self.early:
            upstream.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.tls:
            data = self.tls.received(data)
            if self.tls.outgoing.pending:
                self.transport.write(self.tls.outgoing.read())
        if self.peer is None:
            self.early.append(data)
        elif data:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        self.transport.write(self.tls.send(data) if self.tls else data)

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.close()


class Readiness:
    def __init__(self, sock: socket.socket, tls: Tls | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.sock, self.tls = sock, tls
        self.fd = sock.fileno()
        self.recv, self.send = sock.recv, sock.send
        self.out = b""
        self.peer: Readiness | None = None
        self.closed = False

    def start(self, peer: Readiness) -> None:
        self.peer = peer
        self.loop.add_reader(self.fd, self.readable)

    def readable(self) -> None:
        try:
            data = self.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self.tls:
            data = self.tls.received(data)
            if self.tls.outgoing.pending:
                self.write_raw(self.tls.outgoing.read())
        if data and self.peer:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        self.write_raw(self.tls.send(data) if self.tls else data)

    def write_raw(self, data: bytes) -> None:
        if self.closed:
            return
        if self.out:
            self.out += data
            return
        try:
            n = self.send(data)
        except BlockingIOError:
            n = 0
        except OSError:
            self.close()
            return
        if n < len(data):
            self.out = data[n:]
            self.loop.add_writer(self.fd, self.writable)
            if self.peer:
                self.loop.remove_reader(self.peer.fd)

    def writable(self) -> None:
        try:
            n = self.send(self.out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self.out = self.out[n:]
        if not self.out:
            self.loop.remove_writer(self.fd)
            if self.peer and not self.peer.closed:
                self.loop.add_reader(self.peer.fd, self.peer.readable)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.remove_reader(self.fd)
            self.loop.remove_writer(self.fd)
            self.sock.close()
            if self.peer:
                self.peer.close()


class Splice:
    """One direction: `source` into a pipe, the pipe into `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.sockets = source, sink
        self.source, self.sink = source.fileno(), sink.fileno()
        self.out, self.into = os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(self.into, F_SETPIPE_SZ, 1 << 20)
        self.held = 0
        self.loop.add_reader(self.source, self.readable)

    def readable(self) -> None:
        try:
            n = os.splice(self.source, self.into, 1 << 20)
        except BlockingIOError:
            return
        except OSError:
            n = 0
        if not n:
            self.loop.remove_reader(self.source)
            self.sockets[1].close() if not self.held else None
            return
        self.held += n
        self.flush()
        if self.held:
            self.loop.remove_reader(self.source)
            self.loop.add_writer(self.sink, self.writable)

    def flush(self) -> None:
        try:
            self.held -= os.splice(self.out, self.sink, self.held)
        except BlockingIOError:
            pass

    def writable(self) -> None:
        self.flush()
        if not self.held:
            self.loop.remove_writer(self.sink)
            self.loop.add_reader(self.source, self.readable)


async def serve(engine: str, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    if engine in ("transport", "loop-tls"):
        context = tls if engine == "loop-tls" else None
        own = tls if engine == "transport" else None
        await loop.create_server(
            lambda: Transport(tls=Tls(own) if own else None), sock=listener, ssl=context
        )
        await asyncio.Event().wait()
    keep = []
    while True:
        client, _ = await loop.sock_accept(listener)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket()
        server.setblocking(False)
        await loop.sock_connect(server, ("127.0.0.1", UPSTREAM))
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if engine == "splice":
            keep += [Splice(client, server), Splice(server, client)]
        else:
            down, up = Readiness(client, Tls(tls) if tls else None), Readiness(server)
            down.start(up)
            up.start(down)


if __name__ == "__main__":
    kind, engine, fd, UPSTREAM, certificate = (
        sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5],
    )
    context = None
    if certificate != "-":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    listening = socket.socket(fileno=fd)
    listening.setblocking(False)
    if kind == "uvloop":
        import uvloop

        uvloop.run(serve(engine, listening, context))
    else:
        asyncio.run(serve(engine, listening, context))
